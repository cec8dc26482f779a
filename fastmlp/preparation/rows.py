"""The columns of a table that are learnt from, in blocks of rows."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from fastmlp.errors import TableError
from fastmlp.tables.csv_file import as_number
from fastmlp.tables.source import BLOCK_ROWS, NUMBER, Source

# Cells of a block: 8 MiB of float64, whatever the width of the table.
_BLOCK_CELLS = 1 << 20


@dataclass(frozen=True)
class Rows:
    """Consecutive rows: `numbers` (n, k) with nan for a missing one, and columns of `labels`."""

    first: int
    numbers: np.ndarray
    labels: dict[str, np.ndarray]

    def __len__(self) -> int:
        return len(self.numbers)


class TableRows:
    """Blocks of rows of some columns of a source, read anew for each pass.

    Blocks have the same rows in every pass. Raises TableError while reading, for a number that is
    infinite and for text in a column of numbers.

    Parameters
    ----------
    numbers, labels : names of the columns of each kind.
    column_of : what a column is called in `source`, where that is another name.
    """

    def __init__(
        self,
        source: Source,
        numbers: Sequence[str],
        labels: Sequence[str],
        *,
        column_of: Mapping[str, str] | None = None,
    ) -> None:
        self.source = source
        self.numbers, self.labels = list(numbers), list(labels)
        self._column_of = column_of or {name: name for name in [*numbers, *labels]}
        width = max(1, len(self._column_of))
        self._block_rows = max(1, min(BLOCK_ROWS, _BLOCK_CELLS // width))

    def __iter__(self) -> Iterator[Rows]:
        columns = [self._column_of[name] for name in self.numbers]
        # Hundreds of columns of one array, such as the pixels of images, stay one array.
        matrix = None if self.labels else self.source.matrix(columns)
        if matrix is not None:
            return self._of_matrix(matrix)
        return self._of_columns()

    def _of_matrix(self, matrix: np.ndarray) -> Iterator[Rows]:
        for first in range(0, len(matrix), self._block_rows):
            block = matrix[first : first + self._block_rows]
            if block.dtype.kind == "f" and np.isinf(block).any():
                i, j = (int(place) for place in np.argwhere(np.isinf(block))[0])
                raise TableError(
                    f"row {first + i + 1}, column {self.numbers[j]!r} of {self.source.where} must "
                    f"be a finite number or missing, got {block[i, j]}; mend it, or leave the "
                    f"column out with --drop {self.numbers[j]}"
                )
            yield Rows(first, block, {})

    def _of_columns(self) -> Iterator[Rows]:
        first = 0
        wanted = [self._column_of[name] for name in [*self.numbers, *self.labels]]
        for block in self.source.blocks(wanted, self._block_rows):
            n = len(block[wanted[0]])
            numbers = np.empty((n, len(self.numbers)))
            for i, name in enumerate(self.numbers):
                numbers[:, i] = self._as_numbers(block[self._column_of[name]], name, first)
            yield Rows(first, numbers, {name: block[self._column_of[name]] for name in self.labels})
            first += n

    def _as_numbers(self, values: np.ndarray, name: str, first: int) -> np.ndarray:
        """Values of a column of numbers; a file whose column is text may still hold some."""
        if self.source.kinds[self._column_of[name]] == NUMBER:
            return values
        numbers = [np.nan if text is None else number_of(text) for text in values]
        for i, number in enumerate(numbers):
            if number is None or np.isinf(number):
                raise TableError(
                    f"column {name!r} of {self.source.where} must hold numbers, as it did in "
                    f"training, got {values[i]!r} in row {first + i + 1}; mend it (an empty cell "
                    "or NA is a missing value)"
                )
        return np.array(numbers, dtype=np.float64)


def number_of(text: str) -> float | None:
    """The number of a cell; a format without text for truth has 1 and 0, others True and False."""
    truth = {"true": 1.0, "false": 0.0}.get(text.lower())
    return as_number(text) if truth is None else truth
