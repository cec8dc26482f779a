"""Learning-rate schedules: a factor on the optimizer's lr for every step of a fit.

A schedule is any callable ``(step, n_steps) -> factor``: `step` counts from 0 over the whole fit
of `n_steps` steps, the factor is a finite number >= 0. The classes here are such callables, and
give the factors of many steps at once.
"""

from __future__ import annotations

import math
import numbers
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastmlp.checks import integer, real, shown
from fastmlp.errors import OptionError, OptionTypeError

Factors = NDArray[np.float64]


class Schedule:
    """The base of the schedules here: a subclass gives `factors`."""

    def factors(self, steps: Factors, n_steps: int) -> Factors:
        """The factor of each of `steps` (float64, whole numbers), of the same shape."""
        raise NotImplementedError(
            f"{type(self).__name__} must define factors(steps, n_steps); a plain function "
            "(step, n_steps) -> factor is a schedule too"
        )

    def __call__(self, step: int, n_steps: int) -> float:
        return float(self.factors(np.array([step], dtype=np.float64), n_steps)[0])


@dataclass(frozen=True)
class Constant(Schedule):
    """The same learning rate at every step.

    >>> from fastmlp import schedules
    >>> schedules.Constant()(7, 100)
    1.0
    """

    def factors(self, steps: Factors, n_steps: int) -> Factors:
        return np.ones_like(steps)


@dataclass(frozen=True)
class Cosine(Schedule):
    """A linear rise over `warmup_steps`, then half a cosine down to the factor `final`.

    Step ``s`` of the rise has the factor ``(s + 1) / (warmup_steps + 1)``, so no step is wasted
    at zero. The rest goes ``final + (1 - final) (1 + cos(pi t)) / 2`` with t from 0 to 1
    (Loshchilov and Hutter, 2017, without restarts); the fit's last step has t = 1.

    Raises OptionError where warmup_steps < 0 or final is not within 0 and 1.

    >>> from fastmlp import schedules
    >>> cosine = schedules.Cosine(warmup_steps=1, final=0.1)
    >>> [round(cosine(step, 4), 3) for step in range(4)]
    [0.5, 1.0, 0.55, 0.1]
    """

    warmup_steps: int = 0
    final: float = 0.0

    def __post_init__(self) -> None:
        integer("warmup_steps of Cosine", self.warmup_steps, 0)
        real("final of Cosine", self.final, 0.0, 1.0)

    def factors(self, steps: Factors, n_steps: int) -> Factors:
        n_falling = max(1, n_steps - 1 - self.warmup_steps)
        t = np.clip((steps - self.warmup_steps) / n_falling, 0.0, 1.0)
        falling = self.final + (1.0 - self.final) * 0.5 * (1.0 + np.cos(math.pi * t))
        rising = (steps + 1.0) / (self.warmup_steps + 1.0)
        return np.where(steps < self.warmup_steps, rising, falling)


@dataclass(frozen=True)
class Step(Schedule):
    """The learning rate times `factor` after every `every_n_steps` steps.

    Raises OptionError where every_n_steps < 1 or factor is not > 0 and <= 1.

    >>> from fastmlp import schedules
    >>> [schedules.Step(every_n_steps=2, factor=0.5)(step, 5) for step in range(5)]
    [1.0, 1.0, 0.5, 0.5, 0.25]
    """

    every_n_steps: int
    factor: float = 0.1

    def __post_init__(self) -> None:
        integer("every_n_steps of Step", self.every_n_steps, 1)
        real("factor of Step", self.factor, 0.0, 1.0, low_open=True)

    def factors(self, steps: Factors, n_steps: int) -> Factors:
        return np.power(self.factor, steps // self.every_n_steps)


def as_schedule(schedule: object) -> Callable[[int, int], Any]:
    """The schedule itself, Constant() for None."""
    if schedule is None:
        return Constant()
    if isinstance(schedule, type) and issubclass(schedule, Schedule):
        raise OptionTypeError(
            f"schedule must be an object, got the class {schedule.__name__}; "
            f"write {schedule.__name__}(...)"
        )
    if not callable(schedule):
        raise OptionTypeError(
            "schedule must be one of fastmlp.schedules or a function (step, n_steps) -> factor, "
            f"got {shown(schedule)}"
        )
    return schedule


def learning_rates(
    schedule: Callable[[int, int], Any], lr: float, first: int, n: int, n_steps: int
) -> Factors:
    """lr times the factors of the `n` steps from `first` on, (n,) float64.

    Raises OptionTypeError or OptionError that names the first step whose factor is no number,
    not finite or negative.
    """
    if isinstance(schedule, Schedule):
        factors = np.asarray(schedule.factors(np.arange(first, first + n, dtype=float), n_steps))
        if factors.shape != (n,) or factors.dtype.kind not in "biuf":
            raise OptionTypeError(
                f"factors of {type(schedule).__name__} must give a number for each of the {n} "
                f"steps, got dtype {factors.dtype} of shape {factors.shape}"
            )
        rates = lr * factors.astype(np.float64)
        wrong = ~((rates >= 0.0) & (rates < math.inf))
        if wrong.any():
            step = int(np.argmax(wrong))
            raise _bad_factor(float(factors[step]), first + step, n_steps)
        return rates
    rates = np.empty(n, dtype=np.float64)
    for i in range(n):
        factor = schedule(first + i, n_steps)
        if not isinstance(factor, numbers.Real):
            raise OptionTypeError(
                f"schedule must give a number for every step, got {shown(factor)} "
                f"at step {first + i} of {n_steps}"
            )
        rates[i] = lr * float(factor)
        if not 0.0 <= rates[i] < math.inf:
            raise _bad_factor(float(factor), first + i, n_steps)
    return rates


def _bad_factor(factor: float, step: int, n_steps: int) -> OptionError:
    return OptionError(
        f"schedule must give a finite factor >= 0 for every step, got {factor:g} "
        f"at step {step} of {n_steps}"
    )
