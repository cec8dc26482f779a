"""What wins where a command line, a run file and the optimizer's numbers say different things."""

from __future__ import annotations

from typing import Any

import click
from click.core import ParameterSource

from fastmlp.cli.options import optimizer_numbers
from fastmlp.cli.run_file import is_run_file, read_run_file
from fastmlp.errors import OptionError


def take_run_file(context: click.Context, param: click.Parameter, value: str) -> str:
    """The callback of DATA, which comes before the options: a run file has their defaults."""
    if is_run_file(value):
        context.default_map = read_run_file(value, context.command.params)
    return value


def table_of(data_or_run: str, data: str | None) -> str:
    """The table to train on: DATA, or --data where DATA is a run file."""
    if not is_run_file(data_or_run):
        if data is not None:
            raise OptionError(
                f"--data is for the table of a run file, got it beside {data_or_run}; leave one out"
            )
        return data_or_run
    if data is None:
        raise OptionError(
            f'{data_or_run} must have the table to train on, such as data = "iris"; or give --data'
        )
    return data


def left_out(context: click.Context, options: dict[str, Any]) -> dict[str, None]:
    """Options of a run file that those of the command line leave no room for."""
    names: dict[str, None] = {}
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
            names[name] = None
    of_file = ParameterSource.DEFAULT_MAP
    is_new = context.get_parameter_source("val_fraction") is ParameterSource.COMMANDLINE
    monitor = options["monitor"] or "val_loss"
    is_asked = context.get_parameter_source("monitor") is ParameterSource.COMMANDLINE
    is_watched = is_asked or not monitor.startswith("val_")
    if options["val_fraction"] == 0 and is_new and not is_watched:
        for name in ("patience", "monitor", "min_delta"):
            if context.get_parameter_source(name) is of_file:
                names[name] = None
    return names
