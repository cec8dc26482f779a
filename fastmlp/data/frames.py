"""pandas and polars frames as arrays, without importing either.

A frame can only come in when its library is loaded, so `sys.modules` tells what to look for.
"""

from __future__ import annotations

import sys
from typing import Any

import numpy as np

from fastmlp.errors import DataTypeError


def is_frame(data: object) -> bool:
    """Whether `data` is a pandas or polars DataFrame."""
    return _is(data, "pandas", "DataFrame") or _is(data, "polars", "DataFrame")


def is_sparse(data: object) -> bool:
    """Whether `data` is a scipy sparse matrix or array."""
    scipy_sparse = sys.modules.get("scipy.sparse")
    return scipy_sparse is not None and bool(scipy_sparse.issparse(data))


def frame_to_array(frame: Any, name: str, dtype: str | None = None) -> tuple[np.ndarray, list[str]]:
    """A frame of numbers as a 2-D array, and its column names.

    No copy is made where the library holds the columns as one block. Else all are copied, as the
    kernels reach every element by two strides: of polars' floats, into `dtype` if they fit it.
    Missing values become nan. Raises DataTypeError that names the first column without numbers.
    """
    columns = [str(column) for column in frame.columns]
    if _is(frame, "pandas", "DataFrame"):
        return _from_pandas(frame, columns, name), columns
    if dtype is not None:
        narrow = _narrowed(frame, dtype)
        if narrow is not None:
            return narrow, columns
    return _from_polars(frame, columns, name), columns


def rows_of_frame(frame: Any, start: int, stop: int) -> Any:
    """These rows, as a frame that shares the memory."""
    if _is(frame, "pandas", "DataFrame"):
        return frame.iloc[start:stop]
    return frame[start:stop]


def column_to_array(data: Any) -> np.ndarray | None:
    """The values of a pandas or polars Series (or pandas Index), None for anything else."""
    if _is(data, "pandas", "Series") or _is(data, "pandas", "Index"):
        dtype = data.dtype
        if isinstance(dtype, np.dtype):
            return np.asarray(data.to_numpy())
        if getattr(dtype, "kind", "O") in "iuf":
            # Nullable numbers: a missing one becomes nan, which the checks then report.
            if data.isna().any():
                return np.asarray(data.to_numpy(dtype=np.float64, na_value=np.nan))
            return np.asarray(data.to_numpy(dtype=getattr(dtype, "numpy_dtype", np.float64)))
        return np.asarray(data)
    if _is(data, "polars", "Series"):
        return np.asarray(data.to_numpy())
    return None


def _is(data: object, library: str, name: str) -> bool:
    loaded = sys.modules.get(library)
    kind = getattr(loaded, name, None)
    return kind is not None and isinstance(data, kind)


def _refuse(name: str, column: str, kind: object) -> DataTypeError:
    return DataTypeError(
        f"{name} must hold numbers, got column {column!r} of type {kind}; "
        "encode it as numbers or leave it out"
    )


def _from_pandas(frame: Any, columns: list[str], name: str) -> np.ndarray:
    plain = True
    for column, dtype in zip(columns, frame.dtypes, strict=True):
        if getattr(dtype, "kind", "O") not in "biuf":
            raise _refuse(name, column, dtype)
        plain = plain and isinstance(dtype, np.dtype)
    if not plain:
        return np.asarray(frame.to_numpy(dtype=np.float64, na_value=np.nan))
    if not columns:
        return np.empty((len(frame), 0))
    # Left alone, pandas makes objects of bool beside numbers.
    return np.asarray(frame.to_numpy(dtype=np.result_type(*frame.dtypes)))


def _narrowed(frame: Any, dtype: str) -> np.ndarray | None:
    """Columns of floats, some wider than `dtype`, as an array of it, one after the other.

    None for other frames, and where a number overflows, which the checks then report.
    """
    polars = sys.modules["polars"]
    kinds = set(frame.dtypes)
    if polars.Float64 not in kinds or kinds - {polars.Float32, polars.Float64}:
        return None
    if np.dtype(dtype).itemsize >= 8:
        return None
    array = np.empty(frame.shape, dtype, order="F")
    try:
        with np.errstate(over="raise"):
            for i, column in enumerate(frame.iter_columns()):
                at = 0
                for part in column.get_chunks():
                    array[at : at + len(part), i] = part.to_numpy()
                    at += len(part)
    except FloatingPointError:
        return None
    return array


def _from_polars(frame: Any, columns: list[str], name: str) -> np.ndarray:
    polars = sys.modules["polars"]
    casts = []
    for column, dtype in zip(columns, frame.dtypes, strict=True):
        if dtype == polars.Boolean:
            casts.append(polars.col(column).cast(polars.UInt8))
        elif not dtype.is_numeric():
            raise _refuse(name, column, dtype)
        elif dtype.is_decimal():
            casts.append(polars.col(column).cast(polars.Float64))
    return np.asarray((frame.with_columns(casts) if casts else frame).to_numpy())
