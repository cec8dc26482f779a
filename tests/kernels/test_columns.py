"""Threads that take columns of the first layer instead of rows: the bits of one thread."""

from __future__ import annotations

import time

import numpy as np
import pytest

from fastmlp.engine.cpu.job import reads_in_place, splits_columns
from fastmlp.engine.cpu.workspace import Workspace
from fastmlp.kernels.cpu.width import LANES
from fastmlp.optim import UpdateOptions

from .tools import DTYPES, dataset, make_engine_with, make_spec, random_parameters, run_alone, train

each_dtype = pytest.mark.parametrize("dtype", DTYPES)
N_ROWS = 205  # the last minibatch is shorter


def make(dtype, n_threads, sizes=None, seed=0, **settings):
    """An engine whose first layer has four panels for any processor, and its data."""
    sizes = sizes or (201, 8 * LANES[dtype], 9, 3)
    spec = make_spec(
        sizes, loss="cross_entropy", dtype=dtype, n_threads=n_threads, seed=seed, **settings
    )
    rng = np.random.default_rng(3)
    engine = make_engine_with(spec, *random_parameters(rng, sizes))
    engine.set_optimizer("adam", (0.9, 0.999, 1e-8), UpdateOptions(clip_norm=1.0))
    X = rng.standard_normal((N_ROWS, sizes[0])).astype(dtype)
    return engine, dataset(X, rng.integers(0, sizes[-1], N_ROWS), dtype)


def splits(engine, data, n_threads, batch_size=64) -> bool:
    workspace = Workspace(engine, batch_size, n_threads)
    return splits_columns(workspace, reads_in_place(workspace, data.X, data.X.ctypes.data))


@each_dtype
@pytest.mark.parametrize("n_threads", [2, 4])
@pytest.mark.parametrize(
    "settings",
    [{"activation": "relu"}, {"activation": "tanh", "dropout": 0.3}, {"norm": "layer"}],
    ids=["relu", "tanh, dropout", "layer norm"],
)
def test_the_bits_are_those_of_one_thread(dtype, n_threads, settings):
    one, data = make(dtype, 1, **settings)
    expected = train(one, data, batch_size=64, n_epochs=4, shuffle=True)
    many, data = make(dtype, n_threads, **settings)
    assert splits(many, data, n_threads)
    result = train(many, data, batch_size=64, n_epochs=4, shuffle=True)
    assert many.n_threads_used == n_threads
    np.testing.assert_array_equal(many.params, one.params)
    np.testing.assert_array_equal(result.loss, expected.loss)


@each_dtype
def test_where_rows_are_taken(dtype):
    engine, data = make(dtype, 2)
    assert splits(engine, data, 2)
    assert not splits(engine, data, 3), "four panels for three threads"
    assert not splits(engine, data, 2, batch_size=101), "as many rows as half of the inputs"
    wide, data = make(dtype, 3, (201, 2 * LANES[dtype] * 25, 3))
    assert splits(wide, data, 3), "so many panels that one more or less does not matter"
    batch, data = make(dtype, 2, norm="batch")
    assert not splits(batch, data, 2), "rows meet within the step"
    gathered, data = make(dtype, 2)
    data.X = np.asfortranarray(data.X)
    assert not splits(gathered, data, 2), "the table is not read in place"


def stop_at_any_moment() -> None:
    """Run in a process of its own by the test below."""
    for i in range(120):
        engine, data = make("float64", 2 + i % 3 % 2 * 2)
        result = train(
            engine, data, batch_size=64, n_epochs=100_000, lr=1e-6,
            deadline_s=time.perf_counter() + 3e-4 * (i % 23),
        )  # fmt: skip
        assert result.status == "deadline"


def test_no_thread_waits_for_one_that_has_stopped():
    run_alone("test_columns", "stop_at_any_moment()", timeout=200)
