"""What an estimator keeps and loses: pickles, warm starts, weights changed by hand, failed fits."""

from __future__ import annotations

import copy
import io
import pickle
import re
import subprocess
import sys
import warnings

import joblib
import numpy as np
import pytest
import scipy.sparse
from sklearn.base import clone
from sklearn.neural_network import MLPClassifier as SklearnClassifier
from sklearn.neural_network import MLPRegressor as SklearnRegressor

import fastmlp
from fastmlp import MLPClassifier, MLPRegressor, losses, optim, schedules
from fastmlp.estimators import base

from .pairs import KINDS, pair, problem

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
FEW = {"hidden_layer_sizes": (9, 7), "max_iter": 5, "random_state": 0, "batch_size": 16}


def assert_alike(one, other):
    for name in ("coefs_", "intercepts_"):
        for a, b in zip(getattr(one, name), getattr(other, name), strict=True):
            np.testing.assert_array_equal(a, b)


def by_pickle(model):
    return pickle.loads(pickle.dumps(model))


def by_joblib(model):
    file = io.BytesIO()
    joblib.dump(model, file)
    file.seek(0)
    return joblib.load(file)


@pytest.mark.parametrize("copied", [by_pickle, by_joblib, copy.deepcopy, copy.copy])
@pytest.mark.parametrize(
    "settings",
    [{}, {"solver": "sgd", "learning_rate": "invscaling"}, {"dropout": 0.3, "ema": 0.9},
     {"solver": optim.Lion()}],
    ids=["adam", "sgd", "dropout, ema", "lion"],
)  # fmt: skip
def test_a_copy_goes_on_bit_for_bit(copied, settings):
    X, y = problem("multiclass")
    model = MLPClassifier(**{**FEW, **settings}).fit(X, y)
    other = copied(model)
    np.testing.assert_array_equal(model.predict_proba(X), other.predict_proba(X))
    for _ in range(3):
        model.partial_fit(X[:50], y[:50])
        other.partial_fit(X[:50], y[:50])
    assert_alike(model, other)
    assert model.loss_curve_ == other.loss_curve_


def test_pickles_hold_no_second_copy_of_the_weights():
    X, y = problem("regression")
    model = MLPRegressor(hidden_layer_sizes=(500, 500), max_iter=1, dtype="float32").fit(X, y)
    n_bytes = 4 * model.network_.n_parameters
    # Weights as arrays and in the network, the best ones, and two moments of Adam.
    assert len(pickle.dumps(model)) < 5.3 * n_bytes


def test_warm_start_keeps_the_optimizers_state():
    X, y = problem("multiclass")
    whole = MLPClassifier(**{**FEW, "max_iter": 6}, shuffle=False).fit(X, y)
    parts = MLPClassifier(**{**FEW, "max_iter": 2}, shuffle=False, warm_start=True)
    for _ in range(3):
        parts.fit(X, y)
    assert_alike(whole, parts)
    assert len(parts.loss_curve_) == 6
    # And takes new settings.
    parts.set_params(alpha=1.0, learning_rate_init=0.1, dropout=0.5).fit(X, y)
    assert len(parts.loss_curve_) == 8
    assert parts.network_.spec.dropout == (0.5, 0.5)
    assert parts.network_.engine.n_updates == 8 * 6


def test_a_fit_from_the_start_forgets():
    X, y = problem("multiclass")
    model = MLPClassifier(**FEW).fit(X, y)
    first = copy.deepcopy(model)
    assert_alike(model.fit(X, y), first)
    assert_alike(clone(model).fit(X, y), first)


@pytest.mark.parametrize("kind", ["multiclass", "regression"])
def test_weights_changed_by_hand_are_what_predicts_and_trains(kind):
    X, y = problem(kind)
    theirs, ours = pair(kind)
    theirs.fit(X, y)
    ours.fit(X, y)
    for est in (theirs, ours):
        est.coefs_[0][0, 0] += 1.0  # in place
        est.intercepts_[1] = est.intercepts_[1] * 2.0
        est.coefs_ = [c * 0.9 for c in est.coefs_]
    np.testing.assert_allclose(ours.predict(X) if kind == "regression" else ours.predict_proba(X),
                               theirs.predict(X) if kind == "regression"
                               else theirs.predict_proba(X), atol=1e-10)  # fmt: skip
    for est in (theirs, ours):
        est.partial_fit(X, y)
    for a, b in zip(theirs.coefs_, ours.coefs_, strict=True):
        np.testing.assert_allclose(a, b, atol=1e-10)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("kind", KINDS)
def test_conversion_both_ways(kind, dtype):
    X, y = problem(kind)
    X = X.astype(dtype)
    tolerance = {"float32": 1e-6, "float64": 1e-12}[dtype]
    theirs, ours = pair(kind, solver="adam")
    theirs.fit(X, y)
    ours.fit(X, y)
    to, back = ours.to_sklearn(), type(ours).from_sklearn(theirs)
    assert type(to) is type(theirs)
    assert type(back) is type(ours)
    answer = "predict_proba" if hasattr(ours, "predict_proba") else "predict"
    for one, other in ((ours, to), (theirs, back)):
        a, b = getattr(one, answer)(X), getattr(other, answer)(X)
        assert a.dtype == b.dtype
        np.testing.assert_allclose(b, a, rtol=0, atol=tolerance * max(1.0, np.abs(a).max()))
        np.testing.assert_array_equal(one.predict(X[:7]).shape, other.predict(X[:7]).shape)
    # Both can be trained on.
    to.partial_fit(X, y)
    back.partial_fit(X, y)
    assert to.t_ == ours.t_ + len(X)
    to.coefs_[0][:] = 0.0
    assert ours.coefs_[0].any()


def test_what_cannot_be_converted_says_why():
    X, y = problem("multiclass")
    model = MLPClassifier(**FEW, activation=["gelu", "tanh"]).fit(X, y)
    with pytest.raises(ValueError, match=r"got activation=\['gelu', 'tanh'\]"):
        model.to_sklearn()
    MLPClassifier(**FEW, activation=["tanh", "tanh"], solver="lion", dropout=0.1).fit(
        X, y
    ).to_sklearn()
    for wrong in (SklearnRegressor(), model, "model"):
        with pytest.raises(TypeError, match=r"needs an sklearn\.neural_network\.MLPClassifier"):
            MLPClassifier.from_sklearn(wrong)
    q = MLPRegressor("quantiles", **FEW).fit(*problem("regression"))
    with pytest.raises(ValueError, match="loss='quantiles'"):
        q.to_sklearn()


BAD = {
    "nan": lambda X, y: (np.where(X > 1.9, np.nan, X), y),
    "rows": lambda X, y: (X[:-1], y),
    "features": lambda X, y: (X[:, :-1], y),
    "classes": lambda X, y: (X, np.where(y == "ant", "dog", y)),
}


@pytest.mark.parametrize("bad", BAD)
@pytest.mark.parametrize("method", ["fit", "partial_fit"])
def test_a_refused_call_changes_nothing(bad, method):
    X, y = problem("multiclass")
    model = MLPClassifier(**FEW, warm_start=True).fit(X, y)
    before, kept = copy.deepcopy(vars(model)), model.predict_proba(X)
    with pytest.raises(ValueError) as error:  # noqa: PT011
        getattr(model, method)(*BAD[bad](X, y))
    theirs = SklearnClassifier(**FEW, warm_start=True).fit(X, y)
    with pytest.raises(ValueError) as wanted:  # noqa: PT011
        getattr(theirs, method)(*BAD[bad](X, y))
    ours, other = (str(e.value).replace("fastmlp", "") for e in (error, wanted))
    assert ours == other
    assert set(vars(model)) == set(before)
    np.testing.assert_array_equal(model.predict_proba(X), kept)
    twin = MLPClassifier(**FEW, warm_start=True).fit(X, y)
    assert_alike(model.fit(X, y), twin.fit(X, y))


def test_a_warm_start_that_fails_in_mid_training_counts_no_epochs():
    X, y = problem("multiclass")

    def raises(run):
        if run.epoch > first.network_.n_epochs_ + 1:
            raise RuntimeError("of the callback")

    first = MLPClassifier(**{**FEW, "batch_size": 8}, warm_start=True).fit(X, y)
    model = MLPClassifier(**{**FEW, "batch_size": 8}, warm_start=True).fit(X, y)
    with pytest.raises(RuntimeError, match="of the callback"):
        model.set_params(callbacks=[raises]).fit(X, y)
    assert model.network_.n_epochs_ == first.network_.n_epochs_
    assert_alike(model.set_params(callbacks=None).fit(X, y), first.fit(X, y))


def test_a_first_fit_that_is_refused_leaves_it_unfitted():
    X, y = problem("multiclass")
    for settings, data in (({"early_stopping": True, "validation_fraction": 0.01}, {}),
                           ({"dropout": [0.1]}, {}), ({"activation": ["relu"]}, {}),
                           ({"class_weight": {"dog": 2.0}}, {}),
                           ({}, {"X_val": X}), ({}, {"eval_set": (X, y)}),
                           ({}, {"X_val": X, "y_val": np.full(90, "dog")}),
                           ({}, {"X_val": X[:, :2], "y_val": y})):  # fmt: skip
        model = MLPClassifier(**FEW, **settings)
        before = dict(vars(model))
        with pytest.raises(ValueError):  # noqa: PT011
            model.fit(X, y, **data)
        assert vars(model) == before


REFUSED = [
    ({"learning_rate": schedules.ReduceOnPlateau()}, {}, "use learning_rate='adaptive'"),
    ({"solver": "lbfgs", "max_time_s": 1.0}, {}, "max_time_s=1.0 could apply"),
    ({"solver": "lbfgs", "dropout": 0.5}, {}, "dropout=0.5 could apply"),
    ({"solver": "lbfgs"}, {"X_val": 1, "y_val": 1}, "data to score="),
    ({"solver": optim.LBFGS()}, {}, "solver must be 'lbfgs' for L-BFGS"),
    ({"class_weight": {"ant": 0, "bee": 0, "cat": 0}}, {}, "must leave some rows a weight above 0"),
    ({"class_weight": {"ant": -1.0}}, {}, "must be a number >= 0, got -1.0"),
    ({}, {"sample_weight": -np.ones(90)}, "Negative values in data passed to `sample_weight`"),
    ({"solver": "lbfgs"}, {"sample_weight": -np.ones(90)}, "Negative values"),
    ({"loss": losses.huber()}, {}, "must be a loss of classes, got huber"),
    ({"loss": losses.focal(), "label_smoothing": 0.1}, {}, "label_smoothing goes with"),
    ({"device": "cuda:99"}, {}, "device='cuda:99' cannot be used"),
]


@pytest.mark.parametrize(("settings", "data", "message"), REFUSED)
def test_what_would_be_ignored_or_cannot_be_is_refused(settings, data, message):
    X, y = problem("multiclass")
    model = MLPClassifier(**FEW, **settings)
    before = dict(vars(model))
    with pytest.raises(ValueError, match=re.escape(message)):
        model.fit(X, y, **data)
    assert vars(model) == before


def test_schedules_may_be_zero_and_solvers_change_between_warm_starts():
    X, y = problem("multiclass")
    still = MLPClassifier(**FEW, solver="sgd", learning_rate=lambda step, n_steps: 0.0).fit(X, y)
    start = MLPClassifier(**{**FEW, "max_iter": 1}, solver="sgd", learning_rate_init=1e-300)
    assert_alike(still, start.fit(X, y))
    model = MLPClassifier(**FEW, solver="lbfgs", warm_start=True).fit(X, y)
    for solver, n_epochs in (("adam", 5), ("lbfgs", 5), ("sgd", 10)):
        loss = model.loss_
        model.set_params(solver=solver, learning_rate_init=1e-3).fit(X, y)
        assert model.loss_ < loss + 0.01
        assert len(model.loss_curve_) == n_epochs


def test_a_training_that_diverges_raises_and_changes_nothing():
    X, y = problem("regression")
    model = MLPRegressor(**FEW, solver="sgd", learning_rate_init=1e-3, warm_start=True).fit(X, y)
    kept = model.predict(X)
    model.set_params(learning_rate_init=1e6)
    with pytest.raises(ValueError, match="Solver produced non-finite parameter weights"):
        model.fit(X * 1e100, y)
    np.testing.assert_array_equal(model.predict(X), kept)


def test_ctrl_c_ends_a_fit_with_what_was_reached(monkeypatch):
    X, y = problem("multiclass")

    def interrupt(run):
        if run.epoch == 3:
            raise KeyboardInterrupt

    model = MLPClassifier(**FEW, callbacks=[interrupt])
    with pytest.warns(UserWarning, match=r"Training interrupted by user\."):
        model.fit(X, y)
    assert model.n_iter_ == 3
    shorter = MLPClassifier(**{**FEW, "max_iter": 3}).fit(X, y)
    assert_alike(model, shorter)


def test_a_method_of_ones_own_is_served_by_scikit_learn(caplog):
    assert fastmlp.explain_fallback() == "every call was served by fastmlp"

    class Own(MLPClassifier):
        def _backprop(self, *arguments):
            self.called = True
            return super()._backprop(*arguments)

    X, y = problem("multiclass")
    for _ in range(2):
        model = Own(**FEW).fit(X, y)
    assert model.called
    theirs = SklearnClassifier(**FEW).fit(X, y)
    assert_alike(model, theirs)
    np.testing.assert_allclose(model.predict_proba(X), theirs.predict_proba(X), atol=1e-12)
    assert [r.levelname for r in caplog.records] == ["WARNING"]
    assert "Own has its own _backprop" in caplog.text
    assert fastmlp.explain_fallback() == "2 x: fit: Own has its own _backprop"
    for settings, data, name in [
        ({"dropout": 0.5}, {}, "dropout"),
        ({"solver": "lion"}, {}, "solver"),
        ({"activation": ["relu", "relu"]}, {}, "activation"),
        ({"learning_rate": schedules.Cosine()}, {}, "learning_rate"),
        ({"loss": losses.focal()}, {}, "loss"),
        ({"verbose": "progress"}, {}, "verbose"),
        ({}, {"X_val": X, "y_val": y}, "data to score"),
    ]:
        with pytest.raises(ValueError, match=f"knows nothing of {name}; leave"):
            Own(**FEW, **settings).fit(X, y, **data)


@pytest.mark.parametrize("solver", ["adam", "lbfgs"])
def test_a_sparse_table_too_large_for_memory_is_served_by_scikit_learn(solver, monkeypatch):
    X, y = problem("multiclass")
    X[np.abs(X) < 1.0] = 0.0
    monkeypatch.setattr(base, "available_bytes", lambda: 1000)
    ours = MLPClassifier(**FEW, solver=solver).fit(scipy.sparse.csr_matrix(X), y)
    theirs = SklearnClassifier(**FEW, solver=solver).fit(scipy.sparse.csr_matrix(X), y)
    assert_alike(ours, theirs)
    np.testing.assert_allclose(ours.predict_proba(X), theirs.predict_proba(X), atol=1e-12)


def test_a_pickle_says_what_it_needs(tmp_path):
    X, y = problem("binary")
    path = tmp_path / "model.pickle"
    path.write_bytes(pickle.dumps(MLPClassifier(**FEW).fit(X, y)))
    code = (
        "import sys, pickle\n"
        "sys.modules['fastmlp'] = None\n"  # as if it were not installed
        f"pickle.load(open({str(path)!r}, 'rb'))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "ModuleNotFoundError" in done.stderr
    assert "fastmlp" in done.stderr.splitlines()[-1]


def test_no_warning_of_ours():
    X, y = problem("multiclass")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        MLPClassifier(max_iter=2000, tol=0.05, random_state=0).fit(X, y).predict(X)
