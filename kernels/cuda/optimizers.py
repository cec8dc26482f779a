"""Update rules of an element; formulas and states in kernels/cpu/optimizers.py.

`rules(T)[name](w, g, s1, s2, s3, lr, h0, h1, h2, rate, root_scale, a, b, carry)` gives the new
w, s1, s2, s3; the numbers after the states are those of structs.Hyper, rounded to T.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ..codes import OPTIMIZERS, check_names
from .jit import device, for_type


@for_type
def rules(T: Any) -> dict[str, Any]:
    """Each by its name, in the order of the codes."""
    zero, one = T(0), T(1)

    @device
    def sgd(w, g, s1, s2, s3, lr, h0, h1, h2, rate, root_scale, a, b, carry):
        return w - lr * g, s1, s2, s3

    @device
    def momentum(w, g, s1, s2, s3, lr, h0, h1, h2, rate, root_scale, a, b, carry):
        v = s1 * carry + g
        return w - lr * v, v, s2, s3

    @device
    def nesterov(w, g, s1, s2, s3, lr, h0, h1, h2, rate, root_scale, a, b, carry):
        v = s1 * carry + g
        return w - lr * (v * h0 + g), v, s2, s3

    @device
    def first(g, m, h0):
        return (g - m) * (one - h0) + m

    @device
    def second(g, v, h1):
        return g * g * (one - h1) + v * h1

    @device
    def adam(w, g, s1, s2, s3, lr, h0, h1, h2, rate, root_scale, a, b, carry):
        m, v = first(g, s1, h0), second(g, s2, h1)
        return w - rate * (m / (math.sqrt(v) * root_scale + h2)), m, v, s3

    @device
    def amsgrad(w, g, s1, s2, s3, lr, h0, h1, h2, rate, root_scale, a, b, carry):
        m, v = first(g, s1, h0), second(g, s2, h1)
        top = v if v > s3 else s3
        return w - rate * (m / (math.sqrt(top) * root_scale + h2)), m, v, top

    @device
    def nadam(w, g, s1, s2, s3, lr, h0, h1, h2, rate, root_scale, a, b, carry):
        m, v = first(g, s1, h0), second(g, s2, h1)
        return w - (g * a + m * b) / (math.sqrt(v) * root_scale + h2), m, v, s3

    @device
    def radam(w, g, s1, s2, s3, lr, h0, h1, h2, rate, root_scale, a, b, carry):
        m, v = first(g, s1, h0), second(g, s2, h1)
        step = m * rate
        if a > zero:
            step = step * a / (math.sqrt(v) + h2)
        return w - step, m, v, s3

    @device
    def rmsprop(w, g, s1, s2, s3, lr, h0, h1, h2, rate, root_scale, a, b, carry):
        v = second(g, s1, h0)
        u = s2 * h1 + g / (math.sqrt(v) + h2)
        return w - lr * u, v, u, s3

    @device
    def adagrad(w, g, s1, s2, s3, lr, h0, h1, h2, rate, root_scale, a, b, carry):
        v = g * g + s1
        return w - lr * (g / (math.sqrt(v) + h2)), v, s2, s3

    @device
    def lion(w, g, s1, s2, s3, lr, h0, h1, h2, rate, root_scale, a, b, carry):
        u = first(g, s1, h0)
        # u * 0 keeps a NaN: a sign would hide it.
        step = lr if u > zero else u * zero
        step = -lr if u < zero else step
        return w - step, first(g, s1, h1), s2, s3

    # muon: of what is not a matrix of a hidden layer; see muon.py for those.
    return {
        "sgd": sgd, "momentum": momentum, "nesterov": nesterov, "adam": adam, "amsgrad": amsgrad,
        "nadam": nadam, "radam": radam, "rmsprop": rmsprop, "adagrad": adagrad, "lion": lion,
        "muon": adam,
    }  # fmt: skip


check_names("rules", rules(np.float32), OPTIMIZERS)
