"""A CSV file as blocks of rows: encoding, delimiter, header and widths dealt with."""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path
from typing import TextIO

from fastmlp.errors import TableError as TableError
from fastmlp.tables.limits import check_width

HEADERS = ("auto", "yes", "no")

# Cells that hold no value. Other spellings, "none" and "-" among them, may be labels.
MISSING = frozenset(
    ["", "?", "NA", "N/A", "n/a", "#N/A", "<NA>", "NaN", "nan", "NAN", "null", "NULL"]
)

_DELIMITERS = ",;\t|"
_BLOCK_ROWS = 4096
# A wide table has fewer rows a block: a cell is an object of some 60 bytes.
_BLOCK_CELLS = 1 << 18
# A cell takes 2 bytes of a row and 60 of memory.
_MOST_ROW_CHARS = 1 << 22
# Rows that decide, with the first, whether the first is a header.
_SAMPLE_ROWS = 20


def as_number(cell: str) -> float | None:
    """The number that `cell` is the text of, or None."""
    try:
        return None if "_" in cell else float(cell)
    except ValueError:
        return None


@dataclass
class Block:
    """Rows of a file as text, each as wide as the header."""

    first: int  # number of its first row, from 0
    rows: list[list[str]]
    lines: list[int]  # the line of the file that each row ends on

    def place(self, i: int) -> str:
        """Row i of the block for a message, with the line that a text editor shows."""
        return f"row {self.first + i + 1} (line {self.lines[i]})"


class CsvFile:
    """An open CSV file.

    Attributes
    ----------
    names : list of str
        Of the columns: the header's, or c1, c2, ... where there is none.
    where : str
        The file as the subject of a message about its columns.
    """

    def __init__(self, file: TextIO, path: Path, header: str, expected: Collection[str]) -> None:
        self.data, self._file = str(path), file
        data = self.data
        first_line = file.readline(_MOST_ROW_CHARS)
        file.seek(0)
        delimiter = max(_DELIMITERS, key=first_line.count)
        check_width(data, first_line.count(delimiter) + 1, path.stat().st_size)
        self._n_chars = 0  # since the end of the last row
        self._reader = csv.reader(
            self._lines(), delimiter=delimiter, skipinitialspace=True, strict=True
        )
        self._ahead = list(islice(self._rows(), _SAMPLE_ROWS + 1))
        if not self._ahead:
            raise TableError(f"{data} is empty; a CSV file with a header row was expected")
        first, *others = ([cell.strip() for cell in row] for _, row in self._ahead)
        self.has_header = header == "yes" or (
            header == "auto" and _is_header(first, others, expected)
        )
        if self.has_header:
            del self._ahead[0]
            self.where = data
            self.names = [name or f"unnamed_{i + 1}" for i, name in enumerate(first)]
        else:
            self.where = f"{data} (read without a header; --header yes if its first row is one)"
            self.names = [f"c{i + 1}" for i in range(len(first))]
        twice = [name for name, count in Counter(self.names).items() if count > 1]
        if twice:
            raise TableError(
                f"the header of {data} must name a column once, got {twice[0]!r} twice"
            )

    def blocks(self) -> Iterator[Block]:
        """The rows below the header; TableError at the first of another width."""
        block = Block(0, [], [])
        n_rows = max(1, min(_BLOCK_ROWS, _BLOCK_CELLS // len(self.names)))
        for line, row in chain(self._ahead, self._rows()):
            block.rows.append(row)
            block.lines.append(line)
            if len(row) != len(self.names):
                raise TableError(
                    f"{block.place(len(block.rows) - 1)} of {self.data} must have "
                    f"{len(self.names)} cells as the first row has, got {len(row)}"
                )
            if len(block.rows) == n_rows:
                yield block
                block = Block(block.first + n_rows, [], [])
        if block.rows:
            yield block

    def _lines(self) -> Iterator[str]:
        read = self._file.readline
        while line := read(_MOST_ROW_CHARS):
            self._n_chars += len(line)
            if self._n_chars >= _MOST_ROW_CHARS:
                raise self._too_long()
            yield line

    def _too_long(self) -> TableError:
        return TableError(
            f"{self.data} must be a CSV file with rows of less than {_MOST_ROW_CHARS:,} "
            "characters, got a longer one; mend it, or save the table as NPY or Parquet"
        )

    def _rows(self) -> Iterator[tuple[int, list[str]]]:
        try:
            for row in self._reader:
                self._n_chars = 0
                if row:  # an empty line is no row
                    yield self._reader.line_num, row
        except csv.Error as error:
            raise TableError(
                f"{self.data} must be a CSV file, but line {self._reader.line_num} cannot be "
                f"read: {error}"
            ) from None


def _is_header(first: list[str], rows: list[list[str]], expected: Collection[str]) -> bool:
    if any(name in first for name in expected):
        return True
    is_text = [_is_text(cell) for cell in first]
    # A column without a name, as pandas writes its index, is a gap among names.
    if any(is_text) and all(
        text or cell in MISSING for text, cell in zip(is_text, first, strict=True)
    ):
        return True
    columns = zip(*rows, strict=False)
    return any(
        text
        and not any(_is_text(cell) for cell in column)
        and any(cell not in MISSING for cell in column)
        for text, column in zip(is_text, columns, strict=False)
    )


def _is_text(cell: str) -> bool:
    return cell not in MISSING and as_number(cell) is None
