"""Run files: the options of ``fastmlp train`` as TOML, read and written.

A key is the name of an option, with - or _; what an option writes as text with commas or a colon
may be a list or a table here. Relative paths are relative to the file, so that a folder with a
table and its run file can be moved as a whole.
"""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click
import tomli_w

from fastmlp import __version__
from fastmlp.checks import shown, suggestion
from fastmlp.cli.kinds import Call, CallKind, EachKind, WeightsKind, as_plain
from fastmlp.errors import OptionError
from fastmlp.tables.bundled import BUNDLED
from fastmlp.whole_files import write_text

# A run file that begins so was written here, and may be written again.
_HEADING = "# Written by fastmlp "
_MOST_BYTES = 4_000_000
# The parser of TOML takes the square of a key's parts, in time and memory.
_STRINGS = re.compile(r'"(?:\\.|[^"\\\n])*"|' + r"'[^'\n]*'")
_DEEP = re.compile(r"(\.[ \t]*[\w-]*[ \t]*){33}")
# They say nothing of the run itself.
_ABOUT_OUTPUT = ("as_json", "save_config")
# They may be names of data sets, which are no paths.
_TABLES = ("data", "eval_files")

_EXPECTED: tuple[tuple[type[click.ParamType], tuple[type, ...], str], ...] = (
    (CallKind, (str, dict), "a name or a table with a name"),
    (EachKind, (str, int, float, bool, list), "one value or a list"),
    (WeightsKind, (str, dict), "'balanced' or a table of labels and weights"),
    (type(click.BOOL), (bool,), "true or false"),
    (type(click.INT), (int,), "a whole number"),
    (type(click.FLOAT), (int, float), "a number"),
)


def read_run_file(path: str, params: Sequence[click.Parameter]) -> dict[str, Any]:
    """The values in the run file at `path`, by the names of `params`.

    Raises OptionError for what is no TOML, an unknown key or a value of the wrong type.
    """
    try:
        if Path(path).stat().st_size > _MOST_BYTES:
            raise OptionError(f"{path} must be a run file of at most {_MOST_BYTES:,} bytes")
        text = Path(path).read_text(encoding="utf-8")
        if _DEEP.search(_STRINGS.sub("s", text)):
            raise OptionError(f"{path} must be a run file, got a key of more than 32 parts")
        found = tomllib.loads(text)
    except OSError as error:
        raise OptionError(f"{path} must be a run file: {error.strerror}") from None
    except RecursionError:
        raise OptionError(f"{path} must be a run file, got values nested too deep") from None
    except ValueError as error:  # no TOML, no UTF-8, a number of thousands of digits
        if isinstance(error, OptionError):
            raise
        raise OptionError(f"{path} must be a TOML file: {error}") from None
    known = {_key(param): param for param in _options(params) if param.name != "save_config"}
    values: dict[str, Any] = {}
    for key, value in found.items():
        name, place = key.replace("-", "_"), f"{path}{_line_of(key, text)}"
        if name not in known:
            raise OptionError(
                f"the keys of {place} must be options of 'fastmlp train', got {key!r}"
                f"{_other_way(name, params) or suggestion(name, known)}"
            )
        param = known[name]
        assert param.name is not None
        if param.name in values:
            raise OptionError(f"{place} must have {name} once, got it with - and with _")
        values[param.name] = _from_file(param, _checked(param, value, f"{key} in {place}"), path)
    return values


def is_run_file(data: str) -> bool:
    """Whether DATA is a run file."""
    return data.endswith(".toml")


def write_run_file(path: Path, params: Sequence[click.Parameter], values: dict[str, Any]) -> None:
    """Write `values` of `params` as a run file; those that are None stay out."""
    given: dict[str, Any] = {}
    for param in _options(params):
        value = values.get(str(param.name))
        if param.name in _ABOUT_OUTPUT or value is None or value == ():
            continue
        given[_key(param)] = _for_file(param, value, path)
    heading = f"{_HEADING}{__version__}; 'fastmlp train FILE' repeats the run.\n"
    write_text(path, heading + tomli_w.dumps(given))


def may_write_over(path: Path) -> bool:
    """Whether the file at `path` was written here, or is not there."""
    try:
        with path.open("rb") as file:
            return file.read(len(_HEADING.encode())) == _HEADING.encode()
    except FileNotFoundError:
        return True


def _options(params: Sequence[click.Parameter]) -> list[click.Option]:
    return [param for param in params if isinstance(param, click.Option)]


def _other_way(name: str, params: Sequence[click.Parameter]) -> str:
    """What to write for an option that is no key: the other half of a pair, or nothing."""
    for param in _options(params):
        if name in [option.removeprefix("--").replace("-", "_") for option in param.secondary_opts]:
            return f"; write its opposite, {_key(param)}"
        if name == param.name == "save_config":
            return "; it is one of the command line alone"
    return ""


def _key(param: click.Option) -> str:
    return max(param.opts, key=len).removeprefix("--").replace("-", "_")


def _line_of(key: str, text: str) -> str:
    """`` (line 3)`` where a line begins with the key or is the heading of its table."""
    named = rf"""["']?{re.escape(key)}["']?\s*"""
    above_tables = True
    for number, line in enumerate(text.splitlines(), start=1):
        is_heading = re.match(rf"\s*\[{{1,2}}\s*{named}[.\]]", line)
        if is_heading or (above_tables and re.match(rf"\s*{named}[=.]", line)):
            return f" (line {number})"
        above_tables = above_tables and not line.lstrip().startswith("[")
    return ""


def _checked(param: click.Option, value: Any, what: str) -> Any:
    types, expected = next(
        ((types, expected) for kind, types, expected in _EXPECTED if isinstance(param.type, kind)),
        ((str,), "text"),
    )
    several = param.multiple and isinstance(value, list)
    huge = _huge(value)
    if huge is not None:
        raise OptionError(f"{what} must have whole numbers below 2^64, got {shown(huge)}")
    for item in value if several else [value]:
        # true is an int to Python.
        if not isinstance(item, types) or (isinstance(item, bool) and bool not in types):
            or_list = ", or a list of such" if param.multiple else ""
            raise OptionError(f"{what} must be {expected}{or_list}, got {shown(item)}")
        for part in item if isinstance(item, list) else []:
            if not isinstance(part, str | int | float):
                raise OptionError(f"{what} must be a list of names or numbers, got {shown(part)}")
    return [value] if param.multiple and not several else value


def _huge(value: Any) -> int | None:
    """The first whole number in it that is longer than any option's; some are no double."""
    if isinstance(value, list | dict):
        parts = value.values() if isinstance(value, dict) else value
        return next((found for found in map(_huge, parts) if found is not None), None)
    return value if isinstance(value, int) and abs(value) >= 2**64 else None


def _from_file(param: click.Option, value: Any, path: str) -> Any:
    """`value` with paths as of the working folder."""
    if not isinstance(param.type, click.Path):
        return value
    if isinstance(value, list):
        return [_from_file(param, item, path) for item in value]
    if os.path.isabs(value) or (param.name in _TABLES and value in BUNDLED):
        return value
    return os.path.relpath(Path(path).parent / value)


def _for_file(param: click.Option, value: Any, path: Path) -> Any:
    """`value` as TOML has it, with paths as of the file's folder."""
    if isinstance(value, tuple | list) and not isinstance(param.type, EachKind):
        return [_for_file(param, item, path) for item in value]
    if isinstance(value, Call):
        return str(value) if value.numbers else {"name": value.name, **value.named}
    if isinstance(param.type, EachKind) and isinstance(value, str):
        values = [as_plain(part.strip()) for part in value.split(",")]
        return values[0] if len(values) == 1 else values
    if isinstance(param.type, click.Path) and not os.path.isabs(value):
        is_name = param.name in _TABLES and value in BUNDLED
        return value if is_name else os.path.relpath(value, path.parent)
    return value
