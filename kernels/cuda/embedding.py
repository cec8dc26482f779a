"""Gradients of learnt embeddings: dE[c] = sum of dA over the rows whose category is c.

In the order of the rows, whatever the device: a thread takes an element of the table, and looks at
all rows of the minibatch.
"""

from __future__ import annotations

from typing import Any

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
        i = cuda.blockIdx.x * THREADS + cuda.threadIdx.x
        if clock[Clock.STATUS] != STATUS_RUNNING or i >= n_elems:
            return
        category = i // width
        k, total = position + i - category * width, zero
        epoch = job[Job.FIRST_EPOCH] + clock[Clock.EPOCH]
        for r in range(clock[Clock.N_ROWS]):
            row = rows[r]
            if clock[Clock.IS_STAGED] != 0:
                row = clock[Clock.START] + r - clock[Clock.STAGED_FROM]
            if int(table[row * row_step + column * column_step]) == category:
                d = da[r * ld + k]
                if drops:
                    d *= mask(
                        r, k, INPUT_LAYER, epoch, clock[Clock.STEP], job[Job.SEED], threshold,
                        T(floats[Float.INPUT_SCALE]),
                    )  # fmt: skip
                total += d
        partials[at + i] = total

    return embedding_gradient
