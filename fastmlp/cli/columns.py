"""Options of ``fastmlp train`` about columns."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import click

from fastmlp.errors import OptionError
from fastmlp.preparation.choice import Wishes
from fastmlp.preparation.learn import MOST_ONE_HOT

_WIDTH = re.compile(r"(.+):(\d+)", re.DOTALL)

_OPTIONS = (
    click.option(
        "--categorical",
        metavar="COL",
        multiple=True,
        help="Column whose numbers are categories; may be repeated.",
    ),
    click.option(
        "--one-hot",
        metavar="COL",
        multiple=True,
        help=f"Column of categories to be one input each.  [default: up to {MOST_ONE_HOT}]",
    ),
    click.option(
        "--embed",
        metavar="COL[:WIDTH]",
        multiple=True,
        help="Column of categories to be learnt vectors.  "
        f"[default: of more than {MOST_ONE_HOT}; width 1.6 n^0.56 of n]",
    ),
    click.option(
        "--sample-weight",
        metavar="COL",
        help="Column with a weight >= 0 of each row in losses and scores; it is not learnt from.",
    ),
    click.option(
        "--in-memory/--on-disk",
        default=None,
        help="Where the prepared table lies while it is trained on.  "
        "[default: in memory up to a quarter of what is free, else in --out]",
    ),
)


def column_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options about columns to a command."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


def wishes_of(
    drop: tuple[str, ...],
    categorical: tuple[str, ...],
    one_hot: tuple[str, ...],
    embed: tuple[str, ...],
) -> Wishes:
    """What the options say of the columns; ``COL:WIDTH`` of --embed is taken apart."""
    widths: dict[str, int | None] = {}
    for text in embed:
        found = _WIDTH.fullmatch(text)
        column, width = (found[1], int(found[2])) if found else (text, None)
        if column in widths:
            raise OptionError(f"--embed must name a column once, got {column!r} twice")
        widths[column] = width
    return Wishes.make(drop, categorical, one_hot, widths)
