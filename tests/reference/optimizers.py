"""Update rules on one array: rule(w, g, states, lr, hyper, t) -> w; states change in place.

t counts the updates from 1. The formulas are those of the papers that the kernels name.
"""

from __future__ import annotations

import numpy as np

from fastmlp.names import RULES


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


def amsgrad(w, g, states, lr, hyper, t):
    beta1, beta2, eps = hyper
    states[0][...] = beta1 * states[0] + (1.0 - beta1) * g
    states[1][...] = beta2 * states[1] + (1.0 - beta2) * g**2
    states[2][...] = np.maximum(states[2], states[1])
    mean, variance = states[0] / (1.0 - beta1**t), states[2] / (1.0 - beta2**t)
    return w - lr * mean / (np.sqrt(variance) + eps)


def nadam(w, g, states, lr, hyper, t):
    """The momentum of step t is mu_t = beta1 (1 - 0.96^(t / 250) / 2), as in PyTorch."""
    beta1, beta2, eps = hyper
    mu = beta1 * (1.0 - 0.5 * 0.96 ** (np.arange(1, t + 2) / 250.0))
    states[0][...] = beta1 * states[0] + (1.0 - beta1) * g
    states[1][...] = beta2 * states[1] + (1.0 - beta2) * g**2
    mean = mu[t] * states[0] / (1.0 - np.prod(mu))
    mean = mean + (1.0 - mu[t - 1]) * g / (1.0 - np.prod(mu[:t]))
    return w - lr * mean / (np.sqrt(states[1] / (1.0 - beta2**t)) + eps)


def radam(w, g, states, lr, hyper, t):
    beta1, beta2, eps = hyper
    states[0][...] = beta1 * states[0] + (1.0 - beta1) * g
    states[1][...] = beta2 * states[1] + (1.0 - beta2) * g**2
    mean = states[0] / (1.0 - beta1**t)
    top = 2.0 / (1.0 - beta2) - 1.0
    now = top - 2.0 * t * beta2**t / (1.0 - beta2**t)
    if now <= 5.0:
        return w - lr * mean
    rectification = np.sqrt((now - 4) * (now - 2) * top / ((top - 4) * (top - 2) * now))
    root = (np.sqrt(states[1]) + eps) / np.sqrt(1.0 - beta2**t)
    return w - lr * rectification * mean / root


def rmsprop(w, g, states, lr, hyper, t):
    alpha, mu, eps = hyper
    states[0][...] = alpha * states[0] + (1.0 - alpha) * g**2
    states[1][...] = mu * states[1] + g / (np.sqrt(states[0]) + eps)
    return w - lr * states[1]


def adagrad(w, g, states, lr, hyper, t):
    states[0][...] = states[0] + g**2
    return w - lr * g / (np.sqrt(states[0]) + hyper[2])


def lion(w, g, states, lr, hyper, t):
    beta1, beta2 = hyper
    step = np.sign(beta1 * states[0] + (1.0 - beta1) * g)
    states[0][...] = beta2 * states[0] + (1.0 - beta2) * g
    return w - lr * step


NEWTON_SCHULZ = (3.4445, -4.7750, 2.0315)


def newton_schulz(matrix, n_steps, eps):
    """Singular values near 1 in place of the matrix's own, as in PyTorch."""
    wide = matrix.shape[0] < matrix.shape[1]
    x = matrix if wide else matrix.T
    x, (a, b, c) = x / max(np.linalg.norm(x), eps), NEWTON_SCHULZ
    for _ in range(n_steps):
        gram = x @ x.T
        x = a * x + (b * gram + c * gram @ gram) @ x
    return x if wide else x.T


def muon(w, g, states, lr, hyper, t):
    """A matrix (in, out) of a hidden layer; all else takes `adam`, at adam_rate lr."""
    h = RULES["muon"].by_name(hyper)
    mu, ahead = h["momentum"], h["nesterov_momentum"]
    states[0][...] = mu * states[0] + (1.0 - mu) * g
    o = ahead * states[0] + (1.0 - ahead) * g
    n_in, n_out = w.shape
    factor = (
        0.2 * np.sqrt(max(n_in, n_out)) if h["matches_adam"] else np.sqrt(max(1.0, n_out / n_in))
    )
    return w - lr * factor * newton_schulz(o, int(h["n_iterations"]), h["least_norm"])


TABLE = {
    "sgd": sgd, "momentum": momentum, "nesterov": nesterov, "adam": adam, "amsgrad": amsgrad,
    "nadam": nadam, "radam": radam, "rmsprop": rmsprop, "adagrad": adagrad, "lion": lion,
    "muon": adam,
}  # fmt: skip
# Of matrices of hidden layers, where a rule has another one for them.
MATRIX_TABLE = {"muon": muon}
N_STATES = {
    "sgd": 0, "momentum": 1, "nesterov": 1, "adam": 2, "amsgrad": 3, "nadam": 2, "radam": 2,
    "rmsprop": 2, "adagrad": 1, "lion": 1, "muon": 2,
}  # fmt: skip

# Numbers to test every rule with, in the order of its `hyper`.
HYPER = {
    "sgd": (),
    "momentum": (0.9,),
    "nesterov": (0.9,),
    "adam": (0.9, 0.999, 1e-8),
    "amsgrad": (0.9, 0.99, 1e-8),
    "nadam": (0.9, 0.999, 1e-8),
    "radam": (0.9, 0.999, 1e-8),
    "rmsprop": (0.95, 0.5, 1e-8),
    "adagrad": (0.0, 0.0, 1e-8),
    "lion": (0.9, 0.99),
    "muon": (0.9, 0.999, 1e-8, 0.95, 0.95, 5.0, 1e-7, 0.0, 1.0),
}

_ADAMS = {
    rule: {"betas": HYPER[rule][:2], "eps": HYPER[rule][2]}
    for rule in ("adam", "amsgrad", "nadam", "radam")
}
# Which optimizer of PyTorch has a rule, and with which numbers it has those of HYPER.
TORCH = {
    "sgd": ("SGD", {}),
    "momentum": ("SGD", {"momentum": 0.9}),
    "nesterov": ("SGD", {"momentum": 0.9, "nesterov": True}),
    "adam": ("AdamW", _ADAMS["adam"]),
    "amsgrad": ("AdamW", {**_ADAMS["amsgrad"], "amsgrad": True}),
    "nadam": ("NAdam", {**_ADAMS["nadam"], "decoupled_weight_decay": True}),
    "radam": ("RAdam", {**_ADAMS["radam"], "decoupled_weight_decay": True}),
    "rmsprop": ("RMSprop", {"alpha": 0.95, "momentum": 0.5, "eps": 1e-8}),
    "adagrad": ("Adagrad", {"eps": 1e-8}),
}
