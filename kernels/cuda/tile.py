"""Shapes of the blocks of matrix products: one table, chosen from by the size of the product.

A block of threads computes `rows` x `columns` of the result, each thread `thread_rows` x
`thread_columns` of them in registers, from slices of `depth` terms that lie in shared memory.
"""

from __future__ import annotations

from typing import NamedTuple

from .jit import SMALL


class BlockTile(NamedTuple):
    """A block of a product; sizes are multiples of the lanes of a vector of 16 bytes.

    rate: of its multiply-adds, of those that a multiprocessor can do, as its loads from shared
    memory leave room for them: 8 x 8 results a thread take 4 loads of 16 bytes a term, 4 x 4 take
    2. resident: blocks that a multiprocessor holds; latency: clocks that a slice takes at least.
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
    rate: float = 0.75
    unrolled: int = 2
    resident: int = 2
    latency: int = 1300

    @property
    def n_threads(self) -> int:
        return (self.rows // self.thread_rows) * (self.columns // self.thread_columns)

    def n_blocks(self, n_rows: int, n_columns: int) -> int:
        return -(-n_rows // self.rows) * -(-n_columns // self.columns)

    def clocks(self, n_blocks: int, n_terms: int) -> float:
        """That n_blocks take, each with n_terms: in waves, as many at a time as are resident."""
        waves, rest = divmod(n_blocks, MULTIPROCESSORS * self.resident)
        each = self.rows * self.columns * self.depth / (self.rate * FMA_PER_CLOCK)

        def slice_of(n_beside: int) -> float:
            return max(self.latency, n_beside * each)

        last = slice_of(-(-rest // MULTIPROCESSORS)) if rest else 0.0
        return -(-n_terms // self.depth) * (waves * slice_of(self.resident) + last)


# The largest first. float64 takes twice the registers, and half the lanes. The rates are estimates.
OF_GPUS = {
    4: (
        BlockTile(128, 128, 8, 8, 8),
        BlockTile(64, 64, 16, 4, 4, rate=0.6, unrolled=8, resident=4, latency=1000),
        BlockTile(32, 32, 16, 4, 4, rate=0.5, unrolled=8, resident=16, latency=700),
    ),
    8: (
        BlockTile(64, 64, 8, 4, 4, rate=0.35, resident=3, latency=1000),
        BlockTile(32, 32, 8, 4, 4, rate=0.3, resident=12, latency=700),
    ),
}
_OF_THE_SIMULATOR = {4: (BlockTile(8, 8, 4, 4, 4),), 8: (BlockTile(8, 8, 4, 4, 4),)}
TILES = _OF_THE_SIMULATOR if SMALL else OF_GPUS

# Of a large GPU of today. The same numbers everywhere, so that every GPU sums in the same order.
MULTIPROCESSORS = 6 if SMALL else 128
FMA_PER_CLOCK = 128  # of float32, a multiprocessor's
BYTES_PER_CLOCK = 1800  # of the memory
CLOCKS_OF_PART = 60  # of the kernel that adds parts up, eight of them at a time
MOST_PARTS = 256


def tile_for(n_rows: int, n_columns: int, n_terms: int, itemsize: int) -> BlockTile:
    """The tile with which a product (n_rows, n_columns) of n_terms should take the least time: a
    large one computes what is not there beside few columns, and leaves multiprocessors idle where
    it has few blocks. By sizes alone."""
    return min(
        TILES[itemsize], key=lambda tile: tile.clocks(tile.n_blocks(n_rows, n_columns), n_terms)
    )


def tile_and_parts(
    n_rows: int, n_columns: int, n_terms: int, itemsize: int, least_run: int
) -> tuple[BlockTile, int]:
    """Likewise for a product whose n_terms terms may be summed in parts of least_run and more,
    each of which is written, and read again to be added up."""
    most = max(1, min(MOST_PARTS, n_terms // least_run))

    def clocks(chosen: tuple[BlockTile, int]) -> float:
        tile, n_parts = chosen
        run, n_blocks = -(-n_terms // n_parts), tile.n_blocks(n_rows, n_columns)
        traffic = 2 * n_rows * n_columns * itemsize * n_parts / BYTES_PER_CLOCK
        return tile.clocks(n_blocks * n_parts, run) + traffic + n_parts * CLOCKS_OF_PART

    return min(((t, n) for t in TILES[itemsize] for n in range(1, most + 1)), key=clocks)
