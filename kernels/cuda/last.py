"""The last block of a grid to finish does what needs the results of all of them.

It takes the place of a kernel of one block behind this one: such a launch costs more than its work.
Which block is the last is left to chance, what it computes is not: it reads what the blocks left
in memory, and adds it up in the order of their numbers.
"""

from __future__ import annotations

import numpy as np
from numba import cuda

from .jit import SMALL, device
from .structs import Clock

MOST_BLOCKS = 16 if SMALL else 1024  # of a grid that ends so: one wave or two on a large GPU


@device
def is_last_block(clock, t):
    """True in all threads of the block that comes here last, of a grid in x; false in the others.

    For all threads of all blocks, once in a kernel; t: the thread's number.

    Why the last block sees what the others wrote (PTX's memory model, as the grid barrier of
    cooperative groups relies on it): the barrier orders the writes of a block's threads before the
    fence of its thread 0, and that fence before the block's addition to the counter. The last
    block's addition reads the sum of all the others; the fence behind it orders them before what
    its thread 0 does next, and the barrier before what its other threads do. The fence is one of
    the whole GPU: it also drops the lines of the first-level cache, so that no load behind the
    barrier meets an old one, whether or not this block had read it before. Neither the compiler
    nor the assembler moves loads or stores over a barrier or a fence.
    """
    told = cuda.shared.array(1, np.int32)
    cuda.syncthreads()
    if t == 0:
        cuda.threadfence()
        n_before, n_others = cuda.atomic.add(clock, Clock.ARRIVED, 1), cuda.gridDim.x - 1
        told[0] = 0
        if n_before == n_others:
            cuda.atomic.exch(clock, Clock.ARRIVED, 0)  # for the next kernel
            cuda.threadfence()
            told[0] = 1
    cuda.syncthreads()
    return told[0] != 0
