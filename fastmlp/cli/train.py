"""``fastmlp train``: its options, and their defaults."""

from __future__ import annotations

from typing import Any

import click
from click.core import ParameterSource

from fastmlp.cli.kinds import CallKind, EachKind, WeightsKind
from fastmlp.cli.options import OPTIMIZERS, SCHEDULES, optimizer_numbers
from fastmlp.cli.record import Record
from fastmlp.cli.run_file import SUFFIX, read_run_file
from fastmlp.cli.training import Job, TrainOptions
from fastmlp.csv_file import HEADERS
from fastmlp.engine.names import ACTIVATIONS, INITIALIZERS
from fastmlp.errors import OptionError
from fastmlp.losses import NAMES
from fastmlp.preparation import TASKS
from fastmlp.tables import BUNDLED


def _take_run_file(context: click.Context, param: click.Parameter, value: str) -> str:
    """The callback of DATA, which comes before the options: a run file has their defaults."""
    if value.endswith(SUFFIX):
        context.default_map = read_run_file(value, context.command.params)
    return value


@click.command(epilog=f"Bundled data sets: {', '.join(BUNDLED)}.")
@click.argument("data_or_run", metavar="DATA", is_eager=True, callback=_take_run_file)
@click.option("--data", type=click.Path(), help="The table, where DATA is a run file.")
@click.option("--target", metavar="COL", help="Column to learn; needed for a CSV file.")
@click.option(
    "--task",
    type=click.Choice(TASKS),
    default="auto",
    show_default=True,
    help="Auto: text and few different whole numbers are classes.",
)
@click.option("--drop", metavar="COL", multiple=True, help="Column to leave out; may be repeated.")
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
    help=f"One of {', '.join(NAMES)}; numbers go behind a colon: huber:DELTA, quantile:Q, "
    "quantiles:Q,Q,..., cross_entropy:SMOOTHING, focal:FOCUSING.  "
    "[default: cross_entropy for classes, squared_error for values]",
)
@click.option(
    "--dropout",
    type=EachKind(),
    metavar="RATE",
    default="0",
    show_default=True,
    help="Share of hidden units left out in a step, one for all layers or one each.",
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
    "--weight-decay", type=float, help="Decoupled weight decay.  [default: 0.01 of adamw]"
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
@click.option("--lr", type=float, help="Learning rate.  [default: 0.001, 0.01 for the sgd kinds]")
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
@click.option(
    "--shuffle/--no-shuffle",
    default=True,
    show_default=True,
    help="Take the rows in another order in every epoch.",
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
    """Train a network on DATA: a CSV file, or a data set bundled with scikit-learn.

    DATA may be a run file too, FILE.toml: its keys are the options below, 'data' the table, paths
    are relative to it, and options of the command line win over it.

    The rows are split into three parts: one to train on, one that decides when to stop, one that
    the result is measured on. Columns are standardised as learnt from the first part; all that
    'fastmlp predict' needs lies in the model file.
    """
    run_file = data_or_run if data_or_run.endswith(SUFFIX) else None
    data = _data(data_or_run, data, run_file)
    options |= _settled(context, options)
    record = Record(context, save_config)
    return Job(data, TrainOptions(**options), as_json, record).run()


def _data(data_or_run: str, data: str | None, run_file: str | None) -> str:
    if run_file is None:
        if data is not None:
            raise OptionError(
                f"--data is for the table of a run file, got it beside {data_or_run}; leave one out"
            )
        return data_or_run
    if data is None:
        raise OptionError(
            f'{run_file} must have the table to train on, such as data = "iris"; or give --data'
        )
    return data


def _settled(context: click.Context, options: dict[str, Any]) -> dict[str, None]:
    """Options of a run file that those of the command line leave no room for."""
    left_out: dict[str, None] = {}
    for name in optimizer_numbers(options["optimizer"]):
        if options.get(name) is None:
            continue
        source, whole = map(context.get_parameter_source, (name, "optimizer"))
        option = f"--{name.replace('_', '-')}"
        if source == whole:
            raise OptionError(
                f"{option} must be given once, got it beside --optimizer {options['optimizer']}"
            )
        if whole is ParameterSource.COMMANDLINE:
            left_out[name] = None
    if options["val_fraction"] == 0:
        sources = map(context.get_parameter_source, ("val_fraction", "patience"))
        if list(sources) == [ParameterSource.COMMANDLINE, ParameterSource.DEFAULT_MAP]:
            left_out["patience"] = None
    return left_out
