"""Columns of a table as a network's inputs: numbers standardised, categories one-hot or coded."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from fastmlp.checks import name_among
from fastmlp.errors import TableError
from fastmlp.preparation.rows import Rows

UNKNOWN = ("error", "ignore")

_SHOWN_CATEGORIES = 8


@dataclass(frozen=True)
class Embedded:
    """A column whose categories are learnt vectors: codes 1, 2, ..., and 0 for all others."""

    categories: list[str]
    width: int

    @property
    def n_codes(self) -> int:
        """Number of codes, the 0 of unknown and missing cells included."""
        return len(self.categories) + 1


@dataclass(frozen=True)
class Inputs:
    """What was learnt of the columns; inputs are in the order of the attributes.

    Attributes
    ----------
    numbers, mean, scale : columns of numbers, the shift and divisor of each. A missing number
        becomes the mean.
    indicators : those of `numbers` that missed values in training: an input each, 1 where the
        number is missing, else 0.
    one_hot : columns of categories, an input for each category, 1 in its rows, else 0. None, the
        last, stands for a missing cell, where training had some.
    embedded : columns of categories, an input for each: its code.
    constant : columns that had one value in training. They are inputs all the same.
    """

    numbers: list[str]
    mean: list[float]
    scale: list[float]
    indicators: list[str] = field(default_factory=list)
    one_hot: dict[str, list[str | None]] = field(default_factory=dict)
    embedded: dict[str, Embedded] = field(default_factory=dict)
    constant: list[str] = field(default_factory=list)

    @property
    def labels(self) -> list[str]:
        """The columns of categories."""
        return [*self.one_hot, *self.embedded]

    @property
    def n_inputs(self) -> int:
        """Columns of what `array` returns."""
        n_one_hot = sum(len(categories) for categories in self.one_hot.values())
        return len(self.numbers) + len(self.indicators) + n_one_hot + len(self.embedded)

    @property
    def embeddings(self) -> dict[int, tuple[int, int]]:
        """Input to (number of categories, width), as `fastmlp.Network` takes it."""
        first = self.n_inputs - len(self.embedded)
        return {
            first + i: (column.n_codes, column.width)
            for i, column in enumerate(self.embedded.values())
        }

    def array(self, rows: Rows, dtype: str, where: str, unknown: str = "error") -> np.ndarray:
        """The inputs of `rows`, (n, n_inputs) of `dtype`.

        A category that training did not have is a TableError with unknown="error", which names
        row, column and value of the table `where`; with "ignore" it is none of the categories: 0
        in all of a one-hot column's inputs, code 0 of an embedded one. So is a missing cell of a
        column that missed none in training.
        """
        name_among("unknown", unknown, UNKNOWN)
        out = np.zeros((len(rows), self.n_inputs), dtype)
        at = len(self.numbers)
        missing = np.zeros((0, 0), dtype=bool)
        if at:
            try:
                with np.errstate(over="raise"):
                    standard = (rows.numbers - np.array(self.mean)) / np.array(self.scale)
                    missing = np.isnan(standard)
                    standard[missing] = 0.0  # the mean, standardised
                    out[:, :at] = standard
            except FloatingPointError:
                raise self._too_large(rows, dtype, where) from None
        for name in self.indicators:
            out[:, at] = missing[:, self.numbers.index(name)]
            at += 1
        for name, categories in self.one_hot.items():
            codes = _codes(rows, name, categories, where, unknown)
            known = np.flatnonzero(codes >= 0)
            out[known, at + codes[known]] = 1.0
            at += len(categories)
        for name, column in self.embedded.items():
            out[:, at] = _codes(rows, name, column.categories, where, unknown) + 1
            at += 1
        return out

    def _too_large(self, rows: Rows, dtype: str, where: str) -> TableError:
        """The error for the first number that overflows when it is standardised."""
        with np.errstate(over="ignore"):
            sizes = np.abs((rows.numbers - np.array(self.mean)) / np.array(self.scale))
        i, column = map(int, np.argwhere(sizes > float(np.finfo(dtype).max))[0])
        return TableError(
            f"column {self.numbers[column]!r} of {where} must have numbers that are finite in "
            f"{dtype} when they are standardised, got {rows.numbers[i, column]:g} in row "
            f"{rows.first + i + 1}; mend it, or train with a column that is scaled down"
        )

    def to_json(self) -> dict[str, Any]:
        """Plain values for a model file."""
        return {
            "numbers": self.numbers,
            "mean": self.mean,
            "scale": self.scale,
            "indicators": self.indicators,
            "one_hot": self.one_hot,
            "embedded": {
                name: {"categories": column.categories, "width": column.width}
                for name, column in self.embedded.items()
            },
            "constant": self.constant,
        }

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Inputs:
        """What `to_json` gave, checked by `check_stored` before."""
        embedded = {name: Embedded(**column) for name, column in values["embedded"].items()}
        mean, scale = ([float(value) for value in values[name]] for name in ("mean", "scale"))
        return cls(**{**values, "mean": mean, "scale": scale, "embedded": embedded})


def canonical(label: str | None) -> str | None:
    """The one spelling of a label: "3.0" is "3", as pandas writes whole numbers beside gaps.

    >>> canonical("3.0"), canonical("v1.0"), canonical("1.50")
    ('3', 'v1.0', '1.50')
    """
    return label if label is None else _WHOLE.sub(r"\1", label)


_WHOLE = re.compile(r"^([-+]?\d+)\.0$")


def _codes(
    rows: Rows, name: str, categories: Iterable[str | None], where: str, unknown: str
) -> np.ndarray:
    """The place of each cell in `categories`, -1 for those that are not in it."""
    values = rows.labels[name]
    place = {category: i for i, category in enumerate(categories)}
    # Labels repeat: each different one is looked up once.
    codes = {label: place.get(canonical(label), -1) for label in set(values.tolist())}
    new = {label for label, code in codes.items() if code < 0 and label is not None}
    if new and unknown == "error":
        i = next(i for i, label in enumerate(values) if label in new)
        known = [category for category in place if category is not None]
        listed = ", ".join(known[:_SHOWN_CATEGORIES])
        more = f", ... ({len(known)} in all)" if len(known) > _SHOWN_CATEGORIES else ""
        raise TableError(
            f"column {name!r} of {where} must hold a category that training had ({listed}{more}), "
            f"got {values[i]!r} in row {rows.first + i + 1}; mend it, or take such cells as none "
            "of these with --unknown ignore"
        )
    return np.fromiter((codes[label] for label in values), np.int64, len(values))
