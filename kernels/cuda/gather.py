"""The rows of a minibatch from the table, converted to the network's type, with dropout.

A block takes some rows: first its threads find where they lie, then all copy them, neighbouring
threads neighbouring elements.
"""

from __future__ import annotations

from typing import Any

from numba import cuda

from ..counters import INPUT_LAYER
from ..structs import Float, Job
from .jit import SMALL, THREADS, for_type, kernel
from .random import dropout_mask
from .shuffle import row_at
from .structs import Clock

GATHERED_ROWS = 2 if SMALL else 8


@for_type
def gather(T: Any, drops: bool, embeds: bool) -> Any:
    """rows (B,) and act (B, ld), of whose columns those beyond n_columns are zero.

    table: of any type, its rows row_step and their fields column_step elements apart, the whole or
    what is there of a staged one. With `embeds` the
    first inputs of a row are rows of learnt tables (params), chosen by the columns of which
    embeddings (n, 4) tells (kernels/structs.py: Embedding), and the others those of
    `plain_columns`.
    """
    mask, zero = dropout_mask(T), T(0)

    @kernel
    def gather(
        rows, act, table, params, embeddings, plain_columns, clock, job, floats,
        ld, n_columns, row_step, column_step, n_embedded, threshold,
    ):  # fmt: skip
        t, first, n_rows = cuda.threadIdx.x, cuda.blockIdx.x * GATHERED_ROWS, clock[Clock.N_ROWS]
        epoch = job[Job.FIRST_EPOCH] + clock[Clock.EPOCH]
        if t < GATHERED_ROWS and first + t < n_rows:
            rows[first + t] = row_at(job, epoch, clock[Clock.START] + first + t)
        cuda.syncthreads()
        n = min(GATHERED_ROWS, n_rows - first) * ld
        for i in range(t, n, THREADS):
            r = i // ld
            column, r = i - r * ld, first + r
            at = rows[r]
            if clock[Clock.IS_STAGED] != 0:
                at = clock[Clock.START] + r - clock[Clock.STAGED_FROM]
            value = zero
            if column < n_columns:
                field = column
                if embeds:
                    if column < n_embedded:
                        e = 0
                        while column >= embeddings[4 * e + 3] + embeddings[4 * e + 1]:
                            e += 1
                        category = int(table[at * row_step + embeddings[4 * e] * column_step])
                        place = embeddings[4 * e + 2] + category * embeddings[4 * e + 1]
                        value = params[place + column - embeddings[4 * e + 3]]
                        field = -1
                    else:
                        field = plain_columns[column - n_embedded]
                if field >= 0:
                    value = T(table[at * row_step + field * column_step])
                if drops:
                    value *= mask(
                        r, column, INPUT_LAYER, epoch, clock[Clock.STEP], job[Job.SEED],
                        threshold, T(floats[Float.INPUT_SCALE]),
                    )  # fmt: skip
            act[r * ld + column] = value

    return gather
