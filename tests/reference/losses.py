"""Losses: value (rows,) and gradient (rows, K) of every row, from outputs z (rows, K).

y: (rows, targets), or (rows,) class indices for cross_entropy and focal; parameters: those of
the loss. Nothing is divided by the number of rows.

A new loss has its function here and its entry in TABLE, and in KINK_SIDES where its slope jumps.
The tests over all losses then include it.
"""

from __future__ import annotations

import numpy as np
from scipy import special


def squared_error(z, y, parameters=()):
    return np.mean((z - y) ** 2, axis=1) / 2.0, (z - y) / z.shape[1]


def absolute_error(z, y, parameters=()):
    return np.mean(np.abs(z - y), axis=1), np.sign(z - y) / z.shape[1]


def huber(z, y, parameters):
    error, (delta,) = z - y, parameters
    inside = np.abs(error) <= delta
    value = np.where(inside, 0.5 * error**2, delta * (np.abs(error) - 0.5 * delta))
    slope = np.where(inside, error, delta * np.sign(error))
    return value.mean(axis=1), slope / z.shape[1]


def poisson(z, y, parameters=()):
    return np.mean(np.exp(z) - y * z, axis=1), (np.exp(z) - y) / z.shape[1]


def pinball(values, y, q):
    """Elementwise value and slope of the quantile loss of `values`."""
    error = y - values
    value = np.where(error >= 0.0, q * error, (q - 1.0) * error)
    return value, np.where(error > 0.0, -q, np.where(error < 0.0, 1.0 - q, 0.0))


def quantile(z, y, parameters):
    value, slope = pinball(z, y, parameters[0])
    return value.mean(axis=1), slope / z.shape[1]


def levels(z, parameters):
    """(rows, targets, quantiles): each quantile is the one below it plus softplus of an output."""
    steps = z.reshape(len(z), -1, len(parameters))
    return np.cumsum(np.where(np.arange(len(parameters)), np.logaddexp(0.0, steps), steps), axis=2)


def quantiles(z, y, parameters):
    steps = z.reshape(len(z), -1, len(parameters))
    value, slope = pinball(levels(z, parameters), y[:, :, None], np.array(parameters))
    later = slope[:, :, ::-1].cumsum(axis=2)[:, :, ::-1]
    rise = np.where(np.arange(len(parameters)), special.expit(steps), 1.0)
    return value.mean(axis=(1, 2)), (later * rise).reshape(z.shape) / z.shape[1]


def gaussian_nll(z, y, parameters=()):
    mean, log_variance = np.split(z, 2, axis=1)
    square = (y - mean) ** 2 / np.exp(log_variance)
    slopes = np.hstack([2.0 * (mean - y) / np.exp(log_variance), 1.0 - square])
    return np.mean(log_variance + square, axis=1) / 2.0, slopes / z.shape[1]


def soft_cross_entropy(z, y, parameters=()):
    log_p = z - special.logsumexp(z, axis=1, keepdims=True)
    return -(y * log_p).sum(axis=1), y.sum(axis=1, keepdims=True) * np.exp(log_p) - y


def cross_entropy(z, labels, parameters=(0.0,)):
    smoothing, n = parameters[0], z.shape[1]
    return soft_cross_entropy(z, (1.0 - smoothing) * np.eye(n)[labels] + smoothing / n)


def focal(z, labels, parameters):
    """With s = log p and f(s) = -(1 - e^s)^c s: df/ds and ds/dz = onehot - softmax, chained."""
    rows, (c,) = np.arange(len(z)), parameters
    log_all = special.log_softmax(z, axis=1)
    log_p, p = log_all[rows, labels], np.exp(log_all[rows, labels])
    others = np.where(np.eye(z.shape[1])[labels] == 1.0, -np.inf, log_all)
    rest = np.exp(special.logsumexp(others, axis=1))  # 1 - p
    df = -(rest**c) + c * rest ** (c - 1.0) * p * log_p
    onehot_less_p = np.where(others == -np.inf, rest[:, None], -np.exp(log_all))
    return -(rest**c) * log_p, df[:, None] * onehot_less_p


def binary_cross_entropy(z, y, parameters=()):
    value = np.logaddexp(0.0, z) - y * z
    return value.mean(axis=1), (special.expit(z) - y) / z.shape[1]


TABLE = {
    "squared_error": squared_error,
    "absolute_error": absolute_error,
    "huber": huber,
    "poisson": poisson,
    "quantile": quantile,
    "quantiles": quantiles,
    "gaussian_nll": gaussian_nll,
    "cross_entropy": cross_entropy,
    "soft_cross_entropy": soft_cross_entropy,
    "focal": focal,
    "binary_cross_entropy": binary_cross_entropy,
}

# Elementwise, on which side of the points where the gradient or its slope jumps.
KINK_SIDES = {
    "absolute_error": lambda z, y, parameters: z > y,
    "huber": lambda z, y, parameters: np.sign(z - y) * (np.abs(z - y) > parameters[0]),
    "quantile": lambda z, y, parameters: z > y,
    "quantiles": lambda z, y, parameters: levels(z, parameters) > y[:, :, None],
}
