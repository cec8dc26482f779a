"""A training that is stopped: by a deadline, by Ctrl-C, by an error of who listens."""

from __future__ import annotations

import time
from operator import attrgetter

import numpy as np
import pytest

from fastmlp import optim
from fastmlp.engine.cpu import crew
from fastmlp.engine.cpu import engine as cpu
from fastmlp.engine.train_job import TrainJob
from tests.conftest import LONG

from .tools import DTYPES, dataset, make_engine_with, make_spec, random_parameters, run_alone, train

each_dtype = pytest.mark.parametrize("dtype", DTYPES)
RULE = attrgetter("rule")
N_EPOCHS = 500_000  # of 5 steps: a minute or more


def make(dtype, n_threads=None):
    """An engine, and data of five minibatches."""
    sizes, rng = (6, 33, 17, 4), np.random.default_rng(5)
    spec = make_spec(sizes, activation="gelu", dtype=dtype, n_threads=n_threads)
    engine = make_engine_with(spec, *random_parameters(rng, sizes))
    engine.set_optimizer("sgd", ())
    data = dataset(rng.standard_normal((40, 6)), rng.standard_normal((40, 4)), dtype)
    return engine, data


@each_dtype
def test_a_deadline_ends_a_long_training_early(dtype):
    engine, data = make(dtype)
    result = train(
        engine, data, batch_size=8, n_epochs=N_EPOCHS, lr=1e-6,
        deadline_s=time.perf_counter() + 0.1,
    )  # fmt: skip
    assert result.status == "deadline"
    assert 0 < result.n_steps_done < N_EPOCHS * 5
    assert result.n_epochs_done == result.n_steps_done // 5
    assert engine.get_optimizer_state().n_steps == result.n_steps_done
    assert len(result.loss) == -(-result.n_steps_done // 5)


@each_dtype
@pytest.mark.parametrize("n_threads", [1, 2, 4])
def test_ctrl_c_ends_a_training_with_what_was_reached(n_threads, dtype):
    engine, data = make(dtype, n_threads=n_threads)
    seen = []

    def poll(progress):
        seen.append(progress)
        if len(seen) == 2:
            raise KeyboardInterrupt

    result = train(engine, data, batch_size=8, n_epochs=N_EPOCHS, lr=1e-6, on_poll=poll)
    assert result.status == "interrupted"
    assert len(seen) == 2
    assert 0 < result.n_steps_done < N_EPOCHS * 5
    assert seen[0].epoch * 5 + seen[0].step <= result.n_steps_done
    assert all(p.n_steps == 5 and 0 <= p.step <= 5 and 0 <= p.epoch < N_EPOCHS for p in seen)
    # The steps made are those of an uninterrupted training.
    if result.n_steps_done % 5 == 0:
        fresh, same = make(dtype, n_threads=1)
        train(fresh, same, batch_size=8, n_epochs=result.n_epochs_done, lr=1e-6)
        np.testing.assert_array_equal(engine.params, fresh.params)


@each_dtype
def test_an_error_of_the_listener_ends_the_training_and_is_raised(dtype):
    engine, data = make(dtype, n_threads=2)

    def poll(progress):
        raise LookupError("of the listener")

    with pytest.raises(LookupError, match="of the listener"):
        train(engine, data, batch_size=8, n_epochs=N_EPOCHS, lr=1e-6, on_poll=poll)
    assert np.isfinite(engine.params).all()
    assert train(engine, data, batch_size=8, n_epochs=1).status == "done"


def interrupt_again_and_again(n_threads: int) -> None:
    """Run in a process of its own by the test below."""

    def poll(progress):
        raise KeyboardInterrupt

    for _ in range(60):
        engine, data = make("float64", n_threads)
        result = train(engine, data, batch_size=8, n_epochs=N_EPOCHS, lr=1e-6, on_poll=poll)
        assert result.status == "interrupted"


@pytest.mark.parametrize("n_threads", [2, 4])
def test_threads_agree_on_the_step_that_they_stop_after(n_threads):
    """Were one of them to stop a step earlier, the others would wait for it for ever."""
    run_alone("test_stopping", f"interrupt_again_and_again({n_threads})", timeout=100)


@each_dtype
@pytest.mark.parametrize("norm", [None, "batch"])
@pytest.mark.parametrize("n_threads", [1, 3])
@pytest.mark.parametrize("optimizer", [optim.Adam(), optim.Muon(clip_norm=0.1, ema=0.9)], ids=RULE)
def test_a_step_that_is_left_changes_nothing(optimizer, n_threads, norm, dtype, monkeypatch):
    """Wherever it is left: the rows phase, where threads meet, the sums of dW, the iterations of
    Muon. Another job goes on with the bits of a training that nothing has stopped."""
    monkeypatch.setattr(cpu, "LEAVING_FLOPS", 0)
    monkeypatch.setattr(cpu, "LEAVING_ROWS", 0)
    sizes, n_steps, rng = (20, 150, 90, 3), 4, np.random.default_rng(7)
    spec = make_spec(sizes, activation="relu", dtype=dtype, n_threads=n_threads, norm=norm)
    parameters = random_parameters(np.random.default_rng(1), sizes)
    data = dataset(rng.standard_normal((1200, 20)), rng.standard_normal((1200, 3)), dtype)
    rates = np.full(n_steps, 1e-3)

    def fresh():
        engine = make_engine_with(spec, *parameters)
        engine.set_optimizer(optimizer.rule, optimizer.hyper, optimizer.options)
        return engine

    fresh().train(TrainJob(data, batch_size=300, n_epochs=1, learning_rates=rates))
    lasts_s = []
    for _ in range(3):  # what else the machine does makes some of them long
        whole, began_s = fresh(), time.perf_counter()
        wanted = whole.train(TrainJob(data, batch_size=300, n_epochs=1, learning_rates=rates))
        lasts_s.append(time.perf_counter() - began_s)
    step_s = min(lasts_s) / n_steps
    n_left, least = 0, 60 if LONG else 12
    for trial in range(600):  # a busy machine may not let the caller look in time
        if trial >= least and n_left:
            break
        engine, done, seen, until_s = fresh(), 0, None, 0.0
        # The first job is told to end when its caller looks for the first time.
        monkeypatch.setattr(crew, "POLL_S", rng.uniform(0.0, 1.2 * n_steps * step_s))
        while done < n_steps:
            result = engine.train(
                TrainJob(
                    data, batch_size=300, n_epochs=1, first_step=done, seen=seen,
                    learning_rates=rates[done:], deadline_s=until_s,
                )
            )  # fmt: skip
            n_left += result.status == "deadline"
            done, until_s = done + result.n_steps_done, None
            seen = result.seen if done else None
        np.testing.assert_array_equal(engine.params, whole.params)
        np.testing.assert_array_equal(engine.state, whole.state)
        np.testing.assert_array_equal(engine.running, whole.running)
        np.testing.assert_array_equal(result.loss, wanted.loss)
        np.testing.assert_array_equal(result.grad_norm, wanted.grad_norm)
    assert n_left
