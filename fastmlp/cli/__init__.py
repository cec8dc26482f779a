"""The command line: ``fastmlp train``, ``predict``, ``warmup`` and ``doctor``.

Exit codes: 0 done, 1 the training or the machine failed, 2 bad input, 130 ended by Ctrl-C, 143 by
SIGTERM, 129 by SIGHUP. Bad input is said in one sentence on stderr.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

import click

from fastmlp import __version__
from fastmlp.cli.doctor import doctor
from fastmlp.cli.ending import exit_code, interrupt_name
from fastmlp.cli.predict import predict
from fastmlp.cli.train import train
from fastmlp.cli.warmup import warmup
from fastmlp.errors import FastmlpError, TrainingDivergedError
from fastmlp.interrupts import ending_by_signals, held_back, let_through


@click.group(context_settings={"help_option_names": ["-h", "--help"]}, invoke_without_command=True)
@click.version_option(__version__, message="fastmlp %(version)s")
@click.pass_context
def commands(context: click.Context) -> None:
    """Train multilayer perceptrons fast, and predict with them."""
    if context.invoked_subcommand is None:
        click.echo(context.get_help())


commands.add_command(train)
commands.add_command(predict)
commands.add_command(doctor)
commands.add_command(warmup)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line on `arguments` (default: those of the process); raises SystemExit."""
    with held_back(), ending_by_signals(), let_through():
        code = _run(arguments)
    sys.exit(code)


def _run(arguments: Sequence[str] | None) -> int:
    try:
        code = commands.main(arguments, prog_name="fastmlp", standalone_mode=False)
    except click.UsageError as error:
        command = error.ctx.command_path if error.ctx else "fastmlp"
        return _fail(2, f"{error.format_message()} ({command} --help tells more)")
    except click.ClickException as error:
        return _fail(2, error.format_message())
    except TrainingDivergedError as error:
        return _fail(1, str(error))
    except FastmlpError as error:
        return _fail(2, str(error))
    except MemoryError:
        return _fail(1, "there is not enough memory for these data and this network")
    except (click.Abort, KeyboardInterrupt):
        return _fail(exit_code(), f"stopped by {interrupt_name()}")
    except OSError as error:
        return _fail(1, str(error))
    return code or 0


def _fail(code: int, message: str) -> int:
    # Messages of other libraries may have line breaks; ours is one sentence, one line.
    click.echo(f"fastmlp: {' '.join(message.split())}", err=True)
    return code
