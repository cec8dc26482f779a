"""Callbacks see every epoch; early stopping keeps the best weights however a fit ends."""

import math

import numpy as np
import pytest

import fastmlp
from fastmlp import errors
from fastmlp.callbacks import Callback, EarlyStopping


class Recorder(Callback):
    def __init__(self):
        self.calls, self.weights = [], []

    def on_fit_begin(self, run):
        self.calls.append(("begin", run.epoch))

    def on_epoch_end(self, run):
        self.calls.append(("epoch", run.epoch))
        assert run.logs["loss"] == run.history.loss[-1]
        assert run.history.epochs[-1] == run.epoch
        self.weights.append(run.network.get_parameters())

    def on_fit_end(self, run):
        self.calls.append(("end", run.epoch))


class Logs(Callback):
    """Puts values of our own in the place of the validation loss."""

    def __init__(self, values):
        self.values = list(values)

    def on_epoch_end(self, run):
        run.logs["val_loss"] = self.values.pop(0)


def same(a, b):
    return all(
        np.array_equal(p, q) for s, t in zip(a, b, strict=True) for p, q in zip(s, t, strict=True)
    )


def test_order_of_calls(net, X, y):
    recorder = Recorder()
    net.fit(X, y, epochs=3, callbacks=[recorder])
    # The fixture's network has two epochs behind it.
    assert recorder.calls == [("begin", 2), ("epoch", 3), ("epoch", 4), ("epoch", 5), ("end", 5)]


def test_callbacks_do_not_change_the_training(X, y, same_weights):
    a, b = (fastmlp.Network([4, 8, 3], loss="cross_entropy", dropout=0.2) for _ in range(2))
    a.fit(X, y, epochs=4, batch_size=16)
    b.fit(X, y, epochs=4, batch_size=16, callbacks=[Recorder()], eval_set=[(X, y)])
    assert same_weights(a, b)
    assert a.history_.loss == b.history_.loss
    assert a.history_.grad_norm == b.history_.grad_norm


def test_a_function_that_returns_true_stops(net, X, y):
    history = net.fit(X, y, epochs=50, callbacks=[lambda run: run.epoch == 5])
    assert history.epochs == [3, 4, 5]
    assert history.stopped_by == "callback"


def test_a_numpy_bool_stops_too(net, X, y):
    history = net.fit(X, y, epochs=50, callbacks=[lambda run: np.float64(run.epoch) > 3])
    assert history.epochs == [3, 4]


@pytest.mark.parametrize("answer", [None, False, 1, 0.5, "yes", [1]])
def test_other_answers_do_not_stop(net, X, y, answer):
    history = net.fit(X, y, epochs=3, callbacks=[lambda run: answer])
    assert len(history) == 3
    assert history.stopped_by == "epochs"


def test_a_callback_can_use_the_network(X, y, tmp_path):
    seen = []

    def use(run):
        seen.append(run.network.evaluate(X, y)["accuracy"])
        run.network.save(tmp_path / "m.safetensors")

    net = fastmlp.Network([4, 8, 3], loss="cross_entropy")
    history = net.fit(X, y, epochs=2, callbacks=[use], eval_set=[(X, y)])
    assert seen == history.val_accuracy
    assert fastmlp.Network.load(tmp_path / "m.safetensors").n_epochs_ == 2


def test_an_error_of_a_callback_leaves_a_usable_network(net, X, y):
    def fail(run):
        if run.epoch == 4:
            raise KeyError("mine")

    recorder = Recorder()
    with pytest.raises(KeyError, match="mine"):
        net.fit(X, y, epochs=9, callbacks=[fail, recorder])
    assert net.n_epochs_ == 4
    assert net.history_.epochs == [3, 4]
    assert net.history_.stopped_by == "error"
    assert recorder.calls[-1] == ("end", 4)
    assert net.fit(X, y, epochs=1).epochs == [5]


def test_an_error_before_the_fit_changes_nothing(net, X, y, state_of):
    class Refuse(Callback):
        def on_fit_begin(self, run):
            raise RuntimeError("no")

    before = state_of(net)
    with pytest.raises(RuntimeError, match="no"):
        net.fit(X, y, optimizer="sgd", callbacks=[Refuse()])
    assert state_of(net) == before


def fit_with(values, X, y, **settings):
    net = fastmlp.Network([4, 8, 3], loss="cross_entropy")
    recorder = Recorder()
    history = net.fit(
        X, y, epochs=len(values), eval_set=[(X, y)],
        callbacks=[Logs(values), recorder, EarlyStopping(**settings)],
    )  # fmt: skip
    return net, recorder, history


def test_early_stopping_stops_and_keeps_the_best(X, y):
    net, recorder, history = fit_with([5, 4, 3, 3.5, 3, 9, 1], X, y, patience=3)
    assert len(history) == 6
    assert history.stopped_by == "early_stopping"
    assert history.best_epoch == 3
    assert same(net.get_parameters(), recorder.weights[2])
    assert not same(net.get_parameters(), recorder.weights[-1])


def test_early_stopping_keeps_the_best_of_a_fit_that_runs_out(X, y):
    net, recorder, history = fit_with([5, 3, 4], X, y, patience=3)
    assert history.stopped_by == "epochs"
    assert history.best_epoch == 2
    assert same(net.get_parameters(), recorder.weights[1])


def test_early_stopping_min_delta(X, y):
    _, _, history = fit_with([5, 4.9, 4.8, 4.4, 4.3, 4.2], X, y, patience=2, min_delta=0.5)
    assert (len(history), history.best_epoch) == (3, 1)


def test_early_stopping_mode_max(X, y):
    _, _, history = fit_with([1, 3, 2, 2], X, y, patience=2, mode="max")
    assert (len(history), history.best_epoch) == (4, 2)


def test_early_stopping_takes_nan_for_no_improvement(X, y):
    _, _, history = fit_with([3, math.nan, math.nan, 1], X, y, patience=2)
    assert (len(history), history.best_epoch) == (3, 1)


def test_early_stopping_mode_auto_knows_scores(X, y):
    net = fastmlp.Network([4, 8, 3], loss="cross_entropy")
    history = net.fit(
        X, y, epochs=30, eval_set=[(X, y)], callbacks=[EarlyStopping("val_accuracy", patience=4)]
    )
    best = int(np.argmax(history.val_accuracy))
    assert history.best_epoch == history.epochs[best]
    assert net.evaluate(X, y)["accuracy"] == history.val_accuracy[best]


def test_early_stopping_watches_the_training_loss_without_an_eval_set(X, y):
    net = fastmlp.Network([4, 3], loss="cross_entropy")
    history = net.fit(X, y, epochs=5, callbacks=[EarlyStopping(patience=5)])
    assert history.best_epoch == 1 + int(np.argmin(history.loss))


def test_early_stopping_watches_the_last_of_several_eval_sets(X, y):
    net = fastmlp.Network([4, 3], loss="cross_entropy")
    sets = [(X, y), (X[:9], y[:9])]
    history = net.fit(X, y, epochs=5, eval_set=sets, callbacks=[EarlyStopping(patience=5)])
    assert history.best_epoch == 1 + int(np.argmin(history.eval1_loss))


def test_early_stopping_can_serve_again(X, y):
    stopping = EarlyStopping(patience=100)
    for _ in range(2):
        net = fastmlp.Network([4, 3], loss="cross_entropy")
        history = net.fit(X, y, epochs=4, eval_set=[(X, y)], callbacks=[stopping])
        assert history.best_epoch == 4


def test_early_stopping_after_an_interrupt(X, y):
    def interrupt(run):
        if run.epoch == 3:
            raise KeyboardInterrupt

    net, recorder = fastmlp.Network([4, 8, 3], loss="cross_entropy"), Recorder()
    callbacks = [Logs([2, 1, 3]), recorder, EarlyStopping(), interrupt]
    with pytest.warns(errors.TrainingInterruptedWarning, match="best weights, of epoch 2"):
        history = net.fit(X, y, epochs=9, eval_set=[(X, y)], callbacks=callbacks)
    assert history.best_epoch == 2
    assert same(net.get_parameters(), recorder.weights[1])


def test_early_stopping_after_a_divergence(X):
    net, recorder = fastmlp.Network([4, 8, 1]), Recorder()
    y = X[:, 0] * 100
    with pytest.raises(errors.TrainingDivergedError, match="best weights, of epoch 1") as caught:
        net.fit(
            X, y, epochs=100, batch_size=60, optimizer=fastmlp.optim.SGD(lr=100.0),
            callbacks=[recorder, EarlyStopping("loss", patience=50)],
        )  # fmt: skip
    assert caught.value.history.best_epoch == 1
    assert same(net.get_parameters(), recorder.weights[0])


@pytest.mark.parametrize(
    ("make", "error", "match"),
    [
        (lambda: EarlyStopping(patience=0), errors.OptionError, "patience .* >= 1, got 0"),
        (lambda: EarlyStopping(min_delta=-1), errors.OptionError, "min_delta .* >= 0, got -1"),
        (lambda: EarlyStopping(mode="maximum"), errors.OptionError, "'maximum'; did .* 'max'"),
        (lambda: EarlyStopping(monitor=3), errors.OptionTypeError, "monitor .* 3"),
    ],
)
def test_bad_early_stopping(make, error, match):
    with pytest.raises(error, match=match):
        make()


def test_unknown_series_are_refused_with_the_known_ones(net, X, y):
    with pytest.raises(
        errors.OptionError, match="'loss', 'val_loss', 'val_accuracy', got 'val_acc'; did you mean"
    ):
        net.fit(X, y, eval_set=[(X, y)], callbacks=[EarlyStopping("val_acc")])


@pytest.mark.parametrize("names", [["train", "test"], ["a_log", "a"]])
def test_val_loss_is_the_loss_of_the_last_eval_set(names):
    """Not a metric of it whose name ends in loss too, nor one of a user's without a direction."""

    def own_loss(y_true, y_pred):
        return float(np.mean(y_true != y_pred))

    X = np.random.default_rng(0).normal(size=(60, 4))
    labels = np.digitize(X[:, 0] + 0.5 * X[:, 1], [-0.5, 0.5])
    net = fastmlp.Network([4, 16, 3], loss="cross_entropy")
    sets = {names[0]: (X[:40], labels[:40]), names[1]: (X[40:], labels[40:])}
    settings = {"eval_set": sets, "metrics": ["neg_log_loss", own_loss]}
    fit = {"epochs": 40, "optimizer": fastmlp.optim.Adam(0.05), **settings}
    history = net.fit(X[:40], labels[:40], callbacks=[EarlyStopping(patience=8)], **fit)
    assert history.best_epoch == 1 + int(np.argmin(history[f"{names[1]}_loss"]))
