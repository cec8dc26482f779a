"""Update rules: new weight and new states of a vector of weights from its gradient.

    rule(w, g, s1, s2, s3, h) -> w, s1, s2, s3

g: the gradient of the mean loss and the penalties, clipped; s1 to s3: the rule's states (a rule
with fewer passes the others through); h: `Hyper`. Formulas and their order of operations are
PyTorch's. Decoupled weight decay is applied to w before any rule is called. A new rule is one
function here, its twin for GPUs and its record in `kernels/rules.py`.
"""

import math
from typing import NamedTuple

from .. import codes
from ..constants import nadam_momentum
from ..jit import njit, switch
from ..rules import NADAM, step_factors
from .simd import fma, like, select, sqrt


class Hyper(NamedTuple):
    """What a rule reads in a step, in float64: scalars are rounded once, where they are used.

    a, b: see `step_factors` of kernels/rules.py.
    """

    lr: float
    h0: float  # the first number of the rule's record: momentum, beta1, alpha
    h1: float  # the second: beta2, momentum of rmsprop
    h2: float  # the third, eps: of adam, amsgrad times root_scale where added before the correction
    rate: float  # lr / (1 - beta1^t); quotients are taken here, once a step and not once a vector
    root_scale: float  # 1 / sqrt(1 - beta2^t)
    a: float  # radam: rectification * sqrt(1 - beta2^t), 0 while undefined; nadam: factor of g
    b: float  # nadam: factor of m
    carry: float  # what momentum and nesterov keep of v: h0, but for a rate within v


@njit
def sgd(w, g, s1, s2, s3, h):
    """w -= lr g."""
    return fma(g, like(w, -h.lr), w), s1, s2, s3


@njit
def momentum(w, g, s1, s2, s3, h):
    """v = mu v + g; w -= lr v."""
    v = fma(s1, like(w, h.carry), g)
    return fma(v, like(w, -h.lr), w), v, s2, s3


@njit
def nesterov(w, g, s1, s2, s3, h):
    """v = mu v + g; w -= lr (g + mu v)."""
    v = fma(s1, like(w, h.carry), g)
    return fma(fma(v, like(w, h.h0), g), like(w, -h.lr), w), v, s2, s3


@njit
def moments(w, g, s1, s2, h):
    """m = b1 m + (1 - b1) g; v = b2 v + (1 - b2) g^2."""
    m = fma(g - s1, like(w, 1.0 - h.h0), s1)
    return m, fma(g * g, like(w, 1.0 - h.h1), s2 * h.h1)


@njit
def adam(w, g, s1, s2, s3, h):
    """Kingma and Ba 2015: w -= lr / (1 - b1^t) m / (sqrt(v) / sqrt(1 - b2^t) + eps)."""
    m, v = moments(w, g, s1, s2, h)
    root = fma(sqrt(v), like(w, h.root_scale), like(w, h.h2))
    return fma(m / root, like(w, -h.rate), w), m, v, s3


@njit
def amsgrad(w, g, s1, s2, s3, h):
    """Reddi et al. 2018: Adam with the largest v so far under the root."""
    m, v = moments(w, g, s1, s2, h)
    top = select(v > s3, v, s3)
    root = fma(sqrt(top), like(w, h.root_scale), like(w, h.h2))
    return fma(m / root, like(w, -h.rate), w), m, v, top


@njit
def nadam(w, g, s1, s2, s3, h):
    """Dozat 2016: w -= (a g + b m) / (sqrt(v / (1 - b2^t)) + eps), a and b: see `step_factors`."""
    m, v = moments(w, g, s1, s2, h)
    root = fma(sqrt(v), like(w, h.root_scale), like(w, h.h2))
    return w - fma(g, like(w, h.a), m * h.b) / root, m, v, s3


@njit
def radam(w, g, s1, s2, s3, h):
    """Liu et al. 2020: Adam's step times the rectification a; without it w -= lr m / (1 - b1^t)."""
    m, v = moments(w, g, s1, s2, h)
    step = m * h.rate
    if h.a > 0.0:
        step = step * h.a / (sqrt(v) + h.h2)
    return w - step, m, v, s3


@njit
def rmsprop(w, g, s1, s2, s3, h):
    """Hinton 2012: v = a v + (1 - a) g^2; u = mu u + g / (sqrt(v) + eps); w -= lr u."""
    v = fma(g * g, like(w, 1.0 - h.h0), s1 * h.h0)
    u = fma(s2, like(w, h.h1), g / (sqrt(v) + h.h2))
    return fma(u, like(w, -h.lr), w), v, u, s3


@njit
def adagrad(w, g, s1, s2, s3, h):
    """Duchi et al. 2011: v += g^2; w -= lr g / (sqrt(v) + eps)."""
    v = fma(g, g, s1)
    return fma(g / (sqrt(v) + h.h2), like(w, -h.lr), w), v, s2, s3


@njit
def lion(w, g, s1, s2, s3, h):
    """Chen et al. 2023: w -= lr sign(b1 m + (1 - b1) g); m = b2 m + (1 - b2) g."""
    u = fma(g - s1, like(w, 1.0 - h.h0), s1)
    lr, zero = like(w, h.lr), like(w, 0.0)
    # u * 0 keeps a NaN: a sign would hide it.
    step = select(u > zero, lr, select(u < zero, -lr, u * zero))
    return w - step, fma(g - s1, like(w, 1.0 - h.h1), s1), s2, s3


# muon: of what is not a matrix of a hidden layer; see muon.py for those.
TABLE = {
    "sgd": sgd, "momentum": momentum, "nesterov": nesterov, "adam": adam, "amsgrad": amsgrad,
    "nadam": nadam, "radam": radam, "rmsprop": rmsprop, "adagrad": adagrad, "lion": lion,
    "muon": adam,
}  # fmt: skip

# update(code, w, g, s1, s2, s3, h) -> (w, s1, s2, s3)
update = switch("update", TABLE, codes.OPTIMIZERS, 6)


momentum_at = njit(nadam_momentum)
step_factors_at = njit(step_factors)


@njit
def momentum_product(rule, beta1, n_steps):
    """mu_1 mu_2 ... mu_n for nadam: its correction of the bias of m has no closed form."""
    product = 1.0
    if rule == NADAM:
        for t in range(1, n_steps + 1):
            product *= momentum_at(beta1, t)
    return product


@njit
def hyper(rule, lr, h0, h1, h2, t, product, carry, early):
    """The scalars of step t (from 1); product: mu_1 ... mu_t of nadam; carry: see `Hyper`; early:
    whether eps is added before the bias of v is corrected.
    """
    power2 = h1**t
    now = later = 0.0
    if rule == NADAM:
        now, later = momentum_at(h0, t), momentum_at(h0, t + 1)
    a, b = step_factors_at(rule, lr, h1, t, power2, product, now, later)
    root_scale = 1.0 / math.sqrt(1.0 - power2)
    eps = h2 * root_scale if early else h2
    return Hyper(lr, h0, h1, eps, lr / (1.0 - h0**t), root_scale, a, b, carry)
