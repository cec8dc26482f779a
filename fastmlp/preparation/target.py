"""What to learn: the target column as classes or as values."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from fastmlp.errors import TableError
from fastmlp.preparation.rows import number_of
from fastmlp.tables.csv_file import as_number
from fastmlp.tables.source import NUMBER, Source

TASKS = ("auto", "classification", "regression")

# Whole numbers are class labels where there are few of them and each comes often; more than that
# is more likely a count, an age or a year.
_MAX_NUMBERED_CLASSES = 20
_MIN_ROWS_PER_CLASS = 5


@dataclass
class Target:
    """What to learn: class labels (int64 or text), or values (float64), each (n,)."""

    name: str
    task: str
    values: np.ndarray

    @property
    def n_classes(self) -> int:
        return len(np.unique(self.values))

    @property
    def is_whole(self) -> bool:
        """Whether the classes are whole numbers."""
        return self.values.dtype.kind == "i"


def read_target(source: Source, name: str, task: str = "auto") -> Target:
    """The column `name` of `source`, and whether it is classes or values.

    With task="auto" text means classes, and so do whole numbers of which there are at most 20
    different ones, in at least 5 rows each on average. The column is held in memory. Raises
    TableError for rows without a target, text where values are learnt, one class only, a class of
    a single row, a constant value, or as many classes as rows.
    """
    cells = _whole_column(source, name)
    numbers = cells if source.kinds[name] == NUMBER else None
    if task == "auto":
        labels = numbers is None or _are_labels(numbers)
        task = "classification" if labels else "regression"
    if task == "classification":
        return Target(name, task, _labels(name, cells))
    if numbers is None:
        numbers = _as_numbers(name, cells)
    if numbers.min() == numbers.max():
        raise TableError(
            f"the target {name!r} must vary to be learnt, got {cells[0]} in all {len(cells)} rows"
        )
    return Target(name, task, numbers)


def read_like(source: Source, name: str, task: str, whole: bool) -> np.ndarray:
    """The column `name` of another table of the same target: labels of the kind learnt, or values.

    `whole` says that the labels are whole numbers. Raises TableError for rows without a target, and
    for text or fractions where whole numbers were learnt.
    """
    cells = _whole_column(source, name)
    if task == "classification" and not whole:
        return cells.astype(str)
    numbers = cells if source.kinds[name] == NUMBER else _as_numbers(name, cells)
    if task != "classification":
        return numbers
    odd = numbers != np.floor(numbers)
    if odd.any():
        row = int(np.argmax(odd))
        raise TableError(
            f"the target {name!r} must hold whole numbers, the classes that were learnt, got "
            f"{numbers[row]:g} in row {row + 1}; leave this row out"
        )
    return numbers.astype(np.int64)


def _whole_column(source: Source, name: str) -> np.ndarray:
    """Numbers (float64) or text of all rows; TableError where some have none."""
    parts, missing = [], []
    first = 0
    for block in source.blocks([name]):
        cells = block[name]
        if source.kinds[name] == NUMBER:
            gone = np.isnan(cells)
        else:
            gone = np.array([cell is None for cell in cells], dtype=bool)
            cells = cells.astype(str)
        missing += (first + np.flatnonzero(gone) + 1).tolist()
        parts.append(cells)
        first += len(cells)
    if missing:
        raise TableError(
            f"the target {name!r} must have a value in every row, got none in {len(missing)} of "
            f"{first} rows (the first is row {missing[0]}); leave these rows out"
        )
    return np.concatenate(parts)


def _are_labels(values: np.ndarray) -> bool:
    if (values != np.floor(values)).any():
        return False
    n_different = len(np.unique(values))
    few = n_different <= _MAX_NUMBERED_CLASSES
    return n_different <= 2 or (few and n_different * _MIN_ROWS_PER_CLASS <= len(values))


def _labels(name: str, cells: np.ndarray) -> np.ndarray:
    found, codes, counts = np.unique(cells, return_inverse=True, return_counts=True)
    # "1" and "1.0" are the same class; other text stays as it stands in the table.
    whole = [_whole_number(cell) for cell in found.tolist()]
    if None not in whole:
        found, merged = np.unique(np.array(whole, dtype=np.int64), return_inverse=True)
        counts = np.bincount(merged, weights=counts).astype(np.int64)
        codes = merged[codes]
    n_classes = len(found)
    if n_classes == 1:
        raise TableError(
            f"the target {name!r} must have at least two classes, got only {cells.tolist()[0]!r} "
            f"in all {len(cells)} rows"
        )
    if 2 * n_classes > len(cells) and n_classes > 2:
        raise TableError(
            f"the target {name!r} must have classes that come more than once, got {n_classes} "
            f"different labels in {len(cells)} rows; --task regression takes numbers as values"
        )
    if (counts == 1).any():
        single = int(np.argmax(counts == 1))
        row = int(np.argmax(codes == single)) + 1
        raise TableError(
            f"the target {name!r} must have at least two rows of each class, one to train on and "
            f"one to test, got {found.tolist()[single]!r} in row {row} alone; leave that row out, "
            "or bring more of its class"
        )
    return found[codes] if found.dtype.kind in "iU" else found.astype(str)[codes]


def _whole_number(label: object) -> int | None:
    number = as_number(label) if isinstance(label, str) else float(str(label))
    if number is None or not math.isfinite(number) or number != math.floor(number):
        return None
    return int(number) if abs(number) < 2.0**63 else None


def _as_numbers(name: str, cells: np.ndarray) -> np.ndarray:
    numbers = [number_of(cell) for cell in cells.tolist()]
    for row, number in enumerate(numbers):
        if number is None or not math.isfinite(number):
            raise TableError(
                f"the target {name!r} must be a finite number in every row to be learnt as values, "
                f"got {str(cells[row])!r} in row {row + 1}; mend it, or take its cells as classes "
                "with --task classification"
            )
    return np.array(numbers, dtype=np.float64)
