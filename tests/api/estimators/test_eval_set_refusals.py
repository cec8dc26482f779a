"""Data to be scored after every epoch that an estimator does not take, and other refusals."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse

from fastmlp import MLPClassifier, MLPRegressor, losses, schedules
from fastmlp.errors import DataTypeError
from fastmlp.estimators.convert import to_sklearn

from .pairs import problem

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
FEW = {"hidden_layer_sizes": (5,), "max_iter": 2, "random_state": 0}
X, y = problem("multiclass")


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"X_val": X}, "must be passed together.*X_val=given, y_val=None"),
        ({"y_val": y}, "must be passed together.*X_val=None, y_val=given"),
        ({"sample_weight_val": y}, "sample_weight_val=given"),
        ({"X_val": X, "y_val": y, "eval_set": [(X, y)]}, "X_val and y_val or eval_set, got both"),
        ({"eval_set": []}, "eval_set must be a list of .*, got list; write"),
        ({"eval_set": (X, y)}, "eval_set must be a list of .*, got tuple; write"),
        ({"eval_set": [(X, y), [X, y]]}, r"eval_set\[1\] must be \(X, y\) or .*, got list"),
        ({"eval_set": [(X,)]}, r"eval_set\[0\] must be \(X, y\) or .*, got tuple"),
        ({"eval_set": [(X, np.where(y == y[0], "fox", y))]}, "must have classes of y, got .'fox'."),
    ],
)  # fmt: skip
def test_what_is_no_set_to_be_scored(given, words):
    with pytest.raises(ValueError, match=words):
        MLPClassifier(**FEW).fit(X, y, **given)


def test_sets_in_every_form_give_the_same_scores():
    weight = np.linspace(0.5, 2.0, len(X))
    forms = [
        {"X_val": X, "y_val": y, "sample_weight_val": weight},
        {"eval_set": [(X, y, weight)]},
        {"eval_set": [(scipy.sparse.csr_matrix(X), y, weight)]},
    ]
    curves = [
        MLPClassifier(**FEW).fit(X, y, **given).evals_result_["validation_0"] for given in forms
    ]
    assert curves[0] == curves[1] == curves[2]
    plain = MLPClassifier(**FEW).fit(X, y, eval_set=[(X, y)]).evals_result_["validation_0"]
    assert plain != curves[0]


def test_values_in_one_column_are_values():
    X, y = problem("regression")
    y = np.asarray(y).reshape(len(X), -1)[:, 0]
    flat, column = (
        MLPRegressor(**FEW).fit(X, y, eval_set=[(X, shape)]).evals_result_["validation_0"]
        for shape in (y, y[:, None])
    )
    assert flat == column


def test_class_weights_of_several_labels_are_refused():
    labels = np.stack([y == y[0], y != y[0]], axis=1).astype(int)
    with pytest.raises(ValueError, match="class_weight must be None where y has several labels"):
        MLPClassifier(**FEW, class_weight="balanced").fit(X, labels)


def test_negative_weights_are_refused():
    with pytest.raises(ValueError, match="Negative values in data passed to `sample_weight`"):
        MLPClassifier(**FEW).fit(X, y, sample_weight=np.linspace(-1.0, 1.0, len(X)))


def test_losses_that_do_not_fit_the_target():
    two = np.where(y == y[0], "a", "b")
    with pytest.raises(ValueError, match="loss must be 'log_loss' where y has two classes"):
        MLPClassifier(**FEW, loss="focal").fit(X, two)
    with pytest.raises(ValueError, match="loss of MLPRegressor must be one of values"):
        MLPRegressor(**FEW, loss=losses.cross_entropy()).fit(*problem("regression"))


class OnGpu:
    """What a GPU library's array says of itself."""

    __cuda_array_interface__ = {"shape": (3, 2), "typestr": "<f4", "data": (0, False), "version": 3}  # noqa: RUF012
    shape = (3, 2)


def test_arrays_on_a_gpu_are_refused():
    with pytest.raises(DataTypeError, match="X of an estimator must lie in the memory of the host"):
        MLPClassifier(**FEW).fit(OnGpu(), y)


@pytest.mark.parametrize(
    ("settings", "theirs"),
    [
        ({"solver": "lion"}, {"solver": "adam"}),
        ({"learning_rate": schedules.Cosine()}, {"learning_rate": "constant"}),
        ({"verbose": "progress"}, {"verbose": True}),
        ({"activation": ["tanh"]}, {"activation": "tanh"}),
        ({"activation": "sigmoid"}, {"activation": "logistic"}),
    ],
)
def test_how_it_was_trained_becomes_the_nearest_of_scikit_learn(settings, theirs):
    ours = MLPClassifier(**{**FEW, **settings}).fit(X, y)
    other = to_sklearn(ours)
    assert {name: getattr(other, name) for name in theirs} == theirs
    np.testing.assert_allclose(other.predict_proba(X), ours.predict_proba(X), atol=1e-9)


def test_a_loss_that_scikit_learn_lacks_predicts_there_all_the_same():
    X, y = problem("regression")
    ours = MLPRegressor(**FEW, loss="huber").fit(X, y)
    other = to_sklearn(ours)
    assert other.loss == "squared_error"
    np.testing.assert_allclose(other.predict(X), ours.predict(X), atol=1e-9)
