"""A polars frame as a source."""

from __future__ import annotations

import sys
from collections.abc import Collection, Iterator
from typing import Any

import numpy as np

from fastmlp.tables.source import NUMBER, TEXT, BaseSource, check_columns, not_numbers, texts


class PolarsSource(BaseSource):
    """The columns of a polars frame: numbers and booleans, or text, categories and enums."""

    def __init__(self, frame: Any, categorical: Collection[str] = ()) -> None:
        where = "the polars frame"
        super().__init__("frame", where, list(frame.columns), len(frame))
        check_columns(categorical, self.columns, where, "--categorical")
        self._frame = frame
        for name, dtype in frame.schema.items():
            kind = _kind(dtype)
            if kind is None:
                self.faults[name] = not_numbers(name, where, f"values of type {dtype}")
            self.kinds[name] = TEXT if name in categorical else kind or TEXT

    def _parts(self, columns: list[str], n_rows: int) -> Iterator[dict[str, np.ndarray]]:
        for part in self._frame.select(columns).iter_slices(n_rows):
            yield {name: _values(part[name], self.kinds[name]) for name in columns}


def _kind(dtype: Any) -> str | None:
    """NUMBER or TEXT, None for a type that is neither."""
    polars = sys.modules["polars"]
    if dtype.is_numeric() or dtype in (polars.Boolean, polars.Null):
        return NUMBER
    return TEXT if dtype in (polars.String, polars.Categorical, polars.Enum) else None


def _values(series: Any, kind: str) -> np.ndarray:
    if kind == TEXT:
        return texts(series.to_list())
    return np.array(series.cast(sys.modules["polars"].Float64).to_numpy())
