"""Tiles phase: a thread's own tiles of every weight matrix, each summed over all rows of the
minibatch and updated while it lies in the first-level cache; dW as a whole never goes to memory.

Clipping by the global norm and Muon need all of dW first: then the gradient is stored, and the
update is a second pass over the same tasks. A tile belongs to one task and a task to one thread,
and no sum is split, so the result does not depend on the number of threads.
"""

import math

import numpy as np

from ..jit import inlined, njit
from ..structs import KIND_GRADIENTS, Float, Job
from .embedding import embedding_gradient
from .gemm import bias_gradient, transpose_rows, weight_gradient
from .muon import momentum_block, orthogonal_steps, orthogonalises
from .norms import CHUNK
from .optimizers import MUON
from .records import embedding_at, layer_at, panel_vectors, task_at
from .simd import lanes_of, like, load, select, sqrt, store
from .sync import barrier
from .updates import (
    averages_weights,
    bias_decay,
    hyper_at,
    stores_gradient,
    update_block,
    use_block,
)


@njit
def rate_layer(p, number):
    """The layer whose learning rate a task has; the first one's for embeddings."""
    return task_at(p, number).layer if number < p.job[Job.N_WEIGHT_TASKS] else 0


@inlined
def run_weight_task(p, task, n_rows, scratch_at, scale, decay, h):
    """dW of one task, and db and dscale for the task at the top of its panel.

    Returns the sums of squared gradients, of W and of the vectors.
    """
    column, layer = task.column, layer_at(p, task.layer)
    lanes = lanes_of(p.params)
    panel = 2 * lanes
    vectors = panel_vectors(layer, column, lanes)
    width = vectors * lanes
    panel_at = layer.weight + column * layer.in_pad
    l1, l2, updating = p.floats[Float.L1], p.floats[Float.L2], p.job[Job.KIND] != KIND_GRADIENTS
    squares = vector_squares = 0.0
    for i0 in range(task.i0, task.i1, panel):
        i1 = min(i0 + panel, task.i1)
        weight_gradient(
            p.work, i0, i1, vectors, n_rows, layer.ld_in, layer.ld_out,
            layer.act_in, layer.dz + column, scratch_at,
        )  # fmt: skip
        squares += use_block(
            p, panel_at + i0 * width, (i1 - i0) * width, scratch_at, scale, l1, l2, decay,
            averages_weights(p), h, task.layer,
        )  # fmt: skip
        if updating:
            transpose_rows(p, layer, column, i0, i1)
    if task.i0 == 0:
        for part in range(2 if layer.norm != 0 else 1):
            # The sums over rows that a normalised layer has made already, chunk by chunk.
            sums_at, ld = layer.sums + part * layer.out_pad, 2 * layer.out_pad
            n_sums = (n_rows + CHUNK - 1) // CHUNK
            if layer.norm == 0:
                sums_at, ld, n_sums = layer.dz, layer.ld_out, n_rows
            bias_gradient(p.work, vectors, n_sums, ld, sums_at + column, scratch_at)
            vector_squares += use_block(
                p, (layer.bias if part == 0 else layer.scale) + column, width, scratch_at, scale,
                0.0, 0.0, bias_decay(p, decay), p.job[Job.HAS_AVERAGE] != 0, h, task.layer,
            )  # fmt: skip
    return squares, vector_squares


@inlined
def run_task(p, number, n_rows, scratch_at, scale, decay, h):
    """The gradient of one task, and what the job does with it."""
    task = task_at(p, number)
    if number < p.job[Job.N_WEIGHT_TASKS]:
        squares, vector_squares = run_weight_task(p, task, n_rows, scratch_at, scale, decay, h)
    else:
        table = embedding_at(p, task.layer)
        embedding_gradient(p, task.layer, task.i0, task.i1, n_rows, scratch_at)
        # Penalties are those of weight matrices; a table learns at the rate of the first layer.
        squares, vector_squares = 0.0, use_block(
            p, table.at + task.i0 * table.width, (task.i1 - task.i0) * table.width, scratch_at,
            scale, 0.0, 0.0, decay, p.job[Job.HAS_AVERAGE] != 0, h, rate_layer(p, number),
        )  # fmt: skip
    p.seen[2 + number] += squares
    p.norms[number] = squares + vector_squares


@njit
def apply_block(p, at, n_elems, factor, decay, averaged, h, layer):
    """Update from the stored gradient times `factor`."""
    update_block(
        p, p.grads, at, at, n_elems, factor, 0.0, 0.0, 0.0, decay, averaged, h, layer
    )  # fmt: skip


@njit
def apply_task(p, number, factor, decay, h):
    """The second pass over one task."""
    task, averaging = task_at(p, number), p.job[Job.HAS_AVERAGE] != 0
    if number >= p.job[Job.N_WEIGHT_TASKS]:
        table = embedding_at(p, task.layer)
        at, n_elems = table.at + task.i0 * table.width, (task.i1 - task.i0) * table.width
        apply_block(p, at, n_elems, factor, decay, averaging, h, rate_layer(p, number))
        return
    column, layer = task.column, layer_at(p, task.layer)
    lanes = lanes_of(p.params)
    width = panel_vectors(layer, column, lanes) * lanes
    block = layer.weight + column * layer.in_pad + task.i0 * width
    n_elems = (task.i1 - task.i0) * width
    moves_later = orthogonalises(p, task.layer)
    if moves_later:
        p.norms[p.job[Job.N_TASKS] + number] = momentum_block(
            p, block, n_elems, factor, task.layer
        )  # fmt: skip
    else:
        apply_block(p, block, n_elems, factor, decay, averages_weights(p), h, task.layer)
    if task.i0 == 0:
        rest = bias_decay(p, decay)
        for part in range(2 if layer.norm != 0 else 1):
            at = (layer.bias if part == 0 else layer.scale) + column
            apply_block(p, at, width, factor, rest, averaging, h, task.layer)
    if not moves_later:
        transpose_rows(p, layer, column, task.i0, task.i1)


@njit
def constrain_panel(p, number, limit):
    """Max-norm (Srivastava et al. 2014): the incoming weights of a unit, a column of W, are
    scaled down to the norm `limit` where they exceed it, and then averaged where that is wanted.

    For the task at the top of its panel, after all updates.
    """
    task = task_at(p, number)
    column, layer = task.column, layer_at(p, task.layer)
    lanes = lanes_of(p.params)
    width = panel_vectors(layer, column, lanes) * lanes
    panel_at = layer.weight + column * layer.in_pad
    averaged, rest = p.job[Job.HAS_AVERAGE] != 0, 1.0 - p.floats[Float.AVERAGE]
    for j in range(0, width, lanes):
        squares = like(load(p.params, panel_at), 0.0)
        for i in range(layer.n_in):
            w = load(p.params, panel_at + i * width + j)
            squares = squares + w * w
        norm = sqrt(squares)
        factor = select(norm > limit, like(norm, limit) / norm, like(norm, 1.0))
        for i in range(layer.n_in):
            at = panel_at + i * width + j
            w = load(p.params, at) * factor
            store(p.params, at, w)
            if averaged:
                mean = load(p.average, at)
                store(p.average, at, mean + (w - mean) * rest)
    transpose_rows(p, layer, column, np.int64(0), layer.in_pad)


@njit
def clip_factor(p):
    """min(1, limit / (norm + 1e-6)), as PyTorch's clip_grad_norm_; the same in all threads.

    1 where nothing is clipped.
    """
    if not p.floats[Float.CLIP_NORM] > 0.0:
        return 1.0
    barrier(p.sync, p.job[Job.N_THREADS])
    squares = 0.0
    for number in range(p.job[Job.N_TASKS]):
        squares += p.norms[number]
    return min(1.0, p.floats[Float.CLIP_NORM] / (math.sqrt(squares) + 1e-6))


@njit
def tiles_phase(p, thread, n_rows, weight_sum, step, t, product):
    """All tasks of one thread; the mean over rows is the division by weight_sum."""
    scratch_at = p.job[Job.SCRATCH] + thread * p.job[Job.SCRATCH_ELEMS]
    first, last, n_threads = p.shares[thread], p.shares[thread + 1], p.job[Job.N_THREADS]
    layer, decay = -1, 1.0
    h = hyper_at(p, np.int64(0), step, t, product)
    for number in range(first, last):
        if rate_layer(p, number) != layer:
            layer = rate_layer(p, number)
            h = hyper_at(p, layer, step, t, product)
            decay = 1.0 - h.lr * p.floats[Float.DECAY]
        run_task(p, number, n_rows, scratch_at, 1.0 / weight_sum, decay, h)
    if p.job[Job.KIND] == KIND_GRADIENTS:
        return
    if stores_gradient(p):
        factor = clip_factor(p)
        for number in range(first, last):
            h = hyper_at(p, rate_layer(p, number), step, t, product)
            apply_task(p, number, factor, 1.0 - h.lr * p.floats[Float.DECAY], h)
    if p.job[Job.RULE] == MUON:
        orthogonal_steps(p, thread, step)
    if p.floats[Float.MAX_NORM] > 0.0:
        barrier(p.sync, n_threads)
        for number in range(first, last):
            if number < p.job[Job.N_WEIGHT_TASKS] and task_at(p, number).i0 == 0:
                constrain_panel(p, number, p.floats[Float.MAX_NORM])
