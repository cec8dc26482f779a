"""Activations and their derivatives, written down from their definitions."""

from __future__ import annotations

import numpy as np
from scipy import special


def identity(z: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return z, np.ones_like(z)


def relu(z: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return np.maximum(z, 0.0), (z > 0.0).astype(z.dtype)


def tanh(z: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return np.tanh(z), 1.0 / np.cosh(z) ** 2


def sigmoid(z: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return special.expit(z), special.expit(z) * special.expit(-z)


def gelu(z: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    cdf, pdf = special.ndtr(z), np.exp(-0.5 * z * z) / np.sqrt(2.0 * np.pi)
    return z * cdf, cdf + z * pdf


# name -> function of z that gives f(z) and f'(z)
TABLE = {"identity": identity, "relu": relu, "tanh": tanh, "sigmoid": sigmoid, "gelu": gelu}

# Where f' jumps, elementwise: two points with the same answer have no kink between them.
KINK_SIDES = {"relu": lambda z: z > 0.0}
