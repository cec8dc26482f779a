"""A training step allocates nothing: the counts of a job do not grow with its steps."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
from numba.core.runtime import _nrt_python, rtsys

from fastmlp.engine.cpu import engine as cpu
from fastmlp.optim import UpdateOptions
from tests.reference.optimizers import HYPER

from .tools import (
    DTYPES,
    compiled,
    dataset,
    make_engine_with,
    make_spec,
    random_inputs,
    random_parameters,
    train,
)

FEW, MANY = 10, 1000
BATCH_SIZE = 4


def job(dtype: str, rule: str, n_threads: int, n_steps: int):
    """A function that trains for that many steps, with all that there is around a step."""
    sizes, rng, n_rows = (6, 12, 12, 9, 3), np.random.default_rng(0), n_steps * BATCH_SIZE
    spec = make_spec(
        sizes, loss="cross_entropy", activation="gelu", dropout=0.2, l1=1e-4, l2=1e-4,
        dtype=dtype, n_threads=n_threads, norm=["batch", "layer", "rms"], residual=True,
        embeddings={1: (9, 3)}, input_dropout=0.1,
    )  # fmt: skip
    engine = make_engine_with(spec, *random_parameters(rng, spec.layer_sizes))
    options = UpdateOptions(
        weight_decay=0.01, clip_norm=0.5, clip_value=0.05, max_norm=1.0, ema=0.9
    )
    engine.set_optimizer(rule, HYPER[rule], options)
    X, y = random_inputs(rng, spec, n_rows, "float64"), rng.integers(0, 3, n_rows)
    data = dataset(X, y, dtype, np.ones(n_rows))

    def run():
        result = train(engine, data, batch_size=BATCH_SIZE, n_epochs=1, shuffle=True)
        assert (result.status, result.n_steps_done) == ("done", n_steps)

    run()  # compiles, and makes the workspace
    return run


@pytest.fixture
def counting():
    """numba's allocation counters, switched on."""
    were_on = _nrt_python.memsys_stats_enabled()
    _nrt_python.memsys_enable_stats()
    yield rtsys.get_allocation_stats
    if not were_on:
        _nrt_python.memsys_disable_stats()


def allocations(counter, run) -> np.ndarray:
    """How many times memory was taken and given back while `run` ran."""
    before = np.array(counter())
    run()
    return np.array(counter()) - before


def test_the_counter_sees_an_allocation(counting):
    @compiled
    def allocating(n):
        total = 0.0
        for i in range(n):
            total += np.full(i + 3, 1.0).sum()
        return total

    allocating(1)
    assert (allocations(counting, lambda: allocating(50)) >= 50).all()


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("n_threads", [1, 2])
@pytest.mark.parametrize("rule", ["adam", "muon"])
def test_numba_allocates_nothing_in_a_step(rule, n_threads, dtype, counting):
    few = allocations(counting, job(dtype, rule, n_threads, FEW))
    many = allocations(counting, job(dtype, rule, n_threads, MANY))
    np.testing.assert_array_equal(many, few)


def peak_bytes(run) -> int:
    """The most that Python and NumPy held at a time while `run` ran."""
    tracemalloc.start()
    try:
        run()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("n_threads", [1, 2])
@pytest.mark.parametrize("rule", ["adam", "muon"])
def test_python_and_numpy_allocate_nothing_in_a_step(
    rule, n_threads, dtype, record_property, monkeypatch
):
    # A short job runs without a thread of its own, which takes memory too: here both have one.
    monkeypatch.setattr(cpu, "FLOPS_WITHOUT_THREADS", 0)
    few, many = job(dtype, rule, n_threads, FEW), job(dtype, rule, n_threads, MANY)
    peaks = peak_bytes(few), peak_bytes(many)
    # The learning rates of the job: 8 bytes a step, made here before it begins.
    growth = peaks[1] - peaks[0] - 8 * (MANY - FEW)
    record_property(f"memory of {MANY} steps beyond that of {FEW}, bytes", growth)
    assert peaks[1] < 64 * 1024
    assert growth < 4 * 1024
