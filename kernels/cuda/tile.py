"""Shapes of the blocks of matrix products: one table, chosen from by the size of the product.

A block of threads computes `rows` x `columns` of the result, each thread `thread_rows` x
`thread_columns` of them in registers, from slices of `depth` terms that lie in shared memory.
"""

from __future__ import annotations

from typing import NamedTuple

from .jit import SMALL


class Tile(NamedTuple):
    """A block of a product; all numbers are multiples of the lanes of a vector of 16 bytes."""

    rows: int
    columns: int
    depth: int
    thread_rows: int
    thread_columns: int

    @property
    def n_threads(self) -> int:
        return (self.rows // self.thread_rows) * (self.columns // self.thread_columns)


# The largest first. float64 takes twice the registers, and half the lanes.
OF_GPUS = {
    4: (Tile(128, 128, 8, 8, 8), Tile(64, 64, 16, 4, 4), Tile(32, 32, 16, 4, 4)),
    8: (Tile(64, 64, 8, 4, 4), Tile(32, 32, 8, 4, 4)),
}
_OF_THE_SIMULATOR = {4: (Tile(8, 8, 4, 4, 4),), 8: (Tile(8, 8, 4, 4, 4),)}
TILES = _OF_THE_SIMULATOR if SMALL else OF_GPUS

# Blocks from which on a larger tile has enough of them: a GPU of today has some 100 to 150
# multiprocessors, and the largest tile runs one or two on each.
ENOUGH_BLOCKS = 96


def tile_for(n_rows: int, n_columns: int, itemsize: int) -> Tile:
    """The largest tile of which a product (n_rows, n_columns) has enough blocks; by sizes alone,
    so that every GPU sums in the same order."""
    tiles = TILES[itemsize]
    for tile in tiles:
        blocks = -(-n_rows // tile.rows) * -(-n_columns // tile.columns)
        if blocks >= ENOUGH_BLOCKS:
            return tile
    return tiles[-1]
