"""What users hold, on a GPU: fits with all that goes with them, files, estimators, commands."""

from __future__ import annotations

import copy
import json
import pickle

import numpy as np
import pytest
from click.testing import CliRunner

import fastmlp
from fastmlp import callbacks, optim, schedules
from fastmlp.cli import commands
from fastmlp.errors import TrainingDivergedError
from tests.test_documents import blocks

rng = np.random.default_rng(0)
X = rng.normal(size=(60, 4))
LABELS = np.where(X[:, 0] * X[:, 1] > 0, "same", "different")
VALUES = X[:, 0] - X[:, 1] ** 2


def classifier(device, **settings):
    return fastmlp.Network(
        [4, 8, 2], loss="cross_entropy", seed=1, dtype="float64", device=device, **settings
    )


def both(fit):
    """What `fit(device)` gives on each device."""
    return fit("cpu"), fit("cuda")


def assert_series_alike(cpu, gpu, tolerance=1e-9):
    assert cpu.epochs == gpu.epochs
    assert cpu.stopped_by == gpu.stopped_by
    for name in cpu.names:
        if name != "seconds":
            np.testing.assert_allclose(cpu[name], gpu[name], rtol=tolerance, err_msg=name)


def test_a_fit_with_eval_sets_metrics_callbacks_and_a_schedule():
    def fit(device):
        net = classifier(device, dropout=0.1)
        seen = []
        history = net.fit(
            X, LABELS, epochs=12, batch_size=16, eval_set={"test": (X[:20], LABELS[:20])},
            metrics=["roc_auc", "log_loss"], class_weight="balanced",
            schedule=schedules.Cosine(), optimizer=optim.AdamW(lr=0.01, clip_norm=1.0),
            callbacks=[callbacks.EarlyStopping(patience=3), lambda run: seen.append(run.epoch)],
            verbose=False,
        )  # fmt: skip
        return net, history, seen

    (cpu, cpu_history, cpu_seen), (gpu, gpu_history, gpu_seen) = both(fit)
    assert cpu_seen == gpu_seen
    assert_series_alike(cpu_history, gpu_history)
    np.testing.assert_array_equal(cpu.predict(X), gpu.predict(X))
    np.testing.assert_allclose(cpu.predict_proba(X), gpu.predict_proba(X), rtol=1e-9)
    assert gpu.evaluate(X, LABELS) == pytest.approx(cpu.evaluate(X, LABELS))
    assert (gpu.device, gpu.n_steps_) == ("cuda:0", cpu.n_steps_)


def test_lbfgs_and_steps_callbacks():
    def fit(device):
        net = fastmlp.Network([4, 5, 1], activation="tanh", dtype="float64", device=device)
        first = net.fit(X, VALUES, optimizer=optim.LBFGS(), epochs=6, verbose=False)
        steps = []

        class Counts(callbacks.Callback):
            every_n_steps = 2

            def on_steps_end(self, run):
                steps.append(run.step)

        second = net.fit(
            X, VALUES, optimizer="adam", epochs=3, batch_size=20, callbacks=[Counts()],
            verbose=False,
        )  # fmt: skip
        return first, second, steps

    cpu, gpu = both(fit)
    for mine, other in zip(cpu[:2], gpu[:2], strict=True):
        assert_series_alike(mine, other, 1e-6)
    assert cpu[2] == gpu[2]


@pytest.mark.filterwarnings("ignore:.*encountered in scalar")  # of NumPy's numbers
def test_a_diverged_training_is_told_as_on_the_cpu():
    def fit(device):
        net = fastmlp.Network([4, 5, 1], dtype="float64", device=device)
        with pytest.raises(TrainingDivergedError) as caught:
            net.fit(X * 1e150, VALUES, optimizer=optim.SGD(lr=1e10), epochs=3, verbose=False)
        assert all(np.isfinite(w).all() for w in net.weights)
        return caught.value

    cpu, gpu = both(fit)
    assert (cpu.step, cpu.epoch, cpu.layer) == (gpu.step, gpu.epoch, gpu.layer)


@pytest.mark.filterwarnings("ignore:.*(encountered in|overflow)")
@pytest.mark.filterwarnings("ignore::fastmlp.errors.RollbackWarning")
def test_it_goes_back_as_on_the_cpu(tmp_path):
    """And another device goes on with what it keeps of its good epoch."""

    class Kill(callbacks.Callback):
        def __init__(self, epoch):
            self.epoch = epoch

        def on_epoch_end(self, run):
            if run.epoch == self.epoch:
                run.save(tmp_path / "fit")
                raise ZeroDivisionError

    def fit(device, kill=0, **settings):
        net = fastmlp.Network([4, 8, 1], dtype="float64", seed=2, device=device)
        net.fit(
            X, VALUES, optimizer=optim.SGD(10.0, momentum=0.9, ema=0.9), epochs=6, batch_size=20,
            on_divergence="rollback", callbacks=[Kill(kill)], **settings,
        )  # fmt: skip
        return net

    cpu, gpu = both(fit)
    history = cpu.history_
    assert history.rollbacks == gpu.history_.rollbacks
    assert history.rollbacks[-1] > 0
    assert_series_alike(history, gpu.history_, 1e-6)
    np.testing.assert_allclose(cpu.predict(X), gpu.predict(X), rtol=1e-6)
    # The last epoch that is good before one that is not: with it the fit goes back once more.
    kill = max(e for e in history.epochs[:-1] if e not in history.diverged_epochs
               and e < history.diverged_epochs[-1])  # fmt: skip
    for device, other in (("cpu", "cuda"), ("cuda", "cpu")):
        with pytest.raises(ZeroDivisionError):
            fit(device, kill)
        resumed = fit(other, resume=tmp_path / "fit")
        assert resumed.history_.rollbacks == history.rollbacks
        np.testing.assert_allclose(cpu.predict(X), resumed.predict(X), rtol=1e-6)


@pytest.mark.parametrize("code", [p for p in blocks("python") if 'device="cuda"' in p.values[0]])
def test_documents_about_gpus_run_as_they_stand(code, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    exec(compile(code, "document", "exec"), {})


def test_a_network_moves_in_mid_training():
    def fit(devices):
        net = classifier("cpu", norm="batch")
        for device in devices:
            net.to(device).fit(
                X, LABELS, epochs=2, batch_size=16, optimizer=optim.Adam(ema=0.9), verbose=False
            )
        return net

    wanted = fit(["cpu", "cpu", "cpu"])
    for devices in (["cpu", "cuda", "cpu"], ["cuda", "cpu", "cuda"]):
        found = fit(devices)
        assert found.device == {"cpu": "cpu", "cuda": "cuda:0"}[devices[-1]]
        np.testing.assert_allclose(found.predict_proba(X), wanted.predict_proba(X), rtol=1e-8)
        assert (found.n_epochs_, found.n_steps_) == (wanted.n_epochs_, wanted.n_steps_)


def test_files_and_copies_keep_the_device_and_go_on_from_there(tmp_path):
    net = classifier("cuda")
    net.fit(X, LABELS, epochs=2, batch_size=16, verbose=False)
    net.save(tmp_path / "m.safetensors")
    others = [
        fastmlp.Network.load(tmp_path / "m.safetensors"), copy.deepcopy(net),
        pickle.loads(pickle.dumps(net)),
        fastmlp.Network.load(tmp_path / "m.safetensors", device="cpu"),
    ]  # fmt: skip
    assert [other.device for other in others] == ["cuda:0"] * 3 + ["cpu"]
    wanted = net.fit(X, LABELS, epochs=1, batch_size=16, verbose=False)["loss"]
    for other in others:
        found = other.fit(X, LABELS, epochs=1, batch_size=16, verbose=False)["loss"]
        np.testing.assert_allclose(found, wanted, rtol=1e-9)


@pytest.mark.filterwarnings("ignore:Stochastic Optimizer")
def test_estimators_train_where_they_are_told():
    def fit(device):
        model = fastmlp.MLPClassifier(
            [8], max_iter=4, random_state=0, device=device, early_stopping=True, batch_size=16,
            n_iter_no_change=2,
        )  # fmt: skip
        return model.fit(X, LABELS)

    cpu, gpu = both(fit)
    assert gpu.network_.device == "cuda:0"
    np.testing.assert_allclose(gpu.loss_curve_, cpu.loss_curve_, rtol=1e-9)
    np.testing.assert_allclose(gpu.predict_proba(X), cpu.predict_proba(X), rtol=1e-8)
    gpu.coefs_[0][:] = 0.0
    cpu.coefs_[0][:] = 0.0
    np.testing.assert_allclose(gpu.predict_proba(X), cpu.predict_proba(X), rtol=1e-8)
    gpu.set_params(device="cpu", max_iter=1, early_stopping=False).fit(X, LABELS)
    assert gpu.network_.device == "cpu"


def test_the_commands_train_and_predict_on_a_gpu(tmp_path):
    table = tmp_path / "t.csv"
    rows = [f"{a:.3f},{b:.3f},{label}" for (a, b), label in zip(X[:, :2], LABELS, strict=True)]
    table.write_text("\n".join(["a,b,kind", *rows]))
    told = []
    for device in ("cpu", "cuda"):
        out = tmp_path / device
        arguments = ["train", str(table), "--target", "kind", "--epochs", "3", "--hidden", "8",
                     "--device", device, "--out", str(out), "--json"]  # fmt: skip
        done = CliRunner().invoke(commands, arguments)
        assert done.exit_code == 0, done.output
        told.append([json.loads(line) for line in done.stdout.splitlines()])
        model = str(next(out.glob("*.safetensors")))
        for again in ("cpu", "cuda"):
            done = CliRunner().invoke(commands, ["predict", model, str(table), "--device", again])
            assert done.exit_code == 0, done.output
            told[-1].append(done.stdout)
    losses = [
        [line["loss"] for line in run if isinstance(line, dict) and line["event"] == "epoch"]
        for run in told
    ]
    assert len(losses[0]) == 3
    np.testing.assert_allclose(*losses, rtol=1e-5)
    tables = [
        np.array([line.split(",")[1:] for line in text.splitlines()[1:]], float)
        for run in told for text in run if isinstance(text, str)
    ]  # fmt: skip
    assert len(tables) == 4
    for found in tables[1:]:
        assert found.shape == (60, 2)
        np.testing.assert_allclose(found, tables[0], rtol=1e-4)
