"""Shapes of the blocks of matrix products: one table, chosen from by the size of the product.

A block of threads computes `rows` x `columns` of the result, each thread `thread_rows` x
`thread_columns` of them in registers, from slices of `depth` terms that lie in shared memory.
"""

from __future__ import annotations

from typing import NamedTuple

from .jit import SMALL


class Tile(NamedTuple):
    """A block of a product; sizes are multiples of the lanes of a vector of 16 bytes.

    rate: of its multiply-adds, relative to the largest tile, as its loads from shared memory leave
    room for them: 8 x 8 results a thread take 4 loads of 16 bytes a term, 4 x 4 take 2.
    unrolled: terms that are multiplied between two looks at the loop's end. With 4, the largest
    tile takes more than the 128 registers a thread with which a multiprocessor holds two blocks;
    small tiles spend a quarter less on addresses with 8. Never the whole depth: the assembler then
    moves the loads of the next slice behind the multiplications, where nobody waits for them.
    """

    rows: int
    columns: int
    depth: int
    thread_rows: int
    thread_columns: int
    rate: float = 1.0
    unrolled: int = 2

    @property
    def n_threads(self) -> int:
        return (self.rows // self.thread_rows) * (self.columns // self.thread_columns)

    def n_blocks(self, n_rows: int, n_columns: int) -> int:
        return -(-n_rows // self.rows) * -(-n_columns // self.columns)

    def cost(self, n_blocks: int) -> float:
        """Clocks that a term of this many blocks takes: they run in waves, one a multiprocessor."""
        waves = -(-n_blocks // MULTIPROCESSORS)
        return waves * self.rows * self.columns / (self.rate * FMA_PER_CLOCK)


# The largest first. float64 takes twice the registers, and half the lanes. The rates are estimates.
OF_GPUS = {
    4: (Tile(128, 128, 8, 8, 8), Tile(64, 64, 16, 4, 4, 0.65, 8), Tile(32, 32, 16, 4, 4, 0.5, 8)),
    8: (Tile(64, 64, 8, 4, 4), Tile(32, 32, 8, 4, 4, 0.75)),
}
_OF_THE_SIMULATOR = {4: (Tile(8, 8, 4, 4, 4),), 8: (Tile(8, 8, 4, 4, 4),)}
TILES = _OF_THE_SIMULATOR if SMALL else OF_GPUS

# Of a large GPU of today. The same numbers everywhere, so that every GPU sums in the same order.
MULTIPROCESSORS = 6 if SMALL else 128
FMA_PER_CLOCK = 128  # of float32, a multiprocessor's
BYTES_PER_CLOCK = 1800  # of the memory
MOST_PARTS = 64


def tile_for(n_rows: int, n_columns: int, itemsize: int) -> Tile:
    """The tile with which a product (n_rows, n_columns) should take the least time: a large one
    computes what is not there beside few columns, and leaves multiprocessors idle where it has few
    blocks. By sizes alone."""
    return min(TILES[itemsize], key=lambda tile: tile.cost(tile.n_blocks(n_rows, n_columns)))


def tile_and_parts(
    n_rows: int, n_columns: int, n_terms: int, itemsize: int, least_run: int
) -> tuple[Tile, int]:
    """Likewise for a product whose n_terms terms may be summed in parts of least_run and more,
    each of which is written, and read again to be added up."""
    most = max(1, min(MOST_PARTS, n_terms // least_run))

    def clocks(chosen: tuple[Tile, int]) -> float:
        tile, n_parts = chosen
        run, n_blocks = -(-n_terms // n_parts), tile.n_blocks(n_rows, n_columns)
        traffic = 2 * n_rows * n_columns * itemsize * (n_parts - 1) / BYTES_PER_CLOCK
        return tile.cost(n_blocks * n_parts) * run + traffic

    return min(((t, n) for t in TILES[itemsize] for n in range(1, most + 1)), key=clocks)
