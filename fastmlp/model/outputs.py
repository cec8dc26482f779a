"""Outputs of a network for all rows of a table, a block of them at a time where they are many."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

import numpy as np

from fastmlp.checks import shown
from fastmlp.data.frames import is_frame, rows_of_frame
from fastmlp.data.inputs import as_table, check_inputs
from fastmlp.data.mapped import in_order
from fastmlp.data.predictions import check_outputs
from fastmlp.errors import OptionError, OptionTypeError, ShapeError
from fastmlp.spec.network import NetworkSpec

# Of the table: enough work for threads to start, and a small part of any memory.
_BLOCK_BYTES = 64 * 1024 * 1024
# Of a frame, whose blocks are copies: two of them are there at a time.
_COPIED_BYTES = 16 * 1024 * 1024
_MIN_ROWS = 512


class Predictor(Protocol):
    """What has outputs for the rows of a block: an engine, or several that answer as one."""

    @property
    def spec(self) -> NetworkSpec:
        """What the rows must fit, and how many outputs there are."""

    def predict(self, X: np.ndarray) -> np.ndarray:
        """Outputs (n, n_outputs) of X (n, n_in)."""


def converted_outputs(
    engine: Predictor, X: Any, convert: Callable[[np.ndarray], np.ndarray], out: Any = None
) -> np.ndarray:
    """convert(z) of the raw outputs z (n, n_outputs) for the rows of X, in `out` if given.

    `convert` takes each row by itself. Beside X and the result there is memory of a block only. A
    bad value of X is found when its block comes, and one too large for the network behind it: then
    `out` holds what was predicted before.
    """
    spec = engine.spec
    n_inputs = spec.sizes[0]
    is_of_parts = type(X) is not np.ndarray and is_frame(X) and _bytes(X) > _COPIED_BYTES
    # Of a frame that would be copied, one row: what refuses all of it refuses that.
    array, columns = as_table(rows_of_frame(X, 0, 1) if is_of_parts else X, n_inputs)
    n_rows = len(X) if is_of_parts else len(array)
    n_bytes = _COPIED_BYTES if is_of_parts else _BLOCK_BYTES
    step = max(n_bytes // (array.shape[1] * array.itemsize), _MIN_ROWS)
    if n_rows <= step and out is None and not is_of_parts:
        are_large = check_inputs(array, spec.dtype, "X", spec.embeddings, columns)
        z = engine.predict(array)
        if are_large:
            check_outputs(z, array)
        return convert(z)
    like = convert(np.zeros((1, spec.sizes[-1]), spec.dtype))
    shape = (n_rows, *like.shape[1:])
    result = np.empty(shape, like.dtype) if out is None else _checked_out(out, shape, like.dtype)
    for start in in_order([array], n_rows, step):
        if is_of_parts:
            block, _ = as_table(rows_of_frame(X, start, start + step), n_inputs)
        else:
            block = array[start : start + step]
        are_large = check_inputs(block, spec.dtype, "X", spec.embeddings, columns, start)
        z = engine.predict(block)
        if are_large:
            check_outputs(z, block, start)
        result[start : start + step] = convert(z)
    return result


def _bytes(frame: Any) -> int:
    """About as many as an array of its numbers takes."""
    return 8 * int(frame.shape[0]) * int(frame.shape[1])


def _checked_out(out: Any, shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
    if not isinstance(out, np.ndarray):
        raise OptionTypeError(f"out must be an array or a memory map, got {shown(out)}")
    if out.shape != shape:
        raise ShapeError(f"out must have shape {shape}, as the result has, got {out.shape}")
    if not np.can_cast(dtype, out.dtype, "same_kind"):
        raise OptionError(
            f"out must take numbers or labels of dtype {dtype}, got dtype {out.dtype}; make it "
            f"with dtype={dtype.name!r}"
        )
    if not out.flags.writeable:
        raise OptionError("out must be writeable, got an array that is not; open it with mode='r+'")
    return out
