"""Threads that sleep while one goes on alone: the same bits, and every way to end.

With more threads than processors each barrier is a nap, which is far longer than these steps: the
loop leaves the steps to thread 0, and tries all threads again every now and then.
"""

from __future__ import annotations

import time

import numpy as np
import pytest

from fastmlp.engine.cpu import engine as cpu
from fastmlp.engine.cpu import workspace
from fastmlp.engine.train_job import TrainJob
from fastmlp.kernels.structs import Sync
from fastmlp.optim import UpdateOptions

from .tools import DTYPES, dataset, make_engine_with, make_spec, random_parameters, run_alone, train

each_dtype = pytest.mark.parametrize("dtype", DTYPES)
SIZES = (6, 33, 17, 4)


def crowd(patch):
    """Three threads on one processor, as the engine sees it, for any job; decisions every us."""
    patch.setattr(cpu, "n_cores", lambda: 3)
    patch.setattr(workspace, "n_cores", lambda: 1)
    patch.setattr(cpu, "FLOPS_PER_THREAD", 1)
    patch.setattr(cpu, "FLOPS_WITHOUT_THREADS", 0)
    patch.setattr(workspace, "_WINDOW_NS", 1_000)


def leave_it_to_one(patch):
    """As if one thread alone had been measured already, at a time for a step that all together
    never reach: on a busy machine three threads may take turns without waiting for long."""
    make_program = cpu.make_program

    def told(*arguments, **named):
        made = make_program(*arguments, **named)
        made.sync[Sync.ALONE_NS] = 1
        return made

    patch.setattr(cpu, "make_program", told)


def make(dtype, n_threads, options=(), **settings):
    rng = np.random.default_rng(5)
    spec = make_spec(SIZES, activation="gelu", dtype=dtype, n_threads=n_threads, **settings)
    engine = make_engine_with(spec, *random_parameters(rng, SIZES))
    engine.set_optimizer("nadam", (0.9, 0.999, 1e-8), UpdateOptions(**dict(options)))
    data = dataset(rng.standard_normal((43, 6)), rng.standard_normal((43, 4)), dtype)
    return engine, data


@each_dtype
@pytest.mark.parametrize(
    "options", [{}, {"clip_norm": 0.5, "max_norm": 1.0, "ema": 0.9}], ids=["plain", "passes"]
)
def test_the_bits_are_those_of_one_thread(dtype, options, monkeypatch):
    one, data = make(dtype, 1, options, dropout=0.2, l2=0.01)
    expected = train(one, data, batch_size=8, n_epochs=400, lr=1e-3)
    assert one.n_steps_alone == 0
    crowd(monkeypatch)
    leave_it_to_one(monkeypatch)
    many, data = make(dtype, None, options, dropout=0.2, l2=0.01)
    result = train(many, data, batch_size=8, n_epochs=400, lr=1e-3)
    assert many.n_threads_used == 3
    # Both ways were taken, not one alone.
    assert 0 < many.n_steps_alone < 400 * 6
    np.testing.assert_array_equal(many.params, one.params)
    np.testing.assert_array_equal(many.state, one.state)
    np.testing.assert_array_equal(result.loss, expected.loss)
    np.testing.assert_array_equal(result.grad_norm, expected.grad_norm)


@pytest.mark.parametrize("settings", [{"norm": "batch"}, {"n_threads": 3}], ids=["meets", "told"])
def test_threads_that_meet_within_steps_or_were_asked_for_all_take_part(settings, monkeypatch):
    crowd(monkeypatch)
    engine, data = make("float32", **{"n_threads": None, **settings})
    train(engine, data, batch_size=8, n_epochs=50, lr=1e-3)
    assert (engine.n_threads_used, engine.n_steps_alone) == (3, 0)


@each_dtype
def test_a_step_that_goes_wrong_ends_the_training_of_all(dtype, monkeypatch):
    crowd(monkeypatch)
    leave_it_to_one(monkeypatch)
    for wrong in range(1200, 1230):
        engine, data = make(dtype, None)
        rates = np.full(400 * 6, 1e-3)
        rates[wrong:] = 1e300 if dtype == "float64" else 1e37
        result = engine.train(TrainJob(
            data, batch_size=8, n_epochs=400, first_epoch=0, first_step=0, shuffle=False,
            learning_rates=rates,
        ))  # fmt: skip
        assert result.status == "non_finite"
        assert wrong < result.non_finite.step < wrong + 8
        assert engine.n_steps_alone > 0
        assert np.isfinite(engine.params).all()


def end_at_any_moment() -> None:
    """Run in a process of its own by the test below."""
    with pytest.MonkeyPatch.context() as patch:
        crowd(patch)
        for i in range(150):
            engine, data = make("float64", None)
            result = train(
                engine, data, batch_size=8, n_epochs=200_000, lr=1e-6,
                deadline_s=time.perf_counter() + 2e-4 * (i % 37),
            )  # fmt: skip
            assert result.status == "deadline"
        # And at the end of a job, which comes after any number of steps alone.
        for n_epochs in range(1, 120):
            engine, data = make("float64", None)
            assert train(engine, data, batch_size=8, n_epochs=n_epochs).status == "done"


def test_no_thread_is_left_asleep_or_waiting():
    run_alone("test_team", "end_at_any_moment()", timeout=200)
