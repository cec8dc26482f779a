"""evaluate agrees with scikit-learn and with the formulas, in one block or many."""

import numpy as np
import pytest
from sklearn.metrics import accuracy_score, r2_score

import fastmlp
from fastmlp.model.datasets import dataset_for
from fastmlp.training import metrics


@pytest.fixture(params=["one block", "many blocks"])
def blocks(request, monkeypatch):
    if request.param == "many blocks":
        monkeypatch.setattr(metrics, "_MIN_ROWS", 7)
        monkeypatch.setattr(metrics, "_MAX_ROWS", 7)


@pytest.mark.usefixtures("blocks")
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("n_outputs", [1, 3])
def test_values(X, weighted, n_outputs):
    net = fastmlp.Network([4, 8, n_outputs], dtype="float64", l2=0.5)
    y = 5 + X[:, :n_outputs] ** 2
    weights = np.arange(60) // 10 if weighted else None  # the first block weighs nothing
    scores = net.evaluate(X, y, weights)
    predicted = net.predict(X).reshape(60, n_outputs)
    assert scores["r2"] == pytest.approx(r2_score(y, predicted, sample_weight=weights), rel=1e-10)
    row_loss = np.mean((predicted - y) ** 2, axis=1) / 2
    assert scores["loss"] == pytest.approx(np.average(row_loss, weights=weights), rel=1e-10)


@pytest.mark.usefixtures("blocks")
@pytest.mark.parametrize("weighted", [False, True])
def test_classes(X, y, weighted):
    net = fastmlp.Network([4, 8, 3], loss="cross_entropy", dtype="float64")
    weights = np.arange(60) // 10 if weighted else None
    scores = net.evaluate(X, y, weights)
    predicted = net.predict(X)
    assert scores["accuracy"] == pytest.approx(accuracy_score(y, predicted, sample_weight=weights))
    row_loss = -np.log(net.predict_proba(X)[np.arange(60), y])
    assert scores["loss"] == pytest.approx(np.average(row_loss, weights=weights), rel=1e-10)


@pytest.mark.usefixtures("blocks")
def test_two_classes(X, y):
    net = fastmlp.Network([4, 8, 1], loss="binary_cross_entropy", dtype="float64")
    scores = net.evaluate(X, y > 0)
    assert scores["accuracy"] == pytest.approx(accuracy_score(y > 0, net.predict(X)))


@pytest.mark.usefixtures("blocks")
def test_constant_targets_as_in_scikit_learn(X):
    net = fastmlp.Network([4, 2], dtype="float64")
    net.set_parameters([np.zeros((4, 2))], [np.array([3.0, 1.0])])
    y = np.full((60, 2), 3.0)
    assert net.evaluate(X, y)["r2"] == pytest.approx(r2_score(y, net.predict(X).reshape(60, 2)))


def test_out_of_time_gives_nothing(X, y):
    net = fastmlp.Network([4, 3], loss="cross_entropy")
    data, _ = dataset_for(net, X, y, None, None)
    assert metrics.evaluate(net.engine, data, metrics.Scoring("multiclass"), lambda: True) is None


def test_r2_keeps_its_digits_far_from_zero(monkeypatch):
    monkeypatch.setattr(metrics, "_MAX_ROWS", 256)
    rng = np.random.default_rng(0)
    X = rng.normal(size=(2000, 1))
    y = 1e6 + X[:, 0] + rng.normal(size=2000)
    net = fastmlp.Network([1, 1], dtype="float64")
    net.set_parameters([np.ones((1, 1))], [np.array([1e6])])
    assert net.evaluate(X, y)["r2"] == pytest.approx(r2_score(y, net.predict(X)), rel=1e-8)
