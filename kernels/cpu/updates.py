"""What becomes of a block of gradients: added up, stored, or used to update the parameters.

A block is `n_elems` elements, whole vectors, at the same place in params, grads and the states.
Squares and faults of a task's blocks are summed lane by lane, and over the lanes at its end.
"""

from ..jit import inlined, njit
from ..rules import MUON, kept_momentum
from ..structs import KIND_GRADIENTS, Float, Job, Sync
from . import functions as fn
from . import optimizers
from .simd import lanes_of, like, load, reduce_add, select, store

kept_momentum_at = njit(kept_momentum)


@njit
def learning_rate_at(p, layer, step):
    """Of one layer and step of the job."""
    lr = p.learning_rates[step] * p.floats[Float.PER_LAYER + 2 * layer + 1]
    return lr * p.floats[Float.ADAM_RATE] if p.job[Job.RULE] == MUON else lr


@njit
def hyper_at(p, lr, step, t, product):
    """The scalars of the update rule for a learning rate; t counts updates from 1, step those of
    the job from 0."""
    h, job = p.floats, p.job
    h0, h1, h2 = h[Float.HYPER], h[Float.HYPER + 1], h[Float.HYPER + 2]
    carry = h0
    if job[Job.RATE_IN_MOMENTUM] != 0:
        before = p.learning_rates[step - 1] if step > 0 else h[Float.LAST_RATE]
        carry = kept_momentum_at(h0, before, p.learning_rates[step])
    early = job[Job.EPS_BEFORE_CORRECTION] != 0
    return optimizers.hyper(job[Job.RULE], lr, h0, h1, h2, t, product, carry, early)


@inlined
def penalised(g, w, l1, l2, limit):
    """The gradient of loss and penalty, within +-limit where limit > 0.

    d(l1 |w| + l2 w^2 / 2) = l1 sign(w) + l2 w.
    """
    if l1 != 0.0 or l2 != 0.0:
        zero = like(w, 0.0)
        sign = select(w > 0.0, like(w, 1.0), select(w < 0.0, like(w, -1.0), zero))
        g = g + w * l2 + sign * l1
    if limit > 0.0:
        g = fn.clamp(g, -limit, limit)
    return g


@njit
def nothing_yet(p):
    """Sums before the first block of a task: lanes of squared gradients, lanes of faults."""
    zero = like(load(p.params, 0), 0.0)
    return zero, zero


@njit
def mark_faults(p, faults, layer):
    """Let the loop stop after this step where an update of the layer was not finite."""
    if reduce_add(faults) != 0.0:
        p.sync[Sync.FAULTY_LAYER + layer] = 1


@njit
def store_block(p, at, n_elems, gradient_at, scale, l1, l2, limit, squares):
    """grads[at : at + n_elems] = the gradient, with penalties and clipped by value, from the sums
    at `gradient_at` of work; returns `squares` plus its squares.
    """
    for i in range(0, n_elems, lanes_of(p.params)):
        g, w = load(p.work, gradient_at + i) * scale, load(p.params, at + i)
        g = penalised(g, w, l1, l2, limit)
        squares = squares + g * g
        store(p.grads, at + i, g)
    return squares


@njit
def update_block(
    p, source, source_at, at, n_elems, scale, l1, l2, limit, decay, averaged, h, squares, faults
):  # fmt: skip
    """Update params[at : at + n_elems] from `source`'s gradients times `scale`.

    Returns `squares` plus the squared gradients, and `faults`, a NaN where there was one. `decay`:
    the factor that decoupled weight decay leaves of w; `averaged`: whether the moving average takes
    the new weights. A weight whose update is not finite keeps its value, state included, and is a
    fault: the loop stops after this step with every weight finite.
    """
    job = p.job
    rule, n_params, n_slots = job[Job.RULE], job[Job.N_PARAMS], job[Job.N_SLOTS]
    rest = 1.0 - p.floats[Float.AVERAGE]
    zero = like(squares, 0.0)
    for i in range(0, n_elems, lanes_of(p.params)):
        g = load(source, source_at + i) * scale
        w = load(p.params, at + i)
        g = penalised(g, w, l1, l2, limit)
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
    return squares, faults


@njit
def add_block(p, at, n_elems, gradient_at):
    """grads[at : at + n_elems] += the sums: the gradient itself is wanted, not an update."""
    for i in range(0, n_elems, lanes_of(p.params)):
        store(p.grads, at + i, load(p.grads, at + i) + load(p.work, gradient_at + i))


@njit
def stores_gradient(p):
    """Whether the update is a second pass, when all of dW is stored."""
    return p.job[Job.STORES_GRADIENT] != 0


@njit
def averages_weights(p):
    """Max-norm changes the weights after their update: then it averages them too."""
    return p.job[Job.HAS_AVERAGE] != 0 and not p.floats[Float.MAX_NORM] > 0.0


@njit
def bias_decay(p, decay):
    return decay if p.job[Job.DECAY_BIASES] != 0 else 1.0


@inlined
def use_block(
    p, at, n_elems, gradient_at, scale, l1, l2, decay, averaged, h, squares, faults
):  # fmt: skip
    """What the job does with the sums at `gradient_at` of work: add up, store, or update at once.

    Returns `squares` and `faults` with those of this block; nothing is added to them where the
    gradient is added up.
    """
    limit = p.floats[Float.CLIP_VALUE]
    if p.job[Job.KIND] == KIND_GRADIENTS:
        add_block(p, at, n_elems, gradient_at)
    elif stores_gradient(p):
        squares = store_block(p, at, n_elems, gradient_at, scale, l1, l2, limit, squares)
    else:
        squares, faults = update_block(
            p, p.work, gradient_at, at, n_elems, scale, l1, l2, limit, decay, averaged, h,
            squares, faults,
        )  # fmt: skip
    return squares, faults
