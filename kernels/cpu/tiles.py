"""Tiles phase: a thread's own tiles of every weight matrix, each summed over all rows of the
minibatch and updated while it lies in the first-level cache; dW as a whole never goes to memory.

Clipping by the global norm needs all of dW first: then the gradient is stored, and the update is
a second pass over the same tasks. A tile belongs to one task and a task to one thread, and no
sum is split, so the result does not depend on the number of threads.
"""

import math

from ..jit import njit
from ..structs import KIND_GRADIENTS, Float, Job, Sync
from . import functions as fn
from . import optimizers
from .gemm import bias_gradient, transpose_panel, weight_gradient
from .records import layer_at, panel_vectors, task_at
from .simd import lanes_of, like, load, reduce_add, select, sqrt, store
from .sync import barrier


@njit
def hyper_at(p, layer, step, t, product):
    """The scalars of the update rule for one layer and step; t counts updates from 1."""
    lr = p.learning_rates[step] * p.floats[Float.PER_LAYER + 2 * layer + 1]
    h = p.floats
    h0, h1, h2 = h[Float.HYPER], h[Float.HYPER + 1], h[Float.HYPER + 2]
    return optimizers.hyper(p.job[Job.RULE], lr, h0, h1, h2, t, product)


@njit
def store_block(p, at, n_elems, gradient_at, scale, l1, l2):
    """grads[at : at + n_elems] = the gradient, with penalties and clipped by value, from the sums
    at `gradient_at` of work; returns the sum of its squares.

    Penalties: d(l1 |w| + l2 w^2 / 2) = l1 sign(w) + l2 w.
    """
    limit = p.floats[Float.CLIP_VALUE]
    squares = like(load(p.params, at), 0.0)
    zero = squares
    for i in range(0, n_elems, lanes_of(p.params)):
        g = load(p.work, gradient_at + i) * scale
        if l1 != 0.0 or l2 != 0.0:
            w = load(p.params, at + i)
            sign = select(w > 0.0, like(w, 1.0), select(w < 0.0, like(w, -1.0), zero))
            g = g + w * l2 + sign * l1
        if limit > 0.0:
            g = fn.clamp(g, -limit, limit)
        squares = squares + g * g
        store(p.grads, at + i, g)
    return reduce_add(squares)


@njit
def update_block(
    p, source, source_at, at, n_elems, scale, l1, l2, limit, decay, averaged, h, layer
):
    """Update params[at : at + n_elems] from `source`'s gradients times `scale`.

    Returns the sum of the squared gradients. `decay`: the factor that decoupled weight decay
    leaves of w; `averaged`: whether the moving average takes the new weights. A weight whose update
    is not finite keeps its value, state included, and its layer is marked: the loop stops after
    this step with every weight finite.
    """
    job = p.job
    rule, n_params, n_slots = job[Job.RULE], job[Job.N_PARAMS], job[Job.N_SLOTS]
    rest = 1.0 - p.floats[Float.AVERAGE]
    squares = like(load(p.params, at), 0.0)
    zero, faults = squares, squares
    for i in range(0, n_elems, lanes_of(p.params)):
        g = load(source, source_at + i) * scale
        w = load(p.params, at + i)
        if l1 != 0.0 or l2 != 0.0:
            sign = select(w > 0.0, like(w, 1.0), select(w < 0.0, like(w, -1.0), zero))
            g = g + w * l2 + sign * l1
        if limit > 0.0:
            g = fn.clamp(g, -limit, limit)
        squares = squares + g * g
        s1 = load(p.state, at + i) if n_slots > 0 else zero
        s2 = load(p.state, at + n_params + i) if n_slots > 1 else zero
        s3 = load(p.state, at + 2 * n_params + i) if n_slots > 2 else zero
        new_w, new_s1, new_s2, new_s3 = optimizers.update(rule, w * decay, g, s1, s2, s3, h)
        # x - x is 0 for a finite x and NaN for others; s3 is never larger than s2 has been.
        fault = (new_w - new_w) + (new_s1 - new_s1) + (new_s2 - new_s2)
        finite = fault == 0.0
        faults = faults + fault
        new_w = select(finite, new_w, w)
        store(p.params, at + i, new_w)
        if n_slots > 0:
            store(p.state, at + i, select(finite, new_s1, s1))
        if n_slots > 1:
            store(p.state, at + n_params + i, select(finite, new_s2, s2))
        if n_slots > 2:
            store(p.state, at + 2 * n_params + i, select(finite, new_s3, s3))
        if averaged:
            mean = load(p.average, at + i)
            store(p.average, at + i, mean + (new_w - mean) * rest)
    if reduce_add(faults) != 0.0:
        p.sync[Sync.FAULTY_LAYER + layer] = 1
    return reduce_add(squares)


@njit
def add_block(p, at, n_elems, gradient_at):
    """grads[at : at + n_elems] += the sums: the gradient itself is wanted, not an update."""
    for i in range(0, n_elems, lanes_of(p.params)):
        store(p.grads, at + i, load(p.grads, at + i) + load(p.work, gradient_at + i))


@njit
def averages_weights(p):
    """Max-norm changes the weights after their update: then it averages them too."""
    return p.job[Job.HAS_AVERAGE] != 0 and not p.floats[Float.MAX_NORM] > 0.0


@njit
def bias_decay(p, decay):
    return decay if p.job[Job.DECAY_BIASES] != 0 else 1.0


@njit
def run_task(p, number, n_rows, scratch_at, scale, decay, h):
    """dW and db of one task, and what the job does with them: add up, store, or update at once."""
    task = task_at(p, number)
    column, layer = task.column, layer_at(p, task.layer)
    lanes = lanes_of(p.params)
    panel = 2 * lanes
    vectors = panel_vectors(layer, column, lanes)
    width = vectors * lanes
    panel_at = layer.weight + column * layer.in_pad
    adding = p.job[Job.KIND] == KIND_GRADIENTS
    storing = p.floats[Float.CLIP_NORM] > 0.0
    l1, l2, limit = p.floats[Float.L1], p.floats[Float.L2], p.floats[Float.CLIP_VALUE]
    squares = bias_squares = 0.0
    for i0 in range(task.i0, task.i1, panel):
        i1 = min(i0 + panel, task.i1)
        weight_gradient(
            p.work, i0, i1, vectors, n_rows, layer.ld_in, layer.ld_out,
            layer.act_in, layer.dz + column, scratch_at,
        )  # fmt: skip
        block, n_elems = panel_at + i0 * width, (i1 - i0) * width
        if adding:
            add_block(p, block, n_elems, scratch_at)
        elif storing:
            squares += store_block(p, block, n_elems, scratch_at, scale, l1, l2)
        else:
            squares += update_block(
                p, p.work, scratch_at, block, n_elems, scale, l1, l2, limit, decay,
                averages_weights(p), h, task.layer,
            )  # fmt: skip
            if task.layer > 0:
                transpose_panel(
                    p.params, p.work, i0, i1, column, vectors, layer.in_pad,
                    layer.out_pad, layer.weight, layer.weight_t,
                )  # fmt: skip
    if task.i0 == 0:
        bias_gradient(p.work, vectors, n_rows, layer.ld_out, layer.dz + column, scratch_at)
        bias = layer.bias + column
        if adding:
            add_block(p, bias, width, scratch_at)
        elif storing:
            bias_squares = store_block(p, bias, width, scratch_at, scale, 0.0, 0.0)
        else:
            update_block(
                p, p.work, scratch_at, bias, width, scale, 0.0, 0.0, limit,
                bias_decay(p, decay), p.job[Job.HAS_AVERAGE] != 0, h, task.layer,
            )  # fmt: skip
    p.seen[2 + number] += squares
    p.norms[number] = squares + bias_squares


@njit
def apply_task(p, number, factor, decay, h):
    """The second pass: update from the stored gradient times `factor`."""
    task = task_at(p, number)
    column, layer = task.column, layer_at(p, task.layer)
    lanes = lanes_of(p.params)
    vectors = panel_vectors(layer, column, lanes)
    width = vectors * lanes
    block, n_elems = layer.weight + column * layer.in_pad + task.i0 * width, task.i1 - task.i0
    update_block(
        p, p.grads, block, block, n_elems * width, factor, 0.0, 0.0, 0.0, decay,
        averages_weights(p), h, task.layer,
    )  # fmt: skip
    if task.i0 == 0:
        bias = layer.bias + column
        update_block(
            p, p.grads, bias, bias, width, factor, 0.0, 0.0, 0.0, bias_decay(p, decay),
            p.job[Job.HAS_AVERAGE] != 0, h, task.layer,
        )  # fmt: skip
    if task.layer > 0:
        transpose_panel(
            p.params, p.work, task.i0, task.i1, column, vectors, layer.in_pad,
            layer.out_pad, layer.weight, layer.weight_t,
        )  # fmt: skip


@njit
def constrain_panel(p, number, limit):
    """Max-norm (Srivastava et al. 2014): the incoming weights of a unit, a column of W, are
    scaled down to the norm `limit` where they exceed it, and then averaged where that is wanted.

    For the task at the top of its panel, after all updates.
    """
    task = task_at(p, number)
    column, layer = task.column, layer_at(p, task.layer)
    lanes = lanes_of(p.params)
    vectors = panel_vectors(layer, column, lanes)
    width = vectors * lanes
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
    if task.layer > 0:
        transpose_panel(
            p.params, p.work, 0, layer.in_pad, column, vectors, layer.in_pad,
            layer.out_pad, layer.weight, layer.weight_t,
        )  # fmt: skip


@njit
def clip_factor(p):
    """min(1, limit / (norm + 1e-6)), as PyTorch's clip_grad_norm_; the same in all threads."""
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
    h = hyper_at(p, 0, step, t, product)
    for number in range(first, last):
        if task_at(p, number).layer != layer:
            layer = task_at(p, number).layer
            h = hyper_at(p, layer, step, t, product)
            decay = 1.0 - h.lr * p.floats[Float.DECAY]
        run_task(p, number, n_rows, scratch_at, 1.0 / weight_sum, decay, h)
    if p.job[Job.KIND] == KIND_GRADIENTS:
        return
    if p.floats[Float.CLIP_NORM] > 0.0:
        barrier(p.sync, n_threads)
        factor = clip_factor(p)
        for number in range(first, last):
            h = hyper_at(p, task_at(p, number).layer, step, t, product)
            apply_task(p, number, factor, 1.0 - h.lr * p.floats[Float.DECAY], h)
    if p.floats[Float.MAX_NORM] > 0.0:
        barrier(p.sync, n_threads)
        for number in range(first, last):
            if task_at(p, number).i0 == 0:
                constrain_panel(p, number, p.floats[Float.MAX_NORM])
