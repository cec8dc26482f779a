"""How a fit takes its rows: in order, shuffled, or shuffled in blocks, as suits a large file."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np

from fastmlp.checks import shown
from fastmlp.data.inputs import Dataset
from fastmlp.data.mapped import is_mapped
from fastmlp.data.memory import available_bytes
from fastmlp.errors import OptionError, OptionTypeError

AUTO, BLOCKS = "auto", "blocks"
# Long enough that a disk reads blocks in any order about as fast as a whole file.
BLOCK_BYTES = 256 * 1024
# Rows of 256 blocks are mixed. Three windows are in memory: one in use, two that are read ahead.
WINDOW_BYTES = 64 * 1024 * 1024
_LEAST_ROWS = 16  # of a window: rows may be large
# Share of the free memory up to which a mapped file is shuffled as a whole.
MEMORY_SHARE = 0.5


@dataclass(frozen=True)
class Blocks:
    """Shuffling in blocks: windows of blocks in random order, rows in random order within each.

    Attributes
    ----------
    block_bits : int
        A block has 2^block_bits consecutive rows of the table; the last one may have fewer.
    window_rows : int
        Positions of an epoch whose rows are mixed.
    """

    block_bits: int
    window_rows: int

    @classmethod
    def of(cls, X: np.ndarray) -> Self:
        """Blocks for a table (n, columns), by the size of a row alone: alike on every machine."""
        row_bytes = X.shape[1] * X.itemsize
        bits = max(BLOCK_BYTES // row_bytes, 1).bit_length() - 1
        return cls(bits, max(WINDOW_BYTES // row_bytes, _LEAST_ROWS))


def as_shuffle(shuffle: object) -> bool | str:
    """`shuffle` if it is True, False, "blocks" or "auto"; OptionError or OptionTypeError."""
    if isinstance(shuffle, bool | np.bool_):
        return bool(shuffle)
    if isinstance(shuffle, str) and shuffle in (AUTO, BLOCKS):
        return shuffle
    kind = OptionError if isinstance(shuffle, str) else OptionTypeError
    raise kind(f"shuffle must be True, False, 'blocks' or 'auto', got {shown(shuffle)}")


def resolved(shuffle: bool | str, data: Dataset, batch_size: int) -> bool | Blocks:
    """What `shuffle` means for data: "auto" takes blocks where a mapped file is large, and rows
    as they lie where one minibatch has all of them: their order would change the rounding alone.
    """
    if isinstance(shuffle, bool):
        return shuffle
    if shuffle == BLOCKS:
        return Blocks.of(data.X)
    if batch_size >= data.n_rows:
        return False
    return Blocks.of(data.X) if in_file(data) and not fits_memory(data.X) else True


def in_file(data: Dataset) -> bool:
    """Whether the rows come from a mapped file in its order; chosen ones may lie anywhere."""
    return data.chosen is None and is_mapped(data.X)


def fits_memory(X: np.ndarray) -> bool:
    """Whether a mapped table can stay in memory from one epoch to the next."""
    return X.nbytes <= MEMORY_SHARE * available_bytes()


def name_of(shuffle: bool | Blocks) -> str:
    """For a history: "rows", "blocks" or "none"."""
    if isinstance(shuffle, Blocks):
        return BLOCKS
    return "rows" if shuffle else "none"
