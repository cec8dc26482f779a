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
from fastmlp.cli.train_options import TrainOptions
from fastmlp.cli.training import Job
from fastmlp.cli.watch_options import watch_options
from fastmlp.names import ACTIVATIONS, INITIALIZERS, NORMS
from fastmlp.preparation import TASKS
from fastmlp.spec.loss_table import with_numbers
from fastmlp.spec.losses import NAMES, OF_CLASSES, OF_VALUES
from fastmlp.tables.bundled import BUNDLED
from fastmlp.tables.csv_file import HEADERS


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
@click.option(
    "--activation",
    type=EachKind(),
    metavar="NAME",
    default="relu",
    show_default=True,
    help=f"One for all hidden layers or one each, with commas: {', '.join(ACTIVATIONS)}.",
)
@click.option(
    "--loss",
    type=CallKind(),
    metavar="NAME",
    help=f"One of {', '.join(NAMES)}; numbers go behind a colon: {with_numbers()}.  "
    f"[default: {OF_CLASSES} for classes, {OF_VALUES} for values]",
)
@click.option(
    "--dropout",
    type=EachKind(),
    metavar="RATE",
    default="0",
    show_default=True,
    help="Share of hidden units left out in a step, one for all layers or one each.",
)
@click.option(
    "--input-dropout",
    type=float,
    metavar="RATE",
    default=0.0,
    show_default=True,
    help="Share of inputs left out in a step.",
)
@click.option(
    "--norm",
    type=EachKind(),
    metavar="NAME",
    default="none",
    show_default=True,
    help=f"Normalisation of hidden layers, one for all or one each: {', '.join(NORMS)}.",
)
@click.option(
    "--residual",
    type=EachKind(),
    metavar="BOOL",
    default="false",
    show_default=True,
    help="Add the input of a hidden layer to its output: true for all that are as wide as the one "
    "before, or one each.",
)
@click.option("--l1", type=float, default=0.0, help="Penalty l1 * sum of |weights|.  [default: 0]")
@click.option(
    "--l2",
    type=float,
    help="Penalty l2/2 * sum of squared weights.  [default: 3 / rows to train on]",
)
@click.option(
    "--optimizer",
    type=CallKind(),
    metavar="NAME",
    default="adam",
    show_default=True,
    help=f"One of {', '.join(OPTIMIZERS)}; its numbers go behind a colon: "
    "adam:beta1=0.8,eps=1e-6, sgd:momentum=0.9,nesterov=true.",
)
@click.option(
    "--weight-decay",
    type=float,
    help=f"Decoupled weight decay.  [default: {USUAL_DECAYS}]",
)
@click.option(
    "--decay-biases/--no-decay-biases",
    default=None,
    help="Whether decoupled weight decay takes the biases too.  [default: no]",
)
@click.option("--clip-norm", type=float, help="Scale gradients down to this norm.")
@click.option("--clip-value", type=float, help="Bring every gradient within this and its negative.")
@click.option("--max-norm", type=float, help="Most norm of the incoming weights of a unit.")
@click.option(
    "--layer-lr",
    type=EachKind(),
    metavar="FACTORS",
    help="A factor on the learning rate for each layer, such as 1,1,0.1; 0 freezes it.",
)
@click.option("--ema", type=float, help="Keep and use a moving average of the weights, e.g. 0.99.")
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
@click.option(
    "--init",
    type=click.Choice(INITIALIZERS),
    default="auto",
    show_default=True,
    help="How the initial weights are drawn; auto fits the activation.",
)
@click.option(
    "--lr", type=float, help="Learning rate.  [default: the optimizer's own, 0.001 of adam]"
)
@click.option(
    "--batch-size",
    type=int,
    metavar="N",
    help="Rows in a step.  [default: a fiftieth of the rows, from 32 to 256]",
)
@click.option(
    "--epochs",
    type=int,
    default=300,
    show_default=True,
    metavar="N",
    help="Most passes over the rows to train on.",
)
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
@click.option("--max-time", type=float, metavar="SECONDS", help="Stop after this time.")
@click.option(
    "--seed",
    type=int,
    default=0,
    show_default=True,
    help="Fixes the split, the initial weights, the shuffles and the dropout.",
)
@click.option(
    "--threads",
    type=int,
    metavar="N",
    help="Most threads.  [default: as many as the work of a step keeps busy]",
)
@click.option(
    "--dtype",
    type=click.Choice(["float32", "float64"]),
    default="float32",
    show_default=True,
    help="Numbers to train with.",
)
@click.option(
    "--device",
    metavar="NAME",
    default="cpu",
    show_default=True,
    help="cpu; cuda or cuda:N for an NVIDIA GPU; auto for a GPU where it is known to be faster.",
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
    return Job(table, TrainOptions(**options), as_json, record).run()
