"""Which columns are learnt from, and which of them a user wants as categories."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from fastmlp.checks import integer
from fastmlp.errors import ColumnError, OptionError, OptionTypeError, TableError
from fastmlp.tables.source import Source, check_columns, listed, near
from fastmlp.tables.sources import open_source

# The widest row of a table that a network takes.
_MAX_WIDTH = 4096


@dataclass(frozen=True)
class Wishes:
    """What a user says of the columns; what is left unsaid, the values decide.

    Attributes
    ----------
    drop : columns to leave out.
    categorical : columns whose numbers are categories.
    one_hot : columns of categories to be one input a category.
    embed : columns of categories to be learnt embeddings, with a width or None for `width_of`.
    weight : the column of the rows' weights, which is not learnt from.
    """

    drop: tuple[str, ...] = ()
    categorical: tuple[str, ...] = ()
    one_hot: tuple[str, ...] = ()
    embed: Mapping[str, int | None] = field(default_factory=dict)
    weight: str | None = None

    @classmethod
    def make(
        cls,
        drop: Collection[str] = (),
        categorical: Collection[str] = (),
        one_hot: Collection[str] = (),
        embed: Collection[str] | Mapping[str, int | None] = (),
    ) -> Wishes:
        """Wishes from a user's settings; OptionError or OptionTypeError names a wrong one."""
        for name, value in (("drop", drop), ("categorical", categorical), ("one_hot", one_hot)):
            _check_names(name, value)
        if not isinstance(embed, Mapping):
            _check_names("embed", embed)
            embed = dict.fromkeys(embed)
        for column, width in embed.items():
            if width is not None:
                integer(f"the width of the embedded column {column!r}", width, 1, _MAX_WIDTH)
            if column in one_hot:
                raise OptionError(
                    f"column {column!r} must be one-hot or embedded, got both; leave one out"
                )
        return cls(tuple(drop), tuple(categorical), tuple(one_hot), dict(embed))

    @property
    def labels(self) -> list[str]:
        """All columns that are categories by wish."""
        return list(dict.fromkeys([*self.categorical, *self.one_hot, *self.embed]))


def _check_names(setting: str, names: Any) -> None:
    listed_names = isinstance(names, Collection) and not isinstance(names, str | bytes)
    if not listed_names or not all(isinstance(name, str) for name in names):
        raise OptionTypeError(
            f"{setting} must be a list of names of columns such as ['age'], got {names!r}"
        )


@dataclass(frozen=True)
class Choice:
    """A table to learn from: its target, and the columns beside it in the table's order."""

    source: Source
    target: str
    features: list[str]
    wishes: Wishes


def choose(
    data: Any, target: str | None, wishes: Wishes, *, task: str = "auto", header: str = "auto"
) -> Choice:
    """The table `data` (as `open_source` takes it), its target and the columns to learn from.

    `target` may be None where the format has one of its own. Raises TableError for a column that
    is not there, one without a name, and a target that is not said.
    """
    asked = [] if target is None else [target]
    labels = [*wishes.labels, *(asked if task == "classification" else [])]
    weights = [] if wishes.weight is None else [wishes.weight]
    expected = [*labels, *wishes.drop, *asked, *weights]
    source = open_checked(
        data,
        partial(_check, target, wishes),
        header=header,
        expected=expected,
        categorical=labels,
    )
    name = target or source.target_hint
    if name is None:
        raise TableError(
            f"--target must name the column to learn; {source.where} has {listed(source.columns)}"
        )
    if name in wishes.drop:
        raise TableError(
            f"column {name!r} must be the target or left out with --drop, got both; say one of both"
        )
    if name in weights:
        raise TableError(
            f"--sample-weight must be a column beside the target, got {name!r}; name another"
        )
    try:
        source.check([name])
    except ColumnError as error:
        way = f", or take {error.labels} as classes with --task classification"
        raise TableError(error.fault + way * bool(error.labels)) from None
    beside = {name, *wishes.drop, *weights}
    features = [column for column in source.columns if column not in beside]
    if not features:
        raise TableError(f"{source.where} must have a column beside the target to learn from")
    for feature in features:
        if feature.lower().startswith("unnamed"):
            # A row's number tells its class in a sorted table, and nothing of new rows.
            raise TableError(
                f"{source.where} has a column without a name, {feature!r}, likely the row numbers "
                f"that pandas saves; leave it out with --drop '{feature}', or name it"
            )
    for column in wishes.labels:
        if column not in features and not (column == name and column in wishes.categorical):
            what = "the target" if column == name else "left out with --drop"
            if column in weights:
                what = "that of --sample-weight"
            raise TableError(
                f"column {column!r} must be learnt from to be taken as categories, and is {what}; "
                "say one of both"
            )
    return Choice(source, name, features, wishes)


def open_checked(
    data: Any,
    check: Callable[[Source], None],
    *,
    header: str = "auto",
    expected: Collection[str],
    categorical: Collection[str],
) -> Source:
    """As `open_source`, but `check` is the first to say that a column is missing."""
    try:
        source = open_source(data, header=header, expected=expected, categorical=categorical)
    except TableError:
        if categorical:
            # It would be called one of --categorical, which it need not have been.
            check(open_source(data, header=header, expected=expected))
        raise
    check(source)
    return source


def _check(target: str | None, wishes: Wishes, source: Source) -> None:
    for option, names in (
        ("--drop", wishes.drop),
        ("--categorical", wishes.categorical),
        ("--one-hot", wishes.one_hot),
        ("--embed", wishes.embed),
        ("--target", [] if target is None else [target]),
        ("--sample-weight", [] if wishes.weight is None else [wishes.weight]),
    ):
        check_columns(names, source.columns, source.where, option)


def aligned(source: Source, features: Sequence[str]) -> dict[str, str]:
    """The column of `source` for each feature of a model; TableError names missing ones."""
    if not source.has_names and len(source.columns) == len(features):
        # The table learnt from had no header either, and its target column is left out here:
        # what is left of its columns c1, c2, ... stands in the same order.
        places = {f"c{i + 1}" for i in range(len(features) + 1)}
        if places.issuperset(features):
            return dict(zip(features, source.columns, strict=True))
    known = set(source.columns)
    missing = [name for name in features if name not in known]
    if missing:
        raise TableError(
            f"{source.where} must have the columns that the model was trained on; missing: "
            f"{listed(missing)}{near(missing[0], source.columns)}"
        )
    return {name: name for name in features}
