"""From partial gradients to new parameters: kernels/cpu/updates.py for runs of parameters.

A block of threads takes a segment: a run of parameters of one kind and layer. It adds its partial
gradients in their order, so the sum does not depend on the device, and updates at once; or the
gradient is stored first, where clipping by the global norm or Muon needs all of it. The last block
ends the step, where nothing follows and blocks are few.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numba import cuda

from ..constants import CLIP_EPS
from ..rules import RULES
from ..structs import STATUS_RUNNING, Float, Job
from .jit import THREADS, device, for_type, kernel
from .last import is_last_block
from .optimizers import rules
from .ptx import load1, store1
from .steps import end_step
from .structs import N_HYPER, TABLE, WEIGHTS, Clock, Hyper, Number, Segment
from .sums import block_sum

# Parameters of a block's segment: one a thread, as a second would wait for the first.
SEGMENT_ELEMS = THREADS


def segment_elems(n: int) -> int:
    """Of an array of n parameters: more a thread where they are millions, as one block goes over
    the squares of all segments in the end."""
    return SEGMENT_ELEMS * max(1, min(16, n >> 20))


@for_type
def helpers(T: Any) -> tuple[Any, Any]:
    """summed(source, at, n_parts, stride) and penalised(g, w, l1, l2, limit)."""
    zero, one = T(0), T(1)

    @device
    def summed(source, at, n_parts, stride):
        """Part after part, in their order; eight of them are on their way at a time."""
        total, part = zero, 0
        while part + 8 <= n_parts:
            p = at + part * stride
            p0, p1 = load1(source, p), load1(source, p + stride)
            p2, p3 = load1(source, p + 2 * stride), load1(source, p + 3 * stride)
            p4, p5 = load1(source, p + 4 * stride), load1(source, p + 5 * stride)
            p6, p7 = load1(source, p + 6 * stride), load1(source, p + 7 * stride)
            total = total + p0 + p1 + p2 + p3 + p4 + p5 + p6 + p7
            part += 8
        while part < n_parts:
            total += load1(source, at + part * stride)
            part += 1
        return total

    @device
    def penalised(g, w, l1, l2, limit):
        if l1 != zero or l2 != zero:
            sign = one if w > zero else zero
            sign = -one if w < zero else sign
            g = g + w * l2 + sign * l1
        if limit > zero:
            g = limit if g > limit else g
            g = -limit if g < -limit else g
        return g

    return summed, penalised


@for_type
def store_gradients(T: Any) -> Any:
    """grads = the gradient of the mean loss and the penalties, clipped by value.

    squares: (2 n,) for each segment the sum of its squares, then of the squares of its weights.
    """
    summed, penalised = helpers(T)

    @kernel
    def store(grads, squares, params, partials, segments, clock, numbers, floats):
        scratch = cuda.shared.array(THREADS, np.float64)
        if clock[Clock.STATUS] != STATUS_RUNNING or clock[Clock.SKIPS] != 0:
            return
        t, s = cuda.threadIdx.x, cuda.blockIdx.x * Segment.N_FIELDS
        start, size = segments[s + Segment.START], segments[s + Segment.SIZE]
        at, stride = segments[s + Segment.PARTIAL], segments[s + Segment.STRIDE]
        n_parts = segments[s + Segment.N_PARTS]
        scale, limit = T(numbers[Number.SCALE]), T(floats[Float.CLIP_VALUE])
        l1 = l2 = T(0)
        if segments[s + Segment.KIND] == WEIGHTS:
            l1, l2 = T(floats[Float.L1]), T(numbers[Number.L2])
        of_gradient = of_weights = 0.0
        for i in range(t, size, THREADS):
            w = params[start + i]
            g = penalised(summed(partials, at + i, n_parts, stride) * scale, w, l1, l2, limit)
            grads[start + i] = g
            of_gradient += np.float64(g) * np.float64(g)
            of_weights += np.float64(w) * np.float64(w)
        of_gradient = block_sum(scratch, t, of_gradient)
        of_weights = block_sum(scratch, t, of_weights)
        if t == 0:
            squares[cuda.blockIdx.x] = of_gradient
            squares[cuda.gridDim.x + cuda.blockIdx.x] = of_weights

    return store


@for_type
def add_gradients(T: Any) -> Any:
    """grads += the summed partial gradients: the gradient itself is wanted, not an update."""
    summed, _ = helpers(T)

    @kernel
    def add(grads, partials, segments):
        s = cuda.blockIdx.x * Segment.N_FIELDS
        start, size = segments[s + Segment.START], segments[s + Segment.SIZE]
        at, stride = segments[s + Segment.PARTIAL], segments[s + Segment.STRIDE]
        for i in range(cuda.threadIdx.x, size, THREADS):
            grads[start + i] += summed(partials, at + i, segments[s + Segment.N_PARTS], stride)

    return add


@kernel
def clip_by_norm(numbers, squares, clock, floats, n_segments):
    """numbers[CLIP] = min(1, limit / (norm + 1e-6)), as PyTorch's clip_grad_norm_; 1 without a
    limit, NaN where the squares overflow. One block."""
    scratch = cuda.shared.array(THREADS, np.float64)
    t, total = cuda.threadIdx.x, 0.0
    for i in range(t, n_segments, THREADS):
        total += squares[i]
    total = block_sum(scratch, t, total)
    if t == 0:
        limit = floats[Float.CLIP_NORM]
        factor = min(1.0, limit / (total**0.5 + CLIP_EPS)) + (total - total)
        numbers[Number.CLIP] = factor if limit > 0.0 else 1.0


@for_type
def update(T: Any, rule: str, ends: bool) -> Any:
    """New parameters, states and averages of every segment but those that muon.py moves; where it
    `ends` the step, also its record and the next minibatch.

    source: partials, or grads where `stored`. A parameter whose update is not finite keeps its
    value, state included, and its layer is marked: the training ends after this step with every
    parameter finite.
    """
    summed, penalised = helpers(T)
    apply = rules(T)[rule]
    n_slots = len(RULES[rule].states)
    zero, one = T(0), T(1)
    leaves_matrices = RULES[rule].orthogonalises

    @kernel
    def update(
        params, state, average, squares, history, clock, numbers, source, segments, ranges, floats,
        job, stored,
    ):  # fmt: skip
        scratch = cuda.shared.array(THREADS, np.float64)
        if clock[Clock.STATUS] != STATUS_RUNNING:
            return
        t, s = cuda.threadIdx.x, cuda.blockIdx.x * Segment.N_FIELDS
        layer, kind = segments[s + Segment.LAYER], segments[s + Segment.KIND]
        start, size = segments[s + Segment.START], segments[s + Segment.SIZE]
        # Blocks with nothing to do go on to the end: each of them is counted there.
        if leaves_matrices and kind == WEIGHTS and layer < clock[Clock.N_LAYERS] - 1:
            size = 0
        if clock[Clock.SKIPS] != 0:
            size = 0
        at, stride = segments[s + Segment.PARTIAL], segments[s + Segment.STRIDE]
        n_parts = segments[s + Segment.N_PARTS]
        scale, limit = T(numbers[Number.SCALE]), T(floats[Float.CLIP_VALUE])
        l1 = l2 = zero
        if kind == WEIGHTS:
            l1, l2 = T(floats[Float.L1]), T(numbers[Number.L2])
        if stored:
            at, n_parts, scale, limit, l1, l2 = start, 1, T(numbers[Number.CLIP]), zero, zero, zero
        h = Number.PER_LAYER + N_HYPER * layer
        lr, h0 = T(numbers[h + Hyper.LR]), T(numbers[h + Hyper.H0])
        h1, h2 = T(numbers[h + Hyper.H1]), T(numbers[h + Hyper.H2])
        rate, root_scale = T(numbers[h + Hyper.RATE]), T(numbers[h + Hyper.ROOT_SCALE])
        a, b = T(numbers[h + Hyper.A]), T(numbers[h + Hyper.B])
        carry, decay = T(numbers[h + Hyper.CARRY]), T(numbers[h + Hyper.DECAY])
        if kind != WEIGHTS and kind != TABLE and job[Job.DECAY_BIASES] == 0:
            decay = one
        # Max-norm changes matrices after their update: then it averages them too.
        averages = job[Job.HAS_AVERAGE] != 0
        if kind == WEIGHTS and floats[Float.MAX_NORM] > 0.0:
            averages = False
        rest, n_params = T(1.0 - floats[Float.AVERAGE]), job[Job.N_PARAMS]
        of_gradient = of_weights = 0.0
        for i in range(t, size, THREADS):
            p = start + i
            w = load1(params, p)
            s1 = s2 = s3 = zero
            if n_slots > 0:
                s1 = load1(state, p)
            if n_slots > 1:
                s2 = load1(state, n_params + p)
            if n_slots > 2:
                s3 = load1(state, 2 * n_params + p)
            g = penalised(summed(source, at + i, n_parts, stride) * scale, w, l1, l2, limit)
            of_gradient += np.float64(g) * np.float64(g)
            of_weights += np.float64(w) * np.float64(w)
            new_w, new_s1, new_s2, new_s3 = apply(
                w * decay, g, s1, s2, s3, lr, h0, h1, h2, rate, root_scale, a, b, carry
            )
            # x - x is 0 for a finite x and NaN for others; s3 is never larger than s2 has been.
            fault = (new_w - new_w) + (new_s1 - new_s1) + (new_s2 - new_s2)
            if fault == zero:
                store1(params, p, new_w)
                if n_slots > 0:
                    store1(state, p, new_s1)
                if n_slots > 1:
                    store1(state, n_params + p, new_s2)
                if n_slots > 2:
                    store1(state, 2 * n_params + p, new_s3)
            else:
                new_w = w
                clock[Clock.FAULTY_LAYER + layer] = 1
            if averages:
                average[p] += (new_w - average[p]) * rest
        if not stored:
            of_gradient = block_sum(scratch, t, of_gradient)
            of_weights = block_sum(scratch, t, of_weights)
            if t == 0:
                squares[cuda.blockIdx.x] = of_gradient
                squares[cuda.gridDim.x + cuda.blockIdx.x] = of_weights
        if ends and is_last_block(clock, t):
            n_segments = cuda.gridDim.x
            end_step(scratch, t, history, clock, numbers, squares, ranges, job, floats, n_segments)

    return update


@for_type
def constrain_columns(T: Any) -> Any:
    """Max-norm: columns of W (n_in, ld) scaled down to the norm `limit` where they exceed it.

    weight, average: from the matrix of this layer on. A thread takes a column. One whose squares
    overflow stays as it is, and the training ends.
    """

    @kernel
    def constrain(weight, average, clock, floats, job, n_in, ld, layer):
        column = cuda.blockIdx.x * THREADS + cuda.threadIdx.x
        if clock[Clock.STATUS] != STATUS_RUNNING or clock[Clock.SKIPS] != 0 or column >= ld:
            return
        limit, squares = T(floats[Float.MAX_NORM]), T(0)
        for i in range(n_in):
            w = weight[i * ld + column]
            squares += w * w
        norm, factor = T(squares ** T(0.5)), T(1)
        if not math.isfinite(squares):
            clock[Clock.FAULTY_LAYER + layer] = 1
        elif norm > limit:
            factor = limit / norm
        rest = T(1.0 - floats[Float.AVERAGE])
        for i in range(n_in):
            at = i * ld + column
            w = weight[at] * factor
            weight[at] = w
            if job[Job.HAS_AVERAGE] != 0:
                average[at] += (w - average[at]) * rest

    return constrain
