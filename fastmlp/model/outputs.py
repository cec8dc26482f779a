"""Outputs of a network for all rows of a table, a block of them at a time where they are many."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from fastmlp.checks import shown
from fastmlp.data.inputs import as_table, check_inputs
from fastmlp.data.mapped import in_order
from fastmlp.data.predictions import check_outputs
from fastmlp.errors import OptionError, OptionTypeError, ShapeError

if TYPE_CHECKING:
    from fastmlp.engine import Engine

# Of the table: enough work for threads to start, and a small part of any memory.
_BLOCK_BYTES = 64 * 1024 * 1024
_MIN_ROWS = 512


def converted_outputs(
    engine: Engine, X: Any, convert: Callable[[np.ndarray], np.ndarray], out: Any = None
) -> np.ndarray:
    """convert(z) of the raw outputs z (n, n_outputs) for the rows of X, in `out` if given.

    `convert` takes each row by itself. Beside X and the result there is memory of a block only. A
    bad value of X is found when its block comes, and one too large for the network behind it: then
    `out` holds what was predicted before.
    """
    spec = engine.spec
    array, columns = as_table(X, spec.sizes[0])
    n_rows = len(array)
    step = max(_BLOCK_BYTES // (array.shape[1] * array.itemsize), _MIN_ROWS)
    if n_rows <= step and out is None:
        check_inputs(array, spec.dtype, "X", spec.embeddings, columns)
        z = engine.predict(array)
        check_outputs(z, array)
        return convert(z)
    like = convert(np.zeros((1, spec.sizes[-1]), spec.dtype))
    shape = (n_rows, *like.shape[1:])
    result = np.empty(shape, like.dtype) if out is None else _checked_out(out, shape, like.dtype)
    for start in in_order([array], n_rows, step):
        block = array[start : start + step]
        check_inputs(block, spec.dtype, "X", spec.embeddings, columns, start)
        z = engine.predict(block)
        check_outputs(z, block, start)
        result[start : start + step] = convert(z)
    return result


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
