"""Options of ``fastmlp train`` about what is measured, watched and written while it trains."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import click

_OPTIONS = (
    click.option(
        "--metric",
        "metrics",
        metavar="NAME",
        multiple=True,
        help="Measure this in place of accuracy or R2 after every epoch, and at the end on the "
        "test part: a scorer of scikit-learn's (roc_auc, f1_macro), or the error itself (log_loss, "
        "mean_absolute_error), in units of the target; may be repeated.",
    ),
    click.option(
        "--eval",
        "eval_files",
        type=click.Path(),
        metavar="FILE",
        multiple=True,
        help="Another table with the same columns, measured after every epoch under the name of "
        "its file; may be repeated.",
    ),
    click.option(
        "--monitor",
        metavar="NAME",
        help="What early stopping and reduce_on_plateau watch, such as loss, val_roc_auc or "
        "NAME_loss of an --eval table.  [default: val_loss]",
    ),
    click.option(
        "--min-delta",
        type=float,
        metavar="CHANGE",
        help="Early stopping takes a change by more than this for an improvement.  [default: 0]",
    ),
    click.option(
        "--log-csv",
        type=click.Path(),
        metavar="FILE",
        help="Write a row of a CSV file when an epoch ends.",
    ),
    click.option(
        "--log-json",
        type=click.Path(),
        metavar="FILE",
        help="Write a JSON object, a line each, when an epoch ends.",
    ),
    click.option(
        "--checkpoint",
        type=click.Path(),
        metavar="FILE",
        help="Save the model, and where its training stands, here while it trains; {epoch} in the "
        "name keeps every file. Of a folder, checkpoint.safetensors in it.",
    ),
    click.option(
        "--resume/--no-resume",
        default=False,
        show_default=True,
        help="Go on where the newest file of --checkpoint stands, or begin where there is none: "
        "the end is that of a training that was never interrupted.",
    ),
    click.option(
        "--force/--no-force",
        default=False,
        show_default=True,
        help="With --resume: go on though data or settings are others than then, and say which. "
        "The table is prepared as then; layers and loss must be the same.",
    ),
    click.option(
        "--checkpoint-every",
        type=int,
        metavar="N",
        help="Save a checkpoint after every N epochs.  [default: 1]",
    ),
    click.option(
        "--checkpoint-seconds",
        type=float,
        metavar="SECONDS",
        help="Save a checkpoint after so many seconds instead, also in mid-epoch.",
    ),
    click.option(
        "--checkpoint-keep",
        type=int,
        metavar="N",
        help="Keep the newest N checkpoints, with {epoch} in their name or in a folder.  "
        "[default: all]",
    ),
    click.option(
        "--checkpoint-best/--no-checkpoint-best",
        default=False,
        show_default=True,
        help="Save a checkpoint only where what --monitor names is better than ever before.",
    ),
    click.option(
        "--progress/--no-progress",
        default=True,
        show_default=True,
        help="Show every epoch on stderr.",
    ),
)


def watch_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add these options to a command."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command
