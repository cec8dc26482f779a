"""Which rows of the table a window of block shuffling reads: kernels/cpu/shuffle.py, by window."""

from __future__ import annotations

import numpy as np

from fastmlp.data.shuffle import Blocks
from fastmlp.kernels.counters import MASK32, MURMUR_0, MURMUR_1, WEYL_0, WEYL_1


class BlockOrder:
    """The blocks of a table of `n_rows` rows in the order of one epoch."""

    def __init__(self, n_rows: int, blocks: Blocks, seed: int, epoch: int) -> None:
        self._n_rows, self._window_rows = n_rows, blocks.window_rows
        self._size = 1 << blocks.block_bits
        self._keys = _epoch_keys(seed, epoch)
        self._n_whole, self._rest = divmod(n_rows, self._size)
        place = int(_mix(np.uint64(MASK32), self._keys[0])) * (self._n_whole + 1) >> 32
        self._begin = place * self._size  # position of the last block, where it has fewer rows

    def rows_of(self, window: int) -> list[tuple[int, int]]:
        """The rows of the window, as pairs (first, after the last): of whole blocks but for ends.

        They come in the order of the table, in which a disk reads them fastest.
        """
        first = window * self._window_rows
        end = min(first + self._window_rows, self._n_rows)
        rest_end, size = self._begin + self._rest, self._size
        found, slots, offsets = [], [], []
        at = first
        while at < end:
            if self._begin <= at < rest_end:
                n = min(rest_end, end) - at
                row = self._n_whole * size + at - self._begin
                found.append((row, row + n))
            else:
                slot, offset = divmod(at - (self._rest if at >= rest_end else 0), size)
                n = min(size - offset, end - at)
                slots.append(slot)
                offsets.append((offset, offset + n))
            at += n
        if slots:
            numbers = _permuted(np.array(slots, np.uint64), self._n_whole, self._keys).tolist()
            for number, (a, b) in zip(numbers, offsets, strict=True):
                found.append((number * size + a, number * size + b))
        return sorted(found)


def _mix(x: np.ndarray | np.uint64, key: int) -> np.ndarray | np.uint64:
    mask = np.uint64(MASK32)
    h = x ^ np.uint64(key)
    h = ((h ^ (h >> np.uint64(16))) * np.uint64(MURMUR_0)) & mask
    h = ((h ^ (h >> np.uint64(13))) * np.uint64(MURMUR_1)) & mask
    return h ^ (h >> np.uint64(16))


def _epoch_keys(seed: int, epoch: int) -> tuple[int, int]:
    def both(first: int, second: int, key: int) -> int:
        return int(_mix(np.uint64(second), int(_mix(np.uint64(first), key))))

    low, high = seed & MASK32, seed >> 32
    keys = both(low, high, WEYL_0), both(high, low, WEYL_1)
    key0, key1 = (both(epoch >> 32 & MASK32, epoch & MASK32, key) for key in keys)
    return key0, key1


def _permuted(x: np.ndarray, n: int, keys: tuple[int, int]) -> np.ndarray:
    """The numbers below n that those in `x` (uint64, below n) go to."""
    n_bits = max(2, (n - 1).bit_length())
    n_low = n_bits - n_bits // 2
    masks = np.uint64((1 << n_bits // 2) - 1), np.uint64((1 << n_low) - 1)
    x = x.copy()
    astray = np.ones(len(x), bool)
    while astray.any():
        left, right = x[astray] >> np.uint64(n_low), x[astray] & masks[1]
        for i in range(6):
            key = (keys[i % 2] + i * WEYL_0) & MASK32
            left, right = right, left ^ (_mix(right, key) & masks[i % 2])
        x[astray] = (left << np.uint64(n_low)) | right
        astray = x >= n
    return x


def rows_at(
    positions: np.ndarray, n_rows: int, shuffle: bool | Blocks, seed: int, epoch: int
) -> np.ndarray:
    """The rows (int64) of a table at positions (int64) of an epoch: kernels/cpu/shuffle.py."""
    if isinstance(shuffle, bool):
        if not shuffle:
            return positions
        found = _permuted(positions.astype(np.uint64), n_rows, _epoch_keys(seed, epoch))
        return found.astype(np.int64)
    key0, key1 = _epoch_keys(seed, epoch)
    size = 1 << shuffle.block_bits
    n_whole, rest = divmod(n_rows, size)
    begin = (int(_mix(np.uint64(MASK32), key0)) * (n_whole + 1) >> 32) * size
    rows = np.empty_like(positions)
    for window in np.unique(positions // shuffle.window_rows).tolist():
        first = window * shuffle.window_rows
        n = min(shuffle.window_rows, n_rows - first)
        here = positions // shuffle.window_rows == window
        keys = int(_mix(np.uint64(window), key0)), int(_mix(np.uint64(window), key1))
        rows[here] = first + _permuted((positions[here] - first).astype(np.uint64), n, keys).astype(
            np.int64
        )
    in_rest = (rows >= begin) & (rows < begin + rest)
    whole = rows - np.where(rows >= begin + rest, rest, 0)
    if n_whole:
        slots = np.where(in_rest, 0, whole >> shuffle.block_bits).astype(np.uint64)
        blocks = _permuted(slots, n_whole, (key0, key1)).astype(np.int64)
    else:
        blocks = np.zeros_like(rows)
    return np.where(in_rest, n_whole * size + rows - begin, blocks * size + (whole & (size - 1)))
