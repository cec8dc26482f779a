"""Dropout masks, one unit at a time, from Philox's counters."""

from __future__ import annotations

import numpy as np

from .random import MASK, philox

# The layer's number in the counters of the inputs' masks.
INPUT = -1


def keep_mask(
    n_rows: int, n_columns: int, *, rate: float, layer: int, epoch: int, step: int, seed: int
) -> np.ndarray:
    """True where a unit is kept: (rows of the minibatch, columns of the layer).

    Unit (row, column) takes word (column // 16) % 4 of the counter
    (column // 64 * 16 + column % 16, row, step, epoch ^ (layer << 24)). From layer 255 on the key
    is another one for each 256 layers.
    """
    threshold = round((1.0 - rate) * 2**32)
    key = (seed & MASK, seed >> 32 ^ (layer + 1) // 256 * 0x85EBCA6B & MASK)
    c3 = (epoch ^ (layer << 24)) & MASK
    kept = np.zeros((n_rows, n_columns), bool)
    for row in range(n_rows):
        for column in range(n_columns):
            counter = (column // 64 * 16 + column % 16, row, step & MASK, c3)
            kept[row, column] = philox(counter, key)[column // 16 % 4] < threshold
    return kept
