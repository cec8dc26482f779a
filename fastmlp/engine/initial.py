"""Initial weights, from the counters of Philox: the same on every machine and device."""

from __future__ import annotations

import itertools

import numpy as np

from fastmlp.kernels.cpu.random import (
    MASK32,
    MULTIPLIER_0,
    MULTIPLIER_1,
    N_ROUNDS,
    WEYL_0,
    WEYL_1,
)
from fastmlp.plan import Parameters
from fastmlp.spec import ARRAYS, NetworkSpec

# Units that pass about half of their input on.
RECTIFYING = (
    "relu", "leaky_relu", "elu", "gelu", "gelu_tanh", "silu", "mish", "softplus", "hard_swish",
)  # fmt: skip

# Word c3 of the counters here; dropout's c3 has the layer in its top byte and never this one.
_STREAM = 0xFFFFFFFF


def philox(counters: np.ndarray, key: int) -> np.ndarray:
    """Philox4x32-10 of counters (n, 4) uint64 below 2^32 under a 64-bit key: (n, 4) uint32."""
    x0, x1, x2, x3 = counters.T.astype(np.uint64)
    key0, key1 = key & MASK32, key >> 32
    mask, shift = np.uint64(MASK32), np.uint64(32)
    for _ in range(N_ROUNDS):
        product0, product1 = x0 * np.uint64(MULTIPLIER_0), x2 * np.uint64(MULTIPLIER_1)
        x0, x1, x2, x3 = (
            (product1 >> shift) ^ x1 ^ np.uint64(key0),
            product1 & mask,
            (product0 >> shift) ^ x3 ^ np.uint64(key1),
            product0 & mask,
        )
        key0, key1 = (key0 + WEYL_0) & MASK32, (key1 + WEYL_1) & MASK32
    return np.stack((x0, x1, x2, x3), axis=1).astype(np.uint32)


def uniform01(n: int, layer: int, seed: int) -> np.ndarray:
    """n numbers in (0, 1), float64, of 32 random bits each."""
    blocks = -(-n // 4)
    counters = np.empty((blocks, 4), np.uint64)
    counters[:, 0], counters[:, 1] = np.arange(blocks) & MASK32, layer
    counters[:, 2], counters[:, 3] = np.arange(blocks) >> 32, _STREAM
    return (philox(counters, seed).reshape(-1)[:n] + 0.5) / 2.0**32


def standard_normal(n: int, layer: int, seed: int) -> np.ndarray:
    """n numbers of mean 0 and variance 1: a pair of uniform ones gives one (Box and Muller)."""
    u = uniform01(2 * n, layer, seed).reshape(-1, 2)
    return np.sqrt(-2.0 * np.log(u[:, 0])) * np.cos(2.0 * np.pi * u[:, 1])


def rule_for(activation: str | None) -> str:
    """What "auto" draws for a layer by its activation, None for the output layer."""
    if activation == "selu":
        return "lecun_normal"  # keeps its fixed point (Klambauer et al. 2017)
    return "he_uniform" if activation in RECTIFYING else "glorot_uniform"


def orthogonal(n_in: int, n_out: int, layer: int, seed: int) -> np.ndarray:
    """Orthonormal columns (rows where there are more of them), Saxe et al. 2014.

    Q of a normal matrix, with the signs of R's diagonal: Q alone is not uniformly distributed.
    """
    rows, columns = max(n_in, n_out), min(n_in, n_out)
    q, r = np.linalg.qr(standard_normal(rows * columns, layer, seed).reshape(rows, columns))
    q = q * np.where(np.diag(r) < 0.0, -1.0, 1.0)
    return q if n_in >= n_out else q.T


def initial_parameters(spec: NetworkSpec) -> Parameters:
    """Weights as spec.init says, zero biases, scales of 1, embeddings within +-1 / sqrt(width).

    (float64; of embeddings: Gorishniy et al. 2021.)
    """
    sizes, n_layers = spec.layer_sizes, len(spec.layer_sizes) - 1
    weights = [
        initial_weight(n_in, n_out, layer, spec)
        for layer, (n_in, n_out) in enumerate(itertools.pairwise(sizes))
    ]
    scales: list[np.ndarray | None] = [
        None if norm == "none" else np.ones(n_out)
        for n_out, norm in zip(sizes[1:], (*spec.norms, "none"), strict=True)
    ]
    embeddings = [
        (2.0 * uniform01(n * width, n_layers + i, spec.seed) - 1.0).reshape(n, width)
        / np.sqrt(width)
        for i, (_, n, width) in enumerate(spec.embeddings)
    ]
    return Parameters(weights, [np.zeros(n_out) for n_out in sizes[1:]], scales, embeddings)


def initial_weight(n_in: int, n_out: int, layer: int, spec: NetworkSpec) -> np.ndarray:
    """Weights (in, out) of one layer, float64.

    he (He et al. 2015): variance 2 / fan_in, for units that pass half of their input on; glorot
    (Glorot and Bengio 2010): 2 / (fan_in + fan_out); lecun (LeCun et al. 1998): 1 / fan_in;
    orthogonal: times sqrt 2 for the units of he; uniform: within +-1 / sqrt(fan_in), as PyTorch
    draws its linear layers; zeros, as where the weights are set next. "auto": see `rule_for`.
    """
    activation = spec.activations[layer] if layer < len(spec.activations) else None
    rule = rule_for(activation) if spec.init == "auto" else spec.init
    family, _, shape = rule.partition("_")
    if rule in ("zeros", ARRAYS):
        return np.zeros((n_in, n_out))
    if rule == "orthogonal":
        gain = np.sqrt(2.0) if activation in RECTIFYING else 1.0
        return gain * orthogonal(n_in, n_out, layer, spec.seed)
    variance = {
        "he": 2.0 / n_in,
        "glorot": 2.0 / (n_in + n_out),
        "lecun": 1.0 / n_in,
        "uniform": 1.0 / (3.0 * n_in),
    }[family]
    if shape == "normal":
        unit = standard_normal(n_in * n_out, layer, spec.seed)
    else:
        unit = (2.0 * uniform01(n_in * n_out, layer, spec.seed) - 1.0) * np.sqrt(3.0)
    return (unit * np.sqrt(variance)).reshape(n_in, n_out)
