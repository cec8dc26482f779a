"""The matrix products alone: right to the last digits at odd sizes, and how fast.

Each kind of kernel (forward, backward, gradient) with each of its tiles, on fresh random numbers,
its output poisoned before, against NumPy in float64.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from fastmlp.kernels.cuda import gemm
from fastmlp.kernels.cuda.gemm import ACROSS, ALONG
from fastmlp.kernels.cuda.jit import SIMULATED
from fastmlp.kernels.cuda.launch import Gpu, Launch
from fastmlp.kernels.cuda.structs import Clock
from fastmlp.kernels.cuda.tile import TILES, BlockTile
from fastmlp.kernels.structs import STATUS_RUNNING

ORDERS = {"forward": (ALONG, ACROSS), "backward": (ALONG, ALONG), "gradient": (ACROSS, ACROSS)}
REPEATS = 7


class Products:
    """Products of one GPU, or launches of products without one, on a `offline.NoGpu`."""

    def __init__(self, gpu: Gpu) -> None:
        self.gpu = gpu
        self.rng = np.random.default_rng()  # other numbers in every run
        clock = np.zeros(Clock.FAULTY_LAYER + 1, np.int64)
        clock[Clock.STATUS] = STATUS_RUNNING
        self.clock = self.gpu.array(clock)

    def launch(
        self, order: tuple[str, str], tile: BlockTile, dtype: str, sizes: tuple[int, int, int]
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

    def error(self, order: tuple[str, str], tile: BlockTile, dtype: str, sizes: Any) -> float:
        """Largest error of an element, in units of rounding times the sum of absolute terms."""
        launch, a, b = self.launch(order, tile, dtype, sizes)
        self.gpu.launch([launch])
        found = np.empty(sizes[0] * sizes[1], dtype)
        self.gpu.read(launch.arguments[0], found)
        a64, b64 = a.astype(np.float64), b.astype(np.float64)
        scale = np.abs(a64) @ np.abs(b64) * float(np.finfo(dtype).eps)
        return float(np.max(np.abs(found.reshape(sizes[:2]) - a64 @ b64) / scale))

    def tflops(self, order: tuple[str, str], tile: BlockTile, dtype: str, size: int) -> float:
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


class Kind(NamedTuple):
    """Products that one kernel computes."""

    order: str
    tile: BlockTile
    itemsize: int

    @property
    def dtype(self) -> str:
        return f"float{8 * self.itemsize}"

    def __str__(self) -> str:
        t = self.tile
        return f"{self.order} {self.dtype} of tiles {t.rows} x {t.columns} x {t.depth}"


def kinds() -> list[Kind]:
    """Every kernel of a product: 15 for GPUs."""
    return [
        Kind(order, tile, itemsize)
        for itemsize in sorted(TILES)
        for order in ORDERS
        for tile in TILES[itemsize]
    ]


class Checked:
    """{"checked": how many products, "largest_error": in units of rounding, "wrong": those beyond
    what sums of k terms may be off, "tflops": of the large tile by kind and type}."""

    def __init__(self, number: int) -> None:
        self.products = Products(Gpu(number))
        self.values: dict[str, Any] = {
            "checked": 0, "largest_error": 0.0, "wrong": [], "tflops": {},
        }  # fmt: skip

    def add(self, kind: Kind, sizes: tuple[int, int, int]) -> None:
        m, n, k = sizes
        error = self.products.error(ORDERS[kind.order], kind.tile, kind.dtype, sizes)
        self.values["checked"] += 1
        self.values["largest_error"] = max(self.values["largest_error"], error)
        # Sums of k terms, one after the other.
        if not error <= max(4.0, k / 4):
            self.values["wrong"].append(f"{kind}, {m} x {n} x {k}: {error:.3g}")


def check(number: int, *, few: bool) -> Iterator[dict[str, Any]]:
    """The values of `Checked`, after every kernel."""
    checked = Checked(number)
    for kind in kinds():
        for sizes in _sizes(kind, few):
            checked.add(kind, sizes)
        yield checked.values
    size = 32 if SIMULATED or few else 4096
    for kind in kinds():
        if kind.tile is TILES[kind.itemsize][0]:
            checked.values["tflops"][f"{kind.order} {kind.dtype}"] = checked.products.tflops(
                ORDERS[kind.order], kind.tile, kind.dtype, size
            )
            yield checked.values


def choice(number: int, n: int) -> Iterator[dict[str, Any]]:
    """Likewise for n products: all kernels in turn, each time at another of the odd sizes."""
    checked, every = Checked(number), kinds()
    for i in range(n):
        kind = every[i % len(every)]
        sizes = _sizes(kind, few=True)
        checked.add(kind, sizes[-1 - (i + i // len(every)) % (len(sizes) - 1)])
        yield checked.values


def _sizes(kind: Kind, few: bool) -> list[tuple[int, int, int]]:
    """Within a tile, one with rests, and many; multiples of a vector, as layers are padded."""
    r, c, d = kind.tile.rows, kind.tile.columns, kind.tile.depth
    lanes = 16 // kind.itemsize
    sizes = [(1, 1, 1), (r, c, d), (r + 1, c + 1, d + 1), (2 * r - 1, 3 * c - 5, 5 * d + 3)]
    if not few:
        sizes.append((7 * r + 13, 5 * c + 37, 61 * d + 7))
    return [tuple(-(-size // lanes) * lanes for size in each) for each in sizes]  # type: ignore[misc]
