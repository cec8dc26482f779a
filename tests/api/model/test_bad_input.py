"""Bad input: the type of the error, the values in its sentence, and nothing changed."""

import numpy as np
import pandas as pd
import polars as pl
import pytest
import scipy.sparse

import fastmlp
from fastmlp import errors
from fastmlp.callbacks import EarlyStopping

NAN = float("nan")


def changed(array, position, value):
    array = np.array(array, dtype=np.float64)
    array[position] = value
    return array


FRAME = {"age": [1.0, 2.0], "city": ["a", "b"], "w": [1.0, 2.0], "h": [1.0, 2.0]}

# What X becomes, the error, what its sentence must hold.
BAD_X = {
    "nan": (lambda X: changed(X, (7, 2), NAN), errors.DataError, ["nan", "row 7", "column 2"]),
    "inf": (lambda X: changed(X, (59, 3), -np.inf), errors.DataError, ["-inf", "row 59"]),
    "first of two": (
        lambda X: changed(changed(X, (9, 0), NAN), (8, 3), NAN),
        errors.DataError,
        ["row 8", "column 3"],
    ),
    "overflow": (
        lambda X: changed(X, (5, 1), 1e39),
        errors.DataError,
        ["1e+39", "row 5", "float32", "dtype='float64'"],
    ),
    "float16 inf": (
        lambda X: changed(X, (4, 1), np.inf).astype(np.float16),
        errors.DataError,
        ["inf", "row 4"],
    ),
    "frame with nan": (
        lambda X: pd.DataFrame(changed(X, (7, 2), NAN), columns=list("abcd")),
        errors.DataError,
        ["nan", "row 7", "column 2", "'c'"],
    ),
    "frame with text": (lambda X: pd.DataFrame(FRAME), errors.DataTypeError, ["'city'", "str"]),
    "frame with missing": (
        lambda X: pd.DataFrame({**FRAME, "city": pd.array([1, None], dtype="Int64")}),
        errors.DataError,
        ["nan", "row 1", "'city'"],
    ),
    "polars text": (lambda X: pl.DataFrame(FRAME), errors.DataTypeError, ["'city'", "String"]),
    "polars missing": (
        lambda X: pl.DataFrame({**FRAME, "city": [None, 1]}),
        errors.DataError,
        ["nan", "row 0", "'city'"],
    ),
    "lazy frame": (lambda X: pl.DataFrame(X).lazy(), errors.DataTypeError, ["collect()"]),
    "1-D": (lambda X: X[:, 0], errors.ShapeError, ["(60,)", "X.reshape(-1, 1)"]),
    "3-D": (lambda X: X[None], errors.ShapeError, ["(1, 60, 4)", "X.reshape(len(X), -1)"]),
    "narrow": (lambda X: X[:, :3], errors.ShapeError, ["4 columns", "got 3"]),
    "no rows": (lambda X: X[:0], errors.ShapeError, ["at least one row", "(0, 4)"]),
    "no columns": (lambda X: X[:, :0], errors.ShapeError, ["at least one column", "(60, 0)"]),
    "frame without columns": (
        lambda X: pd.DataFrame(index=range(60)),
        errors.ShapeError,
        ["at least one column", "(60, 0)"],
    ),
    "complex": (lambda X: X * 1j, errors.DataTypeError, ["complex64", "imaginary"]),
    "sparse": (scipy.sparse.csr_matrix, errors.DataTypeError, ["csr_matrix", "X.toarray()"]),
    "text": (lambda X: X.astype(str), errors.DataTypeError, ["numbers", "row 0, column 0"]),
    "text in a list": (
        lambda X: [[1, 2, 3, 4], [1, 2, "x", 4]],
        errors.DataTypeError,
        ["numbers"],
    ),
    "none in a list": (
        lambda X: [[1, 2, 3, 4], [1, None, 3, 4]],
        errors.DataTypeError,
        ["None", "row 1, column 1"],
    ),
    "numbers as objects": (lambda X: X.astype(object), errors.DataTypeError, ["astype(float)"]),
    "dates": (lambda X: X.astype("datetime64[s]"), errors.DataTypeError, ["datetime64"]),
    "masked": (lambda X: np.ma.masked_array(X, X > 1), errors.DataError, ["masked", "filled"]),
    "ragged": (lambda X: [[1, 2, 3, 4], [1]], errors.ShapeError, ["different lengths"]),
    "a number": (lambda X: 5, errors.DataTypeError, ["array", "5"]),
    "none": (lambda X: None, errors.DataTypeError, ["array", "None"]),
    "a name": (lambda X: "digits", errors.DataTypeError, ["array", "'digits'"]),
}


@pytest.mark.parametrize("case", BAD_X)
@pytest.mark.parametrize(
    "use", ["fit", "predict", "predict_proba", "trace", "evaluate", "eval_set"]
)
def test_bad_x(net, X, y, state_of, case, use):
    make, error, fragments = BAD_X[case]
    bad, before = make(X), state_of(net)
    calls = {
        "eval_set": lambda: net.fit(X, y, epochs=1, eval_set=[(X, y), (bad, y)]),
        "predict": lambda: net.predict(bad),
        "predict_proba": lambda: net.predict_proba(bad),
        "trace": lambda: net.trace(bad),
    }
    with pytest.raises(error) as caught:
        calls.get(use, lambda: getattr(net, use)(bad, y))()
    message = str(caught.value)
    assert not [fragment for fragment in fragments if fragment not in message], message
    assert "\n" not in message
    assert ("eval_set[1]" in message) == (use == "eval_set")
    assert state_of(net) == before


BAD_LABELS = {
    "short": (lambda y: y[:40], errors.ShapeError, ["40", "60 rows of X"]),
    "unseen": (lambda y: np.where(y == 2, 7, y), errors.LabelError, ["(0, 1, 2)", "7", "row "]),
    "negative": (lambda y: y - 1, errors.LabelError, ["-1"]),
    "text for numbers": (lambda y: y.astype(str), errors.LabelError, ["numbers", "'"]),
    "continuous": (lambda y: y + 0.5, errors.LabelError, [".5", "row 0", "squared_error"]),
    "nan": (lambda y: changed(y, 3, NAN), errors.DataError, ["nan", "row 3"]),
    "missing number": (
        lambda y: pd.array([None, *y[1:].tolist()], dtype="Int64"),
        errors.DataError,
        ["row 0"],
    ),
    "missing in a series": (
        lambda y: pd.Series([0, None, *y[2:].tolist()], dtype="Int64"),
        errors.DataError,
        ["nan", "row 1"],
    ),
    "none": (lambda y: [None, *y[1:]], errors.DataError, ["None", "row 0"]),
    "mixed": (lambda y: ["a", *y[1:].tolist()], errors.DataTypeError, ["int and str"]),
    "missing text": (lambda y: ["a", NAN] * 30, errors.DataError, ["nan", "row 1"]),
    "column": (lambda y: y[:, None], errors.ShapeError, ["(60, 1)", "y.ravel()"]),
    "one-hot of more": (lambda y: np.eye(4)[y], errors.ShapeError, ["(60, 4)", "(rows, 3)"]),
    "frame": (lambda y: pd.DataFrame({"a": y}), errors.ShapeError, ["(60, 1)"]),
    "ragged": (lambda y: [[1, 2], [1]] * 30, errors.ShapeError, ["different lengths"]),
    "complex": (lambda y: y * 1j, errors.DataTypeError, ["complex128"]),
    "a number": (lambda y: 3, errors.DataTypeError, ["array", "3"]),
}


@pytest.mark.parametrize("case", BAD_LABELS)
@pytest.mark.parametrize("use", ["fit", "evaluate", "loss_and_gradients", "eval_set"])
def test_bad_labels(net, X, y, state_of, case, use):
    make, error, fragments = BAD_LABELS[case]
    bad, before = make(y), state_of(net)
    calls = {"eval_set": lambda: net.fit(X, y, epochs=1, eval_set=[(X, bad)])}
    with pytest.raises(error) as caught:
        calls.get(use, lambda: getattr(net, use)(X, bad))()
    message = str(caught.value)
    assert not [fragment for fragment in fragments if fragment not in message], message
    assert ("eval_set[0]" in message) == (use == "eval_set")
    assert state_of(net) == before


BAD_VALUES = [
    ("squared_error", 1, lambda y: y[:9], errors.ShapeError, ["9", "60 rows of X"]),
    ("squared_error", 1, lambda y: np.c_[y, y], errors.ShapeError, ["(rows,)", "(60, 2)"]),
    ("squared_error", 3, lambda y: y, errors.ShapeError, ["(rows, 3)", "(60,)"]),
    ("squared_error", 1, lambda y: changed(y, 4, NAN), errors.DataError, ["nan", "row 4"]),
    ("squared_error", 1, lambda y: changed(y, 4, 1e39), errors.DataError, ["1e+39", "float32"]),
    ("squared_error", 1, lambda y: y.astype(str), errors.DataTypeError, ["numbers", "row 0"]),
    ("poisson", 1, lambda y: changed(y, 4, -2), errors.DataError, [">= 0", "-2", "row 4"]),
    (
        "binary_cross_entropy",
        2,
        lambda y: changed(np.c_[y, y] * 0, (4, 1), 1.5),
        errors.DataError,
        ["1.5", "row 4, column 1"],
    ),
    ("binary_cross_entropy", 1, lambda y: y, errors.ShapeError, ["2 classes", "got 3: 0, 1, 2"]),
    ("cross_entropy", 4, lambda y: y + 9, errors.ShapeError, ["4", "got 3: 9, 10, 11"]),
    ("cross_entropy", 2, lambda y: y.astype(str), errors.ShapeError, ["got 3: '0', '1', '2'"]),
]


@pytest.mark.parametrize(("loss", "n_outputs", "make", "error", "fragments"), BAD_VALUES)
def test_bad_y_of_a_new_network(X, y, state_of, loss, n_outputs, make, error, fragments):
    net = fastmlp.Network([4, 8, n_outputs], loss=loss)
    before = state_of(net)
    with pytest.raises(error) as caught:
        net.fit(X, make(y), epochs=1)
    message = str(caught.value)
    assert not [fragment for fragment in fragments if fragment not in message], message
    assert state_of(net) == before


BAD_WEIGHTS = [
    (lambda w: w[:9], errors.ShapeError, ["9", "60 rows"]),
    (lambda w: w[:, None], errors.ShapeError, ["1-D", "(60, 1)"]),
    (lambda w: changed(w, 3, -0.5), errors.DataError, [">= 0", "-0.5", "row 3"]),
    (lambda w: changed(w, 3, NAN), errors.DataError, ["nan", "row 3"]),
    (lambda w: w * 0, errors.DataError, ["only zeros"]),
    (lambda w: w * 1e-60, errors.DataError, ["only zeros in float32"]),
    (lambda w: ["heavy"] * 60, errors.DataTypeError, ["'heavy'"]),
]


@pytest.mark.parametrize(("make", "error", "fragments"), BAD_WEIGHTS)
@pytest.mark.parametrize("use", ["fit", "evaluate", "loss_and_gradients"])
def test_bad_sample_weight(net, X, y, state_of, make, error, fragments, use):
    before = state_of(net)
    with pytest.raises(error) as caught:
        getattr(net, use)(X, y, sample_weight=make(np.ones(60)))
    message = str(caught.value)
    assert not [part for part in ["sample_weight", *fragments] if part not in message], message
    assert state_of(net) == before


BAD_SETTINGS = [
    (
        {"optimizer": "adm"},
        errors.OptionError,
        ["'adm'", "'sgd', 'adam', 'adamw', 'amsgrad'", "mean 'adam'"],
    ),
    ({"optimizer": fastmlp.optim.Adam}, errors.OptionTypeError, ["write Adam()"]),
    ({"optimizer": 3}, errors.OptionTypeError, ["got 3"]),
    ({"epochs": 0}, errors.OptionError, ["epochs must be >= 1, got 0"]),
    ({"epochs": 1.5}, errors.OptionTypeError, ["epochs", "1.5"]),
    ({"epochs": True}, errors.OptionTypeError, ["epochs", "True"]),
    ({"batch_size": 0}, errors.OptionError, ["batch_size must be >= 1, got 0"]),
    ({"batch_size": "all"}, errors.OptionTypeError, ["batch_size", "'all'"]),
    ({"eval_set": ([1], [2])}, errors.OptionTypeError, ["tuple", "eval_set=[(X, y)]"]),
    ({"eval_set": np.ones(3)}, errors.OptionTypeError, ["ndarray", "eval_set=[(X, y)]"]),
    ({"eval_set": [([1],)]}, errors.OptionTypeError, ["eval_set[0]", "tuple of 1 items"]),
    ({"eval_set": [np.ones(3)]}, errors.OptionTypeError, ["eval_set[0]", "ndarray"]),
    ({"schedule": "cosine"}, errors.OptionTypeError, ["'cosine'", "fastmlp.schedules"]),
    ({"schedule": fastmlp.schedules.Cosine}, errors.OptionTypeError, ["write Cosine(...)"]),
    ({"schedule": lambda step, n: "x"}, errors.OptionTypeError, ["'x' at step 0 of 10"]),
    ({"schedule": lambda step, n: 1.0 - step}, errors.OptionError, ["-1 at step 2 of 10"]),
    ({"schedule": lambda step, n: NAN}, errors.OptionError, ["nan at step 0 of 10"]),
    ({"callbacks": EarlyStopping()}, errors.OptionTypeError, ["callbacks=[...]"]),
    ({"callbacks": [print, EarlyStopping]}, errors.OptionTypeError, ["write EarlyStopping()"]),
    ({"callbacks": [3]}, errors.OptionTypeError, ["callbacks[0]", "got 3"]),
    ({"callbacks": [EarlyStopping("val_accuracy")]}, errors.OptionError, ["'val_accuracy'"]),
    ({"shuffle": 1}, errors.OptionTypeError, ["shuffle", "got 1"]),
    ({"max_time_s": 0}, errors.OptionError, ["max_time_s must be > 0, got 0"]),
    ({"max_time_s": NAN}, errors.OptionError, ["max_time_s must be finite", "nan"]),
    ({"max_time_s": "1 h"}, errors.OptionTypeError, ["max_time_s", "'1 h'"]),
    ({"verbose": "yes"}, errors.OptionError, ["'auto'", "'yes'"]),
    ({"verbose": 2}, errors.OptionError, ["'auto'", "got 2"]),
]


@pytest.mark.parametrize(("settings", "error", "fragments"), BAD_SETTINGS)
def test_bad_fit_settings(net, X, y, state_of, settings, error, fragments):
    before = state_of(net)
    # Another rule would begin a new state, so it must not be set before all is checked.
    settings = {"optimizer": "sgd", **settings}
    with pytest.raises(error) as caught:
        net.fit(X, y, **settings)
    message = str(caught.value)
    assert not [fragment for fragment in fragments if fragment not in message], message
    assert state_of(net) == before


BAD_PARAMETERS = [
    (lambda w: w[:1], errors.ShapeError, ["2 arrays", "got 1"]),
    (lambda w: [w[0].T, w[1]], errors.ShapeError, ["weights[0]", "(4, 8)", "(8, 4)"]),
    (lambda w: [w[0], w[1] * NAN], errors.DataError, ["weights[1]", "nan", "row 0"]),
    (lambda w: [w[0], np.full((8, 3), 1e39)], errors.DataError, ["weights[1]", "1e+39"]),
    (lambda w: [w[0], w[1].astype(str)], errors.DataTypeError, ["weights[1]", "numbers"]),
    (lambda w: 5, errors.OptionTypeError, ["list", "5"]),
]


@pytest.mark.parametrize(("make", "error", "fragments"), BAD_PARAMETERS)
def test_bad_weights(net, state_of, make, error, fragments):
    before = state_of(net)
    with pytest.raises(error) as caught:
        net.weights = make(net.weights)
    message = str(caught.value)
    assert not [fragment for fragment in fragments if fragment not in message], message
    assert state_of(net) == before


def test_bad_biases_leave_the_weights_of_the_same_call_unset(net, state_of):
    before = state_of(net)
    with pytest.raises(errors.ShapeError, match=r"biases\[1\] must have shape \(3,\), got \(4,\)"):
        net.set_parameters([w + 1 for w in net.weights], [np.zeros(8), np.zeros(4)])
    assert state_of(net) == before


def test_no_probabilities_without_classes(X):
    with pytest.raises(errors.OptionError, match=r"predict_proba needs.*'squared_error'"):
        fastmlp.Network([4, 1]).predict_proba(X)
