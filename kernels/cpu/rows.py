"""Rows phase: a thread's own rows of the minibatch, through the whole network and back.

Rows do not depend on one another, so no thread waits for another here; but the mean of a
batch-normalised layer is one over all rows, so there they meet, once forward and once backward.
"""

import numpy as np

from ..counters import INPUT_LAYER
from ..jit import njit
from ..structs import (
    KIND_GRADIENTS,
    KIND_PREDICT,
    KIND_TRAIN,
    TARGET_VALUES,
    Float,
    Job,
    Sync,
)
from .bands import band_gradients
from .dropout import drop
from .embedding import embed_rows
from .gather import gather_ahead, gather_rows, gather_targets, prefetch_targets
from .gemm import activate_block, backward_rows, forward_rows
from .layer_kinds import between_backward, between_forward
from .losses import row_losses
from .norms import BACKWARD, FORWARD, leave_at_meeting
from .records import layer_at
from .simd import lanes_of, like, load, store
from .sync import atomic_load, atomic_store, barrier_apart
from .tile import MASK, PLAIN, SCALE


@njit
def leave(p, number, direction):
    """Out of this phase, from layer `number`, forward or backward: its results are of no use.

    Where threads wait for one another within it, they leave together: at the next meeting.
    """
    if p.job[Job.ROWS_MEET] != 0:
        leave_at_meeting(p, number, direction)
    atomic_store(p.sync, Sync.ABORTED, 1)


@njit
def read_inputs(p, r0, r1, epoch, step):
    """act_in of the first layer for rows r0 to r1: from the table, embedded, with dropout.

    Nothing where the products read the table itself.
    """
    first, job = layer_at(p, 0), p.job
    embeds = job[Job.N_EMBEDDINGS] != 0
    at, ld = first.act_in, first.ld_in
    if embeds:
        at, ld = job[Job.COLUMNS], job[Job.COLUMNS_LD]
    if job[Job.IN_PLACE] != 0:
        prefetch_targets(p, r0, r1)
        return
    if job[Job.SHUFFLE] == 0:
        gather_rows(p.work, at, ld, job[Job.N_COLUMNS], p.rows, r0, r1, job)
    else:
        prefetch_targets(p, r0, r1)
        gather_ahead(p.work, at, ld, job[Job.N_COLUMNS], p.rows, r0, r1, job)
    if embeds:
        embed_rows(p, r0, r1)
    if job[Job.KIND] != KIND_TRAIN or job[Job.INPUT_THRESHOLD] == 0:
        return
    mask = job[Job.INPUT_MASK]
    if mask != 0:
        one = like(load(p.work, mask), 1.0)
        for r in range(r0, r1):
            for j in range(0, first.in_pad, lanes_of(p.work)):
                store(p.work, mask + r * first.ld_in + j, one)
    drop(
        p.work, first.act_in, mask, first.ld_in, first.n_in, r0, r1, job[Job.INPUT_THRESHOLD],
        p.floats[Float.INPUT_SCALE], np.int64(INPUT_LAYER), epoch, step, job[Job.SEED], mask != 0,
    )  # fmt: skip


@njit
def add_rows(work, out_at, at, ld, n_columns, r0, r1):
    """out += a for rows r0 to r1, both (batch, ld)."""
    for r in range(r0, r1):
        for j in range(r * ld, r * ld + n_columns, lanes_of(work)):
            store(work, out_at + j, load(work, out_at + j) + load(work, at + j))


@njit
def multiply_rows(work, out_at, at, ld, n_columns, r0, r1):
    """out *= a for rows r0 to r1, both (batch, ld)."""
    for r in range(r0, r1):
        for j in range(r * ld, r * ld + n_columns, lanes_of(work)):
            store(work, out_at + j, load(work, out_at + j) * load(work, at + j))


@njit
def by_columns(job, n_threads):
    """Whether threads take columns of the first layer's Z, of all rows, instead of rows.

    With few rows and many inputs the first W is by far the largest thing that is read. A thread
    that takes the columns whose W it updates finds them in its own caches; by rows, it would read
    from the other cores what they have just written. Threads meet after that layer.
    """
    return job[Job.BY_COLUMNS] != 0 and n_threads > 1


@njit
def columns_of(out_pad, panel, thread, n_threads):
    """The columns from and to which a thread takes Z: whole panels, the last one of any width."""
    n_panels = (out_pad + panel - 1) // panel
    first, last = n_panels * thread // n_threads, n_panels * (thread + 1) // n_threads
    return first * panel, min(last * panel, out_pad)


@njit
def forward(p, thread, n_threads, r0, r1, n_rows, epoch, step):
    """Activations and f'(Z) of every layer, for rows r0 to r1; dropout in training only.

    Returns whether it was left for the stop word.
    """
    training = p.job[Job.KIND] == KIND_TRAIN
    for i in range(p.job[Job.N_LAYERS]):
        layer = layer_at(p, i)
        split = i == 0 and by_columns(p.job, n_threads)
        begin, end, column0, column1 = r0, r1, np.int64(0), layer.out_pad
        if split:
            begin, end = np.int64(0), n_rows
            column0, column1 = columns_of(
                layer.out_pad, 2 * lanes_of(p.work), thread, n_threads
            )  # fmt: skip
        left = forward_rows(p, layer, i, begin, end, column0, column1)
        if split:
            barrier_apart(p.sync, n_threads, thread, p.job[Job.THREAD_WORDS])
            # One that has left its columns has seen the word, and so now do all.
            left = atomic_load(p.sync, Sync.STOP) != 0
        if left:
            leave(p, i, FORWARD)
            return True
        if layer.norm != 0:
            if between_forward(p, layer, i, r0, r1, n_rows):
                return True
            activate_block(
                p.work, layer.act_out, layer.dz, layer.ld_out, r0, r1, layer.n_out,
                layer.activation,
            )  # fmt: skip
        if training and layer.keep_threshold > 0:
            drop(
                p.work, layer.act_out, layer.dz, layer.ld_out, layer.n_out,
                r0, r1, layer.keep_threshold, p.floats[Float.PER_LAYER + 2 * i], i, epoch, step,
                p.job[Job.SEED], training,
            )  # fmt: skip
        if layer.residual != 0:
            add_rows(p.work, layer.act_out, layer.act_in, layer.ld_out, layer.out_pad, r0, r1)
    return False


@njit
def losses(p, r0, r1):
    """Row losses and dZ of the output layer, both times the row's weight, and that weight."""
    job, last = p.job, layer_at(p, p.job[Job.N_LAYERS] - 1)
    if job[Job.TARGET_KIND] == TARGET_VALUES:
        gather_targets(
            p.work, job[Job.TARGET], job[Job.TARGET_LD], job[Job.N_TARGETS], p.rows, r0, r1,
            p.targets,
        )  # fmt: skip
    row_losses(p, last, r0, r1)
    if job[Job.HAS_WEIGHTS]:
        for r in range(r0, r1):
            weight, dz = p.weights[p.rows[r]], last.dz + r * last.ld_out
            for j in range(0, last.n_out, lanes_of(p.work)):
                store(p.work, dz + j, load(p.work, dz + j) * weight)
            p.work[job[Job.ROW_LOSS] + r] *= weight
            p.work[job[Job.ROW_WEIGHT] + r] = weight


@njit
def backward(p, r0, r1, n_rows):
    """dZ of every hidden layer, from the last to the first, for rows r0 to r1.

    A residual layer's output is A = A_in + f(Z), so dA_in = dZ W^T + dA: then the sum is kept,
    and dZ of the layer before is made of it. dA of embedded inputs is kept too.
    It ends early for the stop word.
    """
    for i in range(p.job[Job.N_LAYERS] - 1, -1, -1):
        layer = layer_at(p, i)
        if layer.norm != 0 and between_backward(p, layer, i, r0, r1, n_rows):
            return
        if layer.in_t == 0:
            return
        kept = layer.da_in != 0
        if backward_rows(
            p, layer, r0, r1, layer.da_in if kept else layer.dz_in,
            PLAIN if kept else SCALE if layer_at(p, i - 1).keeps_slope != 0 else MASK,
        ):  # fmt: skip
            leave(p, i - 1, BACKWARD)
            return
        if kept:
            if layer.residual != 0:
                add_rows(p.work, layer.da_in, layer.da, layer.ld_in, layer.in_t, r0, r1)
            if i > 0:
                multiply_rows(p.work, layer.dz_in, layer.da_in, layer.ld_in, layer.in_t, r0, r1)
            elif p.job[Job.KIND] == KIND_TRAIN and p.job[Job.INPUT_MASK] != 0:
                mask = p.job[Job.INPUT_MASK]
                multiply_rows(p.work, layer.da_in, mask, layer.ld_in, layer.in_t, r0, r1)


@njit
def outputs(p, r0, r1, epoch, step):
    """Z of the output layer to where the user has it, in the order of the job's rows."""
    last = layer_at(p, p.job[Job.N_LAYERS] - 1)
    first = epoch * p.job[Job.N_ROWS] + step * p.job[Job.BATCH_SIZE]
    for r in range(r0, r1):
        for j in range(last.n_out):
            z = p.work[last.act_out + r * last.ld_out + j]
            p.outputs[(first + r) * last.n_out + j] = z


@njit
def rows_phase(p, thread, n_threads, r0, r1, n_rows, epoch, step):
    """Rows r0 to r1 of the minibatch of n_rows, whose table rows stand in p.rows.

    Where the stop word is set on the way, the results are of no use and p.sync[ABORTED] is set.
    """
    kind, band_rows = p.job[Job.KIND], p.job[Job.BAND_ROWS]
    begin = r0
    while True:
        # Once at least: where threads meet within this phase, one without rows meets the others.
        end = min(begin + band_rows, r1) if band_rows != 0 else r1
        read_inputs(p, begin, end, epoch, step)
        if forward(p, thread, n_threads, begin, end, n_rows, epoch, step):
            return
        if p.job[Job.KEEPS_OUTPUTS] != 0:
            outputs(p, begin, end, epoch, step)
        if kind != KIND_PREDICT:
            losses(p, begin, end)
        if kind in (KIND_TRAIN, KIND_GRADIENTS):
            backward(p, begin, end, n_rows)
            if band_rows != 0 and end > begin:
                band_gradients(p, thread, begin, end)
        begin = end
        if begin >= r1:
            return
