"""Spaces before, between and behind all arrays of a network and of its steps."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import numpy as np

from fastmlp.engine import store
from fastmlp.engine.cpu import engine, workspace
from fastmlp.layout import work

LINE_BYTES = 64


def space_out(
    replace: Callable[[Any, str, Any], None], on_space: Callable[[np.ndarray], None]
) -> None:
    """Leave room around whatever networks and workspaces take from now on.

    replace: `setattr`, or pytest's that undoes it. on_space: called with each space as bytes; its
    memory is never given back. Between the arrays of a step a space begins where the array ends,
    and is a cache line more than the rest of the last one.
    """
    kept: list[np.ndarray] = []

    def spaced_zeros(n_elems: int, dtype: np.dtype) -> np.ndarray:
        n_bytes = n_elems * dtype.itemsize
        block = np.zeros(n_bytes + 4 * LINE_BYTES, np.uint8)
        kept.append(block)
        first = 2 * LINE_BYTES - block.ctypes.data % LINE_BYTES
        on_space(block[:first])
        on_space(block[first + n_bytes :])
        return block[first : first + n_bytes].view(dtype)

    taking = [
        module
        for name, module in sys.modules.items()
        if name.startswith("fastmlp.engine.") and hasattr(module, "aligned_zeros")
    ]
    assert {engine, store, workspace} <= set(taking)
    for module in taking:
        replace(module, "aligned_zeros", spaced_zeros)
    ends: list[tuple[int, int]] = []

    def take(room: Any, n_elems: int) -> int:
        offset = room.n_elems
        room.n_elems += work.round_up(n_elems, room.line) + room.line
        ends.append((offset + n_elems, room.n_elems))
        return offset

    make = workspace.Workspace.__init__

    def spaced(self: Any, *arguments: Any, **settings: Any) -> None:
        ends.clear()
        make(self, *arguments, **settings)
        as_bytes, size = self.work.view(np.uint8), self.work.itemsize
        for start, stop in ends:
            on_space(as_bytes[start * size : stop * size])

    replace(work._Room, "take", take)
    replace(workspace.Workspace, "__init__", spaced)
