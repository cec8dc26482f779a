"""The matrix products alone: right to the last digits at odd sizes, and how fast.

Each kind of kernel (forward, backward, gradient) with each of its tiles, on fresh random numbers,
its output poisoned before, against NumPy in float64.
"""

from __future__ import annotations

import time
from typing import Any

import numpy as np

from fastmlp.kernels.cuda import gemm
from fastmlp.kernels.cuda.gemm import ACROSS, ALONG
from fastmlp.kernels.cuda.jit import SIMULATED
from fastmlp.kernels.cuda.launch import Gpu, Launch
from fastmlp.kernels.cuda.structs import Clock
from fastmlp.kernels.cuda.tile import TILES, Tile
from fastmlp.kernels.structs import STATUS_RUNNING

ORDERS = {"forward": (ALONG, ACROSS), "backward": (ALONG, ALONG), "gradient": (ACROSS, ACROSS)}
REPEATS = 7


class Products:
    """Products of one GPU."""

    def __init__(self, number: int) -> None:
        self.gpu = Gpu(number)
        self.rng = np.random.default_rng()  # other numbers in every run
        clock = np.zeros(Clock.FAULTY_LAYER + 1, np.int64)
        clock[Clock.STATUS] = STATUS_RUNNING
        self.clock = self.gpu.array(clock)

    def launch(
        self, order: tuple[str, str], tile: Tile, dtype: str, sizes: tuple[int, int, int]
    ) -> tuple[Launch, np.ndarray, np.ndarray]:
        """One product, and its two matrices as the kernel's order reads them."""
        m, n, k = sizes
        T = np.dtype(dtype).type
        a, b = (self.rng.standard_normal(shape).astype(T) for shape in ((m, k), (k, n)))
        read_a = np.ascontiguousarray(a if order[0] == ALONG else a.T)
        read_b = np.ascontiguousarray(b.T if order[1] == ALONG else b)
        out = self.gpu.array(np.full(m * n, np.nan, T))
        arguments = (
            out, self.gpu.array(read_a.reshape(-1)), self.gpu.array(read_b.reshape(-1)),
            self.clock, m, n, k, n, read_a.shape[1], read_b.shape[1],
        )  # fmt: skip
        grid = (-(-m // tile.rows), -(-n // tile.columns))
        kernel = gemm.product(T, tile, *order)
        return Launch(kernel, grid, tile.n_threads, arguments), a, b

    def error(self, order: tuple[str, str], tile: Tile, dtype: str, sizes: Any) -> float:
        """Largest error of an element, in units of rounding times the sum of absolute terms."""
        launch, a, b = self.launch(order, tile, dtype, sizes)
        self.gpu.launch([launch])
        found = np.empty(sizes[0] * sizes[1], dtype)
        self.gpu.read(launch.arguments[0], found)
        a64, b64 = a.astype(np.float64), b.astype(np.float64)
        scale = np.abs(a64) @ np.abs(b64) * float(np.finfo(dtype).eps)
        return float(np.max(np.abs(found.reshape(sizes[:2]) - a64 @ b64) / scale))

    def tflops(self, order: tuple[str, str], tile: Tile, dtype: str, size: int) -> float:
        """The best of some runs of a square product."""
        launch, _, _ = self.launch(order, tile, dtype, (size, size, size))
        self.gpu.launch([launch])
        self.gpu.wait()
        seconds = []
        for _ in range(REPEATS):
            began_s = time.perf_counter()
            self.gpu.launch([launch] * 4)
            self.gpu.wait()
            seconds.append((time.perf_counter() - began_s) / 4)
        return 2e-12 * size**3 / min(seconds)


def check(number: int, *, few: bool) -> dict[str, Any]:
    """{"checked": how many products, "largest_error": in units of rounding, "wrong": those beyond
    what sums of k terms may be off, "tflops": of the large tile by kind and type}."""
    products = Products(number)
    wrong, largest, checked = [], 0.0, 0
    for itemsize, dtype in ((4, "float32"), (8, "float64")):
        lanes = 16 // itemsize
        for kind, order in ORDERS.items():
            for tile in TILES[itemsize]:
                for m, n, k in _sizes(tile, lanes, few):
                    error = products.error(order, tile, dtype, (m, n, k))
                    checked, largest = checked + 1, max(largest, error)
                    # Sums of k terms, one after the other.
                    if not error <= max(4.0, k / 4):
                        wrong.append(f"{kind} {dtype} {tile} {m} x {n} x {k}: {error:.3g}")
    size = 32 if SIMULATED or few else 4096
    rates = {
        f"{kind} {dtype}": products.tflops(order, TILES[itemsize][0], dtype, size)
        for itemsize, dtype in ((4, "float32"), (8, "float64"))
        for kind, order in ORDERS.items()
    }
    return {"checked": checked, "largest_error": largest, "wrong": wrong, "tflops": rates}


def _sizes(tile: Tile, lanes: int, few: bool) -> list[tuple[int, int, int]]:
    """Within a tile, one with rests, and many; multiples of a vector, as layers are padded."""
    r, c, d = tile.rows, tile.columns, tile.depth
    sizes = [(1, 1, 1), (r, c, d), (r + 1, c + 1, d + 1), (2 * r - 1, 3 * c - 5, 5 * d + 3)]
    if not few:
        sizes.append((7 * r + 13, 5 * c + 37, 61 * d + 7))
    return [tuple(-(-size // lanes) * lanes for size in each) for each in sizes]  # type: ignore[misc]
