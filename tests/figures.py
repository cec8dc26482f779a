"""The figures that tests state, and the file that a run of the tests writes them into.

A test states a figure with pytest's `record_property(what, value)`. Over the cases of a test, a
`Count` is added up, and of all else the largest is taken: `record_property("kills", Count(70))`
becomes "200 kills", `record_property("seconds until it ends", 0.31)` stays "seconds until it ends:
0.31". tests/conftest.py prints them; tests/guarantees_page.py writes those of promises.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any


class Count(int):
    """A number of things tried, which is added up over the cases of a test."""


def together(values: list[Any]) -> Any:
    """What the cases of a test stated of one thing, as one figure."""
    if all(isinstance(value, Count) for value in values):
        return Count(sum(values))
    return max(values)


def text_of(value: Any) -> str:
    """A figure for people: `12,000`, `0.31`."""
    if isinstance(value, int):
        return f"{value:,}"
    return f"{value:.2g}" if isinstance(value, float) else str(value)


def of_reports(reports: list[Any]) -> dict[str, dict[str, list[Any]]]:
    """What each test stated: node without its case -> name -> values, and the number of its cases
    under the name ""."""
    found: dict[str, dict[str, list[Any]]] = {}
    for report in reports:
        if report.when != "call":
            continue
        named = found.setdefault(report.nodeid.partition("[")[0], {})
        named.setdefault("", []).append(Count(1))
        for what, value in report.user_properties:
            named.setdefault(what, []).append(value)
    return found


def write(path: Path, stats: dict[str, list[Any]], *, status: int, long: bool) -> None:
    """The record of a run.

    What each test stated that passed, as texts; those that failed; pytest's exit status;
    whether the tests ran in their long forms.
    """
    bad = [report.nodeid for key in ("failed", "error") for report in stats.get(key, [])]
    tests = {}
    for node, named in of_reports(stats.get("passed", [])).items():
        stated = {what: together(values) for what, values in named.items()}
        n_cases = stated.pop("")
        sentences = [
            f"{text_of(value)} {what}" if isinstance(value, Count) else f"{what}: {text_of(value)}"
            for what, value in stated.items()
        ]
        tests[node] = sentences or [f"{n_cases:,} case{'s' * (n_cases > 1)}"]
    path.parent.mkdir(parents=True, exist_ok=True)
    record = {"long": long, "status": int(status), "failed": bad, "tests": tests}
    path.write_text(json.dumps(record, indent=1, ensure_ascii=False) + "\n")
