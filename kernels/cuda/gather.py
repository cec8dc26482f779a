"""The rows of a minibatch from the table, converted to the network's type, with dropout.

A group of threads has a row: its first thread finds where it lies, then each takes vectors of it,
whose elements are all asked for before the first is waited for. The kernel is generated, as a
vector's elements are names.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import cuda

from ..counters import INPUT_LAYER
from ..structs import Float, Job
from . import ptx
from .generated import generated
from .jit import THREADS, for_type
from .random import dropout_mask
from .shuffle import row_at
from .structs import Clock

_ARGUMENTS = (
    "rows, act, table, params, embeddings, plain_columns, clock, job, floats, ld, n_columns, "
    "row_step, column_step, n_embedded, threshold"
)
_KERNEL = """
    found = cuda.shared.array(ROWS, int64)
    t, n_rows = cuda.threadIdx.x, clock[Clock.N_ROWS]
    own = t // GROUP
    r = cuda.blockIdx.x * ROWS + own
    epoch, step = job[Job.FIRST_EPOCH] + clock[Clock.EPOCH], clock[Clock.STEP]
    seed, scale = job[Job.SEED], T(floats[Float.INPUT_SCALE])
    if t == own * GROUP and r < n_rows:
        row = row_at(job, epoch, clock[Clock.START] + r)
        rows[r] = row
        if clock[Clock.IS_STAGED] != 0:
            row = clock[Clock.START] + r - clock[Clock.STAGED_FROM]
        found[own] = row * row_step
    cuda.syncthreads()
    if r >= n_rows:
        return
    at = found[own]
    for column in range((t - own * GROUP) * LANES, ld, GROUP * LANES):
        {loads}
        store(act, r * ld + column, {names})
"""

_PLAIN = """
        v$i = zero
        if column + $i < n_columns:
            v$i = T(load1(table, at + (column + $i) * column_step))
"""

_EMBEDDED = """
        v$i, field = zero, column + $i
        if field >= n_columns:
            field = -1
        elif field < n_embedded:
            e = 0
            while field >= embeddings[4 * e + 3] + embeddings[4 * e + 1]:
                e += 1
            category = int(load1(table, at + embeddings[4 * e] * column_step))
            place = embeddings[4 * e + 2] + category * embeddings[4 * e + 1]
            v$i, field = load1(params, place + field - embeddings[4 * e + 3]), -1
        else:
            field = plain_columns[field - n_embedded]
        if field >= 0:
            v$i = T(load1(table, at + field * column_step))
"""

_DROPPED = """
        v$i *= mask(r, column + $i, INPUT_LAYER, epoch, step, seed, threshold, scale)
"""


def group_for(ld: int, lanes: int) -> int:
    """How many threads share a row of ld elements: a power of two, about one a vector."""
    return min(THREADS, 1 << max(0, -(-ld // lanes) - 1).bit_length())


@for_type
def gather(T: Any, drops: bool, embeds: bool, group: int) -> Any:
    """rows (B,) and act (B, ld), of whose columns those beyond n_columns are zero.

    table: of any type, its rows row_step and their fields column_step elements apart, the whole or
    what is there of a staged one. With `embeds` the first inputs of a row are rows of learnt tables
    (params), chosen by the columns of which embeddings (n, 4) tells (kernels/structs.py:
    Embedding), and the others those of `plain_columns`. group: of threads that share a row.
    """
    lanes = ptx.VECTOR_BYTES // np.dtype(T).itemsize
    each = _EMBEDDED if embeds else _PLAIN
    loads = [each.replace("$i", str(i)).strip() for i in range(lanes)]
    if drops:
        loads += [_DROPPED.replace("$i", str(i)).strip() for i in range(lanes)]
    names = ", ".join(f"v{i}" for i in range(lanes))
    text = _KERNEL.replace("{loads}", "\n        ".join(loads)).replace("{names}", names)
    store = ptx.vector_functions(lanes)[1]
    namespace = {
        "cuda": cuda, "int64": np.int64, "T": T, "zero": T(0), "ROWS": THREADS // group,
        "GROUP": group, "LANES": lanes, "Clock": Clock, "Job": Job, "Float": Float,
        "INPUT_LAYER": INPUT_LAYER, "row_at": row_at, "mask": dropout_mask(T), "load1": ptx.load1,
        "store": store,
    }  # fmt: skip
    return generated("gather", _ARGUMENTS, text, namespace)
