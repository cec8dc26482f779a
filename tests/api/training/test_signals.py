"""Ctrl-C, SIGTERM and SIGHUP at random instants of a fit: what was trained counts, and is kept."""

from __future__ import annotations

import os
import signal
import threading
import time
from functools import partial

import numpy as np
import pytest

import fastmlp
from fastmlp.callbacks import Callback, Checkpoint, EarlyStopping
from fastmlp.errors import TrainingInterruptedWarning
from fastmlp.optim import LBFGS
from fastmlp.training.epochs import EpochLoop
from fastmlp.training.trainer import Trainer
from tests.conftest import LONG
from tests.figures import Count

SIGNALS = [signal.SIGINT, signal.SIGTERM, signal.SIGHUP]
each_signal = pytest.mark.parametrize("number", SIGNALS, ids=[n.name for n in SIGNALS])


class Ends(Callback):
    """Counts the ends of fits, and what was recorded when they came."""

    def __init__(self):
        self.n_ends = 0

    def on_fit_end(self, run):
        self.n_ends += 1


@pytest.fixture(autouse=True)
def handlers_stay():
    before = [signal.getsignal(number) for number in SIGNALS]
    yield
    assert [signal.getsignal(number) for number in SIGNALS] == before


@pytest.fixture
def begun(monkeypatch):
    """An event that a fit sets when it begins to train."""
    train, begun = Trainer._train_to_end, threading.Event()

    def told(self):
        begun.set()
        return train(self)

    monkeypatch.setattr(Trainer, "_train_to_end", told)
    return begun


def interrupted(number, after_s, begun, fit):
    """Seconds from the signal to the end of `fit`, which must be as the signal wants it."""
    sent_s = []

    def send():
        if begun.wait(60.0):
            time.sleep(after_s)
            sent_s.append(time.perf_counter())
            os.kill(os.getpid(), number)

    begun.clear()
    thread = threading.Thread(target=send)
    thread.start()
    with pytest.warns(TrainingInterruptedWarning):
        ends_as_wanted(number, fit)
    ended_s = time.perf_counter()
    thread.join()
    return ended_s - sent_s[0]


def ends_as_wanted(number, fit):
    if number == signal.SIGINT:
        fit()
        return
    with pytest.raises(SystemExit) as ended:
        fit()
    assert ended.value.code == 128 + number


# Sizes, rows of a minibatch, and what decides how the epochs are run.
KINDS = {
    "one call": ([4, 8, 3], 16, {}),
    "epochs": ([4, 8, 3], 16, {"callbacks": True}),
    "steps": ([4, 400, 400, 3], 60, {"every_s": 0.02}),
    "normalised": ([4, 300, 3], 60, {"callbacks": True, "norm": "batch"}),
}


# Between `open` and the block that would close the file: Python closes it then, and says so.
@pytest.mark.filterwarnings("ignore:unclosed file:ResourceWarning")
@each_signal
@pytest.mark.parametrize("kind", KINDS)
def test_a_signal_at_a_random_instant(kind, number, begun, X, y, tmp_path, record_property):
    sizes, batch_size, how = KINDS[kind]
    rng, path = np.random.default_rng(SIGNALS.index(number)), tmp_path / "m.safetensors"
    worst_s = 0.0
    n_signals = 100 if LONG else 4
    for _ in range(n_signals):
        net = fastmlp.Network(sizes, loss="cross_entropy", norm=how.get("norm", "none"))
        ends, path_of = Ends(), {}
        callbacks = []
        if "callbacks" in how:
            callbacks = [EarlyStopping(monitor="loss", patience=10**9), ends]
        if "every_s" in how:
            path_of = {"checkpoint": Checkpoint(path, every_s=how["every_s"])}

        fit = partial(
            net.fit, X, y, epochs=10**6, batch_size=batch_size, callbacks=callbacks, **path_of
        )
        net.fit(X, y, epochs=1)
        worst_s = max(worst_s, interrupted(number, rng.uniform(0.0, 0.2), begun, fit))
        history = net.history_
        assert history.stopped_by == "interrupt"
        assert net.n_epochs_ == 1 + len(history)
        assert len(history.loss) == len(history)
        assert -(-(net.n_steps_ - 1) // -(-len(X) // batch_size)) == len(history)
        assert np.isfinite(net.predict_proba(X)).all()
        if callbacks:
            assert ends.n_ends == 1
        if path_of and len(history):
            saved = fastmlp.Network.load(path)
            assert (saved.n_epochs_, saved.n_steps_) == (net.n_epochs_, net.n_steps_)
            np.testing.assert_array_equal(saved.weights[0], net.weights[0])
            path.unlink()
        net.fit(X, y, epochs=1)
    record_property("signals", Count(n_signals))
    record_property(f"seconds from {number.name} to the end of a small fit", worst_s)
    assert worst_s < 5.0  # 0.5 s, but for machines that do other things


@each_signal
def test_a_signal_in_an_iteration_of_lbfgs(number, X, y):
    def send(run):
        if run.epoch == 3:
            os.kill(os.getpid(), number)

    net = fastmlp.Network([4, 60, 3], loss="cross_entropy")
    with pytest.warns(TrainingInterruptedWarning):
        ends_as_wanted(
            number, lambda: net.fit(X, y, epochs=50, optimizer=LBFGS(), callbacks=[send])
        )
    assert net.n_epochs_ == len(net.history_) == 3
    assert net.evaluate(X, y)["loss"] == pytest.approx(net.history_.loss[-1], rel=1e-4)


@each_signal
def test_early_stopping_puts_the_best_weights_back(number, X, y):
    """The best epoch is the first, as no later one is better by enough; then the signal comes."""

    class Worse(Callback):
        def on_epoch_end(self, run):
            if run.epoch == 1:
                best.extend(run.network.weights)
            if run.epoch == 5:
                os.kill(os.getpid(), number)

    best = []
    net = fastmlp.Network([4, 8, 3], loss="cross_entropy")
    stopping = EarlyStopping(monitor="loss", min_delta=1e9, patience=100)

    def fit():
        net.fit(X, y, epochs=50, callbacks=[stopping, Worse()])

    with pytest.warns(TrainingInterruptedWarning, match="the best weights, of epoch 1"):
        ends_as_wanted(number, fit)
    assert len(net.history_) == 5
    assert net.history_.best_epoch == 1
    for kept, wanted in zip(net.weights, best, strict=True):
        np.testing.assert_array_equal(kept, wanted)


@each_signal
def test_a_signal_while_the_fit_ends_waits_for_its_end(number, X, y):
    class Sends(Callback):
        def on_fit_end(self, run):
            os.kill(os.getpid(), number)
            reached.append(run.history.stopped_by)

    reached, net, ends = [], fastmlp.Network([4, 8, 3], loss="cross_entropy"), Ends()
    with pytest.warns(TrainingInterruptedWarning):
        ends_as_wanted(number, lambda: net.fit(X, y, epochs=3, callbacks=[Sends(), ends]))
    assert reached == ["epochs"]
    assert ends.n_ends == 1
    assert net.history_.stopped_by == "interrupt"
    assert len(net.history_) == 3


def test_a_second_ctrl_c_ends_a_callback_that_does_not_return(X, y):
    class Hangs(Callback):
        def on_fit_end(self, run):
            for _ in range(2):
                os.kill(os.getpid(), signal.SIGINT)
            raise AssertionError("not interrupted")

    net, ends = fastmlp.Network([4, 8, 3], loss="cross_entropy"), Ends()
    with pytest.raises(KeyboardInterrupt):
        net.fit(X, y, epochs=3, callbacks=[Hangs(), ends])
    assert ends.n_ends == 1
    net.fit(X, y, epochs=1)


def test_a_handler_of_ones_own_is_called_and_the_fit_goes_on(X, y):
    heard = []
    before = signal.signal(signal.SIGTERM, lambda number, frame: heard.append(number))
    try:
        net = fastmlp.Network([4, 8, 3], loss="cross_entropy")
        send = lambda run: os.kill(os.getpid(), signal.SIGTERM)  # noqa: E731
        history = net.fit(X, y, epochs=3, callbacks=[send])
    finally:
        signal.signal(signal.SIGTERM, before)
    assert history.stopped_by == "epochs"
    assert heard == [signal.SIGTERM] * 3


@each_signal
def test_a_signal_ends_the_fit_of_an_estimator(number, X, y, monkeypatch):
    n_calls, train = [], EpochLoop._train

    def sends(self, policy):
        if len(n_calls) == 2:
            os.kill(os.getpid(), number)
        n_calls.append(None)
        return train(self, policy)

    monkeypatch.setattr(EpochLoop, "_train", sends)
    estimator = fastmlp.MLPClassifier((50,), max_iter=9, validation_fraction=0.3, batch_size=8,
                                      early_stopping=True, random_state=0)  # fmt: skip
    with pytest.warns(UserWarning, match="interrupted by user"):
        ends_as_wanted(number, lambda: estimator.fit(X, y))
    assert estimator.n_iter_ == len(estimator.loss_curve_) == 2
    assert set(estimator.predict(X)) <= set(y)
