"""A look at a table that lies on the device: which of its rows cannot be used."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import cuda

from .jit import SMALL, THREADS, for_type, kernel

MOST_BLOCKS = 4 if SMALL else 1024


@for_type
def first_bad_row(T: Any, checks_floats: bool) -> Any:
    """rows (blocks,): for each block the first row it saw that has a value beyond `limit` or NaN,
    or a column of categories (n, 2) with what is none; n_rows where all are good.

    table: of element type T, from its first element on, in steps of row_step and column_step.
    """

    @kernel
    def first_bad_row(
        rows, table, categories, n_rows, n_columns, row_step, column_step, n_embedded, limit
    ):
        found = cuda.shared.array(THREADS, np.int64)
        t = cuda.threadIdx.x
        first = n_rows
        stride = cuda.gridDim.x * THREADS
        i = cuda.blockIdx.x * THREADS + t
        while i < n_rows * n_columns:
            row = i // n_columns
            if checks_floats and row < first:
                value = float(table[row * row_step + (i - row * n_columns) * column_step])
                if not (-limit <= value and value <= limit):
                    first = row
            i += stride
        i = cuda.blockIdx.x * THREADS + t
        while i < n_rows * n_embedded:
            row = i // n_embedded
            e = i - row * n_embedded
            value = float(table[row * row_step + categories[2 * e] * column_step])
            in_range = value >= 0.0 and value < float(categories[2 * e + 1])
            if row < first and not (in_range and value == float(int(value))):
                first = row
            i += stride
        found[t] = first
        cuda.syncthreads()
        width = THREADS // 2
        while width > 0:
            if t < width and found[t + width] < found[t]:
                found[t] = found[t + width]
            cuda.syncthreads()
            width //= 2
        if t == 0:
            rows[cuda.blockIdx.x] = found[0]

    return first_bad_row
