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

The factors of all matrices come first, and wait in the second state of their weights, which Adam
alone would use; momenta and weights move when all are there. Until then a step can be left.
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
from .sync import atomic_load, atomic_store, barrier
from .tile import PLAIN, transpose_square
from .updates import averages_weights
from .width import TILE

TILE_ROWS = TILE.rows[0]


@njit
def orthogonalises(p, number):
    """Whether the matrix of this layer takes Muon."""
    return p.job[Job.RULE] == MUON and number < p.job[Job.N_LAYERS] - 1


@njit
def moved(p, i, factor):
    """The new momentum of a vector of weights at `i`, and O, from grads times `factor`."""
    mu, blend = p.floats[Float.MOMENTUM], p.floats[Float.NESTEROV_MOMENTUM]
    g, old = load(p.grads, i) * factor, load(p.state, i)
    new = fma(old - g, like(g, mu), g)
    return new, fma(g - new, like(g, 1.0 - blend), new)


@njit
def squares_of_task(p, number, factor):
    """The sum of the squares of O over one task; nothing is stored."""
    at, n_elems = place_of(p, number)
    squares = like(load(p.params, at), 0.0)
    for i in range(at, at + n_elems, lanes_of(p.params)):
        _, o = moved(p, i, factor)
        squares = squares + o * o
    return float(reduce_add(squares))


@njit
def place_of(p, number):
    """Where the weights of a task begin in params, and how many they are."""
    task = task_at(p, number)
    layer, lanes = layer_at(p, task.layer), lanes_of(p.params)
    width = panel_vectors(layer, task.column, lanes) * lanes
    return (
        layer.weight + task.column * layer.in_pad + task.i0 * width,
        (task.i1 - task.i0) * width,
    )  # fmt: skip


@njit
def stopping(p):
    """Whether the step is left for the stop word: once a thread has read it, none does more work.

    All go on from barrier to barrier, so that none waits for one that has left, to the last one.
    """
    if atomic_load(p.sync, Sync.STOP) != 0:
        atomic_store(p.sync, Sync.LEFT_TILES, 1)
    return atomic_load(p.sync, Sync.LEFT_TILES) != 0


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
def load_task(p, number, layer, y, ld, scale, factor, scratch_at):
    """The rows of Y that one task's O times `scale` is, or its columns where Y = O^T."""
    task, work, lanes = task_at(p, number), p.work, lanes_of(p.work)
    width, panel = panel_vectors(layer, task.column, lanes) * lanes, 2 * lanes
    for i0 in range(task.i0, task.i1, panel):
        rows, at = min(panel, task.i1 - i0), layer.weight + task.column * layer.in_pad + i0 * width
        for i in range(0, rows * width, lanes):
            _, o = moved(p, at + i, factor)
            store(work, scratch_at + i, o * scale)
        flip = layer.n_out > layer.n_in
        place = y + (task.column * ld + i0 if flip else i0 * ld + task.column)
        move_block(work, scratch_at, width, place, ld, rows, width, flip)


@njit
def keep_task(p, number, layer, y, ld, scratch_at):
    """Y of one task into the second state of its weights, which is 0 between two steps."""
    task, work, lanes = task_at(p, number), p.work, lanes_of(p.work)
    width, panel = panel_vectors(layer, task.column, lanes) * lanes, 2 * lanes
    for i0 in range(task.i0, task.i1, panel):
        rows, at = min(panel, task.i1 - i0), layer.weight + task.column * layer.in_pad + i0 * width
        flip = layer.n_out > layer.n_in
        place = y + (task.column * ld + i0 if flip else i0 * ld + task.column)
        n_rows, n_columns = (width, rows) if flip else (rows, width)
        move_block(work, place, ld, scratch_at, width, n_rows, n_columns, flip)
        kept = p.job[Job.N_PARAMS] + at
        for i in range(0, rows * width, lanes):
            store(p.state, kept + i, load(work, scratch_at + i))


@njit
def forget_task(p, number):
    """The second state of a task's weights is 0 again."""
    at, n_elems = place_of(p, number)
    zero = like(load(p.params, at), 0.0)
    for i in range(
        p.job[Job.N_PARAMS] + at, p.job[Job.N_PARAMS] + at + n_elems, lanes_of(p.params)
    ):
        store(p.state, i, zero)


@njit
def update_task(p, number, factor, step):
    """The momentum of one task, its W = (1 - lr decay) W - lr' Y, their average, and W^T.

    What is not finite keeps its value, and marks the layer, as `update_block` does.
    """
    task = task_at(p, number)
    layer = layer_at(p, task.layer)
    larger, floats = math.sqrt(max(1.0, layer.n_out / layer.n_in)), p.floats
    if floats[Float.MATCHES_ADAM] != 0.0:
        larger = 0.2 * math.sqrt(float(max(layer.n_in, layer.n_out)))
    # Not that of Adam for all else: see `learning_rate_at`.
    lr = p.learning_rates[step] * floats[Float.PER_LAYER + 2 * task.layer + 1]
    rate, decay = lr * larger, 1.0 - lr * floats[Float.DECAY]
    averaged, rest = averages_weights(p), 1.0 - floats[Float.AVERAGE]
    at, n_elems = place_of(p, number)
    zero = faults = like(load(p.params, at), 0.0)
    for i in range(at, at + n_elems, lanes_of(p.params)):
        momentum, _ = moved(p, i, factor)
        w, y_at = load(p.params, i), p.job[Job.N_PARAMS] + i
        new = fma(load(p.state, y_at), like(w, -rate), w * decay)
        # x - x is 0 for a finite x and NaN for others.
        fault, of_momentum = new - new, momentum - momentum
        faults = faults + fault + of_momentum
        new = select(fault == 0.0, new, w)
        store(p.params, i, new)
        store(p.state, i, select(of_momentum == 0.0, momentum, load(p.state, i)))
        store(p.state, y_at, zero)
        if averaged:
            mean = load(p.average, i)
            store(p.average, i, mean + (new - mean) * rest)
    if reduce_add(faults) != 0.0:
        p.sync[Sync.FAULTY_LAYER + task.layer] = 1
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
def symmetric_blocks(p, source, ld, n_inner, k_pad, target, gram, thread, n_threads):
    """This thread's blocks of S = N^T N in panels (k_pad, k_pad) at `target`.

    gram < 0: N = Y, row-major (n_inner, ld) at `source`, and S is stored. Else N = S before, in
    panels at `source` and `gram`, and a I + b N + c S is stored. The stop word is looked at before
    every block.
    """
    work = p.work
    lanes, panel = lanes_of(work), 2 * lanes_of(work)
    n_panels = (k_pad + panel - 1) // panel
    n_blocks = n_panels * (n_panels + 1) // 2
    first, last = n_blocks * thread // n_threads, n_blocks * (thread + 1) // n_threads
    number = 0
    for column in range(0, k_pad, panel):
        width = min(panel, k_pad - column)
        for row in range(0, column + 1, panel):
            if first <= number < last and not stopping(p):
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
def times_square(p, r0, r1, row_block, y, ld, square, k, k_pad, zeros, after):
    """Rows r0 to r1 of Y S at `after`, Y row-major (m_pad, ld), S in panels (k_pad, k_pad).

    Rows go in blocks that stay in the second-level cache, as in gemm.backward_rows; the stop word
    is looked at before every panel.
    """
    work = p.work
    panel = 2 * lanes_of(work)
    for block in range(r0, r1, row_block):
        end = min(block + row_block, r1)
        for column in range(0, k_pad, panel):
            if stopping(p):
                return
            vectors = 2 if k_pad - column >= panel else 1
            nn_strip(
                block, end, vectors, work, y, ld, work, square + column * k_pad, k, work, zeros,
                work, after + column, after + column, ld, np.int64(PLAIN),
            )  # fmt: skip


@njit
def iterate(p, layer, y, after, thread):
    """Newton-Schulz steps of all threads on Y of this layer; returns where the last Y lies."""
    job, n_threads, zeros = p.job, p.job[Job.N_THREADS], p.job[Job.ZEROS]
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
        symmetric_blocks(p, y, ld, m, k_pad, gram, none, thread, n_threads)
        barrier(p.sync, n_threads)
        symmetric_blocks(p, gram, ld, k, k_pad, polynomial, gram, thread, n_threads)
        barrier(p.sync, n_threads)
        # Rows of padding too: the update reads them, and they are zero in every Y.
        times_square(p, r0, r1, block, y, ld, polynomial, k, k_pad, zeros, after)
        barrier(p.sync, n_threads)
        y, after = after, y
    return y


@njit
def orthogonal_factor(p, thread, number, first, last, factor):
    """Y of one matrix, whose tasks are `first` to `last`, into the second state of its weights."""
    job, n_threads = p.job, p.job[Job.N_THREADS]
    layer = layer_at(p, number)
    ld = layer.ld_in if layer.n_out > layer.n_in else layer.ld_out
    squares = 0.0
    for task in range(first, last):
        squares += p.gradient_squares[task]
    # Divided by a norm beyond the largest number, O would be a step of zero: then this is NaN.
    scale = 1.0 / max(math.sqrt(squares), p.floats[Float.LEAST_NORM]) + (squares - squares)
    t0 = first + (last - first) * thread // n_threads
    t1 = first + (last - first) * (thread + 1) // n_threads
    scratch_at = job[Job.SCRATCH] + thread * job[Job.SCRATCH_ELEMS]
    for task in range(t0, t1):
        load_task(p, task, layer, job[Job.MUON_Y], ld, scale, factor, scratch_at)
    barrier(p.sync, n_threads)
    y = iterate(p, layer, job[Job.MUON_Y], job[Job.MUON_AFTER], thread)
    for task in range(t0, t1):
        keep_task(p, task, layer, y, ld, scratch_at)


@njit
def orthogonal_factors(p, thread, first, last, factor):
    """Those of every matrix that takes Muon, one after the other, each by all threads.

    first, last: this thread's tasks. Returns whether the step is left for the stop word, which all
    threads find alike: nothing has changed that lasts.
    """
    n_threads = p.job[Job.N_THREADS]
    # The squares of the gradient have been read by all, or are not read.
    if p.floats[Float.CLIP_NORM] > 0.0:
        barrier(p.sync, n_threads)
    for number in range(first, last):
        if number < p.job[Job.N_WEIGHT_TASKS] and orthogonalises(p, task_at(p, number).layer):
            p.gradient_squares[number] = squares_of_task(p, number, factor)
    end = np.int64(0)
    for number in range(p.job[Job.N_LAYERS] - 1):
        begin = end
        while task_at(p, end).layer == number:
            end += 1
        # The squares of O are complete, or all have read the Y of the matrix before.
        barrier(p.sync, n_threads)
        orthogonal_factor(p, thread, number, begin, end, factor)
    # Tasks are shared out otherwise from here on.
    barrier(p.sync, n_threads)
    if atomic_load(p.sync, Sync.LEFT_TILES) == 0:
        return False
    for number in range(first, last):
        if number < p.job[Job.N_WEIGHT_TASKS] and orthogonalises(p, task_at(p, number).layer):
            forget_task(p, number)
    return True
