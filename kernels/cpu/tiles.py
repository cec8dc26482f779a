"""Tiles phase: a thread's own tiles of every weight matrix, each summed over all rows of the
minibatch and updated while it lies in the first-level cache; dW as a whole never goes to memory.

A tile belongs to one task and a task to one thread, and no sum is split, so the result does not
depend on the number of threads.
"""

import math

from ..jit import njit
from ..structs import KIND_GRADIENTS, Float, Job, Sync
from .gemm import bias_gradient, transpose_panel, weight_gradient
from .optimizers import Hyper, update
from .records import layer_at, panel_vectors, task_at
from .simd import lanes_of, like, load, reduce_add, select, store


@njit
def hyper_at(p, step, update_number):
    """The scalars of the update rule for one step; update_number counts from 1."""
    h0, h1 = p.floats[Float.HYPER], p.floats[Float.HYPER + 1]
    return Hyper(
        p.learning_rates[step], h0, h1, p.floats[Float.HYPER + 2], p.floats[Float.HYPER + 3],
        1.0 - h0**update_number, math.sqrt(1.0 - h1**update_number),
    )  # fmt: skip


@njit
def without_decay(h):
    """The same scalars for biases, which do not decay."""
    return Hyper(h.lr, h.h0, h.h1, h.h2, 0.0, h.correction1, h.correction2)


@njit
def update_block(p, at, n_elems, gradient_at, scale, l1, l2, h, layer):
    """Update params[at : at + n_elems] from the sums at `gradient_at` of work, times `scale`.

    Returns the sum of the squared gradients. Penalties: d(l1 |w| + l2 w^2 / 2) = l1 sign(w) + l2 w.
    A weight whose update is not finite keeps its value, state included, and its layer is marked:
    the loop stops after this step with every weight finite.
    """
    rule, n_params, n_slots = p.job[Job.RULE], p.job[Job.N_PARAMS], p.job[Job.N_SLOTS]
    penalised = l1 != 0.0 or l2 != 0.0
    squares = like(load(p.params, at), 0.0)
    zero, faults = squares, squares
    for i in range(0, n_elems, lanes_of(p.params)):
        g = load(p.work, gradient_at + i) * scale
        w = load(p.params, at + i)
        if penalised:
            sign = select(w > 0.0, like(w, 1.0), select(w < 0.0, like(w, -1.0), zero))
            g = g + w * l2 + sign * l1
        squares = squares + g * g
        s1 = load(p.state, at + i) if n_slots > 0 else zero
        s2 = load(p.state, at + n_params + i) if n_slots > 1 else zero
        new_w, new_s1, new_s2 = update(rule, w, g, s1, s2, h)
        # x - x is 0 for a finite x and NaN for others.
        fault = (new_w - new_w) + (new_s1 - new_s1) + (new_s2 - new_s2)
        finite = fault == 0.0
        faults = faults + fault
        store(p.params, at + i, select(finite, new_w, w))
        if n_slots > 0:
            store(p.state, at + i, select(finite, new_s1, s1))
        if n_slots > 1:
            store(p.state, at + n_params + i, select(finite, new_s2, s2))
    if reduce_add(faults) != 0.0:
        p.sync[Sync.FAULTY_LAYER + layer] = 1
    return reduce_add(squares)


@njit
def add_block(p, at, n_elems, gradient_at):
    """grads[at : at + n_elems] += the sums: the gradient itself is wanted, not an update."""
    for i in range(0, n_elems, lanes_of(p.params)):
        store(p.grads, at + i, load(p.grads, at + i) + load(p.work, gradient_at + i))


@njit
def run_task(p, number, n_rows, scratch_at, scale, h):
    """dW, db, update and W^T of one task; returns nothing, adds dW^2 to p.seen."""
    task = task_at(p, number)
    column, layer = task.column, layer_at(p, task.layer)
    lanes = lanes_of(p.params)
    panel = 2 * lanes
    vectors = panel_vectors(layer, column, lanes)
    width = vectors * lanes
    panel_at = layer.weight + column * layer.in_pad
    gradients = p.job[Job.KIND] == KIND_GRADIENTS
    squares = 0.0
    for i0 in range(task.i0, task.i1, panel):
        i1 = min(i0 + panel, task.i1)
        weight_gradient(
            p.work, i0, i1, vectors, n_rows, layer.ld_in, layer.ld_out,
            layer.act_in, layer.dz + column, scratch_at,
        )  # fmt: skip
        block, n_elems = panel_at + i0 * width, (i1 - i0) * width
        if gradients:
            add_block(p, block, n_elems, scratch_at)
        else:
            l1, l2 = p.floats[Float.L1], p.floats[Float.L2]
            squares += update_block(p, block, n_elems, scratch_at, scale, l1, l2, h, task.layer)
            if task.layer > 0:
                transpose_panel(
                    p.params, p.work, i0, i1, column, vectors, layer.in_pad,
                    layer.out_pad, layer.weight, layer.weight_t,
                )  # fmt: skip
    p.seen[2 + number] += squares
    if task.i0 == 0:
        bias_gradient(p.work, vectors, n_rows, layer.ld_out, layer.dz + column, scratch_at)
        bias = layer.bias + column
        if gradients:
            add_block(p, bias, width, scratch_at)
        else:
            update_block(p, bias, width, scratch_at, scale, 0.0, 0.0, without_decay(h), task.layer)


@njit
def tiles_phase(p, thread, n_rows, weight_sum, step, update_number):
    """All tasks of one thread; the mean over rows is the division by weight_sum."""
    scratch_at = p.job[Job.SCRATCH] + thread * p.job[Job.SCRATCH_ELEMS]
    h = hyper_at(p, step, update_number)
    for number in range(p.shares[thread], p.shares[thread + 1]):
        run_task(p, number, n_rows, scratch_at, 1.0 / weight_sum, h)
