"""``fastmlp train``: its options, and their defaults."""

from __future__ import annotations

from typing import Any

import click

from fastmlp.cli.columns import column_options
from fastmlp.cli.functions import functions_option
from fastmlp.cli.kinds import CallKind, EachKind, WeightsKind
from fastmlp.cli.options import OPTIMIZERS, SCHEDULES, USUAL_DECAYS
from fastmlp.cli.precedence import left_out, table_of, take_run_file
from fastmlp.cli.record import Record
from fastmlp.cli.setting_options import setting_options
from fastmlp.cli.train_options import TrainOptions
from fastmlp.cli.training import TrainCommand
from fastmlp.cli.watch_options import watch_options
from fastmlp.optim.base import OPTIMIZER_SETTINGS
from fastmlp.preparation import TASKS
from fastmlp.spec.network import NETWORK_SETTINGS
from fastmlp.tables.bundled import BUNDLED
from fastmlp.tables.csv_file import HEADERS
from fastmlp.training.options import FIT_SETTINGS


@click.command(epilog=f"Bundled data sets: {', '.join(BUNDLED)}.")
@click.argument("data_or_run", metavar="DATA", is_eager=True, callback=take_run_file)
@functions_option
@click.option("--data", type=click.Path(), help="The table, where DATA is a run file.")
@click.option("--target", metavar="COL", help="Column to learn, unless the format has its own.")
@click.option(
    "--task",
    type=click.Choice(TASKS),
    default="auto",
    show_default=True,
    help="Auto: text and few different whole numbers are classes.",
)
@click.option("--drop", metavar="COL", multiple=True, help="Column to leave out; may be repeated.")
@column_options
@click.option(
    "--header",
    type=click.Choice(HEADERS),
    default="auto",
    show_default=True,
    help="Whether the first row of the file holds the names of the columns.",
)
@click.option(
    "--hidden",
    type=EachKind(),
    metavar="SIZES",
    default="128,64",
    show_default=True,
    help="Units of each hidden layer, or 'none' for a linear model.",
)
@setting_options(NETWORK_SETTINGS)
@click.option(
    "--optimizer",
    type=CallKind(),
    metavar="NAME",
    default="adam",
    show_default=True,
    help=f"One of {', '.join(OPTIMIZERS)}; its numbers go behind a colon: "
    "adam:beta1=0.8,eps=1e-6, sgd:momentum=0.9,nesterov=true.",
)
@setting_options(OPTIMIZER_SETTINGS, {"weight_decay": USUAL_DECAYS})
@click.option(
    "--schedule",
    type=CallKind(),
    metavar="NAME",
    default="constant",
    show_default=True,
    help=f"How the learning rate goes over the steps: one of {', '.join(SCHEDULES)}; its numbers "
    "go behind a colon: step:every_n_steps=500,factor=0.5.",
)
@click.option(
    "--class-weight",
    type=WeightsKind(),
    metavar="WEIGHTS",
    help="Balanced, for the same weight of all classes together, or LABEL=WEIGHT,... "
    "(1 for those left out).",
)
@setting_options(FIT_SETTINGS)
@click.option(
    "--patience",
    type=int,
    metavar="N",
    help="Epochs without a better validation loss after which to stop.  [default: 20]",
)
@watch_options
@click.option(
    "--shuffle/--no-shuffle",
    default=True,
    show_default=True,
    help="Take the rows in another order in every epoch.",
)
@click.option(
    "--block-shuffle/--full-shuffle",
    default=None,
    help="Shuffle blocks of rows, and rows within some of them, as a disk reads them fast; or all "
    "rows at once.  [default: all at once, unless the prepared table lies on disk and is larger "
    "than half of the free memory]",
)
@click.option(
    "--val-fraction",
    type=float,
    default=0.15,
    show_default=True,
    help="Share of the rows that decide when to stop; 0 for none.",
)
@click.option(
    "--test-fraction",
    type=float,
    default=0.2,
    show_default=True,
    help="Share of the rows that the result is measured on; 0 for none.",
)
@click.option(
    "--out",
    type=click.Path(),
    metavar="DIR",
    help="Folder for the model.  [default: runs/NAME OF DATA]",
)
@click.option(
    "--save-config",
    type=click.Path(),
    metavar="FILE",
    help="Write a run file of this run here too, beside run.toml in the folder of the model.",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object a line.")
@click.pass_context
def train(
    context: click.Context,
    data_or_run: str,
    data: str | None,
    as_json: bool,
    save_config: str | None,
    **options: Any,
) -> int:
    """Train a network on DATA: a CSV, Parquet, Arrow, Feather, NPY, NPZ or SVMlight file, a folder
    of IDX files such as MNIST's, or a data set bundled with scikit-learn.

    DATA may be a run file too, FILE.toml: its keys are the options below, 'data' the table, paths
    are relative to it, and options of the command line win over it.

    The rows are split into three parts: one to train on, one that decides when to stop, one that
    the result is measured on (that of the folder, where it has one). Numbers are standardised and
    filled in where they are missing, text becomes one-hot inputs or embeddings, all as learnt from
    the first part; what 'fastmlp predict' needs lies in the model file.
    """
    table = table_of(data_or_run, data)
    options |= left_out(context, options)
    record = Record(context, save_config)
    return TrainCommand(table, TrainOptions.make(options), as_json, record).run()
