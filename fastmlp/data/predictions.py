"""What a network's raw outputs say: classes, probabilities, values."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from fastmlp.data.targets import LearningTask
from fastmlp.errors import DataError, OptionError
from fastmlp.spec.losses import Loss

# Raw outputs up to so many are looked at by one product of vectors: a row's prediction takes some
# microseconds.
_FEW_ELEMS = 1 << 12
_BLOCK_ROWS = 1024
_OR_WIDER = {"float32": ", or make the network with dtype='float64'", "float64": ""}
# Inputs below these have squares that fit: where outputs do not, the weights are to blame.
_LARGE = {dtype: math.sqrt(float(np.finfo(dtype).max)) for dtype in ("float32", "float64")}


def check_outputs(z: np.ndarray, X: Any, first_row: int = 0) -> None:
    """Raise DataError where inputs are so large that the raw outputs `z` of the rows of `X` are nan
    or infinite.

    Only `z` is looked at as long as it is finite. Rows are counted from `first_row` on. Outputs
    that are not finite for other reasons, such as the weights, are let pass.
    """
    if is_finite(z):
        return
    rows = np.flatnonzero(~np.isfinite(z).all(axis=1))
    for start in range(0, len(rows), _BLOCK_ROWS):
        part = rows[start : start + _BLOCK_ROWS]
        found = first_large(X[part], z.dtype.name)
        if found is not None:
            i, column, value = found
            raise DataError(
                "X must have numbers of a size at which the network's outputs are finite in "
                f"{z.dtype}, got {value:g} at row {first_row + int(part[i])}, "
                f"column {column}; scale it{_OR_WIDER[z.dtype.name]}"
            )


def first_large(X: np.ndarray, dtype: str) -> tuple[int, int, float] | None:
    """Row, column and value of the first of some finite inputs whose square is infinite in
    `dtype`; None where there is none."""
    if X.dtype.kind != "f":
        return None
    for start in range(0, len(X), _BLOCK_ROWS):
        # The limit may be beyond the type of X.
        block = X[start : start + _BLOCK_ROWS].astype(np.float64)
        large = np.argwhere(np.abs(block) > _LARGE[dtype])
        if len(large):
            i, column = map(int, large[0])
            return start + i, column, float(X[start + i, column])
    return None


def is_finite(z: np.ndarray) -> bool:
    """Whether all are finite; not so of a few that are so large that their squares are not."""
    if z.size <= _FEW_ELEMS and math.isfinite(float(np.vdot(z, z))):
        return True
    with np.errstate(over="ignore", invalid="ignore"):
        total = float(np.add.reduce(z, axis=None))
    return math.isfinite(total) or bool(np.isfinite(z).all())


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
