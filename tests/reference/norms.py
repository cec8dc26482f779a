"""Normalisation of the sums Z (rows, units): normed values, 1 / deviation, and the way back."""

from __future__ import annotations

import numpy as np

EPS = 1e-5
MOMENTUM = 0.1
# Over which axis: a row over its units, a unit over the rows.
AXES = {"layer": 1, "rms": 1, "batch": 0}


def normalise(kind: str, z: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Z^ = (z - mean) / deviation, and 1 / deviation."""
    mean = 0.0 if kind == "rms" else z.mean(axis=AXES[kind], keepdims=True)
    inverse = 1.0 / np.sqrt(((z - mean) ** 2).mean(axis=AXES[kind], keepdims=True) + EPS)
    return (z - mean) * inverse, inverse


def normalise_backward(kind: str, d: np.ndarray, normed: np.ndarray, inverse: np.ndarray):
    """dZ from d = dZ^."""
    axis = AXES[kind]
    mean = 0.0 if kind == "rms" else d.mean(axis=axis, keepdims=True)
    return (d - mean - normed * (d * normed).mean(axis=axis, keepdims=True)) * inverse


def chunks(array: np.ndarray, n_rows: int) -> list[np.ndarray]:
    """The rows in parts of n_rows, the last one shorter."""
    return [array[first : first + n_rows] for first in range(0, len(array), n_rows)]


def chunk_moments(z: np.ndarray, n_rows: int) -> np.ndarray:
    """(chunks, 2, units): mean, and sum of squared deviations from it, of each chunk of rows."""
    return np.array(
        [(part.mean(axis=0), part.var(axis=0) * len(part)) for part in chunks(z, n_rows)]
    )


def chunk_sums(dn: np.ndarray, normed: np.ndarray, n_rows: int) -> np.ndarray:
    """(chunks, 2, units): sums of dN and of dN Z^ of each chunk of rows."""
    pairs = zip(chunks(dn, n_rows), chunks(dn * normed, n_rows), strict=True)
    return np.array([(d.sum(axis=0), product.sum(axis=0)) for d, product in pairs])


def update_running(mean: np.ndarray, variance: np.ndarray, z: np.ndarray):
    """Running means and variances after a minibatch with the sums z; one row changes nothing."""
    if len(z) < 2:
        return mean, variance
    return (
        mean + MOMENTUM * (z.mean(axis=0) - mean),
        variance + MOMENTUM * (z.var(axis=0, ddof=1) - variance),
    )


def fold(weight: np.ndarray, bias: np.ndarray, scale: np.ndarray, mean, variance):
    """Weight and bias of the plain layer that does what a batch-normalised one predicts."""
    factor = scale / np.sqrt(variance + EPS)
    return weight * factor, bias - mean * factor
