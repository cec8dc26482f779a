"""What a user passes as X and sample weights, checked and brought to what the engine reads."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from fastmlp.checks import shown
from fastmlp.data.frames import column_to_array, frame_to_array, is_frame, is_sparse
from fastmlp.data.gpu_arrays import is_gpu_array
from fastmlp.data.mapped import in_order
from fastmlp.errors import DataError, DataTypeError, ShapeError

# Elements looked at together: up to 1 MiB, which stays in the second-level cache for both looks.
_BLOCK_ELEMS = 1 << 17

# NumPy's product of vectors takes several threads for longer ones.
_FEW_ELEMS = 1 << 12

_LIMITS = {dtype: float(np.finfo(dtype).max) for dtype in ("float32", "float64")}


@dataclass
class Dataset:
    """Rows to train on or to evaluate, as the engine reads them.

    Attributes
    ----------
    X : ndarray (n, n_in)
        The caller's own memory where possible, of any strides: float16/32/64, signed and unsigned
        integers to 64 bits, or bool. Finite in the network's dtype. A `GpuArray` where the network
        is on a GPU and the caller's array is too.
    labels : ndarray (n,) int32 or None
        Class indices, for cross_entropy.
    targets : ndarray (n, n_out) of the network's dtype or None
        For all other losses.
    weights : ndarray (n,) of the network's dtype or None
        Sample weights, >= 0, some above 0.
    chosen : ndarray (m,) int64 or None
        The rows of all these arrays that count, in their order, any of them more than once; None
        for each row once. Engines on the CPU train on them where they lie.
    """

    X: np.ndarray
    labels: np.ndarray | None = None
    targets: np.ndarray | None = None
    weights: np.ndarray | None = None
    chosen: np.ndarray | None = None

    @property
    def n_rows(self) -> int:
        """How many rows count."""
        return len(self.X if self.chosen is None else self.chosen)

    def rows(self, start: int, stop: int) -> Dataset:
        """The rows from `start` to `stop`, as views; copies of these alone where rows are chosen;
        itself where these are all, and all rows of the arrays."""
        if self.chosen is None and start <= 0 and stop >= len(self.X):
            return self  # which an engine may know already
        which = slice(start, stop) if self.chosen is None else self.chosen[start:stop]
        return Dataset(
            self.X[which],
            None if self.labels is None else self.labels[which],
            None if self.targets is None else self.targets[which],
            None if self.weights is None else self.weights[which],
        )

    def answers(self) -> Dataset:
        """Labels, targets and weights of the rows that count, in order; X is left as it is."""
        if self.chosen is None:
            return self
        parts = (self.labels, self.targets, self.weights)
        return Dataset(self.X, *(None if a is None else a[self.chosen] for a in parts))

    @property
    def weight_sum(self) -> float:
        """Of the rows that count; their number where there are no weights."""
        if self.weights is None:
            return float(self.n_rows)
        counted = self.weights if self.chosen is None else self.weights[self.chosen]
        return float(counted.sum(dtype=np.float64))


def as_inputs(
    X: Any,
    n_features: int,
    dtype: str,
    name: str = "X",
    embeddings: tuple[tuple[int, int, int], ...] = (),
) -> np.ndarray:
    """`X` as an array (n, n_features) of numbers that are finite in `dtype`.

    Columns of `embeddings`, (column, n_categories, width), hold whole numbers below n_categories.
    The caller's memory is returned as a view where its element type is one that the engine reads;
    nothing is modified. Raises DataTypeError, ShapeError or DataError.
    """
    if is_gpu_array(X):
        return X  # type: ignore[return-value]  # checked by the engine of its device
    # Categories beyond 2^24 would be others in float32.
    array, columns = as_table(X, n_features, name, None if embeddings else dtype)
    check_inputs(array, dtype, name, embeddings, columns)
    return array


def as_table(
    X: Any, n_features: int, name: str = "X", dtype: str | None = None
) -> tuple[np.ndarray, list[str] | None]:
    """`X` as `as_inputs` returns it, its values not looked at, and its column names if any.

    dtype: what to copy wider floats into, where they must be copied.
    """
    array, columns = as_matrix(X, name, dtype)
    if array.shape[1] != n_features:
        raise ShapeError(
            f"{name} must have {n_features} columns, the number of inputs of this network, "
            f"got {array.shape[1]}"
        )
    return array, columns


def check_inputs(
    array: np.ndarray,
    dtype: str,
    name: str,
    embeddings: tuple[tuple[int, int, int], ...] = (),
    columns: list[str] | None = None,
    first_row: int = 0,
) -> bool:
    """Raise DataError for the first value that `as_inputs` does not take, in one pass.

    `first_row`: the number of the first of these rows in the table, for messages. Returns whether
    some are so large that their squares are infinite in `dtype`.
    """
    if array.dtype.kind != "f" and not embeddings:
        return False  # the largest integer, 1.8e19, fits float32
    # Of one row to predict, the loop over blocks would be much of the time.
    is_block, are_large = array.size <= _BLOCK_ELEMS, False
    n_rows = len(array) if is_block else rows_of_block(array.shape[1])
    for start in (0,) if is_block else in_order([array], len(array), n_rows):
        block = array if is_block else array[start : start + n_rows]
        are_large |= check_finite(block, dtype, name, columns, first_row + start)
        for column, n_categories, _ in embeddings:
            _check_categories(block[:, column], column, n_categories, name, first_row + start)
    return are_large


def rows_of_block(n_columns: int) -> int:
    """Rows of a table that are looked at together."""
    return max(1, _BLOCK_ELEMS // n_columns)


def _check_categories(
    values: np.ndarray, column: int, n_categories: int, name: str, first_row: int
) -> None:
    """Raise DataError that names the first value that is no category."""
    if values.dtype == np.float16:
        values = values.astype(np.float64)  # compared in float16, the bound itself would round
    known = (values >= 0) & (values < n_categories) & (values == np.floor(values))
    if not known.all():
        row = int(np.argmin(known))
        raise DataError(
            f"column {column} of {name} is embedded and must hold categories, whole numbers "
            f"from 0 to {n_categories - 1}, got {shown(values[row])} at row {first_row + row}; "
            "number the categories from 0, or give the column more of them in embeddings"
        )


def as_matrix(X: Any, name: str, dtype: str | None = None) -> tuple[np.ndarray, list[str] | None]:
    """`X` as a 2-D array of numbers with rows and columns, and its column names if it has any."""
    columns = None
    if type(X) is not np.ndarray and is_frame(X):
        X, columns = frame_to_array(X, name, dtype)
    array = as_numbers(X, name)
    if array.ndim != 2:
        raise ShapeError(_not_2d(array.shape, name))
    n_rows, n_columns = array.shape
    if n_rows == 0:
        raise ShapeError(f"{name} must have at least one row, got shape {array.shape}")
    if n_rows >= 2**32:
        raise ShapeError(f"{name} must have fewer than 2**32 rows, got {n_rows}; pass parts of it")
    if n_columns == 0:
        raise ShapeError(f"{name} must have at least one column, got shape {array.shape}")
    return array, columns


def as_numbers(data: Any, name: str) -> np.ndarray:
    """`data` as an array of real numbers of a kind that the engine reads, of any shape."""
    array = as_array(data, name)
    kind = array.dtype.kind
    if kind == "c":
        raise DataTypeError(
            f"{name} must hold real numbers, got dtype {array.dtype}; "
            "pass real and imaginary parts as columns of their own"
        )
    if kind not in "biuf":
        raise DataTypeError(f"{name} must hold numbers, got {_first_odd(array)}")
    if array.dtype.itemsize > 8:
        return array.astype(np.float64)  # long double: no engine has it
    if not (array.dtype.isnative and array.flags.aligned):
        return array.astype(array.dtype.newbyteorder("="), order="K")
    return array


def as_array(data: Any, name: str) -> np.ndarray:
    """`data` as a plain array of any element type, a view where it is one already."""
    if type(data) is np.ndarray and data.ndim:
        return data
    if is_sparse(data):
        raise DataTypeError(
            f"{name} must be dense, got a sparse {type(data).__name__} of shape {data.shape}; "
            f"pass {_variable(name)}.toarray() if it fits memory"
        )
    if isinstance(data, np.ma.MaskedArray) and np.ma.is_masked(data):
        raise DataError(
            f"{name} must have no masked values, got {int(np.ma.count_masked(data))} of them; "
            "fill them first, e.g. with .filled(0)"
        )
    column = column_to_array(data)
    if column is not None:
        return column
    if isinstance(data, str | bytes | dict | set) or data is None:
        raise DataTypeError(f"{name} must be an array, got {shown(data)}")
    try:
        array = np.asarray(data)
    except ValueError:
        raise ShapeError(
            f"{name} must be a table, got rows of different lengths; make them equally long"
        ) from None
    except TypeError:  # of the library that it comes from
        raise DataTypeError(
            f"{name} must hold numbers of one type, got a {type(data).__name__} of several; "
            "encode its columns as numbers"
        ) from None
    if array.ndim == 0:
        hint = "; call its collect() first" if hasattr(data, "collect") else ""
        raise DataTypeError(f"{name} must be an array, got {shown(data)}{hint}")
    return array


def as_weights(weights: Any, n_rows: int, dtype: str, name: str = "sample_weight") -> np.ndarray:
    """Sample weights as a contiguous array (n_rows,) of `dtype`."""
    array = as_numbers(weights, name)
    if array.ndim != 1:
        raise ShapeError(f"{name} must be 1-D, one weight a row, got shape {array.shape}")
    check_length(array, n_rows, name)
    check_finite(array, dtype, name)
    if array.min() < 0:
        row = int(np.argmax(array < 0))
        raise DataError(f"{name} must be >= 0, got {shown(array[row])} at row {row}")
    converted = np.ascontiguousarray(array, dtype=dtype)
    with np.errstate(over="ignore"):
        total = converted.sum()
    if not np.isfinite(total):
        raise DataError(
            f"{name} must have a sum that is finite in {dtype}, got {array.sum(dtype=float):g}; "
            f"divide them by their mean"
        )
    if not converted.any():
        raise DataError(f"{name} must have a weight above 0, got only zeros in {dtype}")
    smallest = float(np.sqrt(np.finfo(dtype).tiny))
    if converted.max() < smallest:
        raise DataError(
            f"{name} must have a largest weight of at least {smallest:.0e} in {dtype}, "
            f"got {shown(array.max())}; only their ratios count, so divide them by it"
        )
    return converted


def check_length(array: np.ndarray, n_rows: int, name: str) -> None:
    """Raise ShapeError unless `array` has as many rows as X."""
    if len(array) != n_rows:
        raise ShapeError(
            f"{name} must have as many rows as X, got {len(array)} for {n_rows} rows of X"
        )


def check_finite(
    array: np.ndarray,
    dtype: str,
    name: str,
    columns: list[str] | None = None,
    first_row: int = 0,
) -> bool:
    """Raise DataError that names the first value that is nan, infinite, or so in `dtype`.

    `array` is 1-D or 2-D; it is read in blocks of rows, so nothing of its size is allocated. Its
    rows are counted from `first_row` on. Returns whether the square of some is infinite in `dtype`.
    """
    if array.dtype.kind != "f":
        return False  # the largest integer, 1.8e19, fits float32
    limit, largest = _LIMITS[dtype], 0.0
    if array.size <= _FEW_ELEMS and array.dtype.itemsize > 2 and _squares(array) <= limit:
        return False
    n_rows = max(1, _BLOCK_ELEMS // max(1, array[0].size))
    with np.errstate(invalid="ignore"):
        for start in range(0, len(array), n_rows):
            block = array[start : start + n_rows]
            size = _largest(block)
            if not size <= limit:
                block = block.astype(np.float64)
                raise _not_finite(block, first_row + start, dtype, name, columns)
            largest = max(largest, size)
    return largest > math.sqrt(limit)


def _squares(array: np.ndarray) -> float:
    """The sum of all squares, which is infinite or nan where an element is; few elements only.

    One call where least and largest value and the silence about nan take five: for a row to
    predict, that is noticed.
    """
    return float(np.vdot(array, array))


def _largest(block: np.ndarray) -> float:
    """The largest size of a block's elements; nan or infinite where one of them is."""
    if block.dtype == np.float16:
        # NumPy compares halves one by one in software. Their finite values fit any limit, and
        # the others are those with all bits of the exponent set.
        is_finite = (block.view(np.uint16) & 0x7FFF).max() < 0x7C00
        return float(np.finfo(np.float16).max) if is_finite else math.inf
    # A nan is the result of both reductions.
    return max(-float(block.min()), float(block.max()))


def _not_finite(
    block: np.ndarray, start: int, dtype: str, name: str, columns: list[str] | None
) -> DataError:
    wrong = ~(np.abs(block) <= float(np.finfo(dtype).max))
    position = tuple(int(i) for i in np.argwhere(wrong)[0])
    value = float(block[position])
    where = f"row {start + position[0]}"
    if len(position) == 2:
        where += f", column {position[1]}"
        if columns is not None:
            where += f" ({columns[position[1]]!r})"
    if np.isfinite(value):
        return DataError(
            f"{name} must be finite in {dtype}, got {value:g} at {where}, which overflows; "
            "scale it, or make the network with dtype='float64'"
        )
    return DataError(
        f"{name} must be finite, got {value:g} at {where}; "
        "fill such values in, or leave those rows out"
    )


def _not_2d(shape: tuple[int, ...], name: str) -> str:
    x, n = _variable(name), len(shape)
    wanted = f"{name} must be 2-D (rows, columns), got shape {shape}; pass "
    if n == 1:
        return wanted + f"{x}.reshape(1, -1) for one row or {x}.reshape(-1, 1) for one column"
    return wanted + f"{x}.reshape(len({x}), -1) to make one row of each {n - 1}-D part"


def _variable(name: str) -> str:
    """What stands for the array in a line of code: "X" for "X of eval_set[0]"."""
    return name.partition(" ")[0]


def _first_odd(array: np.ndarray) -> str:
    """The first element that is no number, and where it is."""
    for position in np.ndindex(array.shape):
        value: Any = array[position]
        if array.dtype.kind != "O" or not isinstance(value, int | float | np.number):
            where = f"row {position[0]}"
            if array.ndim > 1:
                where += ", column " + ", ".join(map(str, position[1:]))
            return f"{shown(value)} at {where} (dtype {array.dtype}); encode it as a number"
    return f"numbers kept as dtype {array.dtype}; pass .astype(float) of it"
