"""DATA on the command line: a data set bundled with scikit-learn, or a CSV file.

A CSV file is turned into numbers in blocks of rows, so that memory holds little more than those.
Every fault is a TableError that names row and column.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from fastmlp.csv_file import Block, CsvFile, TableError, as_number
from fastmlp.io.bundled import BUNDLED as BUNDLED
from fastmlp.io.source import listed as listed
from fastmlp.io.source import near


@dataclass
class Table:
    """Numbers to learn or predict from, and the target as it stands in the data.

    Attributes
    ----------
    name : str
        For the folder of a run: the data set, or the file's name without its suffix.
    features : list of str
        The columns of `X`; c1, c2, ... by position where the file has no header.
    X : ndarray (n, n_features) float64
        Finite.
    target : list of str or None
        The cells of the target column, none of them empty; None where no target was asked for.
    """

    name: str
    features: list[str]
    X: np.ndarray
    target: list[str] | None


@dataclass
class _Wanted:
    """Which columns to read: as read_table's arguments of these names."""

    target: str | None
    drop: Collection[str]
    features: Collection[str] | None

    def names(self) -> set[str]:
        target = [] if self.target is None else [self.target]
        return {*self.drop, *(self.features or ()), *target}

    def choose(self, names: list[str], where: str) -> list[str]:
        """The feature columns among `names`; TableError where one that was named is missing."""
        missing = [name for name in (self.features or ()) if name not in names]
        if missing:
            raise TableError(
                f"{where} must have the columns that the model was trained on; missing: "
                f"{listed(missing)}{near(missing[0], names)}"
            )
        for option, name in [*(("--drop", name) for name in self.drop), ("--target", self.target)]:
            if name is not None and name not in names:
                raise TableError(
                    f"{option}: {where} has no column {name!r}, it has {listed(names)}"
                    f"{near(name, names)}"
                )
        if self.features is not None:
            return list(self.features)
        chosen = [name for name in names if name != self.target and name not in self.drop]
        if not chosen:
            raise TableError(f"{where} must have a column beside the target to learn from")
        for name in chosen:
            if name.lower().startswith("unnamed"):
                # A row's number tells its class in a sorted table, and nothing of new rows.
                raise TableError(
                    f"{where} has a column without a name, {name!r}, likely the row numbers that "
                    f"pandas saves; leave it out with --drop '{name}', or name it"
                )
        return chosen


def read_table(
    data: str,
    *,
    target: str | None = None,
    drop: Collection[str] = (),
    features: Collection[str] | None = None,
    header: str = "auto",
) -> Table:
    """The table that `data` names: one of BUNDLED, or the path of a CSV file.

    Parameters
    ----------
    target : str or None
        The target column. A bundled data set knows its own; for a file None reads no target.
    drop : names of columns to leave out.
    features : names of the columns to read, in this order; None reads all others.
    header : "yes", "no", or "auto": the first row is a header if it has a name that was asked
        for, or no numbers, or text above a column of numbers.

    Raises
    ------
    TableError
        With the file, row, column and text at fault; rows are counted from 1, without the header.
    """
    wanted = _Wanted(target, drop, features)
    if data in BUNDLED:
        return _bundled(data, wanted)
    with _opened(data, header, wanted.names()) as file:
        return _read_csv(file, Path(data).stem, wanted)


def column_names(data: str, header: str = "auto") -> list[str]:
    """The names of all columns of the CSV file `data`; raises TableError as `read_table`."""
    with _opened(data, header, ()) as file:
        return file.names


@contextmanager
def _opened(data: str, header: str, expected: Collection[str]) -> Iterator[CsvFile]:
    try:
        with Path(data).open(newline="", encoding="utf-8-sig") as file:
            yield CsvFile(file, data, header, expected)
    except UnicodeDecodeError as error:
        raise TableError(
            f"{data} must be a CSV file in UTF-8, got the byte 0x{error.object[error.start]:02x}; "
            "save it as UTF-8 text"
        ) from None
    except OSError as error:
        raise TableError(
            f"cannot read {data}: {error.strerror}; DATA must be a CSV file or one of "
            f"{', '.join(BUNDLED)}{near(data, BUNDLED)}"
        ) from None


def _read_csv(file: CsvFile, name: str, wanted: _Wanted) -> Table:
    if wanted.features and not file.has_header and len(file.names) == len(wanted.features):
        # The table learnt from had no header either, and its target column is left out here:
        # what is left of its columns c1, c2, ... stands in the same order.
        positions = {f"c{i + 1}" for i in range(len(file.names) + 1)}
        if positions.issuperset(wanted.features):
            file.names = list(wanted.features)
    features = wanted.choose(file.names, file.where)
    columns = [(file.names.index(feature), feature) for feature in features]
    target_at = None if wanted.target is None else file.names.index(wanted.target)
    target: list[str] = []
    blocks = []
    for block in file.blocks():
        blocks.append(_numbers(block, columns, file.data))
        if target_at is not None:
            cells = [row[target_at].strip() for row in block.rows]
            if "" in cells:
                raise TableError(
                    f"{block.place(cells.index(''))} of {file.data} has no target, the cell "
                    f"{wanted.target!r} is empty; fill it in, or leave the row out"
                )
            target += cells
    if not blocks:
        raise TableError(f"{file.data} must have rows of data, got only a header")
    return Table(name, features, np.concatenate(blocks), None if target_at is None else target)


def _numbers(block: Block, columns: list[tuple[int, str]], data: str) -> np.ndarray:
    shape = (len(block.rows), len(columns))
    positions = [position for position, _ in columns]
    cells = (float(row[position]) for row in block.rows for position in positions)
    try:
        numbers = np.fromiter(cells, np.float64, count=shape[0] * shape[1]).reshape(shape)
        if np.isfinite(numbers).all():
            return numbers
    except ValueError:
        pass  # the search below names the cell
    for i, row in enumerate(block.rows):
        for position, name in columns:
            value = as_number(row[position])
            if value is None or not math.isfinite(value):
                cell = row[position].strip()
                raise TableError(
                    f"{block.place(i)}, column {name!r} of {data} must be a finite number, got "
                    f"{repr(cell) if cell else 'an empty cell'}; mend it, or leave the column "
                    f"out with --drop {name}"
                )
    raise AssertionError("a cell was refused, and none is at fault")


def _bundled(name: str, wanted: _Wanted) -> Table:
    from sklearn import datasets

    bunch = getattr(datasets, f"load_{name}")()
    names = [str(column) for column in bunch.feature_names]
    wanted.target = wanted.target or "target"
    features = wanted.choose([*names, "target"], name)
    if wanted.target != "target":
        raise TableError(f"--target: {name} has its own, 'target'; got {wanted.target!r}")
    X = np.asarray(bunch.data, dtype=np.float64)[:, [names.index(column) for column in features]]
    # The names of the classes read better than their numbers; those of digits are its numbers.
    labels = bunch.get("target_names")
    values = bunch.target if labels is None else np.asarray(labels)[bunch.target]
    return Table(name, features, X, [str(value) for value in values])
