"""The loop over epochs: what it records, how it goes on, and what the engine is asked."""

import json
import pickle

import numpy as np
import pytest

import fastmlp
from fastmlp import errors
from fastmlp.optim import SGD, Adam
from fastmlp.training import epochs


def classifier(**settings):
    return fastmlp.Network([4, 8, 3], loss="cross_entropy", **settings)


def test_history_has_an_entry_an_epoch(X, y):
    net = classifier()
    history = net.fit(X, y, epochs=3, batch_size=16, eval_set=[(X, y)])
    assert history.epochs == [1, 2, 3]
    assert history.names == ["loss", "lr", "seconds", "grad_norm", "val_loss", "val_accuracy"]
    for name in history.names:
        assert len(history[name]) == 3, name
        assert history[name] == getattr(history, name)
    assert [len(norms) for norms in history.grad_norm] == [2, 2, 2]
    assert all(norm > 0 for norms in history.grad_norm for norm in norms)
    assert all(seconds > 0 for seconds in history.seconds)
    assert history.lr == [1e-3] * 3
    assert history.stopped_by == "epochs"
    assert history.best_epoch is None
    assert history is net.history_
    assert {"loss": history.val_loss[-1], "accuracy": history.val_accuracy[-1]} == net.evaluate(
        X, y
    )
    assert "3 epochs" in repr(history)
    assert "val_loss=" in repr(history)
    loaded = json.loads(json.dumps(history.to_dict()))
    assert loaded["loss"] == history.loss
    assert loaded["epochs"] == [1, 2, 3]


def test_loss_of_an_epoch_is_over_its_rows(X, y):
    net = classifier(dtype="float64")
    before = net.evaluate(X, y)["loss"]
    history = net.fit(X, y, epochs=1, batch_size=60)
    assert history.loss[0] == pytest.approx(before, rel=1e-12)
    # Nearly no learning: batches of unequal size still give the mean over rows.
    weights = np.linspace(0, 1, 60)
    before = net.evaluate(X, y, weights)["loss"]
    history = net.fit(X, y, epochs=1, batch_size=16, sample_weight=weights, optimizer=SGD(1e-14))
    assert history.loss[0] == pytest.approx(before, rel=1e-9)


def test_grad_norm_is_that_of_the_gradient(X, y):
    net = classifier(dtype="float64", l2=0.1)
    _, dweights, _ = net.loss_and_gradients(X, y)
    history = net.fit(X, y, epochs=1, batch_size=60)
    expected = [np.linalg.norm(dweight) for dweight in dweights]
    assert history.grad_norm[0] == pytest.approx(expected, rel=1e-10)


def test_names_of_several_eval_sets(X, y):
    history = classifier().fit(X, y, epochs=2, eval_set=[(X, y), (X[:9], y[:9])])
    assert history.names[-4:] == ["eval0_loss", "eval0_accuracy", "eval1_loss", "eval1_accuracy"]
    regressor = fastmlp.Network([4, 1])
    assert regressor.fit(X, X[:, 0], epochs=1, eval_set=[(X, X[:, 0])]).names[-1] == "val_r2"
    assert "val_loss" not in classifier().fit(X, y, epochs=1, eval_set=[]).names


def test_history_names_what_it_has(X, y):
    history = classifier().fit(X, y, epochs=1)
    with pytest.raises(KeyError, match="no 'val_loss'; it has loss, lr"):
        history["val_loss"]
    with pytest.raises(AttributeError, match="no 'val_loss'; it has loss, lr"):
        _ = history.val_loss
    assert pickle.loads(pickle.dumps(history)).loss == history.loss


@pytest.mark.parametrize("optimizer", ["sgd", "adam", "adamw", SGD(0.1, 0.9), SGD(0.1, 0.9, True)])
def test_a_second_fit_goes_on_where_the_first_ended(X, y, same_weights, optimizer):
    whole, parts = classifier(dropout=0.3), classifier(dropout=0.3)
    whole.fit(X, y, epochs=5, batch_size=16, optimizer=optimizer)
    parts.fit(X, y, epochs=2, batch_size=16, optimizer=optimizer)
    history = parts.fit(X, y, epochs=3, batch_size=16)
    assert same_weights(whole, parts)
    assert history.epochs == [3, 4, 5]
    assert history.loss == whole.history_.loss[2:]
    assert (parts.n_epochs_, parts.n_steps_) == (5, 20)


def test_another_rate_keeps_the_state_and_another_rule_does_not(X, y):
    net = classifier()
    net.fit(X, y, epochs=2, batch_size=16)
    net.fit(X, y, epochs=1, batch_size=16, optimizer=Adam(lr=0.1))
    assert net.optimizer == Adam(lr=0.1)
    assert net.engine.get_optimizer_state().n_steps == 12
    net.fit(X, y, epochs=1, batch_size=16, optimizer="sgd")
    assert net.engine.get_optimizer_state().n_steps == 4
    assert (net.n_epochs_, net.n_steps_) == (4, 16)


def test_shuffle_can_be_switched_off(X, y, same_weights):
    a, b, c = (classifier(seed=seed) for seed in (0, 0, 0))
    order = np.random.default_rng(0).permutation(60)
    settings = {"epochs": 1, "batch_size": 16, "optimizer": "sgd"}
    a.fit(X, y, shuffle=False, **settings)
    b.fit(X[order], y[order], shuffle=False, **settings)
    c.fit(X, y, **settings)
    assert not same_weights(a, b)
    assert not same_weights(a, c)
    d = classifier()
    for start in range(0, 60, 16):
        d.fit(X[start : start + 16], y[start : start + 16], shuffle=False, **settings)
    np.testing.assert_allclose(a.weights[0], d.weights[0], rtol=1e-6)


def test_epochs_go_in_one_call_where_nobody_asks(X, y, calls):
    classifier().fit(X, y, epochs=7, batch_size=16)
    assert [job.n_epochs for job in calls] == [7]
    assert len(calls[0].learning_rates) == 28
    assert calls[0].on_poll is None


@pytest.mark.parametrize("asks", [{"callbacks": [lambda run: None]}, {"metrics": ["accuracy"]}])
def test_epochs_go_one_by_one_where_somebody_asks(X, y, calls, asks):
    if "metrics" in asks:
        asks |= {"eval_set": [(X, y)]}
    classifier().fit(X, y, epochs=3, **asks)
    assert [job.n_epochs for job in calls] == [1, 1, 1]
    assert [job.first_epoch for job in calls] == [0, 1, 2]


def test_the_table_of_learning_rates_is_bounded(X, y, calls, monkeypatch, same_weights):
    whole = classifier()
    whole.fit(X, y, epochs=10, batch_size=16, schedule=fastmlp.schedules.Cosine())
    monkeypatch.setattr(epochs, "TABLE_STEPS", 13)
    net = classifier()
    net.fit(X, y, epochs=10, batch_size=16, schedule=fastmlp.schedules.Cosine())
    assert [job.n_epochs for job in calls] == [10, 3, 3, 3, 1]
    assert same_weights(net, whole)
    assert net.history_.lr == whole.history_.lr
    # An epoch longer than the table goes alone.
    monkeypatch.setattr(epochs, "TABLE_STEPS", 1)
    net.fit(X, y, epochs=2, batch_size=16)
    assert [job.n_epochs for job in calls[-2:]] == [1, 1]


@pytest.mark.parametrize("settings", [{"batch_size": 16}, {"callbacks": [lambda run: None]}])
def test_a_warning_of_gradients_names_the_line_that_called_fit(X, y, settings):
    deep = fastmlp.Network([4, *[8] * 40, 3], activation="sigmoid", loss="cross_entropy")
    with pytest.warns(errors.GradientFlowWarning) as caught:
        deep.fit(X, y, epochs=3, **settings)
    assert [warning.filename for warning in caught] == [__file__]


def test_a_history_before_its_first_epoch_says_so():
    history = fastmlp.Network([1, 1]).fit(
        [[0.0], [1.0]], [1.0, 3.0], optimizer="lbfgs", max_time_s=1e-9, verbose=False
    )
    assert (len(history), history.stopped_by) == (0, "max_time")
    with pytest.raises(AttributeError, match=r"^history has no 'loss'; no epoch of the fit has"):
        history.loss  # noqa: B018
