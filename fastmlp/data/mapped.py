"""Arrays that are mapped from files: what the system shall read next, and what it may forget.

Nothing here is needed for a right result. Where the system knows no such advice, it is not given.
"""

from __future__ import annotations

import ctypes
import functools
import mmap
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

import numpy as np

# The system reads at most about so much for one piece of advice, and drops the rest of it.
_PIECE_BYTES = 128 * 1024
# What a pass in table order has asked for and not yet used.
_AHEAD_BYTES = 32 * 1024 * 1024
_NORMAL, _RANDOM, _WILL_NEED = 0, 1, 3
_COLD = 20  # Linux 5.4: the first pages to be taken when memory is short; unlike others, harmless


def is_mapped(array: np.ndarray | None) -> bool:
    """Whether the array's memory is a file's."""
    base: object = array
    while isinstance(base, np.ndarray | memoryview):
        base = base.base if isinstance(base, np.ndarray) else base.obj
    return isinstance(base, mmap.mmap)


def will_need(array: np.ndarray, start: int, stop: int) -> None:
    """Have the rows from `start` to `stop` of a mapped array read; returns before they are."""
    first, end = _pages(array, start, stop)
    for at in range(first, end, _PIECE_BYTES):
        _advise(at, min(_PIECE_BYTES, end - at), _WILL_NEED)


def will_not_need(array: np.ndarray, start: int, stop: int) -> None:
    """Let the rows from `start` to `stop` of a mapped array be the first to leave memory."""
    first, end = _pages(array, start, stop)
    _advise(first, end - first, _COLD)


@contextmanager
def without_neighbours(array: np.ndarray) -> Iterator[None]:
    """Within it, a page of a mapped array that is missed is read alone.

    Else the system reads up to megabytes around it, of which rows of blocks in random order use a
    small part before memory is needed for others.
    """
    first, end = _pages(array, 0, len(array))
    _advise(first, end - first, _RANDOM)
    try:
        yield
    finally:
        _advise(first, end - first, _NORMAL)


def in_order(arrays: Iterable[np.ndarray | None], n_rows: int, step: int) -> Iterator[int]:
    """0, step, 2 step, ... below n_rows, as the arrays' rows will be used, which are read ahead.

    What lies behind may leave memory, so that a pass over a file does not drive others' out.
    """
    mapped = [array for array in arrays if array is not None and is_mapped(array)]
    row_bytes = sum(abs(array.strides[0]) for array in mapped) or 1
    ahead = max(step, _AHEAD_BYTES // row_bytes)
    asked = 0
    for start in range(0, n_rows, step):
        # In good portions: single pieces would be asked for when they are wanted.
        if mapped and asked < min(n_rows, start + step + ahead // 2):
            stop = min(n_rows, start + step + ahead)
            for array in mapped:
                will_need(array, asked, stop)
            asked = stop
        yield start
        for array in mapped:
            will_not_need(array, start, min(start + step, n_rows))


def _pages(array: np.ndarray, start: int, stop: int) -> tuple[int, int]:
    """Addresses of the pages that hold these rows; none where a row's values are far apart."""
    row_bytes = array.strides[0]
    steps = zip(array.shape[1:], array.strides[1:], strict=True)
    extent = array.itemsize + sum((n - 1) * stride for n, stride in steps)
    if stop <= start or min(array.strides) < 0 or extent > row_bytes:
        return 0, 0
    first = array.ctypes.data + start * row_bytes
    end = array.ctypes.data + (stop - 1) * row_bytes + extent
    page = mmap.PAGESIZE
    return first // page * page, -(-end // page) * page


def _advise(address: int, n_bytes: int, advice: int) -> None:
    if n_bytes > 0 and (call := _madvise()) is not None:
        call(address, n_bytes, advice)  # an error means that it was not taken


@functools.cache
def _madvise() -> Callable[[int, int, int], int] | None:
    """The system's call, which is made without the GIL; None where its numbers may be others."""
    if sys.platform != "linux":
        return None
    call = ctypes.CDLL(None).madvise
    call.argtypes, call.restype = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int), ctypes.c_int
    return call
