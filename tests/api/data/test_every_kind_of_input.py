"""X and y of every kind to fit, predict and evaluate: what an array of the values gives, or an
error of ours. Nothing that was passed is changed."""

from __future__ import annotations

import array
import datetime
import pickle

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
import scipy.sparse

import fastmlp
from fastmlp import errors

N_ROWS, N_COLUMNS = 24, 3
# Whole numbers, exact in every element type, bool among them.
PLAIN = np.random.default_rng(0).integers(0, 2, (N_ROWS, N_COLUMNS)).astype(np.float32)
Y = (PLAIN @ [1.0, -2.0, 3.0])[:, None].astype(np.float32)


def read_only(X):
    X.flags.writeable = False
    return X


def record(X):
    return np.array([tuple(row) for row in X.tolist()], [(name, "f4") for name in "abc"])


def mapped(X, folder, mode):
    np.save(folder / "X.npy", X)
    return np.load(folder / "X.npy", mmap_mode=mode)


class ArrayLike:
    """Of another library that NumPy knows how to ask."""

    def __init__(self, X):
        self.X = X

    def __array__(self, dtype=None, copy=None):
        return self.X if dtype is None else self.X.astype(dtype)


# Each is right. X is float32 in C order; the folder is an empty one.
RIGHT = {
    "lists": lambda X, _: X.tolist(),
    "tuples": lambda X, _: tuple(map(tuple, X.tolist())),
    "a list of arrays": lambda X, _: list(X),
    "lists of whole numbers": lambda X, _: X.astype(int).tolist(),
    "lists of bools": lambda X, _: (X > 0).tolist(),
    "lists of mixed numbers": lambda X, _: [
        [bool(a), int(b), c] for a, b, c in X.tolist()],
    "Fortran order": lambda X, _: np.asfortranarray(X),
    "every second row and column": lambda X, _: X.repeat(2, 0).repeat(2, 1)[::2, ::2],
    "reversed": lambda X, _: X[::-1, ::-1].copy()[::-1, ::-1],
    "read-only": lambda X, _: read_only(X),
    "broadcast": lambda X, _: np.broadcast_to(X, X.shape),
    "mapped to read": lambda X, folder: mapped(X, folder, "r"),
    "mapped to write": lambda X, folder: mapped(X, folder, "r+"),
    "mapped copy on write": lambda X, folder: mapped(X, folder, "c"),
    "unaligned": lambda X, _: np.frombuffer(b"0" + X.tobytes(), "f4", offset=1).reshape(X.shape),
    "a matrix": lambda X, _: np.asmatrix(X),
    "masked without a mask": lambda X, _: np.ma.masked_array(X),
    "an array of another library": lambda X, _: ArrayLike(X),
    "memory": lambda X, _: memoryview(X),
    "arrays of the standard library": lambda X, _: [array.array("f", row) for row in X],
    "pandas": lambda X, _: pd.DataFrame(X),
    "pandas, indexed": lambda X, _: pd.DataFrame(X, index=range(100, 124), columns=["a", 1, None]),
    "pandas, equal names": lambda X, _: pd.DataFrame(X, columns=["a", "a", "a"]),
    "pandas, nullable": lambda X, _: pd.DataFrame(X).convert_dtypes(),
    "pandas, arrow's types": lambda X, _: pd.DataFrame(X).convert_dtypes(
        dtype_backend="pyarrow"),
    "pandas, sparse": lambda X, _: pd.DataFrame(X).astype(pd.SparseDtype("f4", 0.0)),
    "polars": lambda X, _: pl.DataFrame(X),
} | {
    f"dtype {kind}": lambda X, _, kind=kind: X.astype(kind)
    for kind in ("?", "i1", "u1", "<i2", ">i2", "<u4", ">i8", "<u8", "<f2", ">f2", ">f4", "<f8",
                 ">f8", "g")
}  # fmt: skip

MISSING = {"nan": np.nan, "inf": np.inf, "-inf": -np.inf}
DAYS = np.datetime64("2020-01-01") + np.arange(N_ROWS * N_COLUMNS).reshape(N_ROWS, N_COLUMNS)
# Each is refused, with this error.
REFUSED = {
    "none": (lambda X: None, errors.DataTypeError),
    "a number": (lambda X: 3.0, errors.DataTypeError),
    "0-d": (lambda X: np.array(3.0), errors.DataTypeError),
    "1-d": (lambda X: X[:, 0], errors.ShapeError),
    "3-d": (lambda X: X[None], errors.ShapeError),
    "no rows": (lambda X: X[:0], errors.ShapeError),
    "no columns": (lambda X: X[:, :0], errors.ShapeError),
    "an empty list": (lambda X: [], errors.ShapeError),
    "too many columns": (lambda X: np.hstack([X, X]), errors.ShapeError),
    "rows of different lengths": (lambda X: [*X.tolist(), [1.0]], errors.ShapeError),
    "complex": (lambda X: X + 1j, errors.DataTypeError),
    "text": (lambda X: X.astype(str), errors.DataTypeError),
    "bytes": (lambda X: X.astype("S4"), errors.DataTypeError),
    "a text": (lambda X: "X.csv", errors.DataTypeError),
    "objects": (lambda X: X.astype(object), errors.DataTypeError),
    "objects with a None": (lambda X: [[None, 1, 2], *X.tolist()[1:]], errors.DataTypeError),
    "dates": (lambda X: DAYS, errors.DataTypeError),
    "durations": (lambda X: DAYS - DAYS[0, 0], errors.DataTypeError),
    "records": (record, (errors.DataTypeError, errors.ShapeError)),
    "void": (lambda X: X.view("V4"), errors.DataTypeError),
    "a dictionary": (lambda X: {"a": X}, errors.DataTypeError),
    "a set": (lambda X: {1.0, 2.0}, errors.DataTypeError),
    "a generator": (lambda X: (row for row in X), errors.DataTypeError),
    "masked": (lambda X: np.ma.masked_array(X, X > 0), errors.DataError),
    "sparse matrix": (scipy.sparse.csr_matrix, errors.DataTypeError),
    "sparse array": (scipy.sparse.coo_array, errors.DataTypeError),
    "pandas with dates": (lambda X: pd.DataFrame(DAYS), errors.DataTypeError),
    "pandas with text": (lambda X: pd.DataFrame(X).astype(str), errors.DataTypeError),
    "pandas with categories": (lambda X: pd.DataFrame(X).astype("category"), errors.DataTypeError),
    "a pandas series": (lambda X: pd.Series(X[:, 0]), errors.ShapeError),
    "polars with dates": (lambda X: pl.DataFrame(DAYS), errors.DataTypeError),
    "polars with lists": (lambda X: pl.DataFrame({"a": [[1.0]], "b": [1], "c": [2]}),
                          errors.DataTypeError),
    "polars, lazy": (lambda X: pl.DataFrame(X).lazy(), errors.DataTypeError),
} | {
    f"{name} as {kind}": (lambda X, value=value, kind=kind: np.where(
        np.arange(N_ROWS)[:, None] == 7, value, X).astype(kind), errors.DataError)
    for name, value in MISSING.items() for kind in ("<f2", "<f4", ">f4", "<f8", ">f8", "g")
}  # fmt: skip


def trained(X):
    net = fastmlp.Network([N_COLUMNS, 5, 1], seed=1)
    net.fit(X, Y, epochs=2, batch_size=7)
    return net


@pytest.fixture(scope="module")
def plain():
    """Of the plain array: weights after a fit, predictions and loss."""
    net = trained(PLAIN)
    return net.weights[0], net.predict(PLAIN), net.evaluate(PLAIN, Y)["loss"]


def looked_at(given) -> bytes:
    """Values, types and order of what was passed."""
    if isinstance(given, memoryview):
        given = np.asarray(given)
    if isinstance(given, np.ndarray):
        return pickle.dumps(
            (given.tobytes(), given.dtype.str, given.strides, given.flags.writeable)
        )
    if isinstance(given, ArrayLike):
        return given.X.tobytes()
    if isinstance(given, pd.DataFrame | pd.Series):  # what it remembers of itself is no value
        return f"{given.to_csv()}{given.dtypes}{given.index}".encode()
    return pickle.dumps(given)


@pytest.mark.parametrize("kind", RIGHT)
@pytest.mark.filterwarnings("ignore:the matrix subclass:PendingDeprecationWarning")
def test_it_is_taken_as_the_array_of_its_values(kind, plain, tmp_path):
    given = RIGHT[kind](PLAIN.copy(), tmp_path)
    before = looked_at(given)
    net = trained(given)
    np.testing.assert_array_equal(net.weights[0], plain[0])
    np.testing.assert_array_equal(net.predict(given), plain[1])
    assert net.evaluate(given, Y)["loss"] == plain[2]
    assert looked_at(given) == before


@pytest.mark.parametrize("kind", REFUSED)
def test_it_is_refused_with_an_error_of_ours(kind):
    make, error = REFUSED[kind]
    given = make(PLAIN.copy())
    is_read_once = kind in ("a generator", "polars, lazy")
    before = None if is_read_once else looked_at(given)
    net = fastmlp.Network([N_COLUMNS, 5, 1], seed=1)
    weights = net.weights[0].copy()
    for call in (
        lambda: net.fit(given, Y), lambda: net.predict(given), lambda: net.evaluate(given, Y),
    ):  # fmt: skip
        with pytest.raises(error) as caught:
            call()
        assert isinstance(caught.value, errors.FastmlpError)
    np.testing.assert_array_equal(net.weights[0], weights)
    assert net.n_epochs_ == 0
    if not is_read_once:
        assert looked_at(given) == before


@pytest.mark.parametrize("make", [lambda X: X[:1], lambda X: X[:1].tolist(), lambda X: X[5:6, ::1]])
def test_one_row(make):
    net = fastmlp.Network([N_COLUMNS, 5, 1], seed=1)
    net.fit(make(PLAIN), Y[:1], epochs=1)
    assert net.predict(make(PLAIN)).shape == (1,)


def arrow(X):
    return pa.table({name: X[:, i] for i, name in enumerate("abc")})


def test_a_table_of_arrow(plain):
    table = arrow(PLAIN)
    net = trained(table)
    np.testing.assert_array_equal(net.weights[0], plain[0])
    np.testing.assert_array_equal(net.predict(table), plain[1])
    assert table.equals(arrow(PLAIN))


@pytest.mark.parametrize(
    ("column", "error"),
    [
        (pa.array([None, *[1.0] * 23]), errors.DataError),
        (pa.array(["a"] * 24), errors.DataTypeError),
        (pa.array([None, *["a"] * 23]), errors.DataTypeError),
        (pa.array([[1.0]] * 24), errors.DataTypeError),
        (pa.array([datetime.date(2020, 1, 1)] * 24), errors.DataTypeError),
    ],
    ids=["a gap", "text", "text with a gap", "lists", "dates"],
)
def test_a_table_of_arrow_that_is_refused(column, error):
    table = arrow(PLAIN).set_column(1, "b", column)
    net = fastmlp.Network([N_COLUMNS, 5, 1], seed=1)
    with pytest.raises(error):
        net.fit(table, Y)
    with pytest.raises(error):
        net.predict(table)


# Of y, a column of values; X is plain.
RIGHT_Y = {
    "a list": lambda y: y.ravel().tolist(),
    "a column of lists": lambda y: y.tolist(),
    "one dimension": lambda y: y.ravel(),
    "reversed": lambda y: y[::-1].copy()[::-1],
    "strided": lambda y: y.repeat(3)[::3],
    "read-only": read_only,
    "big-endian": lambda y: y.astype(">f8"),
    "float16": lambda y: y.astype("f2"),
    "whole numbers": lambda y: y.astype("i8"),
    "a series": lambda y: pd.Series(y.ravel(), index=range(50, 50 + N_ROWS)),
    "a nullable series": lambda y: pd.Series(y.ravel()).astype("Int16"),
    "a frame": pd.DataFrame,
    "a series of polars": lambda y: pl.Series(y.ravel()),
    "masked without a mask": np.ma.masked_array,
}
REFUSED_Y = {
    "none": (lambda y: None, errors.DataTypeError),
    "a number": (lambda y: 1.0, errors.DataTypeError),
    "too few": (lambda y: y[1:], errors.ShapeError),
    "none of them": (lambda y: y[:0], errors.ShapeError),
    "too many columns": (lambda y: np.hstack([y, y]), errors.ShapeError),
    "3-d": (lambda y: y[None], errors.ShapeError),
    "complex": (lambda y: y + 1j, errors.DataTypeError),
    "text": (lambda y: y.astype(str), errors.DataTypeError),
    "objects": (lambda y: y.astype(object), errors.DataTypeError),
    "dates": (lambda y: DAYS[:, :1], errors.DataTypeError),
    "sparse": (scipy.sparse.csr_matrix, errors.DataTypeError),
    "masked": (lambda y: np.ma.masked_array(y, y > 0), errors.DataError),
    "nan": (lambda y: np.where(y > 1, np.nan, y), errors.DataError),
    "inf": (lambda y: np.where(y > 1, np.inf, y), errors.DataError),
    "a series with a gap": (
        lambda y: pd.Series(y.ravel()).astype("Int16").where(y.ravel() > 1), errors.DataError),
}  # fmt: skip


@pytest.mark.parametrize("kind", RIGHT_Y)
def test_targets_are_taken_as_the_array_of_their_values(kind, plain):
    given = RIGHT_Y[kind](Y.copy())
    before = looked_at(given)
    net = fastmlp.Network([N_COLUMNS, 5, 1], seed=1)
    net.fit(PLAIN, given, epochs=2, batch_size=7)
    np.testing.assert_array_equal(net.weights[0], plain[0])
    assert net.evaluate(PLAIN, given)["loss"] == plain[2]
    assert looked_at(given) == before


@pytest.mark.parametrize("kind", REFUSED_Y)
def test_targets_are_refused_with_an_error_of_ours(kind):
    make, error = REFUSED_Y[kind]
    given = make(Y.copy())
    before = looked_at(given)
    net = fastmlp.Network([N_COLUMNS, 5, 1], seed=1)
    for call in (lambda: net.fit(PLAIN, given), lambda: net.evaluate(PLAIN, given)):
        with pytest.raises(error) as caught:
            call()
        assert isinstance(caught.value, errors.FastmlpError)
    assert net.n_epochs_ == 0
    assert looked_at(given) == before
