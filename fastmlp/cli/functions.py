"""``--functions FILE.py``: activations and losses of a user's own, known before the options."""

from __future__ import annotations

import sys
import traceback
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from fastmlp import registered
from fastmlp.errors import OptionError

_REGISTRIES = (registered.activations, registered.losses)
# Its own name in sys.modules, where dataclasses and the like look for what surrounds them.
_MODULE = "fastmlp_functions_file"


def functions_option(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add --functions to a command; what the file registers goes away with the command."""
    return click.option(
        "--functions",
        type=click.Path(),
        metavar="FILE.py",
        is_eager=True,
        callback=_take,
        help="Python file that is run first and may call fastmlp.register_activation and "
        "fastmlp.register_loss.",
    )(command)


def _take(context: click.Context, param: click.Parameter, value: str | None) -> str | None:
    if value is not None and not context.resilient_parsing:
        before = [set(registry.of_users()) for registry in _REGISTRIES]

        def forget() -> None:
            for registry, names in zip(_REGISTRIES, before, strict=True):
                for name in registry.of_users():
                    if name not in names:
                        registry.remove(name)

        try:
            run_functions(value)
        except BaseException:
            forget()
            raise
        context.call_on_close(forget)
    return value


def run_functions(path: str) -> None:
    """Run the Python file at `path`; OptionError where it cannot be read or does not run."""
    try:
        source = Path(path).read_bytes()
    except OSError as error:
        raise OptionError(
            f"--functions must be a Python file, got {path}: {error.strerror}"
        ) from None
    module = types.ModuleType(_MODULE)
    module.__file__ = path
    sys.modules[_MODULE] = module
    try:
        exec(compile(source, path, "exec"), module.__dict__)
    except (Exception, SystemExit) as error:
        raise OptionError(
            f"--functions must be a Python file that runs to its end, got {path}"
            f"{_line_of(error, path)}: {type(error).__name__}: {error}"
        ) from error
    finally:
        del sys.modules[_MODULE]


def _line_of(error: BaseException, path: str) -> str:
    """`` (line 3)``: the last line of the file that was on the way to the error."""
    if isinstance(error, SyntaxError) and error.filename == path:
        return f" (line {error.lineno})"
    frames = traceback.extract_tb(error.__traceback__)
    lines = [frame.lineno for frame in frames if frame.filename == path]
    return f" (line {lines[-1]})" if lines else ""
