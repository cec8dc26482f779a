"""Which row of the table stands behind each row of a minibatch: in order, shuffled, in blocks.

All of it is computed from position, epoch and seed: nothing is stored, any thread finds the same
rows on its own, and a training goes on from any step.

In blocks, for tables larger than memory. A block is a run of consecutive rows, read from disk at
once; a window is a run of positions of an epoch whose blocks are in memory together.

    position i, window w = i // window_rows, its first position f = w window_rows
    j = f + (i - f, shuffled among the positions of the window)
    row = the j-th row of the table with its blocks in another order

Where a job has rows of its own choice, what is found so is a position among these.
"""

import numpy as np

from ..counters import MASK32
from ..jit import njit
from ..structs import SHUFFLE_BLOCKS, SHUFFLE_NONE, Job
from .random import SHUFFLE_LANES, epoch_keys, mix, shuffled_numbers, shuffled_rows


@njit
def domain_bits(n):
    """Bits of the smallest domain 2^b, b >= 2, that holds 0 to n - 1."""
    n_bits = 2
    while (1 << n_bits) < n:
        n_bits += 1
    return n_bits


@njit
def rows_of_window(rows, at, position, n_rows, block_bits, window_rows, key0, key1):
    """rows[at + j] = the row at position + j, for SHUFFLE_LANES of j; how many of them count.

    Those beyond the end of the window are of no meaning. Blocks are put in order by
    the keys themselves, positions of window w by mix(w, key). A last block of fewer rows than the
    others, `rest` of them, comes at a place of its own, so that all others stay whole:

        j < begin: of the whole blocks; j < begin + rest: of the last block; else of whole blocks
    """
    window = position // window_rows
    first = window * window_rows
    n = min(window_rows, n_rows - first)
    shuffled_rows(
        rows, at, position - first, n, domain_bits(n), mix(window, key0), mix(window, key1)
    )
    n_whole = n_rows >> block_bits
    in_block = (1 << block_bits) - 1
    rest = n_rows & in_block
    begin = ((mix(MASK32, key0) * (n_whole + 1)) >> 32) << block_bits
    numbers = at + SHUFFLE_LANES
    for i in range(SHUFFLE_LANES):
        j = first + rows[at + i]
        whole = j - rest if j >= begin + rest else j
        rows[numbers + i] = 0 if begin <= j < begin + rest else whole >> block_bits
    if n_whole > 0:
        shuffled_numbers(rows, numbers, n_whole, domain_bits(n_whole), key0, key1)
    for i in range(SHUFFLE_LANES):
        j = first + rows[at + i]
        if begin <= j < begin + rest:
            rows[at + i] = (n_whole << block_bits) + j - begin
        else:
            whole = j - rest if j >= begin + rest else j
            rows[at + i] = (rows[numbers + i] << block_bits) + (whole & in_block)
    return min(n - (position - first), SHUFFLE_LANES)


@njit
def next_rows_at(job):
    """Where the table rows of the next minibatch stand in p.rows."""
    return job[Job.BATCH_SIZE] + SHUFFLE_LANES


@njit
def pick_rows(p, thread, at, r0, r1, start, epoch, n_bits):
    """p.rows[at + r] = table row of row r of the minibatch that begins at `start`, r0 <= r < r1.

    at: 0, or `next_rows_at`.
    """
    job = p.job
    has_chosen = job[Job.HAS_CHOSEN] != 0
    if job[Job.SHUFFLE] == SHUFFLE_NONE:
        for r in range(r0, r1):
            p.rows[at + r] = p.chosen[start + r] if has_chosen else start + r
        return
    n_rows = job[Job.N_ROWS]
    key0, key1 = epoch_keys(job[Job.SEED], epoch)
    if job[Job.SHUFFLE] != SHUFFLE_BLOCKS and not has_chosen:
        for r in range(r0, r1, SHUFFLE_LANES):
            # May write past r1 what the thread that owns those rows writes there too.
            shuffled_rows(p.rows, at + r, start + r, n_rows, n_bits, key0, key1)
        return
    # Here what lies beyond has no meaning: a place of the thread's own takes it.
    own = 2 * next_rows_at(job) + 2 * thread * SHUFFLE_LANES
    r = r0
    while r < r1:
        if job[Job.SHUFFLE] == SHUFFLE_BLOCKS:
            found = rows_of_window(
                p.rows, own, start + r, n_rows, job[Job.BLOCK_BITS], job[Job.WINDOW_ROWS], key0,
                key1,
            )  # fmt: skip
        else:
            shuffled_rows(p.rows, own, start + r, n_rows, n_bits, key0, key1)
            found = np.int64(SHUFFLE_LANES)
        found = min(found, r1 - r)
        for i in range(found):
            row = p.rows[own + i]
            p.rows[at + r + i] = p.chosen[row] if has_chosen else row
        r += found
