"""Normalised layers: Z^ = (Z - mean) / deviation, N = scale Z^ + bias, A = f(N).

    layer   mean and deviation of a row, over the layer's units (Ba et al. 2016)
    rms     mean 0, root mean square of a row (Zhang and Sennrich 2019)
    batch   mean and deviation of a unit, over the rows of the minibatch (Ioffe and Szegedy 2015)

Z = X W has no bias of its own: the mean would take it out again. Backward, with dZ^ = scale dN
and the means over what was normalised:

    dZ = (dZ^ - mean(dZ^) - Z^ mean(dZ^ Z^)) / deviation        (without mean(dZ^) for rms)
    dscale = sum over rows of dN Z^,  dbias = sum over rows of dN

A sum over rows is made of sums over chunks of CHUNK rows, as many as the tallest tile has: a
thread's rows are whole chunks, so the terms and their order do not depend on the threads.
"""

import math

import numpy as np

from .. import codes
from ..constants import NORM_EPS, NORM_MOMENTUM
from ..jit import njit
from ..structs import Job, Sync
from .records import layer_at
from .simd import keep_lanes, lanes_of, like, load, reduce_add, select, sqrt, store
from .sync import atomic_add, atomic_load, atomic_store, barrier
from .width import TILE

LAYER = codes.NORMS.index("layer")
CHUNK = TILE.rows[0]
FORWARD, BACKWARD = np.int64(0), np.int64(1)


@njit
def meeting_word(p, number, direction):
    """Of layer `number` and a direction: whether threads leave the step where they meet in it."""
    return Sync.FAULTY_LAYER + p.job[Job.N_LAYERS] + 2 * number + direction


@njit
def meet(p, number, direction, has_first_row):
    """Wait for all threads in layer `number`; whether to leave the step, the same in all of them.

    Python may write the stop word at any time: what counts is what the thread of row 0 reads, and
    whether one has left the rows before this meeting. Each meeting of a step has a word of its own,
    as a thread may be slow to read it; it stays 0 until the last step of a job.
    """
    word = meeting_word(p, number, direction)
    if has_first_row:
        atomic_add(p.sync, word, atomic_load(p.sync, Sync.STOP))
    barrier(p.sync, p.job[Job.N_THREADS])
    if atomic_load(p.sync, word) == 0:
        return False
    atomic_store(p.sync, Sync.ABORTED, 1)
    return True


@njit
def leave_at_meeting(p, number, direction):
    """Go to this thread's next meeting, from layer `number` on, and let all leave the step there.

    Nowhere, if there is none any more before the end of the rows phase.
    """
    if direction == FORWARD:
        for i in range(number, p.job[Job.N_LAYERS]):
            if layer_at(p, i).meets != 0:
                atomic_add(p.sync, meeting_word(p, i, FORWARD), 1)
                barrier(p.sync, p.job[Job.N_THREADS])
                return
    last = p.job[Job.N_LAYERS] - 1 if direction == FORWARD else number
    for i in range(last, -1, -1):
        if layer_at(p, i).meets != 0:
            atomic_add(p.sync, meeting_word(p, i, BACKWARD), 1)
            barrier(p.sync, p.job[Job.N_THREADS])
            return


@njit
def normalise_each(p, layer, number, r0, r1, n_rows):
    """Z^ in place of Z in layer.normed, and N in layer.act_out, each row by itself."""
    normalise_rows(p.params, p.work, layer, r0, r1)
    return False


@njit
def normalise_batch(p, layer, number, r0, r1, n_rows):
    """The same over all rows of the minibatch; returns whether to leave the step."""
    chunk_moments(p.work, layer, r0, r1)
    if meet(p, number, FORWARD, r0 == 0 and r1 > 0):
        return True
    normalise_columns(p.params, p.work, layer, r0, r1, n_rows)
    return False


@njit
def normalise_rows(params, work, layer, r0, r1):
    """Each row by itself; statistics: (batch,) 1 / deviation, written."""
    lanes, n = lanes_of(work), layer.n_out
    zero = like(load(work, layer.normed), 0.0)
    for r in range(r0, r1):
        z_at, n_at = layer.normed + r * layer.ld_out, layer.act_out + r * layer.ld_out
        sums = zero
        for j in range(0, n, lanes):
            sums = sums + load(work, z_at + j)
        mean = reduce_add(sums) / n if layer.norm == LAYER else 0.0
        squares = zero
        for j in range(0, n, lanes):
            d = keep_lanes(load(work, z_at + j) - mean, n - j, zero)
            squares = squares + d * d
            store(work, z_at + j, d)
        inverse = 1.0 / math.sqrt(reduce_add(squares) / n + NORM_EPS)
        work[layer.statistics + r] = inverse
        for j in range(0, n, lanes):
            normed = load(work, z_at + j) * inverse
            store(work, z_at + j, normed)
            scale, bias = load(params, layer.scale + j), load(params, layer.bias + j)
            store(work, n_at + j, normed * scale + bias)


@njit
def moments_at(layer, row):
    """Where the moments of the chunk of this row are."""
    return layer.statistics + (3 + row // CHUNK * 2) * layer.out_pad


@njit
def chunk_moments(work, layer, r0, r1):
    """For each chunk (out_pad,) its mean and (out_pad,) its sum of squared deviations.

    Behind the statistics; not in `sums`, which another thread may write to in its backward pass
    while this one still reads.
    """
    for first in range(r0, r1, CHUNK):
        end = min(first + CHUNK, r1)
        at = moments_at(layer, first)
        for j in range(0, layer.out_pad, lanes_of(work)):
            column = layer.normed + j
            zero = like(load(work, column), 0.0)
            sums, squares = zero, zero
            for r in range(first, end):
                sums = sums + load(work, column + r * layer.ld_out)
            mean = sums * (1.0 / (end - first))
            for r in range(first, end):
                d = load(work, column + r * layer.ld_out) - mean
                squares = squares + d * d
            store(work, at + j, mean)
            store(work, at + layer.out_pad + j, squares)


@njit
def normalise_columns(params, work, layer, r0, r1, n_rows):
    """Each column over all rows of the minibatch, whose chunks are merged in their order.

    (Chan et al. 1983: means and sums of squares of two parts give those of the whole.)
    statistics: (3 + 2 chunks, out_pad), mean, 1 / deviation and variance, written by the thread of
    row 0.
    """
    out_pad = layer.out_pad
    for j in range(0, out_pad, lanes_of(work)):
        at = moments_at(layer, 0) + j
        mean, squares = load(work, at), load(work, at + out_pad)
        for first in range(CHUNK, n_rows, CHUNK):
            at = moments_at(layer, first) + j
            n, end = min(CHUNK, n_rows - first), min(first + CHUNK, n_rows)
            delta = load(work, at) - mean
            mean = mean + delta * (n / end)
            squares = squares + load(work, at + out_pad) + delta * delta * (first * n / end)
        variance = squares * (1.0 / n_rows)
        inverse = like(mean, 1.0) / sqrt(variance + NORM_EPS)
        if r0 == 0 and r1 > 0:
            store(work, layer.statistics + j, mean)
            store(work, layer.statistics + out_pad + j, inverse)
            store(work, layer.statistics + 2 * out_pad + j, variance)
        scale, bias = load(params, layer.scale + j), load(params, layer.bias + j)
        for r in range(r0, r1):
            at = layer.normed + r * layer.ld_out + j
            normed = (load(work, at) - mean) * inverse
            store(work, at, normed)
            store(work, layer.act_out + r * layer.ld_out + j, normed * scale + bias)


@njit
def each_backward(p, layer, number, r0, r1, n_rows):
    """dZ in place of dN in layer.dz, and the sums over chunks that dbias and dscale are made of."""
    chunk_sums(p.work, layer, r0, r1)
    rows_backward(p.params, p.work, layer, r0, r1)
    return False


@njit
def batch_backward(p, layer, number, r0, r1, n_rows):
    """The same, for all rows together; returns whether to leave the step."""
    chunk_sums(p.work, layer, r0, r1)
    if meet(p, number, BACKWARD, r0 == 0 and r1 > 0):
        return True
    columns_backward(p.params, p.work, layer, r0, r1, n_rows)
    return False


@njit
def chunk_sums(work, layer, r0, r1):
    """sums: for each chunk (out_pad,) the sum of dN and (out_pad,) the sum of dN Z^."""
    for first in range(r0, r1, CHUNK):
        at = layer.sums + first // CHUNK * 2 * layer.out_pad
        for j in range(0, layer.out_pad, lanes_of(work)):
            zero = like(load(work, layer.dz + j), 0.0)
            sums, products = zero, zero
            for r in range(first, min(first + CHUNK, r1)):
                dn = load(work, layer.dz + r * layer.ld_out + j)
                sums = sums + dn
                products = products + dn * load(work, layer.normed + r * layer.ld_out + j)
            store(work, at + j, sums)
            store(work, at + layer.out_pad + j, products)


@njit
def columns_backward(params, work, layer, r0, r1, n_rows):
    """dz = scale / deviation (dN - mean(dN) - Z^ mean(dN Z^)): scale is the same in all rows."""
    out_pad = layer.out_pad
    for j in range(0, out_pad, lanes_of(work)):
        sums = like(load(work, layer.sums + j), 0.0)
        products = sums
        for first in range(0, n_rows, CHUNK):
            at = layer.sums + first // CHUNK * 2 * out_pad + j
            sums = sums + load(work, at)
            products = products + load(work, at + out_pad)
        mean, slope = sums * (1.0 / n_rows), products * (1.0 / n_rows)
        factor = load(params, layer.scale + j) * load(work, layer.statistics + out_pad + j)
        for r in range(r0, r1):
            at = r * layer.ld_out + j
            dn, normed = load(work, layer.dz + at), load(work, layer.normed + at)
            store(work, layer.dz + at, (dn - mean - normed * slope) * factor)


@njit
def rows_backward(params, work, layer, r0, r1):
    """dz = (dZ^ - mean(dZ^) - Z^ mean(dZ^ Z^)) / deviation, each row by itself."""
    lanes, n = lanes_of(work), layer.n_out
    zero = like(load(work, layer.dz), 0.0)
    for r in range(r0, r1):
        dz_at, z_at = layer.dz + r * layer.ld_out, layer.normed + r * layer.ld_out
        sums, products = zero, zero
        for j in range(0, n, lanes):
            d = load(work, dz_at + j) * load(params, layer.scale + j)
            sums = sums + d
            products = products + d * load(work, z_at + j)
        mean = reduce_add(sums) / n if layer.norm == LAYER else 0.0
        slope, inverse = reduce_add(products) / n, work[layer.statistics + r]
        for j in range(0, n, lanes):
            d = load(work, dz_at + j) * load(params, layer.scale + j)
            dz = (d - mean - load(work, z_at + j) * slope) * inverse
            store(work, dz_at + j, keep_lanes(dz, n - j, zero))


@njit
def update_running(p, n_rows):
    """running: (2, out_pad) of each layer that keeps them, means and unbiased variances, from the
    means and variances among its statistics: see `normalise_columns`.

    By one thread, once a step; a single row has no variance and is left out. Statistics that would
    not be finite keep their values, and the layer is marked as one whose update is not.
    """
    if n_rows < 2:
        return
    for i in range(p.job[Job.N_LAYERS]):
        layer = layer_at(p, i)
        if layer.keeps_running != 0:
            unbiased, out_pad = n_rows / (n_rows - 1), layer.out_pad
            faults = like(load(p.work, layer.statistics), 0.0)
            for j in range(0, out_pad, lanes_of(p.work)):
                mean = load(p.work, layer.statistics + j)
                variance = load(p.work, layer.statistics + 2 * out_pad + j) * unbiased
                at = layer.running + j
                old_mean, old_variance = load(p.running, at), load(p.running, at + out_pad)
                new_mean = old_mean + (mean - old_mean) * NORM_MOMENTUM
                new_variance = old_variance + (variance - old_variance) * NORM_MOMENTUM
                # x - x is 0 for a finite x and NaN for others.
                fault = (new_mean - new_mean) + (new_variance - new_variance)
                finite = fault == 0.0
                faults = faults + fault
                store(p.running, at, select(finite, new_mean, old_mean))
                store(p.running, at + out_pad, select(finite, new_variance, old_variance))
            if reduce_add(faults) != 0.0:
                p.sync[Sync.FAULTY_LAYER + i] = 1
