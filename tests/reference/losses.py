"""Losses: value (rows,) and gradient (rows, K) of every row, from outputs z (rows, K).

y: (rows, K) targets, or (rows,) class indices for cross_entropy. Nothing is divided by the
number of rows.
"""

from __future__ import annotations

import numpy as np
from scipy import special


def squared_error(z, y, parameter=0.0):
    return np.mean((z - y) ** 2, axis=1) / 2.0, (z - y) / z.shape[1]


def absolute_error(z, y, parameter=0.0):
    return np.mean(np.abs(z - y), axis=1), np.sign(z - y) / z.shape[1]


def huber(z, y, delta):
    error = z - y
    inside = np.abs(error) <= delta
    value = np.where(inside, 0.5 * error**2, delta * (np.abs(error) - 0.5 * delta))
    slope = np.where(inside, error, delta * np.sign(error))
    return value.mean(axis=1), slope / z.shape[1]


def poisson(z, y, parameter=0.0):
    return np.mean(np.exp(z) - y * z, axis=1), (np.exp(z) - y) / z.shape[1]


def quantile(z, y, q):
    error = y - z
    value = np.where(error >= 0.0, q * error, (q - 1.0) * error)
    slope = np.where(error > 0.0, -q, np.where(error < 0.0, 1.0 - q, 0.0))
    return value.mean(axis=1), slope / z.shape[1]


def cross_entropy(z, labels, parameter=0.0):
    rows = np.arange(len(z))
    gradient = special.softmax(z, axis=1)
    gradient[rows, labels] -= 1.0
    return special.logsumexp(z, axis=1) - z[rows, labels], gradient


def binary_cross_entropy(z, y, parameter=0.0):
    value = np.logaddexp(0.0, z) - y * z
    return value.mean(axis=1), (special.expit(z) - y) / z.shape[1]


TABLE = {
    "squared_error": squared_error,
    "absolute_error": absolute_error,
    "huber": huber,
    "poisson": poisson,
    "quantile": quantile,
    "cross_entropy": cross_entropy,
    "binary_cross_entropy": binary_cross_entropy,
}

# Where the gradient or its slope jumps, as in `activations.KINK_SIDES`.
KINK_SIDES = {
    "absolute_error": lambda z, y, parameter: z > y,
    "huber": lambda z, y, delta: np.sign(z - y) * (np.abs(z - y) > delta),
    "quantile": lambda z, y, parameter: z > y,
}
