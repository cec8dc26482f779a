"""A matrix, in memory or mapped from a file, as a source; a target may lie beside it."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence

import numpy as np

from fastmlp.errors import TableError
from fastmlp.tables.source import NUMBER, TEXT, BaseSource, check_columns, positions, texts

# Element types (numpy's kinds) of numbers: bool, signed, unsigned, float.
_NUMBERS = "biuf"


class MatrixSource(BaseSource):
    """The columns of a matrix (n, k), and a target (n,) where the format has one.

    Parameters
    ----------
    name, where : for the folder of a run, and as the subject of messages.
    matrix : ndarray (n, k) of numbers.
    columns : k names, None for c1, c2, ...
    target : its name and its values, numbers or text.
    categorical : columns that are TEXT, of their numbers' text.
    """

    def __init__(
        self,
        name: str,
        where: str,
        matrix: np.ndarray,
        *,
        columns: list[str] | None = None,
        target: tuple[str, np.ndarray] | None = None,
        categorical: Collection[str] = (),
    ) -> None:
        self._check(matrix, where, target)
        names = columns or [f"c{i + 1}" for i in range(matrix.shape[1])]
        self._at = positions(names)
        self._matrix = matrix
        self._target = None if target is None else target[1]
        super().__init__(name, where, names + ([] if target is None else [target[0]]), len(matrix))
        self.has_names = columns is not None
        if target is not None:
            self.target_hint = target[0]
            if target[1].dtype.kind not in _NUMBERS:
                self.kinds[target[0]] = TEXT
        check_columns(categorical, self.columns, where, "--categorical")
        self.kinds.update(dict.fromkeys(categorical, TEXT))

    def matrix(self, columns: Sequence[str]) -> np.ndarray | None:
        """As `Source.matrix`: a view of columns side by side, or of the target alone."""
        check_columns(columns, self.columns, self.where, "columns")
        if not columns or any(self.kinds[column] == TEXT for column in columns):
            return None
        if self._target is not None and list(columns) == [self.target_hint]:
            view = self._target[:, None]
        else:
            places = [self._at.get(column, -1) for column in columns]
            first = places[0]
            if first < 0 or places != list(range(first, first + len(places))):
                return None
            view = self._matrix[:, first : first + len(places)]
        return view if view.dtype.isnative and view.dtype.itemsize <= 8 else None

    def _parts(self, columns: list[str], n_rows: int) -> Iterator[dict[str, np.ndarray]]:
        beside = [column for column in columns if column in self._at]
        places = [self._at[column] for column in beside]
        for start in range(0, self.n_rows, n_rows):
            rows = self._matrix[start : start + n_rows]
            block = {}
            if self._target is not None and self.target_hint in columns:
                target = self._target[start : start + n_rows]
                block[self.target_hint] = self._values(target, self.target_hint)
            for column, place in zip(beside, places, strict=True):
                block[column] = self._values(rows[:, place], column)
            yield {column: block[column] for column in columns}

    def _values(self, values: np.ndarray, column: str) -> np.ndarray:
        if self.kinds[column] == NUMBER:
            # A signalling nan is missing as any other; what overflows is refused as infinite.
            with np.errstate(invalid="ignore", over="ignore"):
                return values.astype(np.float64)
        return texts(values.tolist())

    @staticmethod
    def _check(matrix: np.ndarray, where: str, target: tuple[str, np.ndarray] | None) -> None:
        if matrix.dtype.kind not in _NUMBERS:
            raise TableError(
                f"{where} must hold numbers, got an array of dtype {matrix.dtype}; encode it as "
                "numbers, or save the table as CSV or Parquet"
            )
        if matrix.ndim != 2:
            raise TableError(
                f"{where} must have rows and columns, got an array of shape {matrix.shape}"
            )
        if target is None:
            return
        name, values = target
        if values.shape != (len(matrix),):
            raise TableError(
                f"{name} of {where} must have a value for each of {len(matrix)} rows, got an "
                f"array of shape {values.shape}"
            )
        if values.dtype.kind not in _NUMBERS + "U":
            raise TableError(
                f"{name} of {where} must hold numbers or text, got an array of dtype "
                f"{values.dtype}; encode it as numbers"
            )
