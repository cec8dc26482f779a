"""Plain Python copies of built-in functions, as a user would write them."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager

import fastmlp


def _silu(z):
    return z / (1 + math.exp(-z))


def _silu_derivative(z):
    s = 1 / (1 + math.exp(-z))
    return s * (1 + z * (1 - s))


def _gelu(z):
    return z * (1 + math.erf(z / math.sqrt(2))) / 2


def _gelu_derivative(z):
    density = math.exp(-z * z / 2) / math.sqrt(2 * math.pi)
    return (1 + math.erf(z / math.sqrt(2))) / 2 + z * density


def _tanh_derivative(z):
    return 1 - math.tanh(z) ** 2


def _softplus(z):
    return max(z, 0.0) + math.log1p(math.exp(-abs(z)))


def _softplus_derivative(z):
    return 1 / (1 + math.exp(-z))


def _huber(z, y):
    d = abs(z - y)
    return d * d / 2 if d <= 1 else d - 0.5


def _huber_derivative(z, y):
    return min(max(z - y, -1.0), 1.0)


# Built-in name: f and f'. That of the copy begins with my_.
ACTIVATIONS = {
    "relu": (lambda z: max(z, 0.0), lambda z: 1.0 if z > 0 else 0.0),
    "tanh": (lambda z: math.tanh(z), _tanh_derivative),
    "gelu": (_gelu, _gelu_derivative),
    "silu": (_silu, _silu_derivative),
    "softplus": (_softplus, _softplus_derivative),
}
# Built-in name: loss, its derivative, its options.
LOSSES = {
    "squared_error": (lambda z, y: (z - y) ** 2 / 2, lambda z, y: z - y, {}),
    "huber": (_huber, _huber_derivative, {}),
    "poisson": (
        lambda z, y: math.exp(z) - y * z, lambda z, y: math.exp(z) - y, {"y_min": 0},
    ),
}  # fmt: skip


@contextmanager
def all_registered() -> Iterator[None]:
    """The copies are registered for as long as this lasts."""
    for name, functions in ACTIVATIONS.items():
        fastmlp.register_activation(f"my_{name}", *functions)
    for name, (loss, derivative, options) in LOSSES.items():
        fastmlp.register_loss(f"my_{name}", loss, derivative, **options)
    try:
        yield
    finally:
        for name in ACTIVATIONS:
            fastmlp.unregister_activation(f"my_{name}")
        for name in LOSSES:
            fastmlp.unregister_loss(f"my_{name}")


def softsign(z):
    return z / (1 + abs(z))


def softsign_derivative(z):
    return 1 / (1 + abs(z)) ** 2


def log_cosh(z, y):
    d = abs(z - y)
    return d + math.log1p(math.exp(-2 * d)) - math.log(2)


def log_cosh_derivative(z, y):
    return math.tanh(z - y)
