"""What the CPU engine finds on this machine, in plain values for reports."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from fastmlp.engine.crew import n_cores
from fastmlp.kernels import cache
from fastmlp.kernels.cpu.width import LANES, TILE


def describe_host() -> dict[str, Any]:
    """Vector width, tiles, cores and the state of the cache of compiled kernels.

    `tiles` has rows and columns of the tallest register tile for each element type, `cache_ready`
    tells whether the kernels of this version lie compiled in `cache_dir`, `cache_trouble` is a
    sentence on why the cache is not used, or None.
    """
    root = cache.cache_root()
    files = _files(root / cache.STAMP) if root is not None else []
    return {
        "vector": TILE.name,
        "vector_bits": TILE.vector_bytes * 8,
        "tiles": {dtype: [TILE.rows[0], 2 * lanes] for dtype, lanes in LANES.items()},
        "cores": n_cores(),
        "cache_dir": None if root is None else str(root),
        "cache_trouble": cache.cache_trouble(),
        "cache_ready": bool(files),
        "cache_bytes": sum(files),
    }


def _files(folder: Path) -> list[int]:
    """Sizes in bytes of the files in `folder`, none where it cannot be read."""
    try:
        return [path.stat().st_size for path in folder.iterdir() if path.is_file()]
    except OSError:
        return []
