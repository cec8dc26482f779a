"""Update rules on one array: rule(w, g, states, lr, hyper, t) -> w; states change in place.

t counts the updates from 1. The formulas are those of the papers that the kernels name.
"""

from __future__ import annotations

import numpy as np


def sgd(w, g, states, lr, hyper, t):
    return w - lr * g


def momentum(w, g, states, lr, hyper, t):
    states[0][...] = hyper[0] * states[0] + g
    return w - lr * states[0]


def nesterov(w, g, states, lr, hyper, t):
    states[0][...] = hyper[0] * states[0] + g
    return w - lr * (g + hyper[0] * states[0])


def adam(w, g, states, lr, hyper, t):
    beta1, beta2, eps = hyper[:3]
    states[0][...] = beta1 * states[0] + (1.0 - beta1) * g
    states[1][...] = beta2 * states[1] + (1.0 - beta2) * g**2
    mean, variance = states[0] / (1.0 - beta1**t), states[1] / (1.0 - beta2**t)
    return w - lr * mean / (np.sqrt(variance) + eps)


def adamw(w, g, states, lr, hyper, t):
    return adam(w * (1.0 - lr * hyper[3]), g, states, lr, hyper, t)


TABLE = {"sgd": sgd, "momentum": momentum, "nesterov": nesterov, "adam": adam, "adamw": adamw}
N_STATES = {"sgd": 0, "momentum": 1, "nesterov": 1, "adam": 2, "adamw": 2}

# Numbers to test every rule with: (momentum,) or (beta1, beta2, eps, weight decay).
HYPER = {
    "sgd": (),
    "momentum": (0.9,),
    "nesterov": (0.9,),
    "adam": (0.9, 0.999, 1e-8),
    "adamw": (0.9, 0.999, 1e-8, 0.05),
}


def for_biases(hyper: tuple[float, ...]) -> tuple[float, ...]:
    """The same numbers without decoupled weight decay, which biases never get."""
    return (*hyper[:3], 0.0) if len(hyper) == 4 else hyper
