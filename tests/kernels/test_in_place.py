"""Rows of the user's table that products read where they are: the bits of gathered ones."""

from __future__ import annotations

import numpy as np
import pytest

from fastmlp.data.inputs import Dataset
from fastmlp.engine.cpu.program import make_program
from fastmlp.engine.cpu.workspace import Workspace
from fastmlp.kernels import structs
from fastmlp.kernels.structs import Job
from fastmlp.optim import UpdateOptions

from .tools import DTYPES, dataset, make_engine_with, make_spec, random_parameters, train

# Inputs that straddle vectors, a first layer of whole panels of any processor; odd rows.
SIZES, N_ROWS = (37, 64, 9, 3), 131


def engine_of(dtype, n_threads=1, **settings):
    spec = make_spec(SIZES, loss="cross_entropy", dtype=dtype, n_threads=n_threads, **settings)
    engine = make_engine_with(spec, *random_parameters(np.random.default_rng(3), SIZES))
    engine.set_optimizer("adam", (0.9, 0.999, 1e-8), UpdateOptions())
    return engine


def rows(dtype):
    return np.random.default_rng(4).standard_normal((N_ROWS, SIZES[0])).astype(dtype)


def in_place(engine, X) -> bool:
    """Whether a job of this engine reads X where it is."""
    program = make_program(
        Workspace(engine, 16, 1), engine, structs.KIND_GRADIENTS, Dataset(X), params=engine.params
    )
    return bool(program.job[Job.IN_PLACE])


def left_by(engine, X, y, dtype):
    """All that a training, an evaluation and a prediction leave."""
    data = dataset(X, y, dtype)
    result = train(engine, data, batch_size=50, n_epochs=3, shuffle=True)
    loss, gradients = engine.loss_and_all_gradients(data)
    return [
        engine.params, engine.state, result.loss, engine.predict(X), engine.evaluate(data), loss,
        *gradients.named().values(),
    ]  # fmt: skip


@pytest.mark.parametrize("n_threads", [1, 2, 3])
@pytest.mark.parametrize("dtype", DTYPES)
def test_rows_in_place_give_the_bits_of_gathered_ones(dtype, n_threads):
    X, y = rows(dtype), np.random.default_rng(5).integers(0, SIZES[-1], N_ROWS)
    spaced = np.full((2 * N_ROWS, SIZES[0] + 5), np.nan, dtype)[::2, 3 : 3 + SIZES[0]]
    spaced[...] = X
    gathered = np.asfortranarray(X)
    tables = {"C order": X, "every other row of wider ones": spaced}
    wanted = left_by(engine_of(dtype, n_threads), gathered, y, dtype)
    assert not in_place(engine_of(dtype), gathered)
    for name, table in tables.items():
        assert in_place(engine_of(dtype), table), name
        found = left_by(engine_of(dtype, n_threads), table, y, dtype)
        for one, other in zip(found, wanted, strict=True):
            np.testing.assert_array_equal(one, other, err_msg=name)


@pytest.mark.parametrize("dtype", DTYPES)
def test_what_cannot_be_read_in_place_is_gathered(dtype):
    other = {"float32": "float64", "float64": "float32"}[dtype]
    X = rows(dtype)
    assert not in_place(engine_of(dtype), X.astype(other))
    assert not in_place(engine_of(dtype), (X * 9).astype(np.int32))
    assert not in_place(engine_of(dtype), X[:, ::-1])
    assert not in_place(engine_of(dtype), np.zeros((N_ROWS, 64), dtype))
    assert not in_place(engine_of(dtype, input_dropout=0.1), X)
    raw = np.zeros(X.nbytes + 1, np.uint8)[1:]
    assert not in_place(engine_of(dtype), raw.view(dtype).reshape(X.shape))


@pytest.mark.parametrize("dtype", DTYPES)
def test_trace_has_the_inputs_of_a_table_that_is_read_in_place(dtype):
    X = rows(dtype)
    np.testing.assert_array_equal(engine_of(dtype).trace(X)[0], X)
