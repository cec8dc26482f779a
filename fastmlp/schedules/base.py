"""What a schedule is, and the learning rates of many steps that follow from one."""

from __future__ import annotations

import math
import numbers
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastmlp.checks import shown
from fastmlp.errors import OptionError, OptionTypeError

# Factors that a schedule is asked for at a time: on their way they take several times the memory.
_BLOCK_STEPS = 1 << 16

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


def learning_rates(
    schedule: Callable[[int, int], Any], lr: float, first: int, n: int, n_steps: int
) -> Factors:
    """lr times the factors of the `n` steps from `first` on, (n,) float64.

    Raises OptionTypeError or OptionError that names the first step whose factor is no number,
    not finite or negative.
    """
    rates = np.empty(n, dtype=np.float64)
    if isinstance(schedule, Schedule):
        for start in range(0, n, _BLOCK_STEPS):
            block = rates[start : start + _BLOCK_STEPS]
            _fill(block, schedule, lr, first + start, n_steps)
        return rates
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


def _fill(block: Factors, schedule: Schedule, lr: float, first: int, n_steps: int) -> None:
    """Learning rates of the steps from `first` on into `block`; raises as `learning_rates`."""
    n = len(block)
    factors = np.asarray(schedule.factors(np.arange(first, first + n, dtype=float), n_steps))
    if factors.shape != (n,) or factors.dtype.kind not in "biuf":
        raise OptionTypeError(
            f"factors of {type(schedule).__name__} must give a number for each of the {n} "
            f"steps, got dtype {factors.dtype} of shape {factors.shape}"
        )
    block[:] = lr * factors.astype(np.float64)
    wrong = ~((block >= 0.0) & (block < math.inf))
    if wrong.any():
        step = int(np.argmax(wrong))
        raise _bad_factor(float(factors[step]), first + step, n_steps)


def _bad_factor(factor: float, step: int, n_steps: int) -> OptionError:
    return OptionError(
        f"schedule must give a finite factor >= 0 for every step, got {factor:g} "
        f"at step {step} of {n_steps}"
    )
