"""A source whose columns are read once and then held in memory."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import numpy as np

from fastmlp.tables.source import BLOCK_ROWS, NUMBER, Source


class HeldSource:
    """The columns `columns` of a source, for several passes: a CSV file is parsed in each.

    Raises TableError while it is made, for what the source finds at fault.
    """

    def __init__(self, source: Source, columns: Sequence[str]) -> None:
        self.name, self.where, self.columns = source.name, source.where, list(columns)
        self.has_names, self.kinds, self.n_rows = source.has_names, source.kinds, source.n_rows
        self.target_hint, self.test = source.target_hint, source.test
        self._values = {
            column: np.empty(self.n_rows, np.float64 if self.kinds[column] == NUMBER else object)
            for column in columns
        }
        first = 0
        for block in source.blocks(columns):
            for column, values in block.items():
                self._values[column][first : first + len(values)] = values
            first += len(values)

    def check(self, columns: Iterable[str]) -> None:
        """What is held could be read."""

    def blocks(
        self, columns: Sequence[str], n_rows: int = BLOCK_ROWS
    ) -> Iterator[dict[str, np.ndarray]]:
        """As `Source.blocks`, views of what is held."""
        for start in range(0, self.n_rows, n_rows):
            yield {column: self._values[column][start : start + n_rows] for column in columns}

    def matrix(self, columns: Sequence[str]) -> np.ndarray | None:
        """None: columns are held one by one."""
        return None

    def release(self) -> None:
        """Give the memory back; nothing can be read any more."""
        self._values.clear()
