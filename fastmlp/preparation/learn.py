"""Learning what to make of each column, from the rows to train on and in one pass."""

from __future__ import annotations

import shlex

import numpy as np

from fastmlp.errors import TableError
from fastmlp.preparation.choice import Wishes
from fastmlp.preparation.inputs import Embedded, Inputs, canonical
from fastmlp.preparation.moments import Moments
from fastmlp.preparation.rows import TableRows

# More categories than this become embeddings: of fewer, one-hot inputs are hardly wider than the
# embedding that `width_of` proposes, and need no learning.
MOST_ONE_HOT = 15
# More are no categories but names or numbers of rows, unless a user says --embed.
MOST_CATEGORIES = 10_000
# The names lie in the header of the model file, whose format allows 100 MB: up to 7 bytes for a
# character that JSON escapes, and 6 for what stands around each.
MOST_EMBEDDED = 1_000_000
_MOST_CHARACTERS = 13_000_000


def width_of(n_codes: int) -> int:
    """Width of an embedding of `n_codes` codes: min(600, round(1.6 n^0.56)).

    The rule of fastai (`emb_sz_rule` of fastai.tabular.model, Howard and Gugger, 2020), fitted by
    its authors to what worked on a number of tables.

    >>> [width_of(n) for n in (17, 100, 1000)]
    [8, 21, 77]
    """
    return min(600, round(1.6 * n_codes**0.56))


def learn_inputs(rows: TableRows, train: np.ndarray, wishes: Wishes) -> Inputs:
    """What to make of the columns of `rows`, from the rows `train` (ascending row numbers).

    A column of labels becomes one-hot inputs up to MOST_ONE_HOT categories, an embedding beyond,
    unless `wishes` say otherwise. Raises TableError for a column without any value, for text that
    hardly repeats, and for too many categories; it names all such columns.
    """
    moments = Moments(len(rows.numbers))
    tallies = {name: _Tally(name, wishes) for name in rows.labels}
    for block in rows:
        start, stop = np.searchsorted(train, [block.first, block.first + len(block)])
        chosen = train[start:stop] - block.first
        if rows.numbers:
            moments.add(block.numbers[chosen].astype(np.float64))
        for name, tally in tallies.items():
            tally.add(block.labels[name][chosen])
    n = len(train)
    _refuse(
        [
            *(name for name, k in zip(rows.numbers, moments.count, strict=True) if k == 0),
            *(name for name, tally in tallies.items() if not tally.categories),
        ],
        f"must have a value in the {n} rows to train on, got none",
    )
    _refuse(
        [name for name, tally in tallies.items() if tally.is_free_text(n)],
        f"must have text that repeats to be learnt from, got a different one in more than half of "
        f"the {n} rows to train on",
        ", or take the texts of one as categories with --embed {}",
    )
    for tally in tallies.values():
        tally.check()
    _check_length({name: tally.categories for name, tally in tallies.items()})
    mean, scale = moments.mean_and_scale(rows.numbers)
    deviation = moments.deviation()
    one_hot: dict[str, list[str | None]] = {}
    embedded = {}
    for name, tally in tallies.items():
        categories = sorted(tally.categories)
        if tally.is_embedded:
            width = wishes.embed.get(name) or width_of(len(categories) + 1)
            embedded[name] = Embedded(categories, width)
        else:
            one_hot[name] = [*categories, *([None] if tally.has_missing else [])]
    constant = [
        *(
            name
            for i, name in enumerate(rows.numbers)
            if moments.count[i] == n and deviation[i] <= 1e-12 * abs(mean[i])
        ),
        *(name for name, tally in tallies.items() if tally.is_constant),
    ]
    gaps = [name for name, k in zip(rows.numbers, moments.count, strict=True) if k < n]
    return Inputs(rows.numbers, mean, scale, gaps, one_hot, embedded, constant)


class _Tally:
    """The categories of a column."""

    def __init__(self, name: str, wishes: Wishes) -> None:
        self._name = name
        self._by_wish = name in wishes.labels
        self._one_hot, self._embed = name in wishes.one_hot, name in wishes.embed
        self._most = MOST_EMBEDDED if self._embed else MOST_CATEGORIES
        self._found: set[str | None] = set()

    def add(self, labels: np.ndarray) -> None:
        if not self.is_too_many:
            self._found.update(map(canonical, set(labels.tolist())))

    @property
    def categories(self) -> set[str]:
        return {label for label in self._found if label is not None}

    @property
    def has_missing(self) -> bool:
        return None in self._found

    @property
    def is_constant(self) -> bool:
        return len(self._found) == 1

    @property
    def is_too_many(self) -> bool:
        return len(self._found) - self.has_missing > self._most

    @property
    def is_embedded(self) -> bool:
        return self._embed or (not self._one_hot and len(self.categories) > MOST_ONE_HOT)

    def is_free_text(self, n_rows: int) -> bool:
        """Whether nearly every row has another text, and no wish takes it for categories."""
        n = len(self.categories)
        return not self._by_wish and n > MOST_ONE_HOT and 2 * n > n_rows

    def check(self) -> None:
        """Raise TableError for more categories than are taken."""
        if self.is_too_many:
            way = "" if self._embed else f", or take them all with --embed {self._name}"
            raise TableError(
                f"column {self._name!r} must have at most {self._most:,} categories, got more; "
                f"leave it out with --drop {shlex.quote(self._name)}{way}"
            )


def _check_length(categories: dict[str, set[str]]) -> None:
    """Raise TableError for more text than a model file can hold; it names the longest column."""
    lengths = {name: sum(map(len, found)) for name, found in categories.items()}
    if sum(lengths.values()) > _MOST_CHARACTERS:
        name = max(lengths, key=lambda name: lengths[name])
        raise TableError(
            f"the categories of all columns must have at most {_MOST_CHARACTERS:,} characters "
            f"together to fit a model file, got {sum(lengths.values()):,}, most of them in column "
            f"{name!r}; shorten them, or leave it out with --drop {shlex.quote(name)}"
        )


def _refuse(names: list[str], why: str, otherwise: str = "") -> None:
    """Raise TableError that names the columns and how to leave them out; none is no fault.

    `otherwise` goes behind that, {} in it stands for the first column.
    """
    if not names:
        return
    columns = ", ".join(map(repr, names))
    drops = " ".join(f"--drop {shlex.quote(name)}" for name in names)
    them = "it" if len(names) == 1 else "them"
    raise TableError(
        f"column{'s' if len(names) > 1 else ''} {columns} {why}; leave {them} out with {drops}"
        f"{otherwise.format(shlex.quote(names[0]))}"
    )
