"""Our estimators beside scikit-learn's with the same random_state and rows in their order: the
same numbers, and the same attributes."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse

from .pairs import KINDS, pair, problem

each_kind = pytest.mark.parametrize("kind", KINDS)
pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

SOLVERS = {
    "adam": {"solver": "adam"},
    "sgd": {"solver": "sgd", "learning_rate_init": 0.05},
    "plain sgd": {"solver": "sgd", "momentum": 0.0, "nesterovs_momentum": False, "alpha": 0.5},
    "invscaling": {"solver": "sgd", "learning_rate": "invscaling", "learning_rate_init": 0.1,
                   "power_t": 0.3, "nesterovs_momentum": False},
    "adaptive": {"solver": "sgd", "learning_rate": "adaptive", "learning_rate_init": 0.2,
                 "tol": 0.02, "n_iter_no_change": 1, "max_iter": 60},
    "early stopping": {"early_stopping": True, "validation_fraction": 0.3, "tol": 0.01,
                       "n_iter_no_change": 2, "max_iter": 60},
    "until level": {"max_iter": 500, "tol": 0.01, "n_iter_no_change": 3},
    "lbfgs": {"solver": "lbfgs", "max_iter": 6},
}  # fmt: skip


def assert_same(theirs, ours, tolerance, with_losses=True):
    assert ours.n_iter_ == theirs.n_iter_
    for name in ("coefs_", "intercepts_"):
        for a, b in zip(getattr(theirs, name), getattr(ours, name), strict=True):
            assert a.dtype == b.dtype
            np.testing.assert_allclose(b, a, rtol=0, atol=tolerance)
    for name in ("loss_curve_", "validation_scores_", "loss_", "best_loss_",
                 "best_validation_score_", "_no_improvement_count"):  # fmt: skip
        if hasattr(theirs, name) and (with_losses or "loss" not in name):
            wanted, found = getattr(theirs, name), getattr(ours, name)
            if wanted is None:
                assert found is None, name
            else:
                np.testing.assert_allclose(found, wanted, rtol=max(tolerance, 1e-12), err_msg=name)
    for name in ("t_", "n_layers_", "n_outputs_", "out_activation_", "n_features_in_"):
        assert getattr(ours, name) == getattr(theirs, name), name


@each_kind
@pytest.mark.parametrize("solver", SOLVERS)
def test_a_fit_has_scikit_learns_numbers(kind, solver):
    X, y = problem(kind)
    theirs, ours = pair(kind, **SOLVERS[solver])
    assert_same(theirs.fit(X, y), ours.fit(X, y), 1e-9)
    np.testing.assert_allclose(
        ours.predict(X) if y.dtype.kind == "f" else ours.predict_proba(X),
        theirs.predict(X) if y.dtype.kind == "f" else theirs.predict_proba(X),
        rtol=0, atol=1e-9,
    )  # fmt: skip
    assert ours.score(X, y) == pytest.approx(theirs.score(X, y), abs=1e-9)
    assert ours.get_params().items() >= theirs.get_params().items()


@each_kind
@pytest.mark.parametrize("solver", ["adam", "lbfgs", "early stopping"])
def test_sample_weights(kind, solver):
    X, y = problem(kind)
    theirs, ours = pair(kind, **SOLVERS[solver])
    weight = np.random.default_rng(0).uniform(0.2, 2.0, len(X))
    theirs.fit(X, y, weight)
    ours.fit(X, y, weight)
    # Each minibatch's constant of the targets, which poisson's loss has there, has other weights.
    assert_same(theirs, ours, 1e-9, with_losses=kind != "poisson")


@each_kind
@pytest.mark.parametrize("solver", ["adam", "sgd", "invscaling"])
def test_partial_fit(kind, solver):
    X, y = problem(kind, 100)
    theirs, ours = pair(kind, **SOLVERS[solver], batch_size=16)
    classes = {"classes": np.unique(y)} if y.dtype.kind == "U" else {}
    if kind == "multilabel":
        classes = {"classes": [0, 1, 2]}
    for i in range(6):
        part = slice(20 * (i % 5), 20 * (i % 5) + 20)
        for est in (theirs, ours):
            est.partial_fit(X[part], y[part], **(classes if i == 0 else {}))
    assert_same(theirs, ours, 1e-9)


@pytest.mark.parametrize("kind", ["multiclass", "regression"])
def test_float32_stays_float32(kind):
    X, y = problem(kind)
    theirs, ours = pair(kind)
    X32 = X.astype(np.float32)
    assert_same(theirs.fit(X32, y), ours.fit(X32, y), 2e-5)
    assert (ours.predict_proba if kind == "multiclass" else ours.predict)(X32).dtype == np.float32


@pytest.mark.parametrize("container", [scipy.sparse.csr_matrix, scipy.sparse.csc_array])
@pytest.mark.parametrize("solver", ["adam", "lbfgs"])
def test_sparse_input(container, solver):
    X, y = problem("multiclass")
    X[np.abs(X) < 0.7] = 0.0
    theirs, ours = pair("multiclass", **SOLVERS[solver])
    assert_same(theirs.fit(container(X), y), ours.fit(container(X), y), 1e-9)
    np.testing.assert_allclose(ours.predict_proba(container(X)), ours.predict_proba(X), atol=1e-12)


def test_no_hidden_layer_and_logistic_units():
    X, y = problem("multiclass")
    for settings in ({"hidden_layer_sizes": ()}, {"activation": "logistic"}, {"batch_size": 90},
                     {"hidden_layer_sizes": 7}, {"batch_size": "auto"}, {"epsilon": 0.1},
                     {"activation": "relu"}, {"activation": "identity"}, {"momentum": 1.0,
                      "solver": "sgd", "learning_rate_init": 1e-3}):  # fmt: skip
        theirs, ours = pair("multiclass", **settings)
        assert_same(theirs.fit(X, y), ours.fit(X, y), 1e-9)


def test_verbose_prints_scikit_learns_lines(capsys):
    X, y = problem("multiclass")
    settings = {"verbose": True, "solver": "sgd", "learning_rate": "adaptive", "tol": 0.05,
                "learning_rate_init": 0.1, "n_iter_no_change": 1, "max_iter": 30}  # fmt: skip
    for more in ({}, {"early_stopping": True, "validation_fraction": 0.3}):
        printed = []
        for est in pair("multiclass", **settings, **more):
            est.fit(X, y)
            printed.append(capsys.readouterr().out)
        assert printed[0] == printed[1]
        assert "Setting learning rate to" in printed[1]
