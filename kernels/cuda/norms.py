"""Normalised layers: formulas in kernels/cpu/norms.py.

Layer and RMS normalisation treat each row by itself: a group of lanes has a row. Batch
normalisation sums over rows in chunks of CHUNK rows, which are merged in their order; so are the
gradients of scale and bias of every kind, which are columns' sums over rows too.
"""

from __future__ import annotations

from typing import Any

from numba import cuda

from ..constants import NORM_EPS, NORM_MOMENTUM
from ..structs import STATUS_RUNNING, Float, Job
from .activations import activations
from .jit import SMALL, THREADS, device, for_type, kernel
from .random import dropout_mask
from .structs import Clock
from .sums import group_sum

CHUNK = 4 if SMALL else 256
FEW_ROWS = 2 if SMALL else 8  # of a block where nothing is summed: each waits for the one before


@for_type
def finisher(T: Any, activation: Any, keeps_slope: bool, drops: bool, adds_input: bool) -> Any:
    """From a normalised element to the layer's output, and f' of it to `slope`."""
    activate, mask = activations(T).get(activation, activation), dropout_mask(T)

    @device
    def finish(act, slope, x, n, row, column, ld, clock, job, floats, layer, threshold):
        a, s = activate(n)
        if drops:
            m = mask(
                row, column, layer, job[Job.FIRST_EPOCH] + clock[Clock.EPOCH], clock[Clock.STEP],
                job[Job.SEED], threshold, T(floats[Float.PER_LAYER + 2 * layer]),
            )  # fmt: skip
            a, s = a * m, s * m
        at = row * ld + column
        if adds_input:
            a += x[at]
        act[at] = a
        if keeps_slope:
            slope[at] = s

    return finish


@for_type
def normalise_rows(
    T: Any, activation: Any, keeps_slope: bool, drops: bool, adds_input: bool, is_layer: bool,
    lanes: int,
) -> Any:  # fmt: skip
    """normed (B, ld): Z becomes Z^; inverse (B,) 1 / deviation; act and slope (B, ld) of
    f(scale Z^ + bias)."""
    finish = finisher(T, activation, keeps_slope, drops, adds_input)
    total, zero, one, eps = group_sum(T, lanes), T(0), T(1), T(NORM_EPS)

    @kernel
    def normalise(
        act, slope, normed, inverse, x, scale, bias, clock, job, floats, ld, n_columns, layer,
        threshold,
    ):  # fmt: skip
        scratch = cuda.shared.array(THREADS, T)
        t = cuda.threadIdx.x
        lane, r = t % lanes, cuda.blockIdx.x * (THREADS // lanes) + t // lanes
        count = n_columns if r < clock[Clock.N_ROWS] else 0
        mean, sums = zero, zero
        if is_layer:
            for j in range(lane, count, lanes):
                sums += normed[r * ld + j]
            mean = total(scratch, t, sums) / T(n_columns)
        sums = zero
        for j in range(lane, count, lanes):
            d = normed[r * ld + j] - mean
            sums += d * d
        factor = one / (total(scratch, t, sums) / T(n_columns) + eps) ** T(0.5)
        if lane == 0 and count > 0:
            inverse[r] = factor
        for j in range(lane, count, lanes):
            z = (normed[r * ld + j] - mean) * factor
            normed[r * ld + j] = z
            n = z * scale[j] + bias[j]
            finish(act, slope, x, n, r, j, ld, clock, job, floats, layer, threshold)
        if count > 0:
            for j in range(n_columns + lane, ld, lanes):
                act[r * ld + j] = zero
                if keeps_slope:
                    slope[r * ld + j] = zero

    return normalise


@for_type
def rows_backward(T: Any, is_layer: bool, lanes: int) -> Any:
    """dz (B, ld): dN becomes dZ, each row by itself."""
    total, zero = group_sum(T, lanes), T(0)

    @kernel
    def backward(dz, normed, inverse, scale, clock, ld, n_columns):
        scratch = cuda.shared.array(THREADS, T)
        t = cuda.threadIdx.x
        lane, r = t % lanes, cuda.blockIdx.x * (THREADS // lanes) + t // lanes
        count = n_columns if r < clock[Clock.N_ROWS] else 0
        sums, products = zero, zero
        for j in range(lane, count, lanes):
            d = dz[r * ld + j] * scale[j]
            sums += d
            products += d * normed[r * ld + j]
        mean = total(scratch, t, sums) / T(n_columns)
        if not is_layer:
            mean = zero
        slope = total(scratch, t, products) / T(n_columns)
        for j in range(lane, count, lanes):
            at = r * ld + j
            dz[at] = (dz[at] * scale[j] - mean - normed[at] * slope) * inverse[r]

    return backward


@for_type
def column_sums(T: Any) -> Any:
    """sums (chunks, 2, ld): of each chunk of rows the sum of dN and the sum of dN Z^, which are the
    parts of dbias and dscale."""
    zero = T(0)

    @kernel
    def column_sums(sums, dz, normed, clock, ld):
        column, chunk = cuda.blockIdx.y * THREADS + cuda.threadIdx.x, cuda.blockIdx.x
        if column >= ld:
            return
        total, products = zero, zero
        for r in range(chunk * CHUNK, min((chunk + 1) * CHUNK, clock[Clock.N_ROWS])):
            d = dz[r * ld + column]
            total += d
            products += d * normed[r * ld + column]
        sums[2 * chunk * ld + column] = total
        sums[(2 * chunk + 1) * ld + column] = products

    return column_sums


@for_type
def column_moments(T: Any) -> Any:
    """moments (chunks, 2, ld): mean and sum of squared deviations of each chunk of Z (B, ld)."""
    zero = T(0)

    @kernel
    def column_moments(moments, z, clock, ld):
        column, chunk = cuda.blockIdx.y * THREADS + cuda.threadIdx.x, cuda.blockIdx.x
        first, end = chunk * CHUNK, min((chunk + 1) * CHUNK, clock[Clock.N_ROWS])
        if column >= ld or first >= end:
            return
        total, squares = zero, zero
        for r in range(first, end):
            total += z[r * ld + column]
        mean = total / T(end - first)
        for r in range(first, end):
            d = z[r * ld + column] - mean
            squares += d * d
        moments[2 * chunk * ld + column] = mean
        moments[(2 * chunk + 1) * ld + column] = squares

    return column_moments


@for_type
def merge_moments(T: Any) -> Any:
    """statistics (3, ld): mean, 1 / deviation and variance of columns (Chan et al. 1983)."""
    one, eps = T(1), T(NORM_EPS)

    @kernel
    def merge(statistics, moments, clock, ld):
        column, n_rows = cuda.blockIdx.x * THREADS + cuda.threadIdx.x, clock[Clock.N_ROWS]
        if column >= ld:
            return
        mean, squares = moments[column], moments[ld + column]
        for first in range(CHUNK, n_rows, CHUNK):
            at = 2 * (first // CHUNK) * ld + column
            n, end = min(CHUNK, n_rows - first), min(first + CHUNK, n_rows)
            delta = moments[at] - mean
            mean += delta * T(n / end)
            squares += moments[at + ld] + delta * delta * T(first * n / end)
        variance = squares / T(n_rows)
        statistics[column] = mean
        statistics[ld + column] = one / (variance + eps) ** T(0.5)
        statistics[2 * ld + column] = variance

    return merge


@for_type
def running_statistics(T: Any) -> Any:
    """statistics of `merge_moments`, but the variance, from running (2, ld): for predicting."""
    one, eps = T(1), T(NORM_EPS)

    @kernel
    def load(statistics, running, ld):
        column = cuda.blockIdx.x * THREADS + cuda.threadIdx.x
        if column < ld:
            statistics[column] = running[column]
            statistics[ld + column] = one / (running[ld + column] + eps) ** T(0.5)

    return load


@for_type
def normalise_columns(
    T: Any, activation: Any, keeps_slope: bool, drops: bool, adds_input: bool
) -> Any:
    """As `normalise_rows`, by the statistics of columns; a block has FEW_ROWS rows of THREADS
    columns."""
    finish, zero = finisher(T, activation, keeps_slope, drops, adds_input), T(0)

    @kernel
    def normalise(
        act, slope, normed, statistics, x, scale, bias, clock, job, floats, ld, n_columns, layer,
        threshold,
    ):  # fmt: skip
        j, first = cuda.blockIdx.y * THREADS + cuda.threadIdx.x, cuda.blockIdx.x * FEW_ROWS
        if j >= ld:
            return
        mean, factor = statistics[j], statistics[ld + j]
        for r in range(first, min(first + FEW_ROWS, clock[Clock.N_ROWS])):
            if j < n_columns:
                z = (normed[r * ld + j] - mean) * factor
                normed[r * ld + j] = z
                n = z * scale[j] + bias[j]
                finish(act, slope, x, n, r, j, ld, clock, job, floats, layer, threshold)
            else:
                normed[r * ld + j] = act[r * ld + j] = zero
                if keeps_slope:
                    slope[r * ld + j] = zero

    return normalise


@for_type
def merge_sums(T: Any) -> Any:
    """means (2, ld): of dN and of dN Z^ over the rows, from `column_sums`."""
    zero = T(0)

    @kernel
    def merge(means, sums, clock, ld):
        column, n_rows = cuda.blockIdx.x * THREADS + cuda.threadIdx.x, clock[Clock.N_ROWS]
        if column >= ld:
            return
        total, products = zero, zero
        for first in range(0, n_rows, CHUNK):
            at = 2 * (first // CHUNK) * ld + column
            total += sums[at]
            products += sums[at + ld]
        means[column], means[ld + column] = total / T(n_rows), products / T(n_rows)

    return merge


@for_type
def columns_backward(T: Any) -> Any:
    """dz (B, ld): dN becomes dZ = scale / deviation (dN - mean(dN) - Z^ mean(dN Z^))."""

    @kernel
    def backward(dz, normed, statistics, means, scale, clock, ld):
        j, first = cuda.blockIdx.y * THREADS + cuda.threadIdx.x, cuda.blockIdx.x * FEW_ROWS
        if j >= ld:
            return
        factor = scale[j] * statistics[ld + j]
        for r in range(first, min(first + FEW_ROWS, clock[Clock.N_ROWS])):
            at = r * ld + j
            dz[at] = (dz[at] - means[j] - normed[at] * means[ld + j]) * factor

    return backward


@for_type
def update_running(T: Any) -> Any:
    """running (2, ld): means and unbiased variances of a step's rows blended in; a single row has
    no variance and is left out. One that would not be finite keeps its value, and marks the layer.
    """
    zero, momentum = T(0), T(NORM_MOMENTUM)

    @kernel
    def update_running(running, statistics, clock, ld, layer):
        j, n_rows = cuda.blockIdx.x * THREADS + cuda.threadIdx.x, clock[Clock.N_ROWS]
        if clock[Clock.STATUS] != STATUS_RUNNING or clock[Clock.SKIPS] != 0 or j >= ld:
            return
        if n_rows < 2:
            return
        variance = statistics[2 * ld + j] * T(n_rows / (n_rows - 1))
        old_mean, old_variance = running[j], running[ld + j]
        new_mean = old_mean + (statistics[j] - old_mean) * momentum
        new_variance = old_variance + (variance - old_variance) * momentum
        if (new_mean - new_mean) + (new_variance - new_variance) == zero:
            running[j], running[ld + j] = new_mean, new_variance
        else:
            clock[Clock.FAULTY_LAYER + layer] = 1

    return update_running
