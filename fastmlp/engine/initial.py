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


def initial_weights(
    sizes: tuple[int, ...], activations: tuple[str, ...], init: str, seed: int
) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Weights (in, out) float64 and zero biases.

    he (He et al. 2015): variance 2 / fan_in, for units that pass half of their input on (relu,
    gelu); glorot (Glorot and Bengio 2010): variance 2 / (fan_in + fan_out), for the others.
    "auto" takes the one that fits the activation of the layer, uniformly distributed.
    """
    weights, biases = [], []
    for layer, (n_in, n_out) in enumerate(itertools.pairwise(sizes)):
        rule = init
        if init == "auto":
            rectifying = layer < len(activations) and activations[layer] in ("relu", "gelu")
            rule = "he_uniform" if rectifying else "glorot_uniform"
        family, _, shape = rule.partition("_")
        variance = 2.0 / n_in if family == "he" else 2.0 / (n_in + n_out)
        if shape == "uniform":
            unit = (2.0 * uniform01(n_in * n_out, layer, seed) - 1.0) * np.sqrt(3.0)
        else:
            # Box and Muller: a pair of uniform numbers gives one normal number.
            u = uniform01(2 * n_in * n_out, layer, seed).reshape(-1, 2)
            unit = np.sqrt(-2.0 * np.log(u[:, 0])) * np.cos(2.0 * np.pi * u[:, 1])
        weights.append((unit * np.sqrt(variance)).reshape(n_in, n_out))
        biases.append(np.zeros(n_out))
    return weights, biases
