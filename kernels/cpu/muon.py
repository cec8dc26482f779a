"""Muon (Jordan 2024): a matrix moves along the orthogonal factor of its momentum.

    M = G + mu (M - G),  O = G + mu (M - G) with the new M (nesterov), or O = M
    W = (1 - lr decay) W - lr' NS(O)

lr' = lr sqrt(max(1, out / in)), or lr 0.2 sqrt(max(in, out)) to match the root mean square of
Adam's steps (Liu et al. 2025). Matrices of all layers but the last; the rest takes Adam.

NS, the Newton-Schulz iteration: with O / |O| = U S V^T, an odd polynomial of a matrix acts on its
singular values alone, U (a S + b S^3 + c S^5) V^T, and (a, b, c) drive each of them from 0..1 to
about 1. On the tall one of O and O^T, Y of m rows and k columns, k <= m, so that the Gram matrix is
the small one:

    A = Y^T Y,   P = a I + b A + c A A,   Y = Y P

Y is row-major, A and P lie in panels. A and A A are symmetric: half of their blocks are computed
and mirrored. A `tn` tile takes two blocks of columns of one matrix, from Y as from A, and an `nn`
tile rows of Y and panels of P: nothing is packed. Blocks and rows are split among the threads, and
every element is one chain of multiply-adds: the bits do not depend on the threads.
"""

import math

import numpy as np

from ..constants import MUON_A, MUON_B, MUON_C
from ..jit import njit
from ..rules import MUON
from ..structs import Float, Job, Sync
from .gemm import nn_strip, transpose_panel, transpose_rows, weight_gradient
from .records import layer_at, panel_vectors, task_at
from .simd import fma, lanes_of, like, load, reduce_add, select, store
from .sync import barrier
from .tile import PLAIN, transpose_square
from .updates import averages_weights
from .width import TILE

TILE_ROWS = TILE.rows[0]


@njit
def orthogonalises(p, number):
    """Whether the matrix of this layer takes Muon."""
    return p.job[Job.RULE] == MUON and number < p.job[Job.N_LAYERS] - 1


@njit
def momentum_block(p, at, n_elems, factor, layer):
    """state = M, grads = O from grads times `factor`; returns the sum of the squares of O.

    A momentum that is not finite keeps its value, and marks the layer as `update_block` does.
    """
    mu, blend = p.floats[Float.MOMENTUM], p.floats[Float.NESTEROV_MOMENTUM]
    squares = faults = like(load(p.params, at), 0.0)
    for i in range(at, at + n_elems, lanes_of(p.params)):
        g, old = load(p.grads, i) * factor, load(p.state, i)
        new = fma(old - g, like(g, mu), g)
        # x - x is 0 for a finite x and NaN for others.
        fault = new - new
        faults = faults + fault
        store(p.state, i, select(fault == 0.0, new, old))
        o = fma(g - new, like(g, 1.0 - blend), new)
        store(p.grads, i, o)
        squares = squares + o * o
    if reduce_add(faults) != 0.0:
        p.sync[Sync.FAULTY_LAYER + layer] = 1
    return float(reduce_add(squares))


@njit
def move_block(work, source, ld_source, target, ld_target, n_rows, n_columns, flip):
    """target = source (n_rows, n_columns), or its transpose; whole vectors both ways."""
    lanes = lanes_of(work)
    for i in range(0, n_rows, lanes):
        for j in range(0, n_columns, lanes):
            at = source + i * ld_source + j
            if flip:
                out = target + j * ld_target + i
                transpose_square(work, at, ld_source, work, out, ld_target)
            else:
                for k in range(lanes):
                    store(work, target + (i + k) * ld_target + j, load(work, at + k * ld_source))


@njit
def update_from(p, at, n_elems, step_at, rate, decay, layer):
    """params[at : at + n_elems] = decay params - rate work[step_at :], and their average.

    A weight whose update is not finite keeps its value, and its layer is marked.
    """
    averaged, rest = averages_weights(p), 1.0 - p.floats[Float.AVERAGE]
    faults = like(load(p.params, at), 0.0)
    for i in range(0, n_elems, lanes_of(p.params)):
        w = load(p.params, at + i)
        new = fma(load(p.work, step_at + i), like(w, -rate), w * decay)
        fault = new - new
        faults = faults + fault
        new = select(fault == 0.0, new, w)
        store(p.params, at + i, new)
        if averaged:
            mean = load(p.average, at + i)
            store(p.average, at + i, mean + (new - mean) * rest)
    if reduce_add(faults) != 0.0:
        p.sync[Sync.FAULTY_LAYER + layer] = 1


@njit
def load_task(p, number, layer, y, ld, scale, scratch_at):
    """The rows of Y that one task's O times `scale` is, or its columns where Y = O^T."""
    task, work, lanes = task_at(p, number), p.work, lanes_of(p.work)
    width, panel = panel_vectors(layer, task.column, lanes) * lanes, 2 * lanes
    for i0 in range(task.i0, task.i1, panel):
        rows, at = min(panel, task.i1 - i0), layer.weight + task.column * layer.in_pad + i0 * width
        for i in range(0, rows * width, lanes):
            store(work, scratch_at + i, load(p.grads, at + i) * scale)
        flip = layer.n_out > layer.n_in
        place = y + (task.column * ld + i0 if flip else i0 * ld + task.column)
        move_block(work, scratch_at, width, place, ld, rows, width, flip)


@njit
def update_task(p, number, layer, y, ld, rate, decay, scratch_at):
    """W and W^T of one task from Y, a block of at most a panel's width and height at a time."""
    task, work, lanes = task_at(p, number), p.work, lanes_of(p.work)
    width, panel = panel_vectors(layer, task.column, lanes) * lanes, 2 * lanes
    for i0 in range(task.i0, task.i1, panel):
        rows, at = min(panel, task.i1 - i0), layer.weight + task.column * layer.in_pad + i0 * width
        flip = layer.n_out > layer.n_in
        place = y + (task.column * ld + i0 if flip else i0 * ld + task.column)
        n_rows, n_columns = (width, rows) if flip else (rows, width)
        move_block(work, place, ld, scratch_at, width, n_rows, n_columns, flip)
        update_from(p, at, rows * width, scratch_at, rate, decay, task.layer)
    transpose_rows(p, layer, task.column, task.i0, task.i1)


@njit
def combine(work, out, gram, rows, width, on_diagonal):
    """out = a I + b gram + c out for a block (rows, width) of both."""
    for i in range(0, rows * width, lanes_of(work)):
        s = load(work, out + i) * MUON_C
        store(work, out + i, fma(load(work, gram + i), like(s, MUON_B), s))
    if on_diagonal:
        for i in range(rows):
            work[out + i * width + i] += MUON_A


@njit
def symmetric_blocks(work, source, ld, n_inner, k_pad, target, gram, thread, n_threads):
    """This thread's blocks of S = N^T N in panels (k_pad, k_pad) at `target`.

    gram < 0: N = Y, row-major (n_inner, ld) at `source`, and S is stored. Else N = S before, in
    panels at `source` and `gram`, and a I + b N + c S is stored.
    """
    lanes, panel = lanes_of(work), 2 * lanes_of(work)
    n_panels = (k_pad + panel - 1) // panel
    n_blocks = n_panels * (n_panels + 1) // 2
    first, last = n_blocks * thread // n_threads, n_blocks * (thread + 1) // n_threads
    number = 0
    for column in range(0, k_pad, panel):
        width = min(panel, k_pad - column)
        for row in range(0, column + 1, panel):
            if first <= number < last:
                rows = min(panel, k_pad - row)
                left, ld_left, right, ld_right = source, ld, source + column, ld
                if gram >= 0:
                    # Rows are counted from the panel's first column on.
                    left, ld_left = source + row * k_pad - row, rows
                    right, ld_right = source + column * k_pad, width
                end, block = row + rows, column * k_pad + row * width
                weight_gradient(
                    work, row, end, width // lanes, n_inner, ld_left, ld_right, left, right,
                    target + block,
                )  # fmt: skip
                if gram >= 0:
                    combine(work, target + block, gram + block, rows, width, row == column)
                if row != column:
                    transpose_panel(
                        work, work, row, end, column, width // lanes, k_pad, k_pad, target, target
                    )  # fmt: skip
            number += 1


@njit
def times_square(work, r0, r1, row_block, y, ld, square, k, k_pad, zeros, after):
    """Rows r0 to r1 of Y S at `after`, Y row-major (m_pad, ld), S in panels (k_pad, k_pad).

    Rows go in blocks that stay in the second-level cache, as in gemm.backward_rows.
    """
    panel = 2 * lanes_of(work)
    for block in range(r0, r1, row_block):
        end = min(block + row_block, r1)
        for column in range(0, k_pad, panel):
            vectors = 2 if k_pad - column >= panel else 1
            nn_strip(
                block, end, vectors, work, y, ld, work, square + column * k_pad, k, work, zeros,
                work, after + column, after + column, ld, np.int64(PLAIN),
            )  # fmt: skip


@njit
def iterate(p, layer, y, after, thread):
    """Newton-Schulz steps of all threads on Y of this layer; returns where the last Y lies."""
    job, work, n_threads, zeros = p.job, p.work, p.job[Job.N_THREADS], p.job[Job.ZEROS]
    flip = layer.n_out > layer.n_in
    m_pad, k_pad = (layer.out_pad, layer.in_pad) if flip else (layer.in_pad, layer.out_pad)
    ld, block = (layer.ld_in, layer.block_in) if flip else (layer.ld_out, layer.block_out)
    m, k = max(layer.n_in, layer.n_out), min(layer.n_in, layer.n_out)
    n_tiles = (m_pad + TILE_ROWS - 1) // TILE_ROWS
    r0 = n_tiles * thread // n_threads * TILE_ROWS
    r1 = min(n_tiles * (thread + 1) // n_threads * TILE_ROWS, m_pad)
    gram, polynomial = job[Job.MUON_GRAM], job[Job.MUON_POLYNOMIAL]
    # np.int64: literals would be types of their own, and compile the products a second time.
    none = np.int64(-1)
    for _ in range(int(p.floats[Float.N_ITERATIONS])):
        symmetric_blocks(work, y, ld, m, k_pad, gram, none, thread, n_threads)
        barrier(p.sync, n_threads)
        symmetric_blocks(work, gram, ld, k, k_pad, polynomial, gram, thread, n_threads)
        barrier(p.sync, n_threads)
        # Rows of padding too: the update reads them, and they are zero in every Y.
        times_square(work, r0, r1, block, y, ld, polynomial, k, k_pad, zeros, after)
        barrier(p.sync, n_threads)
        y, after = after, y
    return y


@njit
def orthogonal_step(p, thread, number, first, last, lr):
    """The update of one matrix, whose tasks are `first` to `last`, from O in grads."""
    job, floats, n_threads = p.job, p.floats, p.job[Job.N_THREADS]
    layer = layer_at(p, number)
    ld = layer.ld_in if layer.n_out > layer.n_in else layer.ld_out
    squares = 0.0
    for task in range(first, last):
        squares += p.momentum_squares[task]
    # Divided by a norm beyond the largest number, O would be a step of zero: then this is NaN.
    scale = 1.0 / max(math.sqrt(squares), floats[Float.LEAST_NORM]) + (squares - squares)
    t0 = first + (last - first) * thread // n_threads
    t1 = first + (last - first) * (thread + 1) // n_threads
    scratch_at = job[Job.SCRATCH] + thread * job[Job.SCRATCH_ELEMS]
    for task in range(t0, t1):
        load_task(p, task, layer, job[Job.MUON_Y], ld, scale, scratch_at)
    barrier(p.sync, n_threads)
    y = iterate(p, layer, job[Job.MUON_Y], job[Job.MUON_AFTER], thread)
    factor, decay = math.sqrt(max(1.0, layer.n_out / layer.n_in)), 1.0 - lr * floats[Float.DECAY]
    if floats[Float.MATCHES_ADAM] != 0.0:
        factor = 0.2 * math.sqrt(float(max(layer.n_in, layer.n_out)))
    for task in range(t0, t1):
        update_task(p, task, layer, y, ld, lr * factor, decay, scratch_at)


@njit
def orthogonal_steps(p, thread, step):
    """Every matrix that takes Muon, one after the other, each by all threads.

    `momentum_block` has been at all of it; its sums of squares are in momentum_squares.
    """
    last = np.int64(0)
    for number in range(p.job[Job.N_LAYERS] - 1):
        first = last
        while task_at(p, last).layer == number:
            last += 1
        # O is complete, or all have read the Y of the matrix before.
        barrier(p.sync, p.job[Job.N_THREADS])
        lr = p.learning_rates[step] * p.floats[Float.PER_LAYER + 2 * number + 1]
        orthogonal_step(p, thread, number, first, last, lr)
