"""Activations and their derivatives, written down from their definitions."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from scipy import special


def identity(z: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return z, np.ones_like(z)


def relu(z: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return np.maximum(z, 0.0), (z > 0.0).astype(z.dtype)


def tanh(z: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return np.tanh(z), 4.0 * special.expit(2.0 * z) * special.expit(-2.0 * z)


def sigmoid(z: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return special.expit(z), special.expit(z) * special.expit(-z)


def gelu(z: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    cdf, pdf = special.ndtr(z), np.exp(-0.5 * z * z) / np.sqrt(2.0 * np.pi)
    return z * cdf, cdf + z * pdf


def leaky_relu(z: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return np.where(z > 0.0, z, 0.01 * z), np.where(z > 0.0, 1.0, 0.01)


def elu(z: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    low = np.minimum(z, 0.0)
    return np.where(z > 0.0, z, np.expm1(low)), np.exp(low)


def selu(z: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    alpha, scale = selu_constants()
    low = np.minimum(z, 0.0)
    value = np.where(z > 0.0, z, alpha * np.expm1(low))
    return scale * value, scale * np.where(z > 0.0, 1.0, alpha * np.exp(low))


def selu_constants() -> tuple[float, float]:
    """(alpha, scale) that keep N(0, 1) at mean 0 and variance 1: equation 14 of the paper."""
    e, root_2 = np.e, np.sqrt(2.0)
    tail = special.erfc(1.0 / root_2) * np.sqrt(e)
    alpha = -np.sqrt(2.0 / np.pi) / (tail - 1.0)
    square = np.pi * tail**2 - 2.0 * (2.0 + np.pi) * tail + np.pi + 2.0
    inner = 2.0 * special.erfc(root_2) * e**2
    scale = (1.0 - tail) * np.sqrt(2.0 * np.pi) / np.sqrt(inner + square)
    return float(alpha), float(scale)


def gelu_tanh(z: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """With s the sigmoid of 2 u: (1 + tanh u) / 2 = s."""
    root = np.sqrt(8.0 / np.pi)
    s, slope = sigmoid(root * (z + 0.044715 * z**3))
    return z * s, s + z * slope * root * (1.0 + 0.134145 * z**2)


def silu(z: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    s, slope = sigmoid(z)
    return z * s, s + z * slope


def mish(z: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    t, slope = tanh(softplus(z)[0])
    return z * t, t + z * slope * special.expit(z)


def softplus(z: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return np.logaddexp(0.0, z), special.expit(z)


def hard_swish(z: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    inside = (z >= -3.0) & (z <= 3.0)
    slope = np.where(inside, z / 3.0 + 0.5, (z > 3.0).astype(z.dtype))
    return z * np.clip(z + 3.0, 0.0, 6.0) / 6.0, slope


class Oracle(NamedTuple):
    """`function`: of z, gives f(z) and f'(z).

    limits : f(-inf), f(inf) and, where they are numbers, f'(-inf), f'(inf). On the left a gate that
        closes is 0 and NaN follows, or the smallest number, and -inf does.
    kinks : where f' or its slope jumps.
    rounding : how far value and derivative of a kernel may be off, in eps (1 + |f|).
    """

    function: Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]]
    limits: tuple[float, ...]
    kinks: tuple[float, ...] = ()
    rounding: float = 8.0


INF, (ALPHA, SCALE) = np.inf, selu_constants()
# 1 - s cancels where a gate s is near 1, so that gates round more.
ORACLES = {
    "identity": Oracle(identity, (-INF, INF, 1.0, 1.0)),
    "relu": Oracle(relu, (0.0, INF, 0.0, 1.0), kinks=(0.0,)),
    "leaky_relu": Oracle(leaky_relu, (-INF, INF, 0.01, 1.0), kinks=(0.0,)),
    "elu": Oracle(elu, (-1.0, INF, 0.0, 1.0), kinks=(0.0,)),
    "selu": Oracle(selu, (-ALPHA * SCALE, INF, 0.0, SCALE), kinks=(0.0,)),
    "gelu": Oracle(gelu, (np.nan, INF)),
    "gelu_tanh": Oracle(gelu_tanh, (-INF, INF), rounding=30.0),
    "silu": Oracle(silu, (-INF, INF), rounding=12.0),
    "mish": Oracle(mish, (-INF, INF), rounding=20.0),
    "softplus": Oracle(softplus, (0.0, INF, 0.0, 1.0)),
    "hard_swish": Oracle(hard_swish, (np.nan, INF, 0.0, 1.0), kinks=(-3.0, 3.0)),
    "tanh": Oracle(tanh, (-1.0, 1.0, 0.0, 0.0)),
    "sigmoid": Oracle(sigmoid, (0.0, 1.0, 0.0, 0.0)),
}
TABLE = {name: oracle.function for name, oracle in ORACLES.items()}


def kink_sides(name: str, z: np.ndarray) -> np.ndarray | None:
    """How many kinks lie below, elementwise: two points with the same answer have none between.
    None where the function has no kink."""
    kinks = ORACLES[name].kinks
    return sum((z > kink).astype(int) for kink in kinks) if kinks else None
