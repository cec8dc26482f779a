"""``force``: a fit goes on from a checkpoint though data or settings are others, and says so."""

from __future__ import annotations

import math

import numpy as np
import pytest

import fastmlp
from fastmlp import errors, optim, schedules
from fastmlp.callbacks import Callback, Checkpoint, CSVLog, EarlyStopping
from fastmlp.model.file import read_model, write_model
from fastmlp.training import lbfgsb
from tests.api.training.test_resume import Killed, Stop
from tests.resuming import CLASSES, EVAL, ROWS, end_of, halving, network

BEFORE = {"epochs": 4, "batch_size": 20, "eval_set": EVAL}
needs_steps = pytest.mark.skipif(
    lbfgsb.trouble() is not None, reason="this SciPy keeps to itself where it stands"
)


def callbacks(path, patience=3):
    return [EarlyStopping(patience=patience), CSVLog(f"{path}.csv")]


def saved(path, epoch=2, **settings):
    """A fit that is killed behind the save of an epoch."""
    net, settings = network(), BEFORE | settings
    own = settings.pop("callbacks", callbacks(path))
    X, y = settings.pop("X", ROWS), settings.pop("y", CLASSES)
    with pytest.raises(Killed):
        net.fit(X, y, callbacks=[*own, Kill(epoch)], checkpoint=Checkpoint(path), **settings)
    return net


class Kill(Callback):
    """Before a save: the file is of the epoch before."""

    def __init__(self, epoch):
        self.epoch = epoch

    def on_epoch_end(self, run):
        if run.epoch == self.epoch + 1:
            raise Killed


@pytest.fixture
def path(tmp_path):
    saved(tmp_path / "fit")
    return tmp_path / "fit"


def go_on(path, match, **settings):
    """The network of a fit that goes on by force, with one warning that matches."""
    settings = BEFORE | {"callbacks": [*callbacks(path), Kill(-1)]} | settings
    net = network(**settings.pop("network", {}))
    X, y = settings.pop("X", ROWS), settings.pop("y", CLASSES)
    with pytest.warns(errors.ResumedWarning, match=match) as told:
        net.fit(X, y, resume=path, force=True, **settings)
    text = str(told[0].message)
    assert "\n" not in text
    assert told[0].filename == __file__
    return net


def changed(array):
    array = array.copy()
    array[80:] += 0.1
    return array


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"X": changed(ROWS)}, r"another training\.X: "),
        ({"X": ROWS.astype(np.float32)}, r"another training\.X: "),
        ({"X": ROWS[:50], "y": CLASSES[:50]}, r"training\.rows: 90 then, 50 now; training\.X: "),
        ({"y": CLASSES[::-1]}, r"another training\.labels: "),
        ({"sample_weight": np.ones(90)}, r"training\.sample_weight: None then, "),
        ({"class_weight": "balanced"}, r"training\.sample_weight: None then, .*eval0"),
        ({"eval_set": [EVAL[0], EVAL[0]]}, r"another eval1\.X: "),
        ({"eval_set": EVAL[:1]}, "another series: .*; eval0: .*; eval1: .*; val: "),
        ({"metrics": ["f1_macro"]}, r"another series\[5\]: 'eval0_accuracy' then, "),
        ({"epochs": 7}, "another epochs: 4 then, 7 now$"),
        ({"batch_size": 21}, "another batch_size: 20 then, 21 now$"),
        ({"shuffle": False}, "another shuffle: True then, False now$"),
        ({"schedule": schedules.Cosine()}, r"another schedule\.name: 'Constant' then, 'Cosine' n"),
        ({"schedule": halving}, "another schedule: "),
        ({"schedule": schedules.ReduceOnPlateau(patience=0)}, r"another schedule\.name: "),
        ({"optimizer": optim.Adam(0.002)}, r"another optimizer\.lr: 0.001 then, 0.002 now$"),
        ({"optimizer": optim.Adam(0.002, beta1=0.8)}, r"\.lr: .*; optimizer\.beta1: 0.9 then, 0.8"),
        ({"optimizer": optim.Adam(ema=0.9)}, r"optimizer\.ema: None then, 0.9 now$"),
        ({"optimizer": optim.SGD()}, r"another optimizer\.name: 'Adam' then, 'SGD' now$"),
        ({"optimizer": optim.LBFGS(), "batch_size": None}, r"optimizer\.name: .*; series: "),
        ({"network": {"seed": 4}}, r"another network\.seed: 3 then, 4 now$"),
        ({"network": {"dropout": 0.1}}, r"network\.dropout\[0\]: 0.0 then, 0.1 now"),
        ({"network": {"l2": 0.1, "l1": 0.1}}, r"network\.l1: .*; network\.l2: "),
        ({"network": {"activation": "tanh"}}, r"network\.activation\[0\]: 'relu' then, 'tanh' now"),
        ({"callbacks": []}, "another callbacks: "),
        ({"callbacks": [EarlyStopping(patience=4), Callback()]}, "another callbacks: "),
        ({"callbacks": [print, print, print]}, r"another callbacks\[0\]: "),
    ],
)  # fmt: skip
def test_every_kind_of_difference(path, settings, words):
    """It goes on at the epoch where the other one stood, with the optimizer's state."""
    if isinstance(settings.get("optimizer"), optim.LBFGS) and lbfgsb.trouble() is not None:
        pytest.skip("this SciPy keeps to itself where it stands")
    first = read_model(path).values["history"]
    net = go_on(path, words, **settings)
    history = net.history_
    n = settings.get("epochs", 4)
    assert history.epochs == [*range(1, n + 1)]
    assert history.loss[:2] == first["loss"][:2]
    assert history.stopped_by in ("epochs", "early_stopping")
    assert all(len(history[name]) == n for name in history)
    assert all(math.isfinite(loss) for loss in history.loss)
    for name in history:
        if name not in first:
            assert all(math.isnan(value) for value in history[name][:1]), name
            assert not math.isnan(history[name][-1])
    if "callbacks" not in settings:
        lines = (path.parent / "fit.csv").read_text().splitlines()
        assert len(lines) == n + 1
        assert len(lines[0].split(",")) == len(lines[-1].split(","))
    again = network(**settings.get("network", {}))
    settings = {k: v for k, v in settings.items() if k != "network"}
    settings = BEFORE | {"callbacks": [*callbacks(path), Kill(-1)]} | settings
    X, y = settings.pop("X", ROWS), settings.pop("y", CLASSES)
    with pytest.raises(errors.OptionError, match=r"; pass what was passed then.* with force"):
        again.fit(X, y, resume=path, **settings)
    assert again.n_epochs_ == 0


def test_the_same_data_and_settings_need_no_force_and_say_nothing(path):
    nets = []
    for force in (False, True):
        net = network()
        net.fit(
            ROWS, CLASSES, resume=path, force=force, callbacks=[*callbacks(path), Kill(-1)],
            **BEFORE,
        )  # fmt: skip
        nets.append(end_of(net))
    assert nets[0] == nets[1]


def test_weights_and_state_are_those_of_the_file(path):
    """A rate of 0 leaves the weights; momenta and counters go on."""
    kept = fastmlp.Network.load(path)
    net = go_on(path, "lr", optimizer=optim.Adam(1e-30), callbacks=[])
    for a, b in zip(net.weights, kept.weights, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-6)
    state, before = net.engine.get_optimizer_state(), kept.engine.get_optimizer_state()
    assert (state.n_steps, before.n_steps) == (20, 10)
    assert any(slot.weights[0].any() for slot in state.slots)
    other = go_on(path, "optimizer", optimizer=optim.SGD(1e-30), callbacks=[])
    assert other.engine.get_optimizer_state().n_steps == 10  # another rule begins anew
    np.testing.assert_allclose(other.weights[0], kept.weights[0], rtol=1e-6)


def test_the_numbers_of_a_longer_fit_with_a_constant_rate(tmp_path):
    """More epochs: the bits of a fit that had them from the beginning."""
    whole = network()
    whole.fit(ROWS, CLASSES, **BEFORE | {"epochs": 9})
    saved(tmp_path / "fit", epoch=2, callbacks=[])
    net = go_on(tmp_path / "fit", "epochs: 4 then, 9 now", epochs=9, callbacks=[Kill(-1)])
    assert end_of(net) == end_of(whole)


@pytest.mark.parametrize(("epochs", "n"), [(1, 2), (2, 2), (3, 3)])
def test_fewer_epochs(path, epochs, n):
    """A fit that is over trains no more."""
    net = go_on(path, f"epochs: 4 then, {epochs} now", epochs=epochs)
    assert (len(net.history_), net.n_epochs_, net.history_.stopped_by) == (n, n, "epochs")


def stopped_within(path, **settings):
    """A file from the third step of the second epoch."""
    with pytest.raises(Killed):
        network().fit(ROWS, CLASSES, callbacks=[Stop(path, step=8)], **BEFORE | settings)


@pytest.mark.parametrize(
    ("settings", "goes_on_within"),
    [
        ({"epochs": 6}, True),
        ({"optimizer": optim.Adam(0.01)}, True),
        ({"eval_set": EVAL[:1]}, True),
        ({"batch_size": 30}, False),
        ({"X": changed(ROWS)}, False),
        ({"shuffle": False}, False),
        ({"network": {"seed": 4}}, False),
        ({"epochs": 1}, False),
        ({"optimizer": optim.LBFGS(), "batch_size": None}, False),
    ],
)
def test_in_the_midst_of_an_epoch(tmp_path, settings, goes_on_within):
    """It goes on with its other rows; where these are others, the epoch is over, and measured."""
    if isinstance(settings.get("optimizer"), optim.LBFGS) and lbfgsb.trouble() is not None:
        pytest.skip("this SciPy keeps to itself where it stands")
    path, told = tmp_path / "fit", []
    stopped_within(path)
    mine = [Stop(path), lambda run: told.append((run.epoch, run.step, *run.logs.values())) and None]
    net = go_on(path, "another ", callbacks=mine, **settings)
    epochs = max(settings.get("epochs", 4), 2)
    history = net.history_
    assert history.epochs == [*range(1, epochs + 1)]
    assert [epoch for epoch, *_ in told] == history.epochs[1:]
    assert told[0][1] == (10 if goes_on_within else 8)
    last = next(name for name in reversed(history.names))
    assert not math.isnan(history[last][1])


def test_early_stopping_goes_on_with_more_patience(tmp_path):
    path, settings = tmp_path / "fit", {"epochs": 60, "optimizer": optim.Adam(0.05)}
    net = network()
    checkpoint = Checkpoint(path)
    net.fit(
        ROWS, CLASSES, callbacks=[EarlyStopping(patience=2)], checkpoint=checkpoint,
        **BEFORE | settings,
    )  # fmt: skip
    n = len(net.history_)
    assert net.history_.stopped_by == "early_stopping"
    longer = go_on(path, "patience: 2 then, 9", callbacks=[EarlyStopping(patience=9)], **settings)
    assert len(longer.history_) > n
    same = go_on(path, "epochs", callbacks=[EarlyStopping(patience=2)], **settings | {"epochs": 70})
    assert (len(same.history_), same.history_.stopped_by) == (n, "early_stopping")
    assert same.history_.best_epoch == net.history_.best_epoch
    np.testing.assert_array_equal(same.weights[0], net.weights[0])
    # The best value of other rows is none of these.
    wrong = [(ROWS[:30], np.roll(CLASSES[:30], 7))]
    other = go_on(path, "eval", callbacks=[EarlyStopping(patience=2)], **settings, eval_set=wrong)
    assert other.history_.best_epoch > n


def test_a_plateau_goes_on_with_its_rate_and_begins_to_watch_anew(tmp_path):
    path = tmp_path / "fit"

    def plateau(patience):
        return schedules.ReduceOnPlateau(patience=patience, factor=0.5, min_delta=100.0)

    saved(path, epoch=3, callbacks=[], schedule=plateau(0), epochs=5)
    net = go_on(path, "patience: 0 then, 50", callbacks=[Kill(-1)], schedule=plateau(50), epochs=5)
    assert [round(1e3 * rate, 4) for rate in net.history_.lr] == [1.0, 1.0, 0.5, 0.25, 0.25]
    net = go_on(
        path, "eval1", callbacks=[Kill(-1)], schedule=plateau(0), epochs=5,
        eval_set=[EVAL[0], EVAL[0]],
    )  # fmt: skip
    assert [round(1e3 * rate, 4) for rate in net.history_.lr] == [1.0, 1.0, 0.5, 0.25, 0.25]


@needs_steps
@pytest.mark.parametrize(
    ("settings", "remembers"),
    [
        ({"epochs": 30}, True),
        ({"optimizer": optim.LBFGS(loss_tolerance=1e-12)}, True),
        ({"callbacks": []}, True),
        ({"eval_set": EVAL[:1]}, True),
        ({"X": changed(ROWS)}, False),
        ({"network": {"l2": 0.01}}, False),
        ({"optimizer": optim.LBFGS(memory=3)}, False),
        ({"optimizer": optim.LBFGS(max_evaluations=5)}, False),
    ],
)
def test_lbfgs(tmp_path, monkeypatch, settings, remembers):
    """It goes on with what it remembers of the same function, and else begins anew from there."""
    path, lbfgs = tmp_path / "fit", {"optimizer": optim.LBFGS(), "batch_size": None, "epochs": 20}
    saved(path, epoch=9, **lbfgs)
    taken = []
    go_on_from = lbfgsb.Minimiser.go_on_from
    monkeypatch.setattr(
        lbfgsb.Minimiser, "go_on_from", lambda self, s: (taken.append(s), go_on_from(self, s))[1]
    )
    net = go_on(path, "another ", **lbfgs | settings)
    assert bool(taken) == remembers
    assert len(net.history_) == settings.get("epochs", 20) or net.history_.stopped_by != "epochs"
    assert net.history_.loss[9] < net.history_.loss[0]
    assert net.history_.epochs[:10] == [*range(1, 11)]


@needs_steps
def test_from_lbfgs_to_steps_and_fewer_epochs(tmp_path):
    path, lbfgs = tmp_path / "fit", {"optimizer": optim.LBFGS(), "batch_size": None, "epochs": 20}
    saved(path, epoch=9, **lbfgs)
    net = go_on(path, "optimizer.name: 'LBFGS' then, 'Adam'", epochs=12)
    assert net.history_.epochs == [*range(1, 13)]
    assert all(math.isnan(rate) for rate in net.history_.lr[:9])
    assert net.history_.lr[-1] == 0.001
    net = go_on(path, "epochs: 20 then, 5 now", **lbfgs | {"epochs": 5})
    assert (len(net.history_), net.history_.stopped_by) == (9, "epochs")


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"network": {"sizes": (5, 8, 3)}}, r"got another network\.sizes: \[5, 8, 6, 3\] then"),
        ({"network": {"sizes": (4, 8, 6, 3)}, "X": ROWS[:, :4]}, "got another network.sizes"),
        ({"network": {"dtype": "float64"}}, "got another network.dtype: 'float32' then, 'float64'"),
        ({"network": {"norm": "batch"}}, r"got another network\.norm\[0\]: "),
        ({"network": {"embeddings": {4: (3, 2)}}}, "got another network.(sizes|embeddings)"),
        ({"network": {"loss": "focal"}}, "got another network.loss.name: 'cross_entropy' then"),
    ],
)  # fmt: skip
def test_what_cannot_go_together(path, state_of, settings, words):
    settings = BEFORE | settings
    X = settings.pop("X", ROWS)
    if "embeddings" in settings["network"]:
        X = np.column_stack([ROWS[:, :4], np.arange(90) % 3])
        settings["eval_set"] = [(X[:30], CLASSES[:30])]
    if X.shape[1] == 4:
        settings["eval_set"] = [(X[:30], CLASSES[:30])]
    net = network(**settings.pop("network"))
    before = state_of(net)
    with pytest.raises(errors.OptionError, match=words) as caught:
        net.fit(X, CLASSES, resume=path, force=True, **settings)
    assert "\n" not in str(caught.value)
    assert state_of(net) == before
    assert net.history_ is None


def test_labels_that_are_called_otherwise(path):
    with pytest.raises(errors.LabelError):
        network().fit(ROWS, np.char.upper(CLASSES), resume=path, force=True, **BEFORE)


def test_the_file_of_an_estimator(tmp_path):
    path = tmp_path / "fit"
    est = fastmlp.MLPClassifier((8, 6), max_iter=4, random_state=3, callbacks=[Checkpoint(path)])
    with pytest.warns(Warning, match="Maximum iterations"):
        est.fit(ROWS, CLASSES)
    net = network(dtype="float64")
    with pytest.raises(errors.OptionError, match="a fit of a network wrote, got one of MLPClassi"):
        net.fit(ROWS, CLASSES, resume=path, force=True)


@needs_steps
def test_an_old_file_of_lbfgs(tmp_path):
    path, lbfgs = tmp_path / "fit", {"optimizer": optim.LBFGS(), "batch_size": None, "epochs": 20}
    saved(path, epoch=9, **lbfgs)
    content = read_model(path)
    del content.fit.values["loop"], content.fit.values["lbfgs"]
    content.fit.arrays = {k: v for k, v in content.fit.arrays.items() if "lbfgs" not in k}
    write_model(path, content)
    with pytest.raises(errors.OptionError, match="a file that says how many epochs are over"):
        network().fit(ROWS, CLASSES, resume=path, force=True, **BEFORE)


def test_arguments(path):
    with pytest.raises(errors.OptionError, match="force is about how to resume, got no resume"):
        network().fit(ROWS, CLASSES, force=True)
    with pytest.raises(errors.OptionTypeError, match="force must be True or False"):
        network().fit(ROWS, CLASSES, resume=path, force="yes")
    # The first time that a program runs there is nothing to go on from.
    checkpoint = Checkpoint(path.parent / "first")
    net = network()
    net.fit(ROWS, CLASSES, checkpoint=checkpoint, resume=True, force=True, epochs=1)
    assert net.n_epochs_ == 1
