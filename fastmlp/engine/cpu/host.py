"""What the CPU engine finds on this machine, in plain values for reports."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numba.core.registry import cpu_target

from fastmlp.engine.cpu.cores import n_cores
from fastmlp.engine.cpu.program import is_on_disk
from fastmlp.kernels import cache
from fastmlp.kernels.cpu.width import LANES, TILE


def describe_host() -> dict[str, Any]:
    """Vector width, tiles, cores and the state of the cache of compiled kernels.

    `tiles` has rows and columns of the tallest register tile for each element type; `processor`
    is LLVM's name of what is compiled for. `cache_ready` lists the element types for which the
    kernels of this version and processor lie compiled in `cache_dir`; `cache_trouble` and
    `cache_write_trouble` are sentences on why the cache is not used, or not written, or None.
    """
    root = cache.cache_root()
    return {
        "vector": TILE.name,
        "vector_bits": TILE.vector_bytes * 8,
        "tiles": {dtype: [TILE.rows[0], 2 * lanes] for dtype, lanes in LANES.items()},
        "processor": cpu_target.target_context.codegen().magic_tuple()[1],
        "cores": n_cores(),
        "cache_dir": None if root is None else str(root),
        "cache_trouble": cache.cache_trouble(),
        "cache_write_trouble": cache.write_trouble(),
        "cache_ready": [dtype for dtype in LANES if is_on_disk(np.dtype(dtype))],
        "cache_bytes": cached_bytes("cpu"),
    }


def cache_trouble(device: str = "cpu") -> str | None:
    """Why what is compiled for a "cpu" or for "cuda" will not be kept on disk, in a sentence, or
    None."""
    return cache.write_trouble(cache.STAMP if device == "cpu" else _stamp_of_cuda())


def cached_bytes(device: str) -> int:
    """Of the files of this version in the cache folder, for a "cpu" or for "cuda"."""
    root, stamp = cache.cache_root(), cache.STAMP if device == "cpu" else _stamp_of_cuda()
    return sum(_files(root / stamp)) if root is not None else 0


def _stamp_of_cuda() -> str:
    from fastmlp.kernels.cuda.binaries import stamp  # needs numba-cuda

    return stamp()


def _files(folder: Path) -> list[int]:
    """Sizes in bytes of the files in `folder`, none where it cannot be read."""
    try:
        return [path.stat().st_size for path in folder.iterdir() if path.is_file()]
    except OSError:
        return []
