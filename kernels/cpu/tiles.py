"""Tiles phase: a thread's own tiles of every weight matrix, each summed over all rows of the
minibatch and updated while it lies in the first-level cache; dW as a whole never goes to memory.

Clipping by the global norm and Muon need all of dW first: then the gradient is stored, and the
update is a second pass over the same tasks. So it is, too, where the sums take so long that the
stop word is looked at between tasks: until the second pass nothing has changed.

A tile belongs to one task and a task to one thread, and no sum is split, so the result does not
depend on the number of threads.
"""

import math

import numpy as np

from ..constants import CLIP_EPS
from ..jit import inlined, njit
from ..rules import MUON
from ..structs import KIND_GRADIENTS, Float, Job, Sync
from .bands import sum_groups
from .embedding import embedding_gradient
from .gather import prefetch_rows
from .gemm import (
    bias_gradient,
    is_narrow,
    narrow_weight_gradient,
    table_gradient,
    transpose_rows,
    weight_gradient,
)
from .muon import orthogonal_factors, orthogonalises, update_task
from .norms import CHUNK
from .records import embedding_at, layer_at, panel_vectors, task_at, vector_at
from .shuffle import next_rows_at
from .simd import lanes_of, like, load, reduce_add, select, sqrt, store
from .sync import atomic_load, atomic_store, barrier
from .updates import (
    averages_weights,
    bias_decay,
    hyper_at,
    learning_rate_at,
    mark_faults,
    nothing_yet,
    stores_gradient,
    update_block,
    use_block,
)
from .width import TILE

TILE_ROWS = TILE.rows[0]


@njit
def rate_layer(p, number):
    """The layer whose learning rate a task has; the first one's for embeddings."""
    return task_at(p, number).layer if number < p.job[Job.N_WEIGHT_TASKS] else 0


@inlined
def pack_dz(p, layer, column, width, n_rows, packed_at):
    """The panel of dZ at `column` row after row, (n_rows, width) at packed_at of work."""
    for b in range(n_rows):
        row, out = layer.dz + b * layer.ld_out + column, packed_at + b * width
        for j in range(0, width, lanes_of(p.work)):
            store(p.work, out + j, load(p.work, row + j))


@inlined
def run_weight_task(p, task, n_rows, scratch_at, dz_at, ld_dz, scale, l2, decay, h):
    """dW of one task, and those of the vectors for the task at the top of its panel.

    dz: the panel of dZ, rows ld_dz apart. The weights of a tile are updated before the next tile
    is summed: stores wait for lines that other threads have read, which takes no time while the
    next sums go on, and much of it where many stores follow one another.

    Returns the sums of squared gradients, of W and of the vectors.
    """
    column, layer = task.column, layer_at(p, task.layer)
    lanes = lanes_of(p.params)
    vectors = panel_vectors(layer, column, lanes)
    width = vectors * lanes
    panel_at = layer.weight + column * layer.in_pad
    l1, updating = p.floats[Float.L1], p.job[Job.KIND] != KIND_GRADIENTS
    squares, faults = nothing_yet(p)
    in_place = task.layer == 0 and p.job[Job.IN_PLACE] != 0
    banded = p.job[Job.BAND_ROWS] != 0
    narrow = is_narrow(layer, lanes) and not in_place and not banded
    height = 2 * lanes if narrow else TILE_ROWS
    # Rows beyond n_in are padding: they stay zero, as inputs beyond it are.
    end, transposed = task.i1 if narrow else min(task.i1, layer.n_in), task.i0
    for i0 in range(task.i0, end, height):
        i1 = min(i0 + height, end)
        if banded:
            sum_groups(p, panel_at + i0 * width, (i1 - i0) * width, n_rows, scratch_at)
        elif in_place:
            table_gradient(
                p.work, i0, i1, vectors, n_rows, p.rows, np.int64(0), p.job, dz_at, ld_dz,
                scratch_at,
            )  # fmt: skip
        elif narrow:
            narrow_weight_gradient(
                p.work, layer, i0, i1, n_rows, ld_dz, layer.act_in, dz_at, scratch_at
            )
        else:
            weight_gradient(
                p.work, i0, i1, vectors, n_rows, layer.ld_in, ld_dz, layer.act_in, dz_at, scratch_at
            )
        squares, faults = use_block(
            p, panel_at + i0 * width, (i1 - i0) * width, scratch_at, scale, l1, l2, decay,
            averages_weights(p), h, squares, faults,
        )  # fmt: skip
        whole = i1 // lanes * lanes if i1 < end else task.i1
        if updating and whole > transposed:
            transpose_rows(p, layer, column, transposed, whole)
            transposed = whole
    vector_squares, _ = nothing_yet(p)
    if task.i0 == 0:
        for part in range(1 + layer.n_vectors):
            # The sums over rows that a layer that is not plain has made already, chunk by chunk.
            sums_at = layer.sums + part * layer.out_pad + column
            ld = (1 + layer.n_vectors) * layer.out_pad
            n_sums = (n_rows + CHUNK - 1) // CHUNK
            if layer.norm == 0:
                sums_at, ld, n_sums = dz_at, ld_dz, n_rows
            if banded and layer.norm == 0:
                sum_groups(p, layer.bias + column, width, n_rows, scratch_at)
            else:
                bias_gradient(p.work, vectors, n_sums, ld, sums_at, scratch_at)
            vector_squares, faults = use_block(
                p, vector_at(layer, part) + column, width, scratch_at, scale, 0.0, 0.0,
                bias_decay(p, decay), p.job[Job.HAS_AVERAGE] != 0, h, vector_squares, faults,
            )  # fmt: skip
    mark_faults(p, faults, task.layer)
    return float(reduce_add(squares)), float(reduce_add(vector_squares))


@njit
def weight_squares(p, task):
    """The sum of W^2 over one task."""
    column, layer = task.column, layer_at(p, task.layer)
    lanes = lanes_of(p.params)
    width = panel_vectors(layer, column, lanes) * lanes
    panel_at = layer.weight + column * layer.in_pad
    sums, _ = nothing_yet(p)
    for i in range(panel_at + task.i0 * width, panel_at + task.i1 * width, lanes):
        w = load(p.params, i)
        sums = sums + w * w
    return float(reduce_add(sums))


@inlined
def run_embedding_task(p, number, task, n_rows, scratch_at, scale, decay, h):
    """The gradient of some categories; returns the sum of its squares.

    Penalties are those of weight matrices; a table learns at the rate of the first layer.
    """
    table = embedding_at(p, task.layer)
    embedding_gradient(p, task.layer, task.i0, task.i1, n_rows, scratch_at)
    squares, faults = nothing_yet(p)
    squares, faults = use_block(
        p, table.at + task.i0 * table.width, (task.i1 - task.i0) * table.width, scratch_at,
        scale, 0.0, 0.0, decay, p.job[Job.HAS_AVERAGE] != 0, h, squares, faults,
    )  # fmt: skip
    mark_faults(p, faults, rate_layer(p, number))
    return float(reduce_add(squares))


@njit
def apply_block(p, at, n_elems, factor, decay, averaged, h, layer):
    """Update from the stored gradient times `factor`."""
    squares, faults = nothing_yet(p)
    squares, faults = update_block(
        p, p.grads, at, at, n_elems, factor, 0.0, 0.0, 0.0, decay, averaged, h, squares, faults
    )
    mark_faults(p, faults, layer)


@njit
def apply_task(p, number, factor, decay, step, h):
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
    if orthogonalises(p, task.layer):
        update_task(p, number, factor, step)
    else:
        apply_block(p, block, n_elems, factor, decay, averages_weights(p), h, task.layer)
        transpose_rows(p, layer, column, task.i0, task.i1)
    if task.i0 == 0:
        rest = bias_decay(p, decay)
        for part in range(1 + layer.n_vectors):
            at = vector_at(layer, part) + column
            apply_block(p, at, width, factor, rest, averaging, h, task.layer)


@njit
def constrain_panel(p, number, limit):
    """Max-norm (Srivastava et al. 2014): the incoming weights of a unit, a column of W, are
    scaled down to the norm `limit` where they exceed it, and then averaged where that is wanted.

    For the task at the top of its panel, after all updates. A column whose squares overflow stays
    as it is, and the training ends: divided by that norm its weights would all be 0.
    """
    task = task_at(p, number)
    column, layer = task.column, layer_at(p, task.layer)
    lanes = lanes_of(p.params)
    width = panel_vectors(layer, column, lanes) * lanes
    panel_at = layer.weight + column * layer.in_pad
    averaged, rest = p.job[Job.HAS_AVERAGE] != 0, 1.0 - p.floats[Float.AVERAGE]
    _, faults = nothing_yet(p)
    for j in range(0, width, lanes):
        squares = like(load(p.params, panel_at), 0.0)
        for i in range(layer.n_in):
            w = load(p.params, panel_at + i * width + j)
            squares = squares + w * w
        norm, one, fault = sqrt(squares), like(squares, 1.0), squares - squares
        faults = faults + fault
        scaled = select(norm > limit, like(norm, limit) / norm, one)
        factor = select(fault == 0.0, scaled, one)
        for i in range(layer.n_in):
            at = panel_at + i * width + j
            w = load(p.params, at) * factor
            store(p.params, at, w)
            if averaged:
                mean = load(p.average, at)
                store(p.average, at, mean + (w - mean) * rest)
    mark_faults(p, faults, task.layer)
    transpose_rows(p, layer, column, np.int64(0), layer.in_pad)


@njit
def clip_factor(p):
    """min(1, limit / (norm + 1e-6)), as PyTorch's clip_grad_norm_; the same in all threads, when
    all have left their tasks' sums.

    1 where nothing is clipped. NaN where the squares of the gradient overflow: a factor of 0 would
    end the learning without a word, this ends the training with one.
    """
    if not p.floats[Float.CLIP_NORM] > 0.0:
        return 1.0
    squares = 0.0
    for number in range(p.job[Job.N_TASKS]):
        squares += p.gradient_squares[number]
    factor = min(1.0, p.floats[Float.CLIP_NORM] / (math.sqrt(squares) + CLIP_EPS))
    return factor + (squares - squares)


@njit
def tasks_of(p, thread, n_threads):
    """The first task of one of n_threads threads and the one after its last: all for one alone."""
    return p.shares[thread], p.shares[thread + 1] if n_threads > 1 else p.job[Job.N_TASKS]


@inlined
def run_tasks(p, thread, n_threads, n_rows, ahead0, ahead1, scale, l2, step, t, product):
    """The gradients of a thread's tasks, and what the job does with them.

    Rows ahead0 to ahead1 of the next minibatch, whose table rows stand behind this one's, are asked
    for meanwhile, a few before each task: they come from memory while products keep the core busy.
    """
    first, last = tasks_of(p, thread, n_threads)
    asked, n_columns, next_at = ahead0, p.job[Job.N_COLUMNS], next_rows_at(p.job)
    scratch_at = p.job[Job.SCRATCH] + thread * p.job[Job.SCRATCH_ELEMS]
    packed_at = p.job[Job.PACKED] + thread * p.job[Job.PACKED_ELEMS]
    packed_layer = packed_column = -1
    h = hyper_at(p, learning_rate_at(p, np.int64(0), step), step, t, product)
    stored = stores_gradient(p)
    for number in range(first, last):
        if stored and atomic_load(p.sync, Sync.STOP) != 0:
            # Not ABORTED: another thread may not have read that since the barrier before.
            atomic_store(p.sync, Sync.LEFT_TILES, 1)
            return
        upto = ahead0 + (ahead1 - ahead0) * (number - first + 1) // (last - first)
        prefetch_rows(n_columns, p.rows, next_at + asked, next_at + upto, p.job)
        asked = upto
        lr = learning_rate_at(p, rate_layer(p, number), step)
        # Its powers take longer than the weights of a small layer.
        if lr != h.lr:
            h = hyper_at(p, lr, step, t, product)
        decay = 1.0 - lr * p.floats[Float.DECAY]
        task = task_at(p, number)
        if number < p.job[Job.N_WEIGHT_TASKS]:
            layer, column = layer_at(p, task.layer), task.column
            dz_at, ld_dz = layer.dz + column, layer.ld_out
            if layer.packs_dz != 0:
                width = panel_vectors(layer, column, lanes_of(p.params)) * lanes_of(p.params)
                if packed_layer != task.layer or packed_column != column:
                    pack_dz(p, layer, column, width, n_rows, packed_at)
                    packed_layer, packed_column = task.layer, column
                dz_at, ld_dz = packed_at, width
            if p.job[Job.BY_MINIBATCH] != 0:
                p.weight_squares[number] = weight_squares(p, task)
            squares, vector_squares = run_weight_task(
                p, task, n_rows, scratch_at, dz_at, ld_dz, scale, l2, decay, h
            )
        else:
            squares, vector_squares = 0.0, run_embedding_task(
                p, number, task, n_rows, scratch_at, scale, decay, h
            )  # fmt: skip
        if stored:
            p.momentum_squares[number] = squares  # until the second pass
        else:
            p.seen[2 + number] += squares
        p.gradient_squares[number] = squares + vector_squares


@njit
def tiles_phase(p, thread, n_threads, n_rows, ahead0, ahead1, weight_sum, step, t, product):
    """All tasks of one of n_threads threads; the mean over rows is the division by weight_sum.

    Rows ahead0 to ahead1 are those of `run_tasks`. Returns whether all have left it for the stop
    word, with nothing changed that lasts.
    """
    first, last = tasks_of(p, thread, n_threads)
    scale, l2 = p.floats[Float.GRADIENT_FACTOR] / weight_sum, p.floats[Float.L2]
    if p.job[Job.BY_MINIBATCH] != 0:
        l2 = l2 / weight_sum
    run_tasks(p, thread, n_threads, n_rows, ahead0, ahead1, scale, l2, step, t, product)
    if p.job[Job.KIND] == KIND_GRADIENTS:
        return False
    if stores_gradient(p):
        barrier(p.sync, n_threads)
        if atomic_load(p.sync, Sync.LEFT_TILES) != 0:
            return True
        factor = clip_factor(p)
        if p.job[Job.RULE] == MUON and orthogonal_factors(p, thread, first, last, factor):
            return True
        for number in range(first, last):
            p.seen[2 + number] += p.momentum_squares[number]
            lr = learning_rate_at(p, rate_layer(p, number), step)
            h = hyper_at(p, lr, step, t, product)
            apply_task(p, number, factor, 1.0 - lr * p.floats[Float.DECAY], step, h)
    if p.floats[Float.MAX_NORM] > 0.0:
        barrier(p.sync, n_threads)
        for number in range(first, last):
            if number < p.job[Job.N_WEIGHT_TASKS] and task_at(p, number).i0 == 0:
                constrain_panel(p, number, p.floats[Float.MAX_NORM])
    return False
