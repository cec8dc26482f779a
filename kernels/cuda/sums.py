"""Sums of a block of threads, in a fixed order: a tree over the threads' numbers."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import cuda

from .jit import THREADS, device, for_type


@for_type
def group_sum(T: Any, n_lanes: int) -> Any:
    """`total(scratch, t, value)`: the sum over each run of n_lanes threads, in all of them.

    scratch: (THREADS,) T in shared memory. For all threads of the block together.
    """

    @device
    def total(scratch, t, value):
        lane = t % n_lanes
        scratch[t] = value
        cuda.syncthreads()
        width = n_lanes // 2
        while width > 0:
            if lane < width:
                scratch[t] += scratch[t + width]
            cuda.syncthreads()
            width //= 2
        result = scratch[t - lane]
        cuda.syncthreads()
        return result

    return total


@for_type
def group_max(T: Any, n_lanes: int) -> Any:
    """`top(scratch, t, value)`: likewise the largest; a NaN is passed over."""

    @device
    def top(scratch, t, value):
        lane = t % n_lanes
        scratch[t] = value
        cuda.syncthreads()
        width = n_lanes // 2
        while width > 0:
            if lane < width and scratch[t + width] > scratch[t]:
                scratch[t] = scratch[t + width]
            cuda.syncthreads()
            width //= 2
        result = scratch[t - lane]
        cuda.syncthreads()
        return result

    return top


block_sum = group_sum(np.float64, THREADS)
