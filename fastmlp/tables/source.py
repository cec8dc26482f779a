"""Tables of every format behind one protocol: named columns of numbers or text, read in blocks."""

from __future__ import annotations

import difflib
import math
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from decimal import Decimal
from typing import Any, Protocol

import numpy as np

from fastmlp.checks import integer
from fastmlp.errors import ColumnError, TableError

NUMBER, TEXT = "number", "text"

BLOCK_ROWS = 65_536


class Source(Protocol):
    """A table that can be read any number of times, a block of rows at a time.

    Attributes
    ----------
    name : str
        For the folder of a run: a file's name without its suffix, a data set's name.
    where : str
        The table as the subject of a message.
    columns : list of str
        In the table's order.
    has_names : bool
        False where the columns are c1, c2, ... by position, as the table names none.
    kinds : dict
        NUMBER or TEXT for each column, the same in all blocks.
    n_rows : int
        At least 1.
    target_hint : str or None
        The column that the format itself says is the target.
    test : Source or None
        Rows that the format itself keeps for a test, none of which are in this one.
    """

    name: str
    where: str
    columns: list[str]
    has_names: bool
    kinds: dict[str, str]
    n_rows: int
    target_hint: str | None
    test: Source | None

    def check(self, columns: Iterable[str]) -> None:
        """Raise ColumnError for the first of `columns` that is neither numbers nor text."""

    def blocks(
        self, columns: Sequence[str], n_rows: int = BLOCK_ROWS
    ) -> Iterator[dict[str, np.ndarray]]:
        """Consecutive blocks of `n_rows` rows, the last may be shorter.

        A block has an array for each of `columns`: float64 with nan for a missing number, or
        objects, each a str or None for missing text. Raises TableError with row, column and
        value for what is neither; a column that is not asked for is not at fault.
        """

    def matrix(self, columns: Sequence[str]) -> np.ndarray | None:
        """These columns as one array (n_rows, n_columns) of their own element type.

        A view of the table's own memory, or None where that is not possible: the columns are
        not numbers side by side, or not of a type that the engine reads. Values are not checked.
        """


class BaseSource:
    """What all formats share; a format fills the attributes and says how parts are read."""

    def __init__(self, name: str, where: str, columns: list[str], n_rows: int) -> None:
        """`where` is the table as the subject of a message."""
        self.name = name
        self.where = where
        self.columns = columns
        self.has_names = True
        self.kinds = dict.fromkeys(columns, NUMBER)
        self.n_rows = n_rows
        self.target_hint: str | None = None
        self.test: Source | None = None
        # Columns that cannot be read: what is wrong with each, and what of it can be labels.
        self.faults: dict[str, tuple[str, str]] = {}
        if twice := [column for column, count in Counter(columns).items() if count > 1]:
            raise TableError(f"{where} must name a column once, got {twice[0]!r} twice")
        if not columns:
            raise TableError(f"{where} must have columns, got none")
        if n_rows == 0:
            raise TableError(f"{where} must have rows of data, got only the names of its columns")

    def check(self, columns: Iterable[str]) -> None:
        """As `Source.check`."""
        for column in columns:
            if column in self.faults:
                fault, labels = self.faults[column]
                raise ColumnError(fault, column, labels)

    def blocks(
        self, columns: Sequence[str], n_rows: int = BLOCK_ROWS
    ) -> Iterator[dict[str, np.ndarray]]:
        """As `Source.blocks`; what can be refused is refused by the call itself."""
        n_rows = integer("n_rows", n_rows, 1)
        if not columns:
            raise TableError(f"columns must name at least one column of {self.where}, got none")
        check_columns(columns, self.columns, self.where, "columns")
        self.check(columns)
        return self._checked(regrouped(self._parts(list(columns), n_rows), n_rows), n_rows)

    def matrix(self, columns: Sequence[str]) -> np.ndarray | None:
        """As `Source.matrix`."""
        return None

    def _parts(self, columns: list[str], n_rows: int) -> Iterator[dict[str, np.ndarray]]:
        """Blocks of any length in which `n_rows` rows, or what the format has, are in memory."""
        raise NotImplementedError

    def _checked(
        self, blocks: Iterator[dict[str, np.ndarray]], n_rows: int
    ) -> Iterator[dict[str, np.ndarray]]:
        first = 0
        for block in blocks:
            n_block = len(next(iter(block.values())))
            # Before a block is handed out: who sums over rows must not get others.
            if n_block != min(n_rows, self.n_rows - first):
                raise self._other_rows(first + n_block)
            for column, values in block.items():
                if self.kinds[column] == NUMBER and np.isinf(values).any():
                    i = int(np.isinf(values).argmax())
                    raise TableError(
                        f"row {first + i + 1}, column {column!r} of {self.where} must be a finite "
                        f"number or missing, got {values[i]}; mend it, or leave the column out "
                        f"with --drop {column}"
                    )
            yield block
            first += n_block
        if first != self.n_rows:
            raise self._other_rows(first)

    def _other_rows(self, n_read: int) -> TableError:
        return TableError(
            f"{self.where} must have {self.n_rows} rows as it had when it was opened, got "
            f"{'more' if n_read > self.n_rows else n_read}; it is damaged, or was changed since"
        )


def regrouped(
    parts: Iterable[dict[str, np.ndarray]], n_rows: int
) -> Iterator[dict[str, np.ndarray]]:
    """The rows of `parts` in blocks of `n_rows`, the last may be shorter."""
    held: list[dict[str, np.ndarray]] = []
    n_held = 0
    for part in parts:
        n_part = len(next(iter(part.values())))
        start = 0
        while n_held + n_part - start >= n_rows:
            stop = start + n_rows - n_held
            held.append({name: values[start:stop] for name, values in part.items()})
            yield _joined(held)
            held, n_held, start = [], 0, stop
        if start < n_part:
            held.append({name: values[start:] for name, values in part.items()})
            n_held += n_part - start
    if held:
        yield _joined(held)


def _joined(parts: list[dict[str, np.ndarray]]) -> dict[str, np.ndarray]:
    if len(parts) == 1:
        return parts[0]
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def check_columns(wanted: Iterable[str], columns: Collection[str], where: str, what: str) -> None:
    """TableError for the first of `wanted` that is not among `columns`."""
    # A set: a table of images has hundreds of columns.
    known = set(columns)
    for name in wanted:
        if name not in known:
            raise TableError(
                f"{what}: {where} has no column {name!r}, it has {listed(list(columns))}"
                f"{near(name, columns)}"
            )


def texts(values: Iterable[Any]) -> np.ndarray:
    """Labels as text, objects (n,): what CSV would show, whole numbers without a point.

    None and nan are missing.
    """
    labels = [value if type(value) is str else _label(value) for value in values]
    return np.array(labels, dtype=object)


def _label(value: Any) -> str | None:
    if isinstance(value, np.generic):
        value = value.item()
    if value is None or value != value:
        return None
    if isinstance(value, float | Decimal) and math.isfinite(value) and value == int(value):
        return str(int(value))
    return str(value)


def not_numbers(column: str, where: str, kind: object) -> tuple[str, str]:
    """The fault of a column that is neither numbers nor text; nothing of it can be labels."""
    return (
        f"column {column!r} of {where} must hold numbers or text, got {kind}; make numbers of it",
        "",
    )


def positions(columns: Sequence[str]) -> Mapping[str, int]:
    """The place of each column, from 0."""
    return {column: i for i, column in enumerate(columns)}


def listed(names: list[str]) -> str:
    """Names for a message, long lists cut."""
    if len(names) <= 12:
        return ", ".join(names)
    return ", ".join(names[:10]) + f", ... ({len(names)} columns, the last is {names[-1]})"


def near(got: str, names: Collection[str]) -> str:
    """``; did you mean 'age'?`` where there is a name like `got`, whatever the case of letters."""
    by_lower = {name.lower(): name for name in names}
    found = difflib.get_close_matches(got.lower(), by_lower)
    return f"; did you mean {' or '.join(repr(by_lower[n]) for n in found)}?" if found else ""
