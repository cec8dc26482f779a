"""Minibatches of many rows, band by band: the oracle's numbers, the same bits, better sums."""

from __future__ import annotations

import numpy as np
import pytest

from fastmlp.engine.cpu.workspace import Workspace
from fastmlp.layout import work as work_plan
from fastmlp.layout.parameters import round_up
from fastmlp.optim import UpdateOptions

from .test_training import TOLERANCE, both, error
from .tools import DTYPES, TALLEST, dataset, make_engine_with, make_spec, random_parameters, train

each_dtype = pytest.mark.parametrize("dtype", DTYPES)
# Whole bands, a row more and a row less, a last band of one row, a last minibatch of few bands.
BATCHES = [(128, 128), (97, 97), (127, 127), (300, 129), (200, 160)]


@pytest.fixture
def short_bands(monkeypatch):
    """Bands of 32 rows from two on, in three groups at most."""
    monkeypatch.setattr(work_plan, "BAND_ROWS", 32)
    monkeypatch.setattr(work_plan, "BANDED", ((1 << 20, 2),))
    monkeypatch.setattr(work_plan, "MOST_GROUPS", 3)


def plan_of(engine, batch_size):
    return Workspace(engine, batch_size, 1).plan


@each_dtype
@pytest.mark.parametrize(("n_rows", "batch_size"), BATCHES)
@pytest.mark.parametrize(
    "settings",
    [
        {"sizes": (4, 32, 9, 3), "loss": "squared_error"},
        {"sizes": (37, 64, 33, 3), "loss": "cross_entropy", "sample_weight": True, "l2": 0.01},
        {"sizes": (5, 40, 40, 2), "loss": "huber", "norm": "layer", "residual": (False, True),
         "dropout": 0.3, "input_dropout": 0.2, "options": UpdateOptions(clip_norm=0.1, ema=0.9)},
    ],
    ids=["plain", "in place, weighted", "layer norm, residual, dropout, clipped"],
)  # fmt: skip
def test_a_training_is_the_oracles(dtype, n_rows, batch_size, settings, short_bands):
    run = both(
        dtype, names="tanh", rule="adam", n_rows=n_rows, batch_size=batch_size, n_threads=2,
        **settings,
    )  # fmt: skip
    plan = plan_of(run[0], batch_size)
    band = round_up(32, TALLEST)
    assert plan.band_rows == band
    assert plan.group_rows == round_up(-(-batch_size // 3), band)
    assert error(*run) < TOLERANCE[dtype]


@each_dtype
@pytest.mark.parametrize("n_rows", [2048, 3001])
def test_threads_and_bands_of_full_length(dtype, n_rows):
    def run(n_threads):
        return both(
            dtype, sizes=(20, 33, 3), names="relu", rule="adam", n_rows=n_rows, batch_size=n_rows,
            n_threads=n_threads, n_epochs=3, dropout=0.1,
        )  # fmt: skip

    first = run(1)
    assert plan_of(first[0], n_rows).band_rows >= work_plan.BAND_ROWS
    assert error(*first) < TOLERANCE[dtype]
    for n_threads in (2, 3, 8, 40):
        engine, result, *_ = run(n_threads)
        np.testing.assert_array_equal(engine.params, first[0].params)
        np.testing.assert_array_equal(result.loss, first[1].loss)
        np.testing.assert_array_equal(result.grad_norm, first[1].grad_norm)


def test_networks_that_gain_nothing_or_whose_rows_meet_have_no_bands():
    def banded(batch_size=5000, sizes=(8, 16, 2), **settings):
        rng = np.random.default_rng(0)
        engine = make_engine_with(make_spec(sizes, **settings), *random_parameters(rng, sizes))
        return plan_of(engine, batch_size).band_rows > 0

    assert banded()
    assert not banded(batch_size=16 * work_plan.BAND_ROWS - 1)
    assert banded(sizes=(300, 300, 2))
    assert not banded(sizes=(300, 300, 2), batch_size=32 * work_plan.BAND_ROWS - 1)
    assert not banded(sizes=(2000, 2000, 2))
    assert not banded(norm="batch")
    assert Workspace(make_engine_with(make_spec((8, 2)), *random_parameters(
        np.random.default_rng(0), (8, 2))), 5000, 1, folds=True).plan.band_rows == 0  # fmt: skip


def test_memory_for_gradients_does_not_grow_with_the_minibatch():
    sizes = (8, 16, 2)
    engine = make_engine_with(make_spec(sizes), *random_parameters(np.random.default_rng(0), sizes))
    for batch_size in (5_000, 50_000, 500_001):
        plan = plan_of(engine, batch_size)
        assert plan.group_rows % plan.band_rows == 0
        assert 1 < -(-batch_size // plan.group_rows) <= work_plan.MOST_GROUPS
    sizes = (500, 1000, 1000, 2)  # 6 MB
    engine = make_engine_with(make_spec(sizes), *random_parameters(np.random.default_rng(0), sizes))
    for batch_size in (5_000, 50_000):
        plan = plan_of(engine, batch_size)
        assert 1 < -(-batch_size // plan.group_rows) <= work_plan.LEAST_GROUPS


def test_a_float32_gradient_of_many_rows_is_exact_to_some_digits():
    """One chain of a million additions would lose three digits more."""
    n, sizes = 300_000, (3, 16, 1)
    rng = np.random.default_rng(1)
    X, weights = rng.standard_normal((n, 3)) + 2.0, random_parameters(rng, sizes)
    found = {}
    for dtype in DTYPES:
        engine = make_engine_with(make_spec(sizes, activation="tanh", dtype=dtype), *weights)
        engine.set_optimizer("sgd", ())
        before = engine.parameters().named()
        train(engine, dataset(X, X[:, :1] * 3.0, dtype), batch_size=n, n_epochs=1, lr=1.0)
        after = engine.parameters().named()
        found[dtype] = np.concatenate([(after[k] - before[k]).ravel() for k in after])
    error = np.abs(found["float32"] - found["float64"]).max() / np.abs(found["float64"]).max()
    assert error < 2e-6
