"""Which row of the table stands behind a row of the minibatch: kernels/cpu/shuffle.py's order."""

import numpy as np

from ..counters import FEISTEL_ROUNDS, MASK32
from ..structs import SHUFFLE_BLOCKS, SHUFFLE_NONE, Job
from .jit import device
from .random import MASK, W0, epoch_keys, mix

ONE, TWO = np.uint64(1), np.uint64(2)


@device
def domain_bits(n):
    """Bits of the smallest domain 2^b, b >= 2, that holds 0 to n - 1."""
    n_bits = TWO
    while (ONE << n_bits) < n:
        n_bits += ONE
    return n_bits


@device
def shuffled(position, n, key0, key1):
    """The number below n at this position, uint64: `shuffled_rows` of kernels/cpu/random.py."""
    n_bits = domain_bits(n)
    n_high = n_bits // TWO
    n_low = n_bits - n_high
    mask_high, mask_low = (ONE << n_high) - ONE, (ONE << n_low) - ONE
    x = position
    while True:
        left, right = x >> n_low, x & mask_low
        for i in range(FEISTEL_ROUNDS):
            key = ((key0 if i % 2 == 0 else key1) + np.uint64(i) * W0) & MASK
            new = mix(right, key) & (mask_high if i % 2 == 0 else mask_low)
            left, right = right, left ^ new
        x = (left << n_low) | right
        if x < n:
            return x


@device
def row_in_blocks(position, n_rows, block_bits, window_rows, key0, key1):
    """`rows_of_window` of kernels/cpu/shuffle.py for one position."""
    window = position // window_rows
    first = window * window_rows
    n = min(window_rows, n_rows - first)
    w = np.uint64(window)
    at = shuffled(np.uint64(position - first), np.uint64(n), mix(w, key0), mix(w, key1))
    n_whole = n_rows >> block_bits
    in_block = (1 << block_bits) - 1
    rest = n_rows & in_block
    place = np.int64(mix(np.uint64(MASK32), key0))
    begin = ((place * (n_whole + 1)) >> 32) << block_bits
    j = first + np.int64(at)
    if begin <= j < begin + rest:
        return (n_whole << block_bits) + j - begin
    whole = j - rest if j >= begin + rest else j
    block = shuffled(np.uint64(whole >> block_bits), np.uint64(n_whole), key0, key1)
    return (np.int64(block) << block_bits) + (whole & in_block)


@device
def row_at(job, epoch, position):
    """The row of the table at a position of an epoch; job: kernels/structs.py."""
    if job[Job.SHUFFLE] == SHUFFLE_NONE:
        return position
    n_rows = job[Job.N_ROWS]
    key0, key1 = epoch_keys(job[Job.SEED], epoch)
    if job[Job.SHUFFLE] == SHUFFLE_BLOCKS:
        return row_in_blocks(
            position, n_rows, job[Job.BLOCK_BITS], job[Job.WINDOW_ROWS], key0, key1
        )
    return np.int64(shuffled(np.uint64(position), np.uint64(n_rows), key0, key1))
