"""Initial weights, from the counters of Philox: the same on every machine and device."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from fastmlp.kernels import activations
from fastmlp.kernels.counters import (
    MASK32,
    MULTIPLIER_0,
    MULTIPLIER_1,
    N_ROUNDS,
    WEYL_0,
    WEYL_1,
)
from fastmlp.layout.parameters import ParameterPlan
from fastmlp.spec.allowed import ARRAYS
from fastmlp.spec.network import NetworkSpec

# Weights drawn at a time: the numbers on the way to them stay in the second-level cache.
_BLOCK_ELEMS = 1 << 14

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


def uniform01(n: int, layer: int, seed: int, first: int = 0) -> np.ndarray:
    """Numbers `first` to first + n of a layer's, in (0, 1), float64, of 32 random bits each."""
    block, skipped = divmod(first, 4)
    numbers = np.arange(block, -(-(first + n) // 4))
    counters = np.empty((len(numbers), 4), np.uint64)
    counters[:, 0], counters[:, 1] = numbers & MASK32, layer
    counters[:, 2], counters[:, 3] = numbers >> 32, _STREAM
    return (philox(counters, seed).reshape(-1)[skipped : skipped + n] + 0.5) / 2.0**32


def standard_normal(n: int, layer: int, seed: int, first: int = 0) -> np.ndarray:
    """Numbers of mean 0 and variance 1: a pair of uniform ones gives one (Box and Muller)."""
    u = uniform01(2 * n, layer, seed, 2 * first).reshape(-1, 2)
    return np.sqrt(-2.0 * np.log(u[:, 0])) * np.cos(2.0 * np.pi * u[:, 1])


def rule_for(activation: str | None) -> str:
    """What "auto" draws for a layer by its activation, a user's own or None (the output layer)
    among them."""
    record = activations.TABLE.get(activation or "")
    return record.init if record else "glorot_uniform"


def orthogonal(n_in: int, n_out: int, layer: int, seed: int) -> np.ndarray:
    """Orthonormal columns (rows where there are more of them), Saxe et al. 2014.

    Q of a normal matrix, with the signs of R's diagonal: Q alone is not uniformly distributed.
    """
    rows, columns = max(n_in, n_out), min(n_in, n_out)
    q, r = np.linalg.qr(standard_normal(rows * columns, layer, seed).reshape(rows, columns))
    q = q * np.where(np.diag(r) < 0.0, -1.0, 1.0)
    return q if n_in >= n_out else q.T


def initialise(params: np.ndarray, plan: ParameterPlan, spec: NetworkSpec) -> None:
    """Weights as spec.init says, scales of 1, embeddings within +-1 / sqrt(width), into zeros.

    (Embeddings: Gorishniy et al. 2021.) Rows are drawn in blocks, as all of them in float64 would
    take several times the memory of the parameters.
    """
    n_layers = len(plan.layers)
    for number, layer in enumerate(plan.layers):
        for rows, values in _weight_blocks(layer.n_in, layer.n_out, number, spec):
            for panel, columns in plan.panel_views(params, layer):
                panel[rows] = values[:, columns]
        for vector, where in layer.vectors():
            params[where] = vector.initial
    for number, table in enumerate(plan.embeddings):
        view, seed = plan.table_view(params, table), spec.seed
        for rows, first, n in _row_blocks(table.n_categories, table.width):
            values = 2.0 * uniform01(n, n_layers + number, seed, first) - 1.0
            view[rows] = values.reshape(-1, table.width) / np.sqrt(table.width)


def _row_blocks(n_rows: int, n_columns: int) -> Iterator[tuple[slice, int, int]]:
    """Rows of a matrix in blocks, each with its first element and number of elements."""
    step = max(1, _BLOCK_ELEMS // n_columns)
    for start in range(0, n_rows, step):
        stop = min(start + step, n_rows)
        yield slice(start, stop), start * n_columns, (stop - start) * n_columns


def _weight_blocks(
    n_in: int, n_out: int, layer: int, spec: NetworkSpec
) -> Iterator[tuple[slice, np.ndarray]]:
    """Rows of a layer's weights (in, out) with their values, float64.

    he (He et al. 2015): variance 2 / fan_in, for units that pass half of their input on; glorot
    (Glorot and Bengio 2010): 2 / (fan_in + fan_out); lecun (LeCun et al. 1998): 1 / fan_in;
    orthogonal: times sqrt 2 for the units of he; uniform: within +-1 / sqrt(fan_in), as PyTorch
    draws its linear layers; zeros, as where the weights are set next. "auto": see `rule_for`.
    """
    activation = spec.activations[layer] if layer < len(spec.activations) else None
    rule = rule_for(activation) if spec.init == "auto" else spec.init
    family, _, shape = rule.partition("_")
    if rule in ("zeros", ARRAYS):
        return
    if rule == "orthogonal":
        gain = np.sqrt(2.0) if rule_for(activation) == "he_uniform" else 1.0
        yield slice(0, n_in), gain * orthogonal(n_in, n_out, layer, spec.seed)
        return
    variance = {
        "he": 2.0 / n_in,
        "glorot": 2.0 / (n_in + n_out),
        "lecun": 1.0 / n_in,
        "uniform": 1.0 / (3.0 * n_in),
    }[family]
    for rows, first, n in _row_blocks(n_in, n_out):
        if shape == "normal":
            unit = standard_normal(n, layer, spec.seed, first)
        else:
            unit = (2.0 * uniform01(n, layer, spec.seed, first) - 1.0) * np.sqrt(3.0)
        yield rows, (unit * np.sqrt(variance)).reshape(-1, n_out)
