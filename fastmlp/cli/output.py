"""What a command prints: sentences for people, or one JSON object a line for machines."""

from __future__ import annotations

import json
import math
import os
import shlex
import shutil
import sys
from pathlib import Path
from typing import Any

import click


class Output:
    """Prints events to stdout: their text, or with `as_json` their values."""

    def __init__(self, as_json: bool) -> None:
        self.as_json = as_json

    def event(self, name: str, text: str, values: dict[str, Any]) -> None:
        """Print `text`, or ``{"event": name, **values}``."""
        if self.as_json:
            click.echo(json.dumps({"event": name, **_plain(values)}, allow_nan=False))
        else:
            click.echo(text)


def _plain(value: Any) -> Any:
    """`value` for JSON, which has no nan: null stands for what was not measured."""
    if isinstance(value, dict):
        return {name: _plain(item) for name, item in value.items()}
    if isinstance(value, list):
        return [_plain(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def program() -> str:
    """How this process was started, so that a command can be repeated as it is printed."""
    started = Path(sys.argv[0])
    if started.name != "fastmlp":
        return "python -m fastmlp"
    found = shutil.which("fastmlp")
    if found is not None and Path(found).resolve() == started.resolve():
        return "fastmlp"
    return command_line(min(os.path.relpath(started), str(started.absolute()), key=len))


def command_line(*words: str | Path) -> str:
    """Words as a shell takes them."""
    return shlex.join(map(str, words))
