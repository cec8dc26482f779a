"""Inputs of every kind train the same network, are not modified, and are not copied whole."""

import subprocess
import sys
import tracemalloc

import numpy as np
import pandas as pd
import polars as pl
import pytest

import fastmlp
from fastmlp import errors
from fastmlp.data.inputs import as_inputs, as_weights, check_finite
from fastmlp.model.datasets import dataset_for


def trained(X, y, **settings):
    net = fastmlp.Network([4, 8, 3], loss="cross_entropy", dropout=0.2)
    net.fit(X, y, epochs=2, batch_size=16, **settings)
    return net


def structured(X):
    table = np.zeros(len(X), dtype=[("odd", "u1"), ("x", "f4", (4,))])
    table["x"] = X
    return table["x"]


def read_only(X):
    X = X.copy()
    X.flags.writeable = False
    return X


LAYOUTS = {
    "Fortran": np.asfortranarray,
    "columns of a wider one": lambda X: np.hstack([X, X])[:, 4:],
    "steps": lambda X: np.repeat(np.repeat(X, 2, axis=0), 3, axis=1)[::2, ::3],
    "negative strides": lambda X: X[::-1, ::-1].copy()[::-1, ::-1],
    "transposed": lambda X: X.T.copy().T,
    "float64": lambda X: X.astype(np.float64),
    "long double": lambda X: X.astype(np.longdouble),
    "other byte order": lambda X: X.astype(">f4"),
    "unaligned": structured,
    "read-only": read_only,
    "list": lambda X: X.tolist(),
    "tuple of arrays": tuple,
    "matrix": lambda X: np.asmatrix(X),
    "pandas": pd.DataFrame,
    "pandas mixed": lambda X: pd.DataFrame(X).astype({0: "float64", 2: "Float64"}),
    "polars": pl.DataFrame,
}


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.filterwarnings("ignore:the matrix subclass:PendingDeprecationWarning")
def test_layouts_train_the_same_bits(X, y, same_weights, layout):
    made = LAYOUTS[layout](X)
    assert same_weights(trained(made, y), trained(X, y))
    np.testing.assert_array_equal(trained(X, y).predict_proba(made), trained(X, y).predict_proba(X))


@pytest.mark.parametrize(
    "dtype", ["?", "u1", "i1", "u2", "i2", "u4", "i4", "u8", "i8", "f2", "f4", "f8"]
)
def test_element_types_train_the_same_bits(y, same_weights, dtype):
    X = np.random.default_rng(0).integers(0, 2, (60, 4))
    assert same_weights(trained(X.astype(dtype), y), trained(X.astype(np.float32), y))


def test_frames_of_bools_and_numbers(y, same_weights):
    X = np.random.default_rng(0).integers(0, 2, (60, 4))
    columns = {name: X[:, i] for i, name in enumerate("abcd")}
    expected = trained(X, y)
    for frame in (pd.DataFrame, pl.DataFrame):
        assert same_weights(trained(frame({**columns, "b": X[:, 1].astype(bool)}), y), expected)
    nullable = pd.DataFrame(columns).astype({"a": "Int64", "d": "boolean"})
    assert same_weights(trained(nullable, y), expected)
    decimals = pl.DataFrame(columns).with_columns(pl.col("a").cast(pl.Decimal(10, 2)))
    assert same_weights(trained(decimals, y), expected)


@pytest.mark.parametrize("mode", ["r", "r+"])
def test_memory_maps(X, y, same_weights, tmp_path, mode):
    path = tmp_path / "x.dat"
    X.tofile(path)
    mapped = np.memmap(path, dtype=np.float32, mode=mode, shape=X.shape)
    assert same_weights(trained(mapped, y), trained(X, y))
    assert path.read_bytes() == X.tobytes()


@pytest.mark.parametrize(
    "make",
    [
        lambda X: X,
        lambda X: X[::-2],
        lambda X: X.T.copy().T,
        lambda X: X.astype(np.float16),
        lambda X: X > 0,
        lambda X: np.broadcast_to(X[:1], X.shape),
    ],
)
def test_arrays_are_read_in_place(X, make):
    made = make(X)
    assert np.shares_memory(as_inputs(made, 4, "float32"), made)
    assert as_inputs(made, 4, "float32").strides == made.strides


def test_memory_maps_and_frames_of_one_block_are_read_in_place(X, tmp_path):
    X.tofile(tmp_path / "x.dat")
    mapped = np.memmap(tmp_path / "x.dat", dtype=np.float32, mode="r", shape=X.shape)
    assert np.shares_memory(as_inputs(mapped, 4, "float32"), mapped)
    frame = pd.DataFrame(X)
    assert np.shares_memory(as_inputs(frame, 4, "float32"), frame.to_numpy())


def test_targets_and_weights_of_the_right_kind_are_not_copied(X):
    net = fastmlp.Network([4, 2])
    y, weights = X[:, :2].copy(), np.ones(60, np.float32)
    data, _ = dataset_for(net, X, y, weights, None)
    assert np.shares_memory(data.targets, y)
    assert np.shares_memory(data.weights, weights)
    assert np.shares_memory(data.X, X)


@pytest.mark.parametrize("make", [np.asfortranarray, lambda X: X[::-1], pd.DataFrame])
def test_nothing_of_the_size_of_the_data_is_allocated(make):
    X = make(np.random.default_rng(0).normal(size=(100_000, 64)))
    y = np.arange(100_000) % 2
    net = fastmlp.Network([64, 2], loss="cross_entropy")
    net.fit(X[:99], y[:99], epochs=1, eval_set=[(X[:99], y[:99])])
    tracemalloc.start()
    net.fit(X, y, epochs=1, eval_set=[(X, y)])
    net.predict(X)
    net.evaluate(X, y)
    _, peak_bytes = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak_bytes < 51_200_000 / 5


def test_nothing_of_the_callers_is_modified(X):
    frame, weights = pd.DataFrame(X.astype(np.float64)), np.linspace(0, 1, 60)
    y = (X[:, :1] ** 2).astype(np.float64)
    copies = frame.copy(), y.copy(), weights.copy()
    net = fastmlp.Network([4, 8, 1], loss="poisson", dtype="float64")
    net.fit(frame, y, sample_weight=weights, epochs=2, eval_set=[(frame, y)])
    net.predict(frame)
    net.evaluate(frame, y, weights)
    pd.testing.assert_frame_equal(frame, copies[0])
    np.testing.assert_array_equal(y, copies[1])
    np.testing.assert_array_equal(weights, copies[2])


@pytest.mark.parametrize("shape", [(1, 1), (3, 5), (70_000, 1), (40_000, 3), (2, 100_000)])
@pytest.mark.parametrize("dtype", ["f2", "f4", "f8"])
@pytest.mark.parametrize("order", ["C", "F"])
def test_the_first_wrong_value_is_found_wherever_it_is(shape, order, dtype):
    rng = np.random.default_rng(0)
    for value in (np.nan, np.inf, -np.inf) + ((1e39,) if dtype == "f8" else ()):
        array = rng.uniform(-60000, 60000, shape).astype(dtype, order=order)[::-1, ::-1]
        check_finite(array, "float32", "X")
        row, column = (int(rng.integers(0, n)) for n in shape)
        array[row, column] = value
        with pytest.raises(errors.DataError, match=f"at row {row}, column {column}[;,]"):
            check_finite(array, "float32", "X")


def test_values_near_the_limit_of_the_dtype_pass():
    limit = float(np.finfo(np.float32).max)
    check_finite(np.array([[limit, -limit]]), "float32", "X")
    check_finite(np.array([[1e300]]), "float64", "X")
    check_finite(np.array([[65504]], dtype=np.float16), "float32", "X")


def test_weights_of_integers_and_series():
    for weights in ([0, 1, 2], pd.Series([0, 1, 2]), pl.Series([0, 1, 2]), np.arange(6)[::2] // 2):
        converted = as_weights(weights, 3, "float32")
        assert converted.dtype == np.float32
        assert converted.tolist() == [0, 1, 2]


def test_weights_of_zero_leave_rows_out(X, y, same_weights):
    weights = np.ones(60)
    weights[16:] = 0
    settings = {"shuffle": False, "optimizer": "sgd"}
    net = fastmlp.Network([4, 8, 3], loss="cross_entropy")
    net.fit(X, y, sample_weight=weights, epochs=1, batch_size=16, **settings)
    alone = fastmlp.Network([4, 8, 3], loss="cross_entropy")
    alone.fit(X[:16], y[:16], epochs=1, batch_size=16, **settings)
    assert same_weights(net, alone)


def test_batches_beyond_the_data_are_one_batch(X, y, same_weights):
    a, b = (fastmlp.Network([4, 8, 3], loss="cross_entropy") for _ in range(2))
    a.fit(X, y, epochs=3, batch_size=60)
    b.fit(X, y, epochs=3, batch_size=10**9)
    assert same_weights(a, b)
    assert b.n_steps_ == 3


def test_import_is_light():
    code = (
        "import fastmlp, sys; print([m for m in ('sklearn', 'scipy', 'matplotlib', 'rich', "
        "'safetensors', 'pandas', 'polars', 'numba', 'click', '_hashlib', 'importlib.metadata', "
        "'fastmlp.tables', 'fastmlp.preparation') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_arrays_do_not_load_frame_libraries():
    code = (
        "import fastmlp, sys; net = fastmlp.Network([2, 1]); net.fit([[1, 2]], [3], epochs=1); "
        "print([m for m in ('sklearn', 'pandas', 'polars', 'rich') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
