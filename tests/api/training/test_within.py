"""Evaluation and early stopping within the engine's calls: bitwise as between them."""

from __future__ import annotations

import math
import signal

import numpy as np
import pytest

import fastmlp
from fastmlp import Network, callbacks, optim, schedules
from fastmlp.callbacks import EarlyStopping
from fastmlp.engine.cpu import engine as cpu_engine
from fastmlp.engine.cpu import validation
from fastmlp.errors import TrainingDivergedError, TrainingInterruptedWarning
from fastmlp.training import minibatches, within
from tests.api.many.test_fit_many import learnt, recorded

N_ROWS, N_TRAINED, N_COLUMNS = 250, 170, 5


@pytest.fixture
def table():
    rng = np.random.default_rng(3)
    X = rng.standard_normal((N_ROWS, N_COLUMNS)).astype(np.float32)
    noise = rng.standard_normal((N_ROWS, 2))
    values = np.stack([np.sin(2 * X[:, 0]), X[:, 1] * X[:, 2]], axis=1) + 0.5 * noise
    classes = (X[:, 3] + noise[:, 0] > 0).astype(int) + (X[:, 4] > 1)
    return X, values, classes, rng.random(N_ROWS)


@pytest.fixture
def jobs(monkeypatch):
    """What the engine is asked to train."""
    asked, train = [], cpu_engine.CpuEngine.train

    def noted(self, job):
        asked.append(job)
        return train(self, job)

    monkeypatch.setattr(cpu_engine.CpuEngine, "train", noted)
    return asked


def in_python(network, *arguments, **settings):
    """A fit that comes back after every epoch."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(minibatches, "within", lambda *_: None)
        return network.fit(*arguments, **settings)


CASES = {
    "patience": ({}, {"callbacks": EarlyStopping(patience=2)}),
    "min_delta": ({}, {"callbacks": EarlyStopping(patience=3, min_delta=0.02)}),
    "of training": ({}, {"callbacks": EarlyStopping("loss", 2, min_delta=0.1)}),
    "never": ({}, {"callbacks": EarlyStopping(patience=50)}),
    "no watch": ({}, {}),
    "one row an epoch's end": ({}, {"batch_size": 169, "callbacks": EarlyStopping(patience=4)}),
    "float64": ({"dtype": "float64"}, {"callbacks": EarlyStopping(patience=2)}),
    "layer norm": ({"norm": "layer", "dropout": 0.3}, {"callbacks": EarlyStopping(patience=3)}),
    "residual": ({"residual": True, "l2": 0.01}, {"callbacks": EarlyStopping(patience=3)}),
    "average": ({}, {"optimizer": optim.Adam(0.02, ema=0.9), "callbacks": EarlyStopping()}),
    "nadam": ({}, {"optimizer": optim.NAdam(0.02), "callbacks": EarlyStopping(patience=3)}),
    "clipped": ({}, {"optimizer": optim.SGD(0.5, clip_norm=0.1), "callbacks": EarlyStopping()}),
    "cosine": ({}, {"schedule": schedules.Cosine(), "callbacks": EarlyStopping(patience=3)}),
    "function": ({}, {"schedule": lambda step, n: 1 / (1 + step), "callbacks": EarlyStopping()}),
    "wide": ({"sizes": [N_COLUMNS, 300, 300, 0]}, {"callbacks": EarlyStopping(patience=1)}),
}
SIZES, SIZES_2 = [N_COLUMNS, 16, 16, 0], [N_COLUMNS, 16, 16, 2]


@pytest.mark.filterwarnings("ignore::fastmlp.errors.GradientFlowWarning")
@pytest.mark.parametrize("task", ["values", "classes"])
@pytest.mark.parametrize("n_threads", [1, 2, 3, None])
@pytest.mark.parametrize("case", CASES)
def test_it_is_bitwise_a_fit_that_comes_back_after_every_epoch(case, n_threads, task, table, jobs):
    X, values, classes, weights = table
    made, settings = CASES[case]
    sizes = [*made.get("sizes", SIZES)[:-1], 2 if task == "values" else 3]
    loss = "huber" if task == "values" else "cross_entropy"
    made = made | {"sizes": sizes, "loss": loss, "n_threads": n_threads, "seed": 4}
    callback = settings.get("callbacks")
    settings = {"epochs": 15, "batch_size": 33, "optimizer": optim.Adam(0.02)} | settings
    settings["callbacks"] = [] if callback is None else [callback]
    y, t = (values if task == "values" else classes), slice(0, N_TRAINED)
    rest = slice(N_TRAINED, N_ROWS)
    eval_set = [(X[rest], y[rest], weights[rest])]
    if callback is not None and callback.monitor == "loss":
        eval_set = None
    found, wanted = Network(**made), Network(**made)
    history = found.fit(X[t], y[t], eval_set=eval_set, **settings)
    # The first call is of one epoch, and one that went on to the end has no third.
    assert len(jobs) <= 2
    assert jobs[-1].validation is not None
    expected = in_python(wanted, X[t], y[t], eval_set=eval_set, **settings)
    np.testing.assert_equal(recorded(history), recorded(expected))
    for name, array in learnt(wanted).items():
        np.testing.assert_array_equal(learnt(found)[name], array, err_msg=name)
    if case in ("patience", "min_delta", "of training"):
        assert history.stopped_by == "early_stopping"


@pytest.mark.parametrize(
    ("made", "settings"),
    [
        ({"norm": "batch"}, {"callbacks": [EarlyStopping()]}),
        ({}, {"callbacks": [EarlyStopping("val_r2")]}),
        ({}, {"callbacks": [EarlyStopping(mode="max")]}),
        ({}, {"callbacks": [EarlyStopping(), lambda run: None]}),
        ({}, {"schedule": schedules.ReduceOnPlateau()}),
        ({}, {"on_divergence": "rollback"}),
        ({}, {"metrics": ["r2"]}),
        ({}, {"eval_set": 2}),
    ],
)
def test_what_is_asked_in_python(made, settings, table, jobs):
    X, values, _, _ = table
    settings = settings | {"eval_set": [(X, values)] * settings.get("eval_set", 1)}
    Network(SIZES_2, **made).fit(X, values, epochs=4, **settings)
    assert len(jobs) == 4
    assert jobs[-1].validation is None


def test_a_class_of_the_users_own_is_called(table):
    class Own(EarlyStopping):
        def on_epoch_end(self, run):
            seen.append(run.epoch)
            return super().on_epoch_end(run)

    X, values, _, _ = table
    seen: list[int] = []
    Network(SIZES_2).fit(X, values, epochs=3, callbacks=[Own("loss")])
    assert seen == [1, 2, 3]


def test_outputs_of_a_call_are_kept_in_bounded_memory(table, jobs, monkeypatch):
    X, values, _, _ = table
    monkeypatch.setattr(validation, "OUTPUTS_BYTES", 5 * N_ROWS * 2 * 4)
    settings = {"epochs": 17, "eval_set": [(X, values)], "callbacks": [EarlyStopping(patience=3)]}
    found, wanted = (Network(SIZES_2, seed=1) for _ in range(2))
    history = found.fit(X, values, **settings)
    assert {job.n_epochs for job in jobs[1:-1]} == {5}
    expected = in_python(wanted, X, values, **settings)
    np.testing.assert_equal(recorded(history), recorded(expected))
    np.testing.assert_array_equal(found.weights[0], wanted.weights[0])


@pytest.mark.parametrize("cut", [3, 6])
def test_it_goes_on_from_a_file_with_the_same_bits(cut, table, tmp_path, jobs):
    X, values, _, _ = table
    settings = {"epochs": 30, "batch_size": 33, "optimizer": optim.Adam(0.02)}
    settings["eval_set"] = [(X[N_TRAINED:], values[N_TRAINED:])]
    part, stopping = (X[:N_TRAINED], values[:N_TRAINED]), EarlyStopping(patience=4)
    whole = Network(SIZES_2, seed=2)
    # Whoever writes a file after every epoch is asked after every epoch.
    written = callbacks.Checkpoint(tmp_path / "{epoch}")
    wanted = whole.fit(*part, callbacks=[stopping, written], **settings)
    assert {job.n_epochs for job in jobs} == {1}
    path = tmp_path / str(cut)
    network = Network.load(path)
    history = network.fit(*part, callbacks=[stopping], resume=path, **settings)
    assert jobs[-1].validation is not None
    np.testing.assert_equal(recorded(history), recorded(wanted))
    np.testing.assert_array_equal(network.weights[0], whole.weights[0])


def test_numbers_that_are_not_finite_leave_the_best_epoch(table):
    X, values, _, _ = table
    rates = {"schedule": lambda step, n: 0.01 if step < 18 else 1e30}
    nets = [Network(SIZES_2, seed=2) for _ in range(2)]
    histories = []
    for fit, network in zip((Network.fit, in_python), nets, strict=True):
        with pytest.raises(TrainingDivergedError) as caught:
            fit(network, X, values, epochs=9, batch_size=64, optimizer="sgd",
                eval_set=[(X, values)], callbacks=[EarlyStopping()], **rates)  # fmt: skip
        histories.append(recorded(caught.value.history))
        assert caught.value.history.best_epoch == 4
    np.testing.assert_equal(*histories)
    np.testing.assert_array_equal(nets[0].weights[0], nets[1].weights[0])


@pytest.mark.parametrize("n_threads", [1, 2])
def test_ctrl_c_and_the_time_end_it_between_two_steps(n_threads, table):
    X, values, _, _ = table
    settings = {"epochs": 10**6, "eval_set": [(X, values)], "batch_size": 10}
    settings["callbacks"] = [EarlyStopping(patience=10**6)]
    network = Network(SIZES_2, n_threads=n_threads)
    history = network.fit(X, values, max_time_s=0.3, **settings)
    assert history.stopped_by == "max_time"
    signal.signal(signal.SIGALRM, lambda *_: signal.raise_signal(signal.SIGINT))
    signal.setitimer(signal.ITIMER_REAL, 0.3)
    with pytest.warns(TrainingInterruptedWarning):
        history = network.fit(X, values, **settings)
    assert history.stopped_by == "interrupt"
    # All epochs but one that was cut short have been evaluated.
    assert all(math.isfinite(value) for value in history.val_loss[:-1])
    best = int(np.nanargmin(history.val_loss))
    assert history.best_epoch == history.epochs[best]
    assert network.evaluate(X, values)["loss"] == history.val_loss[best]


def test_a_stop_that_comes_while_rows_are_evaluated(table, monkeypatch):
    """Whatever step of the loop hears it first, the epoch before it counts as evaluated or not."""
    X, values, _, _ = table
    big = np.tile(X, (60, 1)), np.tile(values, (60, 1))
    network = Network([N_COLUMNS, 64, 64, 2], n_threads=2)
    monkeypatch.setattr(within.metrics, "is_one_block", lambda *_: True)
    for i in range(10):
        history = network.fit(X, values, epochs=10**6, max_time_s=0.05 + 0.01 * i, eval_set=[big])
        assert history.stopped_by == "max_time"
        assert all(math.isfinite(value) for value in history.val_loss[:-1])
    assert fastmlp.Network.predict(network, X[:1]).shape == (1, 2)
