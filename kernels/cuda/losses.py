"""Losses: values of rows and dz; formulas in kernels/cpu/losses.py.

A loss is `terms(z, y, parameter) -> (value, slope)` of an element, whose mean over the outputs is
taken, or a few lines for a row that a group of lanes shares. A kernel has rows of several groups
in a block; it adds up losses and weights of its rows, in float64, and the last block those of all
blocks where these are few.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numba import cuda

from ..codes import LOSSES, check_names
from .activations import functions
from .generated import generated
from .jit import SMALL, THREADS, device, for_type
from .last import is_last_block
from .steps import sum_losses, weigh_losses
from .structs import Clock
from .sums import block_sum, group_max, group_sum

MAX_LANES = 4 if SMALL else 32


@for_type
def terms(T: Any) -> dict[str, Any]:
    """Losses of elements by name."""
    zero, one, half = T(0), T(1), T(0.5)
    sigmoid, _ = functions(T)

    @device
    def squared_error(z, y, parameter):
        d = z - y
        return d * d * half, d

    @device
    def absolute_error(z, y, parameter):
        d = z - y
        if d > zero:
            return d, one
        return -d, (-one if d < zero else d * zero)

    @device
    def huber(z, y, delta):
        d = z - y
        clipped = delta if d > delta else d
        clipped = -delta if d < -delta else clipped
        return clipped * (d - clipped * half), clipped

    @device
    def poisson(z, y, parameter):
        rate = math.exp(z)
        return rate - y * z, rate - y

    @device
    def quantile(z, y, q):
        d = z - y
        slope = one - q if d > zero else d * zero
        slope = -q if d < zero else slope
        return slope * d, slope

    @device
    def binary_cross_entropy(z, y, parameter):
        e = math.exp(-abs(z))
        linear = (zero if z < zero else z) - y * z
        return linear + math.log1p(e), sigmoid(z) - y

    return {
        "squared_error": squared_error, "absolute_error": absolute_error, "huber": huber,
        "poisson": poisson, "quantile": quantile, "binary_cross_entropy": binary_cross_entropy,
    }  # fmt: skip


ELEMENTWISE = """
scale, sums = T(1.0 / n_columns), zero
parameter = T(parameters[0])
for j in range(lane, count, LANES):
    value, slope = terms(z[z_at + j], targets[y_at + j], parameter)
    sums += value
    dz[z_at + j] = slope * scale
value = total(scratch, t, sums) * scale
"""

# dz = e^(z - peak), their sum, and what turns it into softmax(z); log softmax(z) = (z - peak) -
# log_total, in this order.
_SOFTMAX = """
peak, sums = low, zero
for j in range(lane, count, LANES):
    peak = max(peak, z[z_at + j])
peak = largest(scratch, t, peak)
for j in range(lane, count, LANES):
    e = math.exp(z[z_at + j] - peak)
    sums += e
    dz[z_at + j] = e
sums = total(scratch, t, sums)
if count == 0:
    sums = one
inverse, log_total = one / sums, math.log(sums)
"""

CROSS_ENTROPY = (
    _SOFTMAX
    + """
smoothing = T(parameters[0])
sums, share = zero, smoothing / T(n_columns)
for j in range(lane, count, LANES):
    q = share + (one - smoothing if j == label else zero)
    dz[z_at + j] = dz[z_at + j] * inverse - q
    if q > zero:
        sums += q * (log_total + (peak - z[z_at + j]))
value = total(scratch, t, sums)
"""
)

SOFT_CROSS_ENTROPY = (
    _SOFTMAX
    + """
mass, sums = zero, zero
for j in range(lane, count, LANES):
    q = targets[y_at + j]
    mass += q
    sums += q * (z[z_at + j] - peak)
mass = total(scratch, t, mass)
sums = total(scratch, t, sums)
for j in range(lane, count, LANES):
    dz[z_at + j] = dz[z_at + j] * inverse * mass - targets[y_at + j]
value = mass * log_total - sums
"""
)

FOCAL = (
    _SOFTMAX
    + """
focusing, sums, log_p = T(parameters[0]), zero, zero
for j in range(lane, count, LANES):
    p = dz[z_at + j] * inverse
    dz[z_at + j] = p
    if j != label:
        sums += p
rest = total(scratch, t, sums)
if count > 0:
    log_p = (z[z_at + label] - peak) - log_total
power = math.pow(rest, focusing)
slope = power
if focusing > zero and rest > zero:
    slope -= focusing * math.exp(log_p) * power / rest * log_p
for j in range(lane, count, LANES):
    p = dz[z_at + j]
    dz[z_at + j] = -rest * slope if j == label else p * slope
value = -power * log_p
"""
)

# Few outputs, one lane a row.
GAUSSIAN_NLL = """
k, value = count // 2, 0.0
for j in range(k):
    d, s = float(z[z_at + j]) - targets[y_at + j], float(z[z_at + k + j])
    precision = math.exp(-s)
    value += s + d * d * precision
    dz[z_at + j] = T(d * precision / k)
    dz[z_at + k + j] = T((1.0 - d * d * precision) / count)
value /= n_columns
"""

QUANTILES = """
n_levels, scale, value = int(parameters[0]), 1.0 / n_columns, 0.0
for target in range(count // n_levels):
    at, wanted, v = z_at + target * n_levels, float(targets[y_at + target]), 0.0
    for i in range(n_levels):
        raw = float(z[at + i])
        v += raw if i == 0 else max(raw, 0.0) + math.log1p(math.exp(-abs(raw)))
        q, d = parameters[1 + i], v - wanted
        slope = 1.0 - q if d > 0.0 else (-q if d < 0.0 else d * 0.0)
        value += slope * d
        dz[at + i] = T(slope * scale)
    later = 0.0
    for i in range(n_levels - 1, -1, -1):
        later += dz[at + i]
        rise = 1.0
        if i > 0:
            raw = float(z[at + i])
            e = math.exp(-abs(raw))
            rise = 1.0 / (1.0 + e) if raw >= 0.0 else e / (1.0 + e)
        dz[at + i] = T(later * rise)
value *= scale
"""

OF_ROWS = {
    "cross_entropy": CROSS_ENTROPY, "soft_cross_entropy": SOFT_CROSS_ENTROPY, "focal": FOCAL,
    "gaussian_nll": GAUSSIAN_NLL, "quantiles": QUANTILES,
}  # fmt: skip
ONE_LANE = ("gaussian_nll", "quantiles")

_ARGUMENTS = (
    "dz, partial, history, clock, numbers, z, rows, labels, targets, weights, parameters, job, "
    "floats, rates, ld, n_columns, ld_y, has_labels, has_weights"
)
_KERNEL = """
    scratch = cuda.shared.array(THREADS, T)
    doubles = cuda.shared.array(THREADS, float64)
    t = cuda.threadIdx.x
    lane, r = t % LANES, cuda.blockIdx.x * ROWS + t // LANES
    # All threads take part in the sums, those beyond the last row with nothing.
    count, z_at, y_at, label, weight = 0, r * ld, np.int64(0), np.int64(0), one
    if r < clock[Clock.N_ROWS]:
        count = n_columns
        if has_labels:
            label = np.int64(labels[rows[r]])
        else:
            y_at = rows[r] * ld_y
        if has_weights:
            weight = weights[rows[r]]
{row}
    loss_sum = weight_sum = 0.0
    if count > 0:
        if has_weights:
            for j in range(lane, count, LANES):
                dz[z_at + j] *= weight
        for j in range(n_columns + lane, ld, LANES):
            dz[z_at + j] = zero
        if lane == 0:
            loss_sum, weight_sum = float64(value) * float64(weight), float64(weight)
    loss_sum = block_sum(doubles, t, loss_sum)
    weight_sum = block_sum(doubles, t, weight_sum)
    if t == 0:
        partial[2 * cuda.blockIdx.x] = loss_sum
        partial[2 * cuda.blockIdx.x + 1] = weight_sum
"""

_FINISH = """
    if is_last_block(clock, t):
        finish(doubles, t, history, clock, numbers, partial, cuda.gridDim.x, job, floats, rates)
"""
FINISHES = {"weigh": weigh_losses, "add_losses": sum_losses}


def lanes_for(name: str, n_columns: int) -> int:
    """How many threads share a row: a power of two, about as many as it has outputs."""
    if name in ONE_LANE:
        return 1
    return min(MAX_LANES, 1 << max(n_columns - 1, 0).bit_length())


def rows_of_block(lanes: int) -> int:
    return THREADS // lanes


@for_type
def loss(T: Any, name: Any, lanes: int, finish: str) -> Any:
    """dz (B, ld) and, for each block of rows, partial: sums of weighted losses and of weights.

    name: of a built-in loss, or a function of the user's, `terms` of an element.
    z: (B, ld); rows: (B,) rows of the table, by which labels (n,), targets (n, ld_y) and
    weights (n,) are read; parameters: float64. finish: the kernel of steps.py whose work the last
    block does, "" where it is launched.
    """
    row = OF_ROWS.get(name, ELEMENTWISE)
    text = _KERNEL.replace("{row}", "\n".join("    " + line for line in row.split("\n")))
    if finish:
        text += _FINISH
    namespace = {
        "cuda": cuda, "np": np, "math": math, "T": T, "float64": np.float64, "zero": T(0),
        "one": T(1), "low": T(-np.inf), "THREADS": THREADS, "LANES": lanes,
        "ROWS": rows_of_block(lanes), "Clock": Clock, "terms": terms(T).get(name, name),
        "total": group_sum(T, lanes), "largest": group_max(T, lanes), "block_sum": block_sum,
        "is_last_block": is_last_block, "finish": FINISHES.get(finish),
    }  # fmt: skip
    return generated("loss", _ARGUMENTS, text, namespace)


check_names("losses", sorted({*OF_ROWS, *terms(np.float32)}), tuple(sorted(LOSSES)))
