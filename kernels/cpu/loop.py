"""The compiled loop: epochs of two-phase steps, run by each of `n_threads` Python threads.

    rows phase | barrier | tiles phase | barrier

One loop for each element type serves every architecture, loss and optimizer, and evaluating,
predicting and computing gradients too: one function to compile and to load from the cache.
"""

import math

import numpy as np

from ..jit import entry, njit
from ..rules import NADAM
from ..structs import (
    KIND_EVALUATE,
    KIND_GRADIENTS,
    KIND_PREDICT,
    KIND_TRAIN,
    SHUFFLE_NONE,
    STATUS_ABORTED,
    STATUS_BAD_LOSS,
    STATUS_BAD_UPDATE,
    STATUS_DONE,
    STATUS_RUNNING,
    STATUS_STOPPED,
    Float,
    Job,
    Sync,
    Watch,
)
from .gemm import transpose_rows
from .norms import update_running
from .optimizers import momentum_at, momentum_product
from .records import layer_at, program_at, task_at
from .rows import by_columns, rows_phase
from .shuffle import domain_bits, next_rows_at, pick_rows
from .simd import keep_lanes, lanes_of, like, load, reduce_add
from .sync import atomic_load, atomic_store, barrier, barrier_apart, monotonic_s
from .team import NEVER, choose_team, wait_for_thread_0
from .tiles import tiles_phase
from .watch import bad_epochs, watch_epoch
from .width import TILE

TILE_ROWS = TILE.rows[0]
SUM_BLOCK = 1024  # a float32 sum of more terms would lose digits
NEAR_BYTES = 512 * 1024  # a table up to this size stays in a core's second-level cache


@njit
def ordered_sum(work, at, n):
    """Sum of work[at : at + n], whoever asks: over lanes within blocks, in float64 over blocks."""
    lanes = lanes_of(work)
    zero = like(load(work, at), 0.0)
    total = 0.0
    for block in range(0, n, SUM_BLOCK):
        end, sums = min(block + SUM_BLOCK, n), zero
        for i in range(block, end, lanes):
            sums = sums + keep_lanes(load(work, at + i), end - i, zero)
        total += float(reduce_add(sums))
    return total


@njit
def transpose_all(p, thread):
    """W^T of this thread's tasks: later steps keep it up to date."""
    last = min(p.shares[thread + 1], p.job[Job.N_WEIGHT_TASKS])
    for number in range(p.shares[thread], last):
        task = task_at(p, number)
        transpose_rows(p, layer_at(p, task.layer), task.column, task.i0, task.i1)


@njit
def faulty(p):
    """Whether an update of this step was not finite."""
    n_faulty = 0
    for layer in range(p.job[Job.N_LAYERS]):
        n_faulty += p.sync[Sync.FAULTY_LAYER + layer]
    return n_faulty > 0


@njit
def add_to_epoch(p, loss_sum, weight_sum, n_rows):
    """A minibatch's loss to the epoch's, whose mean is over weights, or over minibatches."""
    if p.job[Job.BY_MINIBATCH] == 0:
        p.seen[0] += loss_sum * p.floats[Float.LOSS_FACTOR]
        p.seen[1] += weight_sum
    else:
        mean = loss_sum / weight_sum if weight_sum > 0.0 else 0.0
        p.seen[0] += mean * p.floats[Float.LOSS_FACTOR] * n_rows
        p.seen[1] += n_rows


@njit
def add_penalty(p, weight_sum, n_rows):
    """l2 / 2 sum W^2 / weight_sum to the loss of a minibatch, W as it was before its update.

    For thread 0 after a step's last barrier, when all threads have left their tasks' sums, and
    before it comes to the next one, beyond which they make new ones.
    """
    if p.job[Job.BY_MINIBATCH] != 0 and weight_sum > 0.0:
        squares = 0.0
        for number in range(p.job[Job.N_WEIGHT_TASKS]):
            squares += p.weight_squares[number]
        p.seen[0] += 0.5 * p.floats[Float.L2] * squares / weight_sum * n_rows


@njit
def record_epoch(p, e, n_steps, started_s):
    """Mean loss, root mean square of each layer's gradient norm, seconds."""
    p.losses[e] = p.seen[0] / p.seen[1] if p.seen[1] > 0.0 else 0.0
    n_layers = p.job[Job.N_LAYERS]
    norms = e * n_layers
    for layer in range(n_layers):
        p.grad_norms[norms + layer] = 0.0
    for number in range(p.job[Job.N_WEIGHT_TASKS]):
        p.grad_norms[norms + task_at(p, number).layer] += p.seen[2 + number]
    for layer in range(n_layers):
        p.grad_norms[norms + layer] = math.sqrt(p.grad_norms[norms + layer] / max(n_steps, 1))
    now_s = monotonic_s()
    p.seconds[e] = now_s - started_s
    return now_s


@njit
def rows_are_far(job):
    """Whether the rows of the next minibatch will not be in the caches by themselves."""
    n_bytes = job[Job.N_ROWS] * abs(job[Job.X_ROW_BYTES])
    return job[Job.SHUFFLE] != SHUFFLE_NONE and n_bytes > NEAR_BYTES


@njit
def step(p, thread, n_threads, epoch, step_in_epoch, step_in_job, n_bits, product):
    """One minibatch as one of n_threads; the status that all of them find alike: running, stopped
    or bad.
    """
    job, kind = p.job, p.job[Job.KIND]
    start = step_in_epoch * job[Job.BATCH_SIZE]
    n_rows = min(job[Job.BATCH_SIZE], job[Job.N_ROWS] - start)
    # Without barriers, threads are in different minibatches: their rows of the work arrays must
    # then be the same in all of them, also in a last one that is shorter.
    shared_rows = job[Job.BATCH_SIZE] if kind == KIND_PREDICT else n_rows
    unit = TILE_ROWS if job[Job.BAND_ROWS] == 0 else job[Job.GROUP_ROWS]
    n_units = (shared_rows + unit - 1) // unit
    r0 = min(n_units * thread // n_threads * unit, n_rows)
    r1 = min(n_units * (thread + 1) // n_threads * unit, n_rows)
    if by_columns(job, n_threads):
        # Every thread reads all rows of the table; they write the same numbers.
        pick_rows(p, thread, np.int64(0), np.int64(0), n_rows, start, epoch, n_bits)
    else:
        pick_rows(p, thread, np.int64(0), r0, r1, start, epoch, n_bits)
    rows_phase(p, thread, n_threads, r0, r1, n_rows, epoch, step_in_epoch)
    if kind == KIND_PREDICT:
        # Nothing is shared: no thread need wait, and each may stop on its own.
        return STATUS_STOPPED if atomic_load(p.sync, Sync.STOP) != 0 else STATUS_RUNNING
    if thread == 0:
        # Python may write the stop word at any time: one thread reads it, for all.
        atomic_store(p.sync, Sync.DECISION, atomic_load(p.sync, Sync.STOP))
    barrier_apart(p.sync, n_threads, thread, job[Job.THREAD_WORDS])
    # Read before the next barrier: beyond it, thread 0 may already write the next step's word.
    stopping = atomic_load(p.sync, Sync.DECISION) != 0
    if stopping or atomic_load(p.sync, Sync.ABORTED) != 0:
        return STATUS_ABORTED
    loss_sum = ordered_sum(p.work, job[Job.ROW_LOSS], n_rows)
    weight_sum = float(n_rows)
    if job[Job.HAS_WEIGHTS]:
        weight_sum = ordered_sum(p.work, job[Job.ROW_WEIGHT], n_rows)
    loss_before, weight_before = p.seen[0], p.seen[1]  # for thread 0, which alone writes them
    if thread == 0:
        add_to_epoch(p, loss_sum, weight_sum, n_rows)
    if kind == KIND_TRAIN and not math.isfinite(loss_sum):
        return STATUS_BAD_LOSS
    if kind != KIND_EVALUATE and weight_sum > 0.0:
        update_number = job[Job.UPDATES_DONE] + step_in_job + 1
        ahead1 = np.int64(0)
        if kind == KIND_TRAIN and rows_are_far(job):
            # The same rows of the next minibatch.
            next_start = start + job[Job.BATCH_SIZE]
            ahead1 = max(r0, min(r1, job[Job.N_ROWS] - next_start))
            pick_rows(p, thread, next_rows_at(job), r0, ahead1, next_start, epoch, n_bits)
        if tiles_phase(
            p, thread, n_threads, n_rows, r0, max(r0, ahead1), weight_sum, step_in_job,
            update_number, product,
        ):  # fmt: skip
            if thread == 0:
                p.seen[0], p.seen[1] = loss_before, weight_before
            return STATUS_ABORTED
        if thread == 0 and kind == KIND_TRAIN:
            update_running(p, n_rows)
    if thread == 0 and kind == KIND_TRAIN:
        choose_team(p.sync, job[Job.N_THREADS], job[Job.THREAD_WORDS], step_in_job + 1)
    barrier_apart(p.sync, n_threads, thread, job[Job.THREAD_WORDS])
    if thread == 0 and kind == KIND_TRAIN:
        add_penalty(p, weight_sum, n_rows)
    if faulty(p):
        return STATUS_BAD_UPDATE
    return STATUS_RUNNING


@njit
def evaluate(p, q, thread, n_threads, epoch):
    """Mean loss of the rows of q with what predicts after an epoch of p; whether it was found.

    q shares the words of p's threads. Those are here that took the epoch's last step, and where
    that was thread 0 alone, the others may wait in the next step by now: so all go on to that one,
    whatever is heard here, and hear it there.
    """
    if thread == 0:
        q.seen[0], q.seen[1] = 0.0, 0.0
    n_rows, batch_size = q.job[Job.N_ROWS], q.job[Job.BATCH_SIZE]
    for s in range((n_rows + batch_size - 1) // batch_size):
        if step(q, thread, n_threads, epoch, s, s, np.int64(0), 1.0) != STATUS_RUNNING:
            return False
    if thread == 0:
        # As fastmlp/training/metrics.py computes it of one block, to the last bit.
        weight = p.watch[Watch.EVAL_WEIGHT]
        p.eval_losses[epoch] = weight * (q.seen[0] / q.seen[1]) / weight
        p.watch[Watch.N_EVALUATED] += 1.0
    return True


@entry
def run(address, thread, zero):
    """Run the job of the program at `address` as thread number `thread` of job[N_THREADS].

    zero: a number of the element type T.
    """
    p = program_at(address, zero)
    job = p.job
    n_steps = (job[Job.N_ROWS] + job[Job.BATCH_SIZE] - 1) // job[Job.BATCH_SIZE]
    n_bits = domain_bits(job[Job.N_ROWS])
    if job[Job.KIND] == KIND_TRAIN or job[Job.KIND] == KIND_GRADIENTS:
        transpose_all(p, thread)
        barrier(p.sync, job[Job.N_THREADS])
    beta1 = p.floats[Float.HYPER]
    product = momentum_product(job[Job.RULE], beta1, job[Job.UPDATES_DONE])
    # np.int64: a literal 0 would be a type of its own, and compile all of `step` a second time.
    status, step_in_job, started_s = STATUS_RUNNING, np.int64(0), monotonic_s()
    together_at, n_bad, best = np.int64(0), job[Job.N_BAD], p.floats[Float.BEST_LOSS]
    for e in range(job[Job.N_EPOCHS]):
        first = job[Job.FIRST_STEP] if e == 0 else 0
        end = n_steps - (job[Job.STEPS_LEFT] if e == job[Job.N_EPOCHS] - 1 else 0)
        not_seen = first - (job[Job.STEPS_SEEN] if e == 0 else 0)
        n_threads = job[Job.N_THREADS]
        if thread == 0 and e > 0:
            # The last epoch's sums stay: the next job may go on with them.
            for i in range(2 + job[Job.N_TASKS]):
                p.seen[i] = 0.0
        for s in range(first, end):
            if job[Job.RULE] == NADAM:
                product *= momentum_at(beta1, job[Job.UPDATES_DONE] + step_in_job + 1)
            n_threads = job[Job.N_THREADS]
            if step_in_job < atomic_load(p.sync, Sync.ALONE_UNTIL):
                n_threads = np.int64(1)
                if thread != 0:
                    if step_in_job >= together_at:
                        together_at = wait_for_thread_0(p.sync)
                    if together_at < 0:
                        return
                    step_in_job += 1
                    continue
            status = step(
                p, thread, n_threads, job[Job.FIRST_EPOCH] + e, s, step_in_job, n_bits, product
            )
            step_in_job += 1
            if thread == 0:
                if status != STATUS_RUNNING:
                    # Nobody who sleeps while it is alone shall take a step that does not come.
                    atomic_store(p.sync, Sync.ALONE_UNTIL, NEVER)
                atomic_store(p.sync, Sync.STEP, step_in_job)
            if status != STATUS_RUNNING:
                if thread == 0:
                    record_epoch(p, e, s + 1 - not_seen, started_s)
                    updated = status not in (STATUS_BAD_LOSS, STATUS_ABORTED)
                    whole = s == n_steps - 1 and updated
                    atomic_store(p.sync, Sync.EPOCH, e + 1 if whole else e)
                    atomic_store(p.sync, Sync.STATUS, status)
                return
        if thread == 0:
            started_s = record_epoch(p, e, end - not_seen, started_s)
            atomic_store(p.sync, Sync.EPOCH, e + 1 if end == n_steps else e)
        if end < n_steps:
            continue
        is_known = True
        if job[Job.EVALUATION] != 0 and (thread == 0 or n_threads > 1):
            is_known = evaluate(p, program_at(job[Job.EVALUATION], zero), thread, n_threads, e)
        if thread == 0:
            n_bad = bad_epochs(p, p.losses[e], best, n_bad)
            best = min(best, p.losses[e])
            if is_known:
                watch_epoch(p, e)
            if job[Job.EVALUATION] != 0:
                started_s = monotonic_s()
    if thread == 0:
        atomic_store(p.sync, Sync.STATUS, STATUS_DONE)
