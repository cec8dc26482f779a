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


def running(mean: np.ndarray, variance: np.ndarray, z: np.ndarray):
    """Running means and variances after a minibatch with the sums z; one row changes nothing."""
    if len(z) < 2:
        return mean, variance
    return (
        mean + MOMENTUM * (z.mean(axis=0) - mean),
        variance + MOMENTUM * (z.var(axis=0, ddof=1) - variance),
    )
