"""What frames a step: its numbers before it, its loss in the middle, its record at the end.

Everything that changes from step to step is computed here from the tables of the job, on the
device: the host launches the same kernels for every step. One block does it: in the middle the
last block of the loss kernel, at the end the last block of the update (last.py), or a kernel of one
block where these have many.
"""

from __future__ import annotations

import math

import numpy as np
from numba import cuda

from ..constants import nadam_momentum
from ..rules import MUON, NADAM, kept_momentum, step_factors
from ..structs import (
    STATUS_BAD_LOSS,
    STATUS_BAD_UPDATE,
    STATUS_DONE,
    STATUS_RUNNING,
    Float,
    Job,
)
from . import ptx
from .jit import THREADS, device, kernel
from .structs import N_HYPER, Clock, Hyper, Number, Record
from .sums import block_sum

STATUS_LEVEL = 6  # the loss has been level for long enough: see LossPlateau

momentum_at = device(nadam_momentum)
step_factors_at = device(step_factors)
kept_momentum_at = device(kept_momentum)


@device
def steps_of_epoch(job):
    return (job[Job.N_ROWS] + job[Job.BATCH_SIZE] - 1) // job[Job.BATCH_SIZE]


@device
def describe_minibatch(clock, job):
    """Where the minibatch of clock[STEP] begins, and its rows."""
    start = clock[Clock.STEP] * job[Job.BATCH_SIZE]
    clock[Clock.START] = start
    clock[Clock.N_ROWS] = min(job[Job.BATCH_SIZE], job[Job.N_ROWS] - start)
    clock[Clock.SKIPS] = 0


@device
def count_momentum(clock, numbers, job, floats):
    """nadam: mu_1 ... mu_t of the step that begins."""
    if job[Job.RULE] == NADAM:
        t = float(job[Job.UPDATES_DONE] + clock[Clock.DONE] + 1)
        numbers[Number.PRODUCT] *= momentum_at(floats[Float.HYPER], t)


@device
def describe_update(numbers, job, floats, rates, step, layer):
    """The numbers of the update rule for this step: `hyper` of kernels/cpu/optimizers.py, for one
    layer. Each is stored as soon as it is known: in registers together, they would leave room for
    fewer blocks of the kernel that this is part of."""
    h, rule = Number.PER_LAYER + N_HYPER * layer, job[Job.RULE]
    t = float(job[Job.UPDATES_DONE] + step + 1)
    lr = rates[step] * floats[Float.PER_LAYER + 2 * layer + 1]
    numbers[h + Hyper.MUON_LR] = lr
    if rule == MUON:
        lr *= floats[Float.ADAM_RATE]
    numbers[h + Hyper.LR], numbers[h + Hyper.DECAY] = lr, 1.0 - lr * floats[Float.DECAY]
    numbers[h + Hyper.H0], numbers[h + Hyper.H1] = floats[Float.HYPER], floats[Float.HYPER + 1]
    carry = floats[Float.HYPER]
    if job[Job.RATE_IN_MOMENTUM] != 0:
        before = floats[Float.LAST_RATE]
        if step > 0:
            before = rates[step - 1]
        carry = kept_momentum_at(carry, before, rates[step])
    numbers[h + Hyper.CARRY] = carry
    numbers[h + Hyper.RATE] = lr / (1.0 - math.pow(floats[Float.HYPER], t))
    power2 = math.pow(floats[Float.HYPER + 1], t)
    root_scale, h2 = 1.0 / math.sqrt(1.0 - power2), floats[Float.HYPER + 2]
    numbers[h + Hyper.ROOT_SCALE] = root_scale
    numbers[h + Hyper.H2] = h2 * root_scale if job[Job.EPS_BEFORE_CORRECTION] != 0 else h2
    now = later = 0.0
    if rule == NADAM:
        now, later = momentum_at(floats[Float.HYPER], t), momentum_at(floats[Float.HYPER], t + 1.0)
    product = numbers[Number.PRODUCT]
    a, b = step_factors_at(rule, lr, floats[Float.HYPER + 1], t, power2, product, now, later)
    numbers[h + Hyper.A], numbers[h + Hyper.B] = a, b


@device
def sums_of_losses(scratch, t, partial, n_partial):
    """Of the weighted losses and of the weights that the loss kernel left, in all threads."""
    loss_sum = weight_sum = 0.0
    for i in range(t, n_partial, THREADS):
        loss_sum += partial[2 * i]
        weight_sum += partial[2 * i + 1]
    return block_sum(scratch, t, loss_sum), block_sum(scratch, t, weight_sum)


@device
def squares_at(n_layers):
    """Where in numbers the epoch's squared gradient norms are."""
    return Number.PER_LAYER + N_HYPER * n_layers


@device
def record_epoch(history, clock, numbers, n_steps):
    """Mean loss, seconds and root mean square of each layer's gradient norm; by one thread."""
    n_layers = clock[Clock.N_LAYERS]
    at = clock[Clock.EPOCH] * (Record.N_FIELDS + n_layers)
    weight, now_ns = numbers[Number.WEIGHT], float(ptx.clock_ns())
    history[at + Record.LOSS] = numbers[Number.LOSS] / weight if weight > 0.0 else 0.0
    history[at + Record.SECONDS] = (now_ns - numbers[Number.STARTED_NS]) * 1e-9
    numbers[Number.STARTED_NS] = now_ns
    for layer in range(n_layers):
        mean = numbers[squares_at(n_layers) + layer] / max(n_steps, 1)
        history[at + Record.N_FIELDS + layer] = math.sqrt(mean)


@kernel
def begin(clock, numbers, job, floats):
    """The first step of a job; the sums of the epoch and the product are the host's. One thread."""
    clock[Clock.STATUS], clock[Clock.EPOCH], clock[Clock.DONE] = STATUS_RUNNING, 0, 0
    clock[Clock.STEP], clock[Clock.EPOCHS_DONE] = job[Job.FIRST_STEP], 0
    clock[Clock.FIRST_OF_EPOCH] = job[Job.FIRST_STEP] - job[Job.STEPS_SEEN]
    clock[Clock.N_BAD], clock[Clock.N_LAYERS] = job[Job.N_BAD], job[Job.N_LAYERS]
    for layer in range(job[Job.N_LAYERS]):
        clock[Clock.FAULTY_LAYER + layer] = 0
    numbers[Number.BEST_LOSS] = floats[Float.BEST_LOSS]
    numbers[Number.STARTED_NS] = float(ptx.clock_ns())
    describe_minibatch(clock, job)
    count_momentum(clock, numbers, job, floats)


@device
def weigh_losses(scratch, t, history, clock, numbers, partial, n_partial, job, floats, rates):
    """The numbers of the update: those of its rule, the factor that makes means of the minibatch's
    sums; and its loss to the epoch's. For a block of THREADS threads.

    partial: of the loss kernel. A loss that is not finite ends the training before the update.
    """
    if clock[Clock.STATUS] != STATUS_RUNNING:
        return
    step = clock[Clock.DONE]
    loss_sum, weight_sum = sums_of_losses(scratch, t, partial, n_partial)
    # From the last thread on: the first has other work meanwhile.
    for layer in range(THREADS - 1 - t, clock[Clock.N_LAYERS], THREADS):
        describe_update(numbers, job, floats, rates, step, layer)
    if t != 0:
        return
    by_minibatch = job[Job.BY_MINIBATCH] != 0
    n_rows, factor = float(clock[Clock.N_ROWS]), floats[Float.LOSS_FACTOR]
    if by_minibatch:
        mean = loss_sum / weight_sum if weight_sum > 0.0 else 0.0
        numbers[Number.LOSS] += mean * factor * n_rows
        numbers[Number.WEIGHT] += n_rows
    else:
        numbers[Number.LOSS] += loss_sum * factor
        numbers[Number.WEIGHT] += weight_sum
    if not math.isfinite(loss_sum):
        clock[Clock.STATUS] = STATUS_BAD_LOSS
        clock[Clock.DONE] += 1
        n_steps = clock[Clock.STEP] + 1 - clock[Clock.FIRST_OF_EPOCH]
        record_epoch(history, clock, numbers, n_steps)
        return
    numbers[Number.STEP_WEIGHT] = weight_sum
    clock[Clock.SKIPS] = 0 if weight_sum > 0.0 else 1
    if weight_sum > 0.0:
        numbers[Number.SCALE] = floats[Float.GRADIENT_FACTOR] / weight_sum
        l2 = floats[Float.L2]
        numbers[Number.L2] = l2 / weight_sum if by_minibatch else l2


@kernel
def weigh(history, clock, numbers, partial, job, floats, rates, n_partial):
    """`weigh_losses` where the loss kernel has many blocks. One block."""
    scratch, t = cuda.shared.array(THREADS, np.float64), cuda.threadIdx.x
    weigh_losses(
        scratch, t, history, clock, numbers, partial, n_partial, job, floats, rates
    )  # fmt: skip


@device
def note_step(history, clock, numbers, job, floats, of_weights):
    """After a step's update, by one thread: its record, and where the training goes on."""
    n_layers, n_steps = clock[Clock.N_LAYERS], steps_of_epoch(job)
    weight_sum = numbers[Number.STEP_WEIGHT]
    if job[Job.BY_MINIBATCH] != 0 and weight_sum > 0.0:
        penalty = 0.5 * floats[Float.L2] * of_weights / weight_sum
        numbers[Number.LOSS] += penalty * clock[Clock.N_ROWS]
    clock[Clock.DONE] += 1
    bad = False
    for layer in range(n_layers):
        bad = bad or clock[Clock.FAULTY_LAYER + layer] != 0
    if bad:
        clock[Clock.STATUS] = STATUS_BAD_UPDATE
    step, last = clock[Clock.STEP] + 1, clock[Clock.EPOCH] == job[Job.N_EPOCHS] - 1
    end = n_steps - job[Job.STEPS_LEFT] if last else n_steps
    if step < end and not bad:
        clock[Clock.STEP] = step
        describe_minibatch(clock, job)
        return
    record_epoch(history, clock, numbers, step - clock[Clock.FIRST_OF_EPOCH])
    if step == n_steps:
        clock[Clock.EPOCHS_DONE] = clock[Clock.EPOCH] + 1
    if bad:
        return
    if step == n_steps:
        at = clock[Clock.EPOCH] * (Record.N_FIELDS + n_layers)
        loss, best = history[at + Record.LOSS], numbers[Number.BEST_LOSS]
        n_bad = clock[Clock.N_BAD] + 1 if loss > best - floats[Float.TOLERANCE] else 0
        clock[Clock.N_BAD] = n_bad
        numbers[Number.BEST_LOSS] = min(best, loss)
        if 0 <= job[Job.PATIENCE] < n_bad:
            clock[Clock.STATUS] = STATUS_LEVEL
    if last:
        if clock[Clock.STATUS] == STATUS_RUNNING:
            clock[Clock.STATUS] = STATUS_DONE
        return
    # The last epoch's sums stay: the next job may go on with them.
    numbers[Number.LOSS] = numbers[Number.WEIGHT] = 0.0
    for layer in range(n_layers):
        numbers[squares_at(n_layers) + layer] = 0.0
    clock[Clock.EPOCH] += 1
    clock[Clock.STEP] = clock[Clock.FIRST_OF_EPOCH] = 0
    describe_minibatch(clock, job)


@device
def end_step(scratch, t, history, clock, numbers, squares, ranges, job, floats, n_segments):
    """The end of a step: its squared gradients to the epoch's, its record, the next minibatch. For
    a block of THREADS threads, while the status is RUNNING.

    squares: (2 n_segments,), of gradients and of weights; ranges: (2 L,) the first segment of each
    layer's matrix and the one after its last.
    """
    n_layers = clock[Clock.N_LAYERS]
    of_weights = 0.0
    if clock[Clock.SKIPS] == 0:
        for layer in range(n_layers):
            of_gradient = 0.0
            for i in range(ranges[2 * layer] + t, ranges[2 * layer + 1], THREADS):
                of_gradient += squares[i]
                of_weights += squares[n_segments + i]
            of_gradient = block_sum(scratch, t, of_gradient)
            if t == 0:
                numbers[squares_at(n_layers) + layer] += of_gradient
    of_weights = block_sum(scratch, t, of_weights)
    if t == 0:
        note_step(history, clock, numbers, job, floats, of_weights)
        if clock[Clock.STATUS] == STATUS_RUNNING:
            count_momentum(clock, numbers, job, floats)


@kernel
def advance(history, clock, numbers, squares, ranges, job, floats, n_segments):
    """`end_step` where other kernels follow the update, or it has many blocks. One block."""
    scratch, t = cuda.shared.array(THREADS, np.float64), cuda.threadIdx.x
    if clock[Clock.STATUS] == STATUS_RUNNING:
        end_step(scratch, t, history, clock, numbers, squares, ranges, job, floats, n_segments)


@kernel
def next_rows(clock, job):
    """The next rows as a minibatch, of a job that trains nothing: one thread. Before the first of
    them, START is a minibatch before 0."""
    start = clock[Clock.START] + job[Job.BATCH_SIZE]
    clock[Clock.START] = start
    clock[Clock.N_ROWS] = min(job[Job.BATCH_SIZE], job[Job.N_ROWS] - start)
    if clock[Clock.HALF_ROWS] > 0:
        clock[Clock.STAGED_FROM] = start - clock[Clock.HALF] * clock[Clock.HALF_ROWS]
        clock[Clock.HALF] = 1 - clock[Clock.HALF]


@kernel
def stage(clock, first):
    """The position whose row is the first of the table, of which a part is there: one thread."""
    clock[Clock.STAGED_FROM], clock[Clock.IS_STAGED] = first, 1


@kernel
def record_now(history, clock, numbers):
    """The record of an epoch that was left between two steps: one thread."""
    record_epoch(history, clock, numbers, clock[Clock.STEP] - clock[Clock.FIRST_OF_EPOCH])


@device
def sum_losses(scratch, t, history, clock, numbers, partial, n_partial, job, floats, rates):
    """The minibatch's sums of weighted losses and of weights to those of all rows, of a job that
    trains nothing."""
    loss_sum, weight_sum = sums_of_losses(scratch, t, partial, n_partial)
    if t == 0:
        numbers[Number.LOSS] += loss_sum
        numbers[Number.WEIGHT] += weight_sum


@kernel
def add_losses(history, clock, numbers, partial, job, floats, rates, n_partial):
    """`sum_losses` where the loss kernel has many blocks. One block."""
    scratch, t = cuda.shared.array(THREADS, np.float64), cuda.threadIdx.x
    sum_losses(scratch, t, history, clock, numbers, partial, n_partial, job, floats, rates)
