"""The prepared rows of each part of a table, in memory or in files beside the model."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import IO

import numpy as np

from fastmlp.data.memory import available_bytes
from fastmlp.errors import OptionError
from fastmlp.preparation.inputs import Inputs
from fastmlp.preparation.rows import TableRows

# Share of the free memory up to which a prepared table is held in it: the network, the labels and
# the rows as they were read need some too.
MEMORY_SHARE = 0.25


def fits_memory(n_bytes: int) -> bool:
    """Whether a table of that size is held in memory, unless a user says otherwise."""
    return n_bytes <= MEMORY_SHARE * available_bytes()


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
    folder : on whose disk files of the parts are written and mapped from; None holds them in
        memory. The numbers are the same. The files have no names: their space is free when the
        process ends, even where it is killed.

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
    with ExitStack() as until_mapped:
        with _room(folder):
            files = [until_mapped.enter_context(_unnamed(folder)) for _ in parts]
        # Rows are ascending, so every file is written front to back. Plain writes tell of a full
        # disk; a write to a map would end the process.
        for part, _, block in _blocks(rows, inputs, parts, dtype):
            with _room(folder):
                files[part].write(block.tobytes())
        with _room(folder):
            for file in files:
                file.flush()
        return [
            np.memmap(file, dtype, "r", shape=shape) if shape[0] else np.empty(shape, dtype)
            for file, shape in zip(files, shapes, strict=True)
        ]


@contextmanager
def _unnamed(folder: Path) -> Iterator[IO[bytes]]:
    """A file without a name on the disk of `folder`."""
    file = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115, its errors at the end are let go
    try:
        yield file
    finally:
        with suppress(OSError):  # of a file that is refused already, what was still buffered
            file.close()


@contextmanager
def _room(folder: Path) -> Iterator[None]:
    """A full disk as OptionError."""
    try:
        yield
    except OSError as error:
        raise OptionError(
            f"--out must be on a disk with room for the prepared table, got {folder}: "
            f"{error.strerror}; choose another, or --in-memory"
        ) from error


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
