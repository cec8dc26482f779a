"""Our estimators inside what people put around scikit-learn's."""

from __future__ import annotations

import joblib
import numpy as np
import pandas as pd
import polars as pl
import pytest
from sklearn import set_config
from sklearn.calibration import CalibratedClassifierCV
from sklearn.compose import ColumnTransformer, TransformedTargetRegressor
from sklearn.ensemble import StackingRegressor, VotingClassifier
from sklearn.experimental import enable_halving_search_cv  # noqa: F401
from sklearn.inspection import permutation_importance
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.model_selection import (
    GridSearchCV,
    HalvingGridSearchCV,
    cross_val_predict,
    cross_validate,
)
from sklearn.multioutput import MultiOutputClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from fastmlp import MLPClassifier, MLPRegressor

from .pairs import problem

pytestmark = [
    pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning"),
    pytest.mark.filterwarnings("ignore::UserWarning"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
]
FEW = {
    "hidden_layer_sizes": (9,), "max_iter": 60, "random_state": 0, "learning_rate_init": 0.01,
}  # fmt: skip
GRID = {"alpha": [1e-4, 1.0], "activation": ["relu", "tanh"]}


def frame():
    X, y = problem("binary", 120)
    table = pd.DataFrame(X, columns=list("abcde"))
    table["kind"] = np.where(X[:, 1] > 0, "left", "right")
    return table, y


def columns():
    return ColumnTransformer(
        [("numbers", StandardScaler(), list("abcde")),
         ("kinds", OneHotEncoder(sparse_output=False), ["kind"])]
    )  # fmt: skip


def test_a_pipeline_with_frames_and_their_names():
    table, y = frame()
    model = make_pipeline(columns().set_output(transform="pandas"), MLPClassifier(**FEW))
    model.fit(table, y)
    assert list(model[-1].feature_names_in_)[-2:] == ["kinds__kind_left", "kinds__kind_right"]
    assert model.score(table, y) > 0.6
    as_polars = make_pipeline(columns().set_output(transform="polars"), MLPClassifier(**FEW))
    as_polars.fit(pl.from_pandas(table), y)
    np.testing.assert_array_equal(as_polars.predict_proba(pl.from_pandas(table)),
                                  model.predict_proba(table))  # fmt: skip
    numbers = table[list("abcde")]
    plain = MLPClassifier(**FEW).fit(numbers, y)
    with pytest.raises(ValueError, match="feature names should match"):
        plain.predict(numbers.rename(columns={"a": "z"}))


@pytest.mark.parametrize("backend", ["loky", "threading"])
@pytest.mark.parametrize("search", [GridSearchCV, HalvingGridSearchCV])
def test_searches_in_processes_and_threads(search, backend):
    X, y = problem("multiclass", 150)
    settings = {"random_state": 0} if search is HalvingGridSearchCV else {}
    alone = search(MLPClassifier(**FEW), GRID, cv=3, **settings).fit(X, y)
    with joblib.parallel_config(backend=backend):
        both = search(MLPClassifier(**FEW), GRID, cv=3, n_jobs=2, **settings).fit(X, y)
    np.testing.assert_array_equal(both.cv_results_["mean_test_score"],
                                  alone.cv_results_["mean_test_score"])  # fmt: skip
    np.testing.assert_array_equal(both.predict_proba(X), alone.predict_proba(X))


def test_others_around_a_classifier():
    X, y = problem("multiclass", 150)
    calibrated = CalibratedClassifierCV(MLPClassifier(**FEW), cv=3).fit(X, y)
    np.testing.assert_allclose(calibrated.predict_proba(X).sum(axis=1), 1.0)
    found = cross_val_predict(MLPClassifier(**FEW), X, y, cv=3, method="predict_proba")
    assert found.shape == (150, 3)
    voting = VotingClassifier(
        [("net", MLPClassifier(**FEW)), ("line", LogisticRegression())], voting="soft"
    ).fit(X, y)
    assert voting.score(X, y) > 0.6
    model = MLPClassifier(**FEW).fit(X, y)
    importance = permutation_importance(model, X, y, n_repeats=3, random_state=0)
    assert importance.importances_mean.max() > 0.05
    labels = np.stack([y, y[::-1]], axis=1)
    assert MultiOutputClassifier(MLPClassifier(**FEW)).fit(X, labels).predict(X).shape == (150, 2)


def test_others_around_a_regressor():
    X, y = problem("regression", 150)
    stack = StackingRegressor([("net", MLPRegressor(**FEW)), ("line", Ridge())]).fit(X, y)
    assert stack.score(X, y) > 0.5
    logs = TransformedTargetRegressor(
        MLPRegressor(**FEW), func=np.arcsinh, inverse_func=np.sinh
    ).fit(X, y)
    assert logs.predict(X).shape == (150,)


def test_metadata_routing_brings_weights_and_validation_data():
    X, y = problem("multiclass", 150)
    weight = np.where(y == "ant", 3.0, 1.0)
    set_config(enable_metadata_routing=True)
    try:
        model = MLPClassifier(**FEW).set_fit_request(sample_weight=True)
        routed = cross_validate(
            model.set_score_request(sample_weight=True), X, y, cv=3,
            params={"sample_weight": weight}, return_estimator=True,
        )  # fmt: skip
        pipeline = make_pipeline(
            StandardScaler(),
            MLPClassifier(**FEW).set_fit_request(X_val=True, y_val=True),
            transform_input=["X_val"],
        ).fit(X, y, X_val=X[:50], y_val=y[:50])
    finally:
        set_config(enable_metadata_routing=False)
    plain = cross_validate(MLPClassifier(**FEW), X, y, cv=3, return_estimator=True)
    assert not np.array_equal(routed["estimator"][0].coefs_[0], plain["estimator"][0].coefs_[0])
    assert pipeline[-1].validation_scores_[-1] == pipeline.score(X[:50], y[:50])


def test_scikit_learns_own_callbacks():
    callback = pytest.importorskip("sklearn.callback")
    X, y = problem("multiclass", 150)
    monitor = callback.ScoringMonitor(scoring="accuracy")
    model = MLPClassifier(**FEW).set_callbacks(monitor).fit(X, y)
    epochs = [row for row in monitor.get_logs().data if row["task_name"] == "epoch"]
    assert len(epochs) == model.n_iter_ == 60
    assert epochs[-1]["accuracy"] == model.score(X, y)
    assert epochs[0]["accuracy"] < 0.8 < epochs[-1]["accuracy"]
    alone = MLPClassifier(**FEW).fit(X, y)
    np.testing.assert_array_equal(model.predict_proba(X), alone.predict_proba(X))

    class Stop:
        def setup(self, estimator, context): ...
        def teardown(self, estimator, context): ...
        def on_fit_task_begin(self, estimator, context): ...
        def on_fit_task_end(self, estimator, context):
            return context.task_name == "epoch" and context.task_id == 4

    assert MLPClassifier(**FEW).set_callbacks(Stop()).fit(X, y).n_iter_ == 5

    class Own(MLPClassifier):  # which scikit-learn serves: callbacks hear of the fit alone
        def _backprop(self, *arguments):
            return super()._backprop(*arguments)

    heard = callback.ScoringMonitor(scoring="accuracy")
    assert Own(**FEW).set_callbacks(heard).fit(X, y).n_iter_ == 60
    assert [row["task_name"] for row in heard.get_logs().data] == ["fit"]
    lbfgs = MLPClassifier(**FEW, solver="lbfgs").set_callbacks(Stop()).fit(X, y)
    assert lbfgs.score(X, y) > 0.8


def test_threads_of_one_process_fit_at_the_same_time():
    X, y = problem("multiclass", 400)
    settings = {**FEW, "hidden_layer_sizes": (64, 64), "max_iter": 40}
    alone = MLPClassifier(**settings).fit(X, y)
    fitted = joblib.Parallel(n_jobs=4, backend="threading")(
        joblib.delayed(MLPClassifier(**settings).fit)(X, y) for _ in range(8)
    )
    for model in fitted:
        np.testing.assert_array_equal(model.coefs_[0], alone.coefs_[0])


@pytest.mark.parametrize("given", ["1", "2,1", "0", "x", ""])
def test_workers_take_no_more_threads_than_they_are_told(given, monkeypatch):
    from fastmlp.engine.cpu import cores

    monkeypatch.setattr(cores.os, "sched_getaffinity", lambda _: range(8))
    monkeypatch.setattr(cores, "_own_quota", lambda: None)
    monkeypatch.setenv("OMP_NUM_THREADS", given)
    assert cores.n_cores() == {"1": 1, "2,1": 2}.get(given, 8)
