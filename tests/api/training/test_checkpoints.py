"""What a Checkpoint saves, when, and under which names; a fit that is always resumed with it."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import numpy as np
import pytest

import fastmlp
from fastmlp import errors
from fastmlp.callbacks import Checkpoint, EarlyStopping
from fastmlp.model.file import read_model, write_model
from fastmlp.training import trainer
from tests.resuming import CLASSES, ROWS, end_of, network

EPOCHS, BATCH = 6, 20


class Killed(Exception):
    pass


def counted(path, keep=None, **settings):
    """A fit with a checkpoint that is always resumed, and how many epochs it trained."""
    seen = []
    settings = {"epochs": EPOCHS, "batch_size": BATCH} | settings
    own = settings.pop("callbacks", [])
    net = network()
    checkpoint = Checkpoint(path, keep=keep)
    callbacks = [lambda run: seen.append(run.epoch), *own]
    net.fit(ROWS, CLASSES, callbacks=callbacks, checkpoint=checkpoint, resume=True, **settings)
    return net, seen


def test_a_fit_that_is_over_trains_no_more(tmp_path):
    path = tmp_path / "fit.safetensors"
    for callbacks in (list, lambda: [EarlyStopping("loss", 1, 1.0)]):
        path.unlink(missing_ok=True)
        first, seen = counted(path, callbacks=callbacks())
        assert seen[-1] == len(first.history_)
        before = path.read_bytes()
        second, seen = counted(path, callbacks=callbacks())
        assert seen == []
        assert end_of(second) == end_of(first)
        assert path.read_bytes() == before


def test_it_loads_as_a_network(tmp_path, same_weights):
    net, _ = counted(tmp_path / "fit")
    loaded = fastmlp.Network.load(tmp_path / "fit")
    assert end_of(loaded) == end_of(net) | {"history": end_of(loaded)["history"]}
    assert loaded.history_.loss == net.history_.loss
    assert (loaded.history_.stopped_by, net.history_.stopped_by) == (None, "epochs")
    loaded.save(tmp_path / "plain")  # where no fit stands
    with pytest.raises(fastmlp.errors.OptionError, match="no fit stands; load it with"):
        network().fit(ROWS, CLASSES, resume=tmp_path / "plain")
    assert loaded.fit(ROWS, CLASSES, epochs=1).epochs == [7]
    assert not same_weights(loaded, net)


def test_files_by_epoch(tmp_path):
    path = tmp_path / "fit-{epoch:02d}.st"
    for name in ("fit-best.st", "fit-1.st", "fit-007.st", "fit-01.st.gz", ".fit-01.st"):
        (tmp_path / name).write_text("not a checkpoint")
    others = set(tmp_path.iterdir())
    assert Checkpoint(path).latest() is None
    first, _ = counted(path, keep=2)
    kept = {tmp_path / "fit-05.st", tmp_path / "fit-06.st"}
    assert set(tmp_path.iterdir()) - others == kept
    assert Checkpoint(path).latest() == tmp_path / "fit-06.st"
    (tmp_path / "fit-06.st").unlink()
    second, seen = counted(path, keep=2)
    assert seen == [6]
    assert end_of(first) == end_of(second)
    assert set(tmp_path.iterdir()) - others == kept
    assert set(tmp_path.iterdir()) - kept == others


def test_an_old_file_that_a_kill_left_is_removed_later(tmp_path, monkeypatch):
    path = tmp_path / "{epoch}"

    def killed(self, missing_ok=False):
        raise Killed

    with monkeypatch.context() as patched:
        patched.setattr(Path, "unlink", killed)
        with pytest.raises(Killed):
            counted(path, keep=2)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["1", "2", "3"]
    counted(path, keep=2)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["5", "6"]


def test_a_file_names_no_others_to_remove(tmp_path):
    """What a checkpoint from a stranger says of old files are numbers, for names of our own."""
    victim = tmp_path / "victim"
    victim.write_text("precious")
    counted(tmp_path / "{epoch}", keep=2, epochs=3)
    content = read_model(tmp_path / "3")
    content.fit.values["callback1"]["epochs"] = [str(victim), 2, 3]
    write_model(tmp_path / "3", content)
    with pytest.raises(fastmlp.errors.ModelFileError, match="damaged"):
        counted(tmp_path / "{epoch}", keep=2, epochs=3)
    assert victim.read_text() == "precious"


@pytest.mark.parametrize("kind", ["max_time", "record", "evaluation", "callback"])
def test_an_early_end_is_saved_and_gone_on_with(tmp_path, kind, monkeypatch):
    X = np.random.default_rng(1).normal(size=(6000, 30)).astype(np.float32)
    y = np.where(X[:, 0] * X[:, 1] > 0, "x", "y")

    def fit(interrupted, **settings):
        calls = [0]

        def interrupt(run):
            if interrupted and kind == "callback" and run.epoch == 2:
                raise KeyboardInterrupt

        def evaluate(*arguments):
            calls[0] += 1
            if interrupted and kind == "evaluation" and calls[0] == 3:
                raise KeyboardInterrupt
            return measure(*arguments)

        def extend(history, epochs, columns):
            if interrupted and kind == "record" and 3 in epochs:
                os.kill(os.getpid(), signal.SIGINT)  # held back until it is recorded
            note(history, epochs, columns)

        measure, note = trainer.metrics.evaluate, fastmlp.History.extend
        net = fastmlp.Network([30, 200, 150, 2], loss="cross_entropy", n_threads=2)
        stopping = EarlyStopping(patience=2)
        # A week: only the early end saves.
        checkpoint = Checkpoint(tmp_path / "fit", every_s=6e5)
        with monkeypatch.context() as patched:
            patched.setattr(trainer.metrics, "evaluate", evaluate)
            patched.setattr(fastmlp.History, "extend", extend)
            net.fit(X, y, epochs=6, batch_size=100, eval_set=[(X[:500], y[:500])],
                    callbacks=[stopping, interrupt], checkpoint=checkpoint, resume=True,
                    **settings)  # fmt: skip
        return net

    expected = end_of(fit(False))
    assert not (tmp_path / "fit").exists()
    if kind == "max_time":
        cut = fit(True, max_time_s=0.03)
        assert cut.history_.stopped_by == "max_time"
    else:
        with pytest.warns(fastmlp.errors.TrainingInterruptedWarning):
            cut = fit(True)
        assert len(cut.history_) == (2 if kind == "callback" else 3)
    assert (tmp_path / "fit").exists()
    assert end_of(fit(False)) == expected


def test_it_is_saved_in_the_midst_of_an_epoch(tmp_path):
    X = np.random.default_rng(1).normal(size=(20000, 30)).astype(np.float32)

    class Watched(Checkpoint):
        def _save(self, run):
            super()._save(run)
            if run.step % 400:
                raise Killed

    def fit(checkpoint):
        net = fastmlp.Network([30, 300, 200, 1], n_threads=2)
        net.fit(X, X[:, 0], epochs=4, batch_size=50, checkpoint=checkpoint, resume=True)
        return net

    with pytest.raises(Killed):
        fit(Watched(tmp_path / "fit", every_s=0.01))
    resumed = fit(Checkpoint(tmp_path / "fit"))
    assert end_of(resumed) == end_of(fit(Checkpoint(tmp_path / "other")))


def test_saves_that_last_longer_than_the_time_between_them_let_it_go_on(tmp_path):
    X = np.random.default_rng(1).normal(size=(3000, 30)).astype(np.float32)
    nets = []
    for every_s in (1e-9, None):
        net = fastmlp.Network([30, 200, 200, 1], n_threads=2)
        checkpoint = Checkpoint(tmp_path / f"fit{every_s}", every_s=every_s)
        net.fit(X, X[:, 0], epochs=2, batch_size=300, checkpoint=checkpoint)
        nets.append(end_of(net))
    assert nets[0] == nets[1]


def test_a_history_of_many_epochs_fits_a_file(tmp_path):
    """As text it would not: see the limits of tensor_file."""
    counted(tmp_path / "fit")
    content, n = read_model(tmp_path / "fit"), 100_000
    long = content.values["history"] | {
        "epochs": [*range(1, n + 1)],
        **{name: np.linspace(0.0, 1.0, n).tolist() for name in ("loss", "lr", "seconds")},
        "grad_norm": np.linspace(0.0, 1.0, 3 * n).reshape(n, 3).tolist(),
    }
    content.values["history"] = long
    write_model(tmp_path / "long", content)
    assert read_model(tmp_path / "long").values["history"] == long


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"every_s": 1.0, "every_n_epochs": 2}, "after seconds and every_n_epochs after epochs"),
        ({"every_s": 1.0, "save_best_only": True}, "and save_best_only after epochs that were"),
        ({"every_s": 0.0}, "every_s of Checkpoint must be > 0"),
    ],
)
def test_two_times_to_save_are_refused(tmp_path, settings, words):
    with pytest.raises(errors.OptionError, match=words):
        Checkpoint(tmp_path / "c", **settings)
    Checkpoint(tmp_path / "c", every_s=1.0, every_n_epochs=1)
