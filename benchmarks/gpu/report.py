"""The file of results, written anew after each stage, and the tables that are printed."""

from __future__ import annotations

import datetime
import itertools
import json
import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any


def write(path: Path, values: Any, indent: int | None = None) -> None:
    """The file as a whole, or as it was: whoever writes it may be ended at any time."""
    unfinished = path.with_suffix(".unfinished")
    unfinished.write_text(json.dumps(values, indent=indent) + "\n")
    os.replace(unfinished, path)


class Report:
    """What a run found: {"machine": ..., "stages": {name: {...}}, "wrong": [...]}."""

    def __init__(self, folder: Path, prefix: str, machine: dict[str, Any]) -> None:
        date = datetime.date.today().isoformat()
        name = re.sub(r"[^a-z0-9]+", "-", machine["name"].lower()).strip("-")
        self.path = _unused(folder / f"{prefix}-{name}-{date}.json")
        self.values: dict[str, Any] = {
            "date": date, "machine": machine, "stages": {}, "seconds": {}, "wrong": [],
        }  # fmt: skip
        self.save()

    def add(self, stage: str, values: Any, seconds: float, faults: list[str]) -> None:
        self.values["stages"][stage] = values
        self.values["seconds"][stage] = round(seconds, 2)
        self.values["wrong"] += faults
        self.save()

    def save(self) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        write(self.path, self.values, indent=1)


def _unused(path: Path) -> Path:
    """The path, or the first of path-2, path-3 and so on that no earlier run has written."""
    names = (path.with_stem(f"{path.stem}-{number}") for number in itertools.count(2))
    return next(each for each in itertools.chain([path], names) if not each.exists())


def table(header: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    """Columns side by side; the first to the left, numbers to the right.

    Without rich, which a machine that lends its GPU need not have.
    """
    cells = [list(map(_text, row)) for row in (header, *rows)]
    widths = [max(len(row[i]) for row in cells) for i in range(len(header))]
    lines = []
    for row in cells:
        first, *others = (
            text.ljust(width) if i == 0 else text.rjust(width)
            for i, (text, width) in enumerate(zip(row, widths, strict=True))
        )
        lines.append("  ".join([first, *others]).rstrip())
    lines.insert(1, "-" * len(lines[0]))
    return "\n".join(lines)


def _text(value: Any) -> str:
    if value is None:
        return "-"
    if not isinstance(value, float):
        return str(value)
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"
