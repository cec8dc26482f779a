"""Every way that a fit can end: what is recorded, and that the network can be used."""

import math
import os
import pickle
import signal
import threading
import time

import numpy as np
import pytest

import fastmlp
from fastmlp import errors
from fastmlp.optim import SGD
from fastmlp.training import trainer


def classifier(**settings):
    return fastmlp.Network([4, 8, 3], loss="cross_entropy", **settings)


def test_divergence(X):
    net = fastmlp.Network([4, 8, 1])
    y = X[:, 0] * 100
    with pytest.raises(errors.TrainingDivergedError) as caught:
        net.fit(X, y, epochs=50, batch_size=16, optimizer=SGD(lr=1e3))
    error, message = caught.value, str(caught.value)
    assert f"step {error.step} (epoch {error.epoch})" in message
    assert error.epoch == (error.step - 1) // 4 + 1
    assert not math.isfinite(error.loss) or error.layer is not None
    assert len(error.weight_norms) == len(error.grad_norms) == 2
    assert all(f"{norm:.3g}" in message for norm in error.weight_norms)
    assert "lr=1000" in message
    assert "lower the learning rate" in message
    assert error.history is net.history_
    assert error.history.stopped_by == "diverged"
    assert all(np.isfinite(array).all() for array in [*net.weights, *net.biases])
    assert np.isfinite(net.predict(X * 0)).all()
    assert isinstance(error, ArithmeticError)
    assert pickle.loads(pickle.dumps(error)).step == error.step


def test_divergence_in_a_later_fit_counts_steps_of_that_fit(X):
    net, y = fastmlp.Network([4, 8, 1]), X[:, 0] * 100
    net.fit(X, y, epochs=3, batch_size=60, optimizer=SGD(lr=1e-6))
    with pytest.raises(errors.TrainingDivergedError) as caught:
        net.fit(X, y, epochs=50, batch_size=60, optimizer=SGD(lr=1e3), callbacks=[lambda run: None])
    assert caught.value.epoch == caught.value.step + 3


def test_ctrl_c_in_the_compiled_loop(X, y):
    net = classifier()
    timer = threading.Timer(0.2, os.kill, (os.getpid(), signal.SIGINT))
    timer.start()
    try:
        with pytest.warns(errors.TrainingInterruptedWarning, match="of 1000000000; the network"):
            history = net.fit(X, y, epochs=10**9, batch_size=16)
    finally:
        timer.cancel()  # where fit failed at once, pytest itself must not be interrupted
    assert history.stopped_by == "interrupt"
    assert len(history) == net.n_epochs_ == -(-net.n_steps_ // 4)
    assert np.isfinite(net.predict_proba(X)).all()
    assert net.fit(X, y, epochs=1).epochs == [net.n_epochs_]


def test_ctrl_c_while_recording_loses_nothing(X, y, monkeypatch):
    extend = fastmlp.History.extend

    def slow(self, epochs, columns):
        if 5 in epochs:
            os.kill(os.getpid(), signal.SIGINT)
        extend(self, epochs, columns)

    monkeypatch.setattr(fastmlp.History, "extend", slow)
    net = classifier()
    with pytest.warns(errors.TrainingInterruptedWarning):
        history = net.fit(X, y, epochs=10)
    assert history.epochs == list(range(1, 11))
    assert net.n_epochs_ == 10
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_a_fit_in_another_thread(X, y, same_weights):
    net, other = classifier(), classifier()
    thread = threading.Thread(target=other.fit, args=(X, y), kwargs={"epochs": 3})
    thread.start()
    thread.join()
    net.fit(X, y, epochs=3)
    assert same_weights(net, other)


def test_ctrl_c_between_epochs(X, y):
    def interrupt(run):
        if run.epoch == 2:
            raise KeyboardInterrupt

    net = classifier()
    with pytest.warns(errors.TrainingInterruptedWarning, match="epoch 2 of 9") as caught:
        history = net.fit(X, y, epochs=9, callbacks=[interrupt])
    assert history.epochs == [1, 2]
    assert history.stopped_by == "interrupt"
    assert caught[0].filename == __file__


def test_ctrl_c_while_evaluating(X, y, monkeypatch):
    def interrupt(*arguments):
        raise KeyboardInterrupt

    net = classifier()
    monkeypatch.setattr(trainer.metrics, "evaluate", interrupt)
    with pytest.warns(errors.TrainingInterruptedWarning):
        history = net.fit(X, y, epochs=9, eval_set=[(X, y)], callbacks=[lambda run: None])
    assert history.epochs == [1]
    assert math.isnan(history.val_loss[0])
    assert net.n_epochs_ == 1


@pytest.mark.parametrize("settings", [{}, {"callbacks": [lambda run: None]}, {"eval_set": True}])
def test_max_time(X, y, settings):
    if "eval_set" in settings:
        settings = {"eval_set": [(X, y)]}
    net = classifier()
    net.fit(X, y, epochs=1)
    history = net.fit(X, y, epochs=10**9, max_time_s=0.1, **settings)
    assert history.stopped_by == "max_time"
    assert len(history) > 0
    assert net.n_epochs_ == 1 + len(history)


def test_time_that_is_up_between_epochs(X, y):
    net = classifier()
    net.fit(X, y, epochs=1)
    history = net.fit(X, y, epochs=5, max_time_s=0.5, callbacks=[lambda run: time.sleep(0.5)])
    assert history.epochs == [2]
    assert history.stopped_by == "max_time"


def test_an_epoch_cut_short_counts_and_has_no_evaluation(y):
    X = np.random.default_rng(0).normal(size=(200_000, 4)).astype(np.float32)
    net = classifier()
    settings = {"batch_size": 1, "eval_set": [(X, y[:1].repeat(200_000))]}
    net.fit(X[:60], y, epochs=1)
    history = net.fit(X, y[:1].repeat(200_000), epochs=3, max_time_s=0.02, **settings)
    assert history.epochs == [2]
    assert math.isnan(history.val_loss[0])
    assert 0 < net.n_steps_ - 1 < 200_000
    assert net.n_epochs_ == 2


def test_time_that_is_up_while_evaluating(X, y, monkeypatch):
    monkeypatch.setattr(trainer.metrics, "evaluate", lambda *arguments: None)
    history = classifier().fit(X, y, epochs=2, eval_set=[(X, y)], callbacks=[lambda run: None])
    assert all(math.isnan(value) for value in history.val_loss)
