"""How the programs of this folder read options: a wrong one gets one sentence, exit code 2."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

import click

from fastmlp.errors import FastmlpError

from .failed import Failed


class Integers(click.ParamType):
    """Whole numbers with commas between them, each at least `least`."""

    name = "integers"

    def __init__(self, least: int = 1, at_least_numbers: int = 1) -> None:
        self.least = least
        self.at_least_numbers = at_least_numbers

    def convert(
        self, value: str | Sequence[int], param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[int, ...]:
        if not isinstance(value, str):
            return tuple(value)
        try:
            numbers = tuple(int(part) for part in value.split(","))
        except ValueError:
            numbers = ()
        if len(numbers) < self.at_least_numbers or min(numbers) < self.least:
            self.fail(
                f"must be {self.at_least_numbers} or more whole numbers >= {self.least} with "
                f"commas between them, got {value!r}"
            )
        return numbers


class Names(click.ParamType):
    """Some of `known`, with commas between them; "all" is all of them."""

    name = "names"

    def __init__(self, known: Sequence[str]) -> None:
        self.known = tuple(known)

    def convert(
        self, value: str | Sequence[str], param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[str, ...]:
        if value == "all":
            return self.known
        names = tuple(value.split(",")) if isinstance(value, str) else tuple(value)
        for name in names:
            if name not in self.known:
                self.fail(f"must be among {', '.join(self.known)} or all, got {name!r}")
        if len(set(names)) < len(names):
            self.fail(f"must have each name once, got {value!r}")
        return names


def n_cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0))


def run(command: click.Command, arguments: Sequence[str] | None = None) -> None:
    """Run `command` on `arguments` (default: those of the process); raises SystemExit."""
    try:
        code = command.main(arguments, prog_name=command.name, standalone_mode=False)
    except click.ClickException as error:
        code = _say(command, error.format_message(), 2)
    except (Failed, FastmlpError) as error:
        code = _say(command, str(error), 1)
    except (click.Abort, KeyboardInterrupt):
        code = _say(command, "stopped by Ctrl-C", 130)
    sys.exit(code or 0)


def _say(command: click.Command, message: str, code: int) -> int:
    click.echo(f"{command.name}: {' '.join(message.split())}", err=True)
    return code
