"""The prepared rows of each part of a table, in memory or in files beside the model."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from fastmlp.errors import OptionError
from fastmlp.preparation.inputs import Inputs
from fastmlp.preparation.rows import TableRows

# Share of the free memory up to which a prepared table is held in it: the network, the labels and
# the rows as they were read need some too.
MEMORY_SHARE = 0.25


def fits_memory(n_bytes: int) -> bool:
    """Whether a table of that size is held in memory, unless a user says otherwise."""
    return n_bytes <= MEMORY_SHARE * available_bytes()


def available_bytes() -> int:
    """Memory that this process can still take: free or only caching files, within its cgroup."""
    amounts = [os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")]
    for line in _text("/proc/meminfo").splitlines():
        if line.startswith("MemAvailable:"):
            amounts.append(1024 * int(line.split()[1]))
    limit, used = (_text(f"/sys/fs/cgroup/memory.{name}").strip() for name in ("max", "current"))
    if limit.isdigit() and used.isdigit():
        amounts.append(max(0, int(limit) - int(used)))
    return min(amounts)


def _text(path: str) -> str:
    """A file of the system's, empty where this system has none."""
    try:
        return Path(path).read_text()
    except OSError:
        return ""


def prepared_parts(
    rows: TableRows,
    inputs: Inputs,
    parts: Sequence[np.ndarray],
    dtype: str,
    folder: Path | None = None,
) -> list[np.ndarray]:
    """The inputs of each part's rows, (n, n_inputs) of `dtype`, written in one pass.

    Parameters
    ----------
    parts : row numbers of each, ascending. Rows in none are left out.
    folder : where files of the parts are written and mapped from, their removal being the
        caller's; None holds them in memory. The numbers are the same.

    Categories that training did not have are none of those that it had. Raises OptionError where
    the folder has too little space.
    """
    shapes = [(len(part), inputs.n_inputs) for part in parts]
    if folder is None:
        arrays = [np.empty(shape, dtype) for shape in shapes]
        for part, start, block in _blocks(rows, inputs, parts, dtype):
            arrays[part][start : start + len(block)] = block
        return arrays
    n_bytes = sum(n * width for n, width in shapes) * np.dtype(dtype).itemsize
    free = shutil.disk_usage(folder).free
    if n_bytes > free:
        raise OptionError(
            f"--out must be on a disk with {n_bytes / 2**30:.1f} GiB free for the prepared table, "
            f"got {folder} with {free / 2**30:.1f} GiB; choose another, or --in-memory"
        )
    paths = [folder / f"{i}.npy" for i in range(len(parts))]
    files = [path.open("wb") for path in paths]
    try:
        for file, shape in zip(files, shapes, strict=True):
            header = {"descr": np.dtype(dtype).str, "fortran_order": False, "shape": shape}
            np.lib.format.write_array_header_1_0(file, header)
        # Rows are ascending, so every file is written front to back. Plain writes tell of a full
        # disk; a write to a map would end the process.
        for part, _, block in _blocks(rows, inputs, parts, dtype):
            files[part].write(block.tobytes())
    finally:
        for file in files:
            file.close()
    return [
        np.load(path, mmap_mode="r") if len(part) else np.empty((0, inputs.n_inputs), dtype)
        for path, part in zip(paths, parts, strict=True)
    ]


def _blocks(
    rows: TableRows, inputs: Inputs, parts: Sequence[np.ndarray], dtype: str
) -> Iterator[tuple[int, int, np.ndarray]]:
    """Number of a part, number of a row of it, and inputs from that row on."""
    for block in rows:
        ends = block.first, block.first + len(block)
        array = inputs.array(block, dtype, rows.source.where, unknown="ignore")
        for i, part in enumerate(parts):
            start, stop = np.searchsorted(part, ends)
            if start < stop:
                yield i, int(start), array[part[start:stop] - block.first]
