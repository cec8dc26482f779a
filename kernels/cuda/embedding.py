"""Gradients of learnt embeddings: dE[c] = sum of dA over the rows whose category is c.

In the order of the rows, whatever the device: a thread takes an element of the table, and looks at
all rows of the minibatch. Their categories come to shared memory, as many as a block has threads at
a time: read one by one from the table, each would cost its whole latency.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import cuda

from ..counters import INPUT_LAYER
from ..structs import STATUS_RUNNING, Float, Job
from .jit import THREADS, for_type, kernel
from .random import dropout_mask
from .structs import Clock


@for_type
def embedding_gradient(T: Any, drops: bool) -> Any:
    """partials[at + i] for the n_elems elements i of a table of rows `width` wide.

    da: (B, ld) of the first layer's inputs, the table's columns from `position` on; table: the
    data, whose field `column` has the categories; drops: dropout of the inputs was applied.
    """
    mask, zero = dropout_mask(T), T(0)

    @kernel
    def embedding_gradient(
        partials, da, table, rows, clock, job, floats, at, n_elems, width, position, column, ld,
        row_step, column_step, threshold,
    ):  # fmt: skip
        categories = cuda.shared.array(THREADS, np.int32)
        if clock[Clock.STATUS] != STATUS_RUNNING:
            return
        t, n_rows = cuda.threadIdx.x, clock[Clock.N_ROWS]
        i = cuda.blockIdx.x * THREADS + t
        category = i // width  # of an element beyond the last: none that a row has
        k, total = position + i - category * width, zero
        epoch = job[Job.FIRST_EPOCH] + clock[Clock.EPOCH]
        for first in range(0, n_rows, THREADS):
            if first + t < n_rows:
                row = rows[first + t]
                if clock[Clock.IS_STAGED] != 0:
                    row = clock[Clock.START] + first + t - clock[Clock.STAGED_FROM]
                categories[t] = int(table[row * row_step + column * column_step])
            cuda.syncthreads()
            for j in range(min(THREADS, n_rows - first)):
                if categories[j] == category:
                    r = first + j
                    d = da[r * ld + k]
                    if drops:
                        d *= mask(
                            r, k, INPUT_LAYER, epoch, clock[Clock.STEP], job[Job.SEED], threshold,
                            T(floats[Float.INPUT_SCALE]),
                        )  # fmt: skip
                    total += d
            cuda.syncthreads()
        if i < n_elems:
            partials[at + i] = total

    return embedding_gradient
