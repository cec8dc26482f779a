"""CSV as a source: columns of numbers or text, told apart in a first pass over the file.

A file is read again for every pass, in blocks of rows, so that memory holds little more than one.
"""

from __future__ import annotations

import gzip
import re
import zlib
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from io import TextIOWrapper
from pathlib import Path
from typing import BinaryIO

import numpy as np

from fastmlp.errors import TableError
from fastmlp.tables.csv_file import MISSING, Block, CsvFile, as_number
from fastmlp.tables.limits import unpacked
from fastmlp.tables.source import NUMBER, TEXT, BaseSource, check_columns, positions

# From this share of numbers on, a text among them is a slip and not a label.
_NUMBERS_PER_TEXT = 9

_DATE = re.compile(r"\d{4}[-/]\d{1,2}[-/]\d{1,2}([T ].*)?|\d{1,2}[./]\d{1,2}[./]\d{4}( .*)?")
_DECIMAL_COMMA = re.compile(r"[+-]?\d+,\d+")
_THOUSANDS = re.compile(r"[+-]?\d{1,3}(,\d{3})+(\.\d*)?")

GZIP_MAGIC = b"\x1f\x8b"


class CsvSource(BaseSource):
    """A CSV file (comma, semicolon, tab or bar; plain or gzip-compressed; UTF-8).

    A column is TEXT if a cell that is not in MISSING is no number; where nine cells of ten or
    more are numbers, asking for it is a TableError that names the first text.

    Parameters
    ----------
    header : "yes", "no", or "auto": the first row is a header if it has a name of `expected`,
        or no numbers, or text above a column of numbers.
    categorical : columns that are TEXT even where all their cells are numbers.
    """

    def __init__(
        self,
        path: Path,
        *,
        header: str = "auto",
        expected: Collection[str] = (),
        categorical: Collection[str] = (),
    ) -> None:
        self._path = path
        with _opened(path, header, expected) as file:
            tallies = {name: _Tally() for name in file.names if name not in categorical}
            n_rows = 0
            for block in file.blocks():
                for name, cells in zip(file.names, zip(*block.rows, strict=True), strict=True):
                    if name in tallies:
                        tallies[name].add(cells, block)
                n_rows += len(block.rows)
        name = path.name.removesuffix(".gz")
        super().__init__(Path(name).stem, file.where, file.names, n_rows)
        self.has_names = file.has_header
        check_columns(categorical, self.columns, self.where, "--categorical")
        for name in self.columns:
            self.kinds[name] = tallies[name].kind if name in tallies else TEXT
            if name in tallies and (fault := tallies[name].fault(name, str(path))):
                self.faults[name] = fault

    def _parts(self, columns: list[str], n_rows: int) -> Iterator[dict[str, np.ndarray]]:
        header = "yes" if self.has_names else "no"
        with _opened(self._path, header, ()) as file:
            at = positions(file.names)
            if file.names != self.columns:
                raise self._changed()
            for block in file.blocks():
                cells = list(zip(*block.rows, strict=True))
                yield {name: self._values(cells[at[name]], name, block) for name in columns}

    def _values(self, cells: Sequence[str], name: str, block: Block) -> np.ndarray:
        if self.kinds[name] == TEXT:
            known = {cell: _text(cell) for cell in set(cells)}
            return np.array([known[cell] for cell in cells], dtype=object)
        numbers = _numbers(cells)
        if numbers is None:
            raise self._changed()
        if np.isinf(numbers).any():
            i = int(np.isinf(numbers).argmax())
            raise TableError(
                f"{block.place(i)}, column {name!r} of {self._path} must be a finite number or "
                f"missing, got {cells[i].strip()!r}; mend it, or leave the column out with "
                f"--drop {name}"
            )
        return numbers

    def _changed(self) -> TableError:
        return TableError(
            f"{self._path} must stay as it is while it is read, and was changed; read it again "
            "when it is written"
        )


class _Tally:
    """What the cells of a column are, counted block by block."""

    def __init__(self) -> None:
        self.n_numbers = 0
        self.n_texts = 0
        self.all_thousands = True
        self.first_text = ""
        self.first_place = ""

    def add(self, cells: Sequence[str], block: Block) -> None:
        if self.n_texts == 0:
            numbers = _numbers(cells)
            if numbers is not None:
                self.n_numbers += len(cells) - int(np.isnan(numbers).sum())
                return
        # Labels repeat: each different one is looked at once.
        labels = {}
        for cell, count in Counter(cells).items():
            if _text(cell) is None:
                continue
            if as_number(cell) is None:
                labels[cell] = count
            else:
                self.n_numbers += count
        if labels and self.n_texts == 0:
            i = next(i for i, cell in enumerate(cells) if cell in labels)
            self.first_text, self.first_place = cells[i].strip(), block.place(i)
        self.n_texts += sum(labels.values())
        self.all_thousands &= all(_THOUSANDS.fullmatch(cell.strip()) for cell in labels)

    @property
    def _mostly_numbers(self) -> bool:
        return self.n_numbers >= _NUMBERS_PER_TEXT * self.n_texts

    @property
    def kind(self) -> str:
        return NUMBER if self._mostly_numbers else TEXT

    def fault(self, name: str, data: str) -> tuple[str, str] | None:
        """What is wrong with the column and what of it can be labels, None for nothing."""
        if self.n_texts == 0:
            return None
        got = f"{self.first_place}, column {name!r} of {data}"
        if self._mostly_numbers:
            return (
                f"{got} must be a number as {self.n_numbers} other cells are, got "
                f"{self.first_text!r}; mend it (an empty cell or NA is a missing value)",
                "its cells",
            )
        if _DATE.fullmatch(self.first_text):
            return (
                f"{got} must be a number or a label, got the date {self.first_text!r}; make "
                "numbers of it (such as days, or year and month)",
                "dates",
            )
        if self.all_thousands:
            return (
                f"{got} must be a number without commas between its thousands, got "
                f"{self.first_text!r}; leave the commas out, or put a point where they are decimal",
                "its cells",
            )
        if _DECIMAL_COMMA.fullmatch(self.first_text):
            return (
                f"{got} must be a number with a decimal point, got {self.first_text!r}; replace "
                "the comma",
                "its cells",
            )
        return None


def _text(cell: str) -> str | None:
    cell = cell.strip()
    return None if cell in MISSING else cell


def _numbers(cells: Sequence[str]) -> np.ndarray | None:
    """Cells as float64, nan where one is missing; None if there is text among them."""
    if "_" in "".join(cells):
        return None  # float() reads 1_2 as 12
    try:
        return np.fromiter(map(float, cells), np.float64, len(cells))
    except ValueError:
        pass
    known = ["nan" if cell in MISSING or cell.strip() in MISSING else cell for cell in cells]
    try:
        return np.fromiter(map(float, known), np.float64, len(cells))
    except ValueError:
        return None


@contextmanager
def _opened(path: Path, header: str, expected: Collection[str]) -> Iterator[CsvFile]:
    """The file, from its beginning; what goes wrong with it becomes a TableError."""
    try:
        with path.open("rb") as file:
            compressed = file.read(2) == GZIP_MAGIC
            file.seek(0)
            plain: BinaryIO = unpacked(file, path) if compressed else file
            with TextIOWrapper(plain, encoding="utf-8-sig", newline="") as text:
                yield CsvFile(text, path, header, expected)
    except UnicodeDecodeError as error:
        raise TableError(
            f"{path} must be a CSV file in UTF-8, got the byte 0x{error.object[error.start]:02x}; "
            "save it as UTF-8 text"
        ) from None
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise TableError(
            f"{path} must be a whole gzip file, and cannot be unpacked: {error}; fetch or "
            "compress it again"
        ) from None
    except OSError as error:
        raise TableError(f"cannot read {path}: {error.strerror}") from None
