"""What the losses are tested with: parameters, numbers of outputs, targets. Asks their records."""

from __future__ import annotations

import numpy as np

from fastmlp.spec.loss_kind import LossKind
from fastmlp.spec.loss_table import kind_of
from fastmlp.spec.losses import Loss


def example_of(name: str) -> Loss:
    """The loss with parameters that are not its defaults."""
    return Loss(name, kind_of(name).examples)


def outputs_of(loss: Loss, n_outputs: int) -> int:
    """The least number of outputs from n_outputs on that a loss takes."""
    each = loss.outputs_per_target
    return max(-(-n_outputs // each) * each, loss.fewest_outputs)


def targets_within(rng: np.random.Generator, kind: LossKind, shape: tuple[int, int]) -> np.ndarray:
    """Targets that the loss takes: 0 or 1, counts where there is no greatest, real numbers."""
    low, high = kind.y_min, kind.y_max
    if kind.targets == "yes_no":
        return rng.integers(0, 2, shape).astype(np.float64)
    if np.isfinite(low) and np.isfinite(high):
        return rng.uniform(low, high, shape)
    if np.isfinite(low):
        return low + rng.poisson(2.0, shape)
    return np.minimum(rng.standard_normal(shape), high)
