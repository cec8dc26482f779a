"""Muon: matrices along the orthogonal factor of their momentum; formulas in kernels/cpu/muon.py.

With the gradient stored, for each matrix W (m, k) of a hidden layer, and Y = O / |O|: on the
smaller side n = min(m, k) of it

    A = Y^T Y (or Y Y^T),  P = a I + b A + c A A,  Y = Y P (or P Y)

by `gemm.product`; nothing is transposed but in the order in which a product reads.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import cuda

from ..constants import MUON_A, MUON_B, MUON_C
from ..structs import STATUS_RUNNING, Float, Job
from .jit import THREADS, for_type, kernel
from .structs import N_HYPER, Clock, Hyper, Number
from .sums import block_sum

BLOCK_ELEMS = THREADS * 4


@for_type
def momentum(T: Any) -> Any:
    """M in the state and O in grads from grads times the clip factor; squares (blocks,) of O.

    All from the matrix on, n elements. A momentum that is not finite keeps its value.
    """
    zero = T(0)

    @kernel
    def momentum(state, grads, squares, clock, numbers, floats, n, layer):
        scratch = cuda.shared.array(THREADS, np.float64)
        if clock[Clock.STATUS] != STATUS_RUNNING or clock[Clock.SKIPS] != 0:
            return
        t, first = cuda.threadIdx.x, cuda.blockIdx.x * BLOCK_ELEMS
        mu, blend = T(floats[Float.MOMENTUM]), T(floats[Float.NESTEROV_MOMENTUM])
        rest, factor, total = T(1) - blend, T(numbers[Number.CLIP]), 0.0
        for i in range(first + t, min(first + BLOCK_ELEMS, n), THREADS):
            g, old = grads[i] * factor, state[i]
            new = (old - g) * mu + g
            if new - new == zero:
                state[i] = new
            else:
                clock[Clock.FAULTY_LAYER + layer] = 1
            o = (g - new) * rest + new
            grads[i] = o
            total += np.float64(o) * np.float64(o)
        total = block_sum(scratch, t, total)
        if t == 0:
            squares[cuda.blockIdx.x] = total

    return momentum


@for_type
def scale_to_norm(T: Any) -> Any:
    """y = o / |o|, n elements; squares: what `momentum` left, n_squares of them. Every block adds
    them up."""

    @kernel
    def scale(y, o, squares, clock, floats, n, n_squares):
        scratch = cuda.shared.array(THREADS, np.float64)
        if clock[Clock.STATUS] != STATUS_RUNNING or clock[Clock.SKIPS] != 0:
            return
        t, first, total = cuda.threadIdx.x, cuda.blockIdx.x * BLOCK_ELEMS, 0.0
        for i in range(t, n_squares, THREADS):
            total += squares[i]
        total = block_sum(scratch, t, total)
        # Divided by a norm beyond the largest number, o would be a step of zero: this is NaN then.
        factor = T(1.0 / max(total**0.5, floats[Float.LEAST_NORM]) + (total - total))
        for i in range(first + t, min(first + BLOCK_ELEMS, n), THREADS):
            y[i] = o[i] * factor

    return scale


@for_type
def combine(T: Any) -> Any:
    """p = a I + b gram + c p for (n, ld) of both, the identity within n_diagonal."""
    a, b, c, zero = T(MUON_A), T(MUON_B), T(MUON_C), T(0)

    @kernel
    def combine(p, gram, clock, n, ld, n_diagonal):
        if clock[Clock.STATUS] != STATUS_RUNNING:
            return
        first = cuda.blockIdx.x * BLOCK_ELEMS
        for i in range(first + cuda.threadIdx.x, min(first + BLOCK_ELEMS, n * ld), THREADS):
            row = i // ld
            on_diagonal = row == i - row * ld and row < n_diagonal
            p[i] = p[i] * c + gram[i] * b + (a if on_diagonal else zero)

    return combine


@for_type
def step(T: Any) -> Any:
    """weight = decay weight - rate y and its average, n elements from the matrix on.

    factor: sqrt(max(1, out / in)) on lr, or 0.2 sqrt(max(in, out)) to match Adam's steps.
    """
    zero = T(0)

    @kernel
    def step(weight, average, y, clock, numbers, floats, job, n, layer, factor):
        if clock[Clock.STATUS] != STATUS_RUNNING or clock[Clock.SKIPS] != 0:
            return
        lr = numbers[Number.PER_LAYER + N_HYPER * layer + Hyper.MUON_LR]
        rate, decay = T(lr * factor), T(1.0 - lr * floats[Float.DECAY])
        averages = job[Job.HAS_AVERAGE] != 0 and not floats[Float.MAX_NORM] > 0.0
        rest, first = T(1.0 - floats[Float.AVERAGE]), cuda.blockIdx.x * BLOCK_ELEMS
        for i in range(first + cuda.threadIdx.x, min(first + BLOCK_ELEMS, n), THREADS):
            w = weight[i]
            new = w * decay - y[i] * rate
            if new - new == zero:
                weight[i] = new
            else:
                new = w
                clock[Clock.FAULTY_LAYER + layer] = 1
            if averages:
                average[i] += (new - average[i]) * rest

    return step
