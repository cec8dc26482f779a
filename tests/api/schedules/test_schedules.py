"""Factors of schedules, and how a fit uses them."""

import math
from itertools import pairwise

import numpy as np
import pytest
import torch

import fastmlp
from fastmlp import errors, schedules
from fastmlp.schedules.base import learning_rates


def test_cosine_rises_falls_and_ends():
    cosine = schedules.Cosine(warmup_steps=10, final=0.2)
    factors = [cosine(step, 101) for step in range(101)]
    assert factors[:10] == pytest.approx([(step + 1) / 11 for step in range(10)])
    assert factors[10] == 1.0
    assert factors[55] == pytest.approx(0.6)
    assert factors[100] == pytest.approx(0.2)
    assert all(a > b for a, b in pairwise(factors[10:]))


@pytest.mark.parametrize("n_steps", [1, 2, 3])
@pytest.mark.parametrize("warmup_steps", [0, 1, 2, 5])
def test_cosine_of_few_steps_stays_in_range(n_steps, warmup_steps):
    cosine = schedules.Cosine(warmup_steps=warmup_steps)
    assert all(0 <= cosine(step, n_steps) <= 1 for step in range(n_steps))


def test_step_and_constant():
    step = schedules.Step(every_n_steps=3, factor=0.1)
    assert [step(i, 9) for i in range(7)] == pytest.approx([1, 1, 1, 0.1, 0.1, 0.1, 0.01])
    assert schedules.Constant()(5, 10) == 1.0


@pytest.mark.parametrize(
    ("make", "match"),
    [
        (lambda: schedules.Cosine(warmup_steps=-1), "warmup_steps of Cosine must be >= 0, got -1"),
        (lambda: schedules.Cosine(final=2), "final of Cosine must be >= 0 and <= 1, got 2"),
        (lambda: schedules.Step(0), "every_n_steps of Step must be >= 1, got 0"),
        (lambda: schedules.Step(5, factor=0), "factor of Step must be > 0 and <= 1, got 0"),
    ],
)
def test_bad_numbers(make, match):
    with pytest.raises(errors.OptionError, match=match):
        make()


@pytest.mark.parametrize("schedule", [schedules.Cosine(7, 0.1), schedules.Step(4, 0.3)])
def test_a_table_has_the_rates_of_its_steps(schedule):
    whole = learning_rates(schedule, 0.5, 0, 40, 40)
    pieces = [learning_rates(schedule, 0.5, first, 10, 40) for first in range(0, 40, 10)]
    np.testing.assert_array_equal(whole, np.concatenate(pieces))
    np.testing.assert_array_equal(
        whole, learning_rates(lambda s, n: schedule(s, n), 0.5, 0, 40, 40)
    )


def test_a_fit_asks_for_every_step_once(X, y):
    asked = []

    def schedule(step, n_steps):
        asked.append((step, n_steps))
        return 1 / (1 + step)

    net = fastmlp.Network([4, 3], loss="cross_entropy")
    history = net.fit(X, y, epochs=3, batch_size=16, schedule=schedule, optimizer="sgd")
    assert asked == [(step, 12) for step in range(12)]
    assert history.lr == pytest.approx([0.01 / 4, 0.01 / 8, 0.01 / 12])


def test_a_factor_of_zero_trains_nothing(X, y, same_weights):
    net = fastmlp.Network([4, 3], loss="cross_entropy")
    net.fit(X, y, epochs=2, schedule=lambda step, n_steps: 0)
    assert same_weights(net, fastmlp.Network([4, 3], loss="cross_entropy"))


def test_the_rate_of_a_step_is_the_one_used(X, y):
    net = fastmlp.Network([4, 3], loss="cross_entropy", dtype="float64")
    start = net.weights[0]
    _, (gradient,), _ = net.loss_and_gradients(X, y)
    net.fit(
        X, y, epochs=1, batch_size=60, optimizer=fastmlp.optim.SGD(lr=0.5),
        schedule=lambda step, n: 0.25,
    )  # fmt: skip
    np.testing.assert_allclose(net.weights[0], start - 0.125 * gradient, rtol=1e-12, atol=1e-15)


def test_a_schedule_that_fails_late_names_the_step_and_keeps_the_record(X, y, monkeypatch):
    monkeypatch.setattr("fastmlp.training.epochs.FUNCTION_STEPS", 8)
    net = fastmlp.Network([4, 3], loss="cross_entropy")
    with pytest.raises(errors.OptionError, match="inf at step 9 of 16"):
        net.fit(X, y, epochs=4, batch_size=16, schedule=lambda s, n: math.inf if s == 9 else 1.0)
    assert net.n_epochs_ == 2
    assert net.history_.epochs == [1, 2]
    assert net.history_.stopped_by == "error"


def test_one_cycle_is_that_of_pytorch():
    for n_steps, rise in ((50, 0.3), (37, 0.5)):
        optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0)
        cycle = torch.optim.lr_scheduler.OneCycleLR(
            optimizer, max_lr=1.0, total_steps=n_steps, pct_start=rise
        )
        wanted = []
        for step in range(n_steps):
            wanted.append(optimizer.param_groups[0]["lr"])
            optimizer.step()
            if step < n_steps - 1:
                cycle.step()
        ours = schedules.OneCycle(rise=rise).factors(np.arange(float(n_steps)), n_steps)
        np.testing.assert_allclose(ours, wanted, atol=1e-12)


@pytest.mark.parametrize("growth", [1, 2, 3])
def test_cosine_restarts_are_those_of_pytorch(growth):
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0)
    restarts = torch.optim.lr_scheduler.CosineAnnealingWarmRestarts(optimizer, 5, growth)
    wanted = []
    for _ in range(80):
        wanted.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        restarts.step()
    ours = schedules.CosineRestarts(5, growth).factors(np.arange(80.0), 80)
    np.testing.assert_allclose(ours, wanted, atol=1e-12)


class Odd(schedules.Schedule):
    """Factors of any kind."""

    def __init__(self, factors):
        self.given = factors

    def factors(self, steps, n_steps):
        return self.given


@pytest.mark.parametrize("factors", [1.0, np.ones(3), np.ones((4, 1)), np.array(["a"] * 4)])
def test_factors_must_be_a_number_for_each_step(factors):
    with pytest.raises(errors.OptionTypeError, match="a number for each of the 4 steps, got dtype"):
        learning_rates(Odd(factors), 0.1, 0, 4, 4)
    assert learning_rates(Odd(np.array([1, 0, 1, 2])), 0.5, 0, 4, 4).tolist() == [0.5, 0, 0.5, 1]


def test_a_schedule_must_say_its_factors():
    class Says(schedules.Schedule):
        pass

    with pytest.raises(NotImplementedError, match=r"Says must define factors\(steps, n_steps\)"):
        Says()(0, 10)
