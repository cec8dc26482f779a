"""Schedules that are formulas of the step."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from fastmlp.checks import integer, real, shown
from fastmlp.errors import OptionTypeError
from fastmlp.schedules.base import Factors
from fastmlp.schedules.base import Schedule as Schedule
from fastmlp.schedules.plateau import ReduceOnPlateau as ReduceOnPlateau


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


@dataclass(frozen=True)
class Exponential(Schedule):
    """The learning rate times `factor` after every `every_n_steps` steps, smoothly.

    The factor of step s is ``factor^(s / every_n_steps)``. Raises OptionError where factor is not
    > 0 and <= 1 or every_n_steps < 1.

    >>> from fastmlp import schedules
    >>> schedules.Exponential(factor=0.25, every_n_steps=2)(1, 9)
    0.5
    """

    factor: float = 0.9
    every_n_steps: int = 1000

    def __post_init__(self) -> None:
        real("factor of Exponential", self.factor, 0.0, 1.0, low_open=True)
        integer("every_n_steps of Exponential", self.every_n_steps, 1)

    def factors(self, steps: Factors, n_steps: int) -> Factors:
        return np.power(self.factor, steps / self.every_n_steps)


@dataclass(frozen=True)
class InverseScaling(Schedule):
    """``1 / (1 + step)^power``, scikit-learn's "invscaling".

    Raises OptionError where power is not >= 0.

    >>> from fastmlp import schedules
    >>> schedules.InverseScaling(power=0.5)(3, 9)
    0.5
    """

    power: float = 0.5

    def __post_init__(self) -> None:
        real("power of InverseScaling", self.power, 0.0)

    def factors(self, steps: Factors, n_steps: int) -> Factors:
        return np.power(1.0 + steps, -self.power)


@dataclass(frozen=True)
class Polynomial(Schedule):
    """From 1 down to `final` over the fit: ``final + (1 - final) (1 - t)^power``.

    t goes from 0 at the first step to 1 at the last; power 1 is a straight line. Raises
    OptionError where power is not > 0 or final not within 0 and 1.

    >>> from fastmlp import schedules
    >>> [schedules.Polynomial()(step, 5) for step in (0, 2, 4)]
    [1.0, 0.5, 0.0]
    """

    power: float = 1.0
    final: float = 0.0

    def __post_init__(self) -> None:
        real("power of Polynomial", self.power, 0.0, low_open=True)
        real("final of Polynomial", self.final, 0.0, 1.0)

    def factors(self, steps: Factors, n_steps: int) -> Factors:
        t = np.clip(steps / max(1, n_steps - 1), 0.0, 1.0)
        return self.final + (1.0 - self.final) * np.power(1.0 - t, self.power)


@dataclass(frozen=True)
class CosineRestarts(Schedule):
    """Half cosines from 1 down to `final`, begun anew (Loshchilov and Hutter, 2017: SGDR).

    The first lasts `first_steps` steps, each later one `growth` times as long as the one before.
    Raises OptionError where first_steps < 1, growth < 1 or final is not within 0 and 1.

    >>> from fastmlp import schedules
    >>> restarts = schedules.CosineRestarts(first_steps=2)
    >>> [round(restarts(step, 6), 6) for step in range(4)]
    [1.0, 0.5, 1.0, 0.5]
    """

    first_steps: int
    growth: float = 1.0
    final: float = 0.0

    def __post_init__(self) -> None:
        integer("first_steps of CosineRestarts", self.first_steps, 1)
        real("growth of CosineRestarts", self.growth, 1.0)
        real("final of CosineRestarts", self.final, 0.0, 1.0)

    def factors(self, steps: Factors, n_steps: int) -> Factors:
        if self.growth == 1.0:
            t = np.mod(steps, self.first_steps) / self.first_steps
        else:
            # The cycles before number k last first_steps (growth^k - 1) / (growth - 1) together.
            scaled = 1.0 + steps * (self.growth - 1.0) / self.first_steps
            cycle = np.floor(np.log(scaled) / math.log(self.growth) + 1e-12)
            length = self.first_steps * np.power(self.growth, cycle)
            begun = (length - self.first_steps) / (self.growth - 1.0)
            t = np.clip((steps - begun) / length, 0.0, 1.0)
        return self.final + (1.0 - self.final) * 0.5 * (1.0 + np.cos(math.pi * t))


@dataclass(frozen=True)
class OneCycle(Schedule):
    """Up from `start` to 1 over the share `rise` of the steps, then down to `final` (Smith, 2018).

    Both ways along half a cosine, as PyTorch's OneCycleLR has it. Raises OptionError where
    a number leaves [0, 1].

    >>> from fastmlp import schedules
    >>> cycle = schedules.OneCycle(rise=0.5, start=0.0, final=0.0)
    >>> [round(cycle(step, 6), 6) for step in range(6)]
    [0.0, 0.5, 1.0, 0.75, 0.25, 0.0]
    """

    rise: float = 0.3
    start: float = 0.04
    final: float = 4e-6

    def __post_init__(self) -> None:
        for name in ("rise", "start", "final"):
            real(f"{name} of OneCycle", getattr(self, name), 0.0, 1.0)

    def factors(self, steps: Factors, n_steps: int) -> Factors:
        top = max(self.rise * n_steps - 1.0, 0.0)  # the step with the factor 1
        up = np.clip(steps / max(top, 1e-12), 0.0, 1.0)
        down = np.clip((steps - top) / max(n_steps - 1.0 - top, 1e-12), 0.0, 1.0)
        rising = self.start + (1.0 - self.start) * 0.5 * (1.0 - np.cos(math.pi * up))
        falling = self.final + (1.0 - self.final) * 0.5 * (1.0 + np.cos(math.pi * down))
        return np.where(steps < top, rising, falling)


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
