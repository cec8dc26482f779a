"""Rows of a choice: what is trained on them where they lie has the bits of a copy of them."""

from __future__ import annotations

import numpy as np
import pytest

from fastmlp.data.inputs import Dataset
from fastmlp.data.shuffle import Blocks
from fastmlp.optim import UpdateOptions

from .tools import DTYPES, make_engine_with, make_spec, random_parameters, train

SIZES = (5, 33, 3)
N_ROWS = 301
CHOICES = {
    "some": np.arange(3, N_ROWS, 3),
    "one": np.array([N_ROWS - 1]),
    "some twice, in any order": np.random.default_rng(1).integers(0, N_ROWS, 2 * N_ROWS),
    "all, backwards": np.arange(N_ROWS)[::-1].copy(),
}
KINDS = {
    "read in place": {},
    "gathered": {"input_dropout": 0.2},
    "embedded": {"embeddings": {0: (4, 3)}},
    "batch": {"norm": "batch", "dropout": 0.1},
}


def tables(dtype) -> Dataset:
    rng = np.random.default_rng(0)
    X = rng.standard_normal((N_ROWS, SIZES[0])).astype(dtype)
    X[:, 0] = rng.integers(0, 4, N_ROWS)
    labels = rng.integers(0, SIZES[-1], N_ROWS).astype(np.int32)
    return Dataset(X, labels=labels, weights=rng.random(N_ROWS).astype(dtype))


def left_by(data: Dataset, dtype: str, n_threads: int, shuffle, settings) -> list[np.ndarray]:
    """All that a training and the gradients of the data leave."""
    spec = make_spec(SIZES, loss="cross_entropy", dtype=dtype, n_threads=n_threads, **settings)
    engine = make_engine_with(spec, *random_parameters(np.random.default_rng(3), spec.layer_sizes))
    engine.set_optimizer("adam", (0.9, 0.999, 1e-8), UpdateOptions())
    result = train(engine, data, batch_size=37, n_epochs=3, shuffle=shuffle)
    loss, gradients = engine.loss_and_all_gradients(data)
    return [engine.params, engine.state, result.loss, result.seen, np.array(loss),
            *gradients.named().values()]  # fmt: skip


@pytest.mark.parametrize("settings", KINDS.values(), ids=KINDS)
@pytest.mark.parametrize("shuffle", [False, True, Blocks(3, 40)], ids=["none", "rows", "blocks"])
@pytest.mark.parametrize("n_threads", [1, 3])
@pytest.mark.parametrize("dtype", DTYPES)
def test_they_are_trained_on_where_they_lie(dtype, n_threads, shuffle, settings):
    table = tables(dtype)
    for name, rows in CHOICES.items():
        if len(rows) < 2 and "norm" in settings:
            continue  # a batch of one has no variance
        there = Dataset(table.X, table.labels, None, table.weights, chosen=rows)
        copied = Dataset(table.X[rows], table.labels[rows], None, table.weights[rows])
        found = left_by(there, dtype, n_threads, shuffle, settings)
        wanted = left_by(copied, dtype, n_threads, shuffle, settings)
        for one, other in zip(found, wanted, strict=True):
            np.testing.assert_array_equal(one, other, err_msg=name)


@pytest.mark.parametrize("dtype", DTYPES)
def test_parts_of_them_are_copies_of_these_rows(dtype):
    table, rows = tables(dtype), CHOICES["some twice, in any order"]
    data = Dataset(table.X, table.labels, None, table.weights, chosen=rows)
    part = data.rows(10, 50)
    assert (data.n_rows, part.n_rows, part.chosen) == (2 * N_ROWS, 40, None)
    np.testing.assert_array_equal(part.X, table.X[rows[10:50]])
    np.testing.assert_array_equal(data.answers().labels, table.labels[rows])
    assert data.weight_sum == table.weights[rows].sum(dtype=np.float64)
