"""What a network's raw outputs say: classes, probabilities, values."""

from __future__ import annotations

import numpy as np

from fastmlp.data.targets import LearningTask
from fastmlp.errors import OptionError
from fastmlp.spec.losses import Loss


def predictions(
    task: LearningTask, loss: Loss, z: np.ndarray, classes: np.ndarray | None
) -> np.ndarray:
    """What `predict` returns for the raw outputs `z` (n, n_outputs), which may be overwritten."""
    if task == "multiclass":
        indices = z.argmax(axis=1)
        return indices if classes is None else classes[indices]
    if task == "binary":
        indices = (z[:, 0] > 0).astype(np.int64)
        return indices if classes is None else classes[indices]
    if task == "multilabel":
        return (z > 0).astype(np.int64)
    values = loss.values(z)
    return values[:, 0] if values.shape[1] == 1 else values


def probabilities(task: LearningTask, z: np.ndarray) -> np.ndarray:
    """Class probabilities of the raw outputs `z`, which may be overwritten."""
    if task == "multiclass":
        # The ufuncs' own reductions: those of the array look at more options first.
        z -= np.maximum.reduce(z, axis=1, keepdims=True)
        np.exp(z, out=z)
        z /= np.add.reduce(z, axis=1, keepdims=True)
        return z
    # With e = exp(-|z|) <= 1 nothing overflows, and small probabilities keep their digits.
    e = np.exp(-np.abs(z))
    yes = np.where(z > 0, 1, e) / (1 + e)
    return np.hstack([np.where(z > 0, e, 1) / (1 + e), yes]) if task == "binary" else yes


def deviations(loss: Loss, z: np.ndarray) -> np.ndarray:
    """What `predict_std` returns for the raw outputs `z` (n, n_outputs) of a loss of variances."""
    assert loss.kind.deviations is not None
    found = loss.kind.deviations(z)
    return found[:, 0] if found.shape[1] == 1 else found


def no_probabilities(loss: Loss) -> OptionError:
    """The error for asking a network without classes for their probabilities."""
    return OptionError(
        f"predict_proba needs a loss of classes, got loss={loss.name!r}; use predict, or make "
        "the network with loss='cross_entropy' or 'binary_cross_entropy'"
    )
