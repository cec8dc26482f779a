"""A pandas frame as a source."""

from __future__ import annotations

import numbers
import sys
from collections.abc import Collection, Iterator
from decimal import Decimal
from typing import Any

import numpy as np

from fastmlp.tables.source import (
    NUMBER,
    TEXT,
    BaseSource,
    check_columns,
    not_numbers,
    positions,
    texts,
)


class PandasSource(BaseSource):
    """The columns of a pandas frame; its index is none of them.

    Categories are TEXT. Columns of objects are looked at: numbers (booleans 0 and 1), or text.
    """

    def __init__(self, frame: Any, categorical: Collection[str] = ()) -> None:
        where = "the pandas frame"
        super().__init__("frame", where, [str(column) for column in frame.columns], len(frame))
        check_columns(categorical, self.columns, where, "--categorical")
        self._frame = frame
        self._at = positions(self.columns)
        for name, i in self._at.items():
            kind, fault = _kind(frame.iloc[:, i], name, where, name in categorical)
            self.kinds[name] = kind
            if fault is not None:
                self.faults[name] = fault

    def _parts(self, columns: list[str], n_rows: int) -> Iterator[dict[str, np.ndarray]]:
        for start in range(0, self.n_rows, n_rows):
            yield {
                name: _values(
                    self._frame.iloc[start : start + n_rows, self._at[name]], self.kinds[name]
                )
                for name in columns
            }


def _kind(series: Any, name: str, where: str, as_text: bool) -> tuple[str, tuple[str, str] | None]:
    """NUMBER or TEXT, and the fault of the column."""
    # numpy's letters, which pandas' own types have too: O for categories and text of most kinds.
    letter = getattr(series.dtype, "kind", "O")
    if letter in "biuf":
        return (TEXT if as_text else NUMBER), None
    if letter not in "OUT":
        return TEXT, not_numbers(name, where, f"values of type {series.dtype}")
    if isinstance(series.dtype, sys.modules["pandas"].StringDtype):
        return TEXT, None
    if hasattr(series, "cat"):
        series = series.cat.categories.to_series()
        as_text = True
    first: dict[str, tuple[int, Any]] = {}
    for row, value in enumerate(_objects(series)):
        if value is None:
            continue
        kind = TEXT if isinstance(value, str) else NUMBER
        if kind == NUMBER and not isinstance(value, numbers.Real | Decimal):
            return TEXT, not_numbers(name, where, f"a {type(value).__name__} in row {row + 1}")
        first.setdefault(kind, (row, value))
    if as_text:
        return TEXT, None
    if len(first) == 2:
        (number_row, number), (text_row, text) = first[NUMBER], first[TEXT]
        return NUMBER, (
            f"column {name!r} of {where} must hold numbers or text alone, got {number} in row "
            f"{number_row + 1} and {text!r} in row {text_row + 1}; mend it",
            "its values",
        )
    return next(iter(first), NUMBER), None


def _values(series: Any, kind: str) -> np.ndarray:
    if kind == NUMBER:
        return np.array(series.to_numpy(dtype=np.float64, na_value=np.nan))
    return texts(_objects(series))


def _objects(series: Any) -> np.ndarray:
    """The values as they are, None where one is missing."""
    return np.asarray(series.to_numpy(dtype=object, na_value=None))
