"""Update rules: new weight and new state of a vector of weights from its gradient.

    rule(w, g, s1, s2, h) -> w, s1, s2

g: the gradient of the mean loss and the penalties; s1, s2: the rule's state (a rule with fewer
states passes them through); h: `Hyper`. Formulas and their order of operations are PyTorch's.
A new rule is one function here, its name in `codes.OPTIMIZERS` and its number of states.
"""

from typing import NamedTuple

from .. import codes
from ..jit import njit, switch
from .simd import fma, like, sqrt


class Hyper(NamedTuple):
    """What a rule reads in a step, in float64: scalars are rounded once, where they are used."""

    lr: float
    h0: float  # momentum, beta1
    h1: float  # beta2
    h2: float  # eps
    h3: float  # decoupled weight decay; 0 for biases
    correction1: float  # 1 - beta1^t
    correction2: float  # sqrt(1 - beta2^t)


@njit
def sgd(w, g, s1, s2, h):
    """w -= lr g."""
    return fma(g, like(w, -h.lr), w), s1, s2


@njit
def momentum(w, g, s1, s2, h):
    """v = mu v + g; w -= lr v."""
    v = fma(s1, like(w, h.h0), g)
    return fma(v, like(w, -h.lr), w), v, s2


@njit
def nesterov(w, g, s1, s2, h):
    """v = mu v + g; w -= lr (g + mu v)."""
    v = fma(s1, like(w, h.h0), g)
    return fma(fma(v, like(w, h.h0), g), like(w, -h.lr), w), v, s2


@njit
def adam(w, g, s1, s2, h):
    """Kingma and Ba 2015: m = b1 m + (1 - b1) g; v = b2 v + (1 - b2) g^2;
    w -= lr / (1 - b1^t) * m / (sqrt(v) / sqrt(1 - b2^t) + eps)."""
    m = fma(g - s1, like(w, 1.0 - h.h0), s1)
    v = fma(g * g, like(w, 1.0 - h.h1), s2 * h.h1)
    root = fma(sqrt(v), like(w, 1.0 / h.correction2), like(w, h.h2))
    return fma(m / root, like(w, -h.lr / h.correction1), w), m, v


@njit
def adamw(w, g, s1, s2, h):
    """Loshchilov and Hutter 2019: w shrinks by lr * decay, then Adam's step."""
    return adam(w * (1.0 - h.lr * h.h3), g, s1, s2, h)


TABLE = {
    "sgd": sgd, "momentum": momentum, "nesterov": nesterov, "adam": adam, "adamw": adamw,
}  # fmt: skip

# update(code, w, g, s1, s2, h) -> (w, s1, s2)
update = switch("update", TABLE, codes.OPTIMIZERS, 5)
