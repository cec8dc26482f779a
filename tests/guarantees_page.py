"""Writes the last figures of the tests into the table of docs/guarantees.md; `make trust` calls it.

python -m tests.guarantees_page RECORD... [--into docs/guarantees.md]

A RECORD is what a run of the tests leaves where FASTMLP_FIGURES names a file. Nothing is written
where a test failed or the run was not in the long forms. A row keeps its figure unless each test
that it names has passed in one of the runs.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from pathlib import Path
from typing import Any

PAGE = Path(__file__).parents[1] / "docs" / "guarantees.md"
HEAD = "| promise | test | last figure |\n|---|---|---|\n"
NAMED = re.compile(r"`(tests/[\w/]+\.py::\w+)`")


def refusal(records: dict[str, dict[str, Any]]) -> str | None:
    """Why these runs give no figures, in a sentence; None where they do."""
    for name, record in records.items():
        if not record:
            return f"{name} must be written by a run of the tests, got none: it ended before"
        if record["failed"]:
            return f"{name} must be of a run without failures, got {', '.join(record['failed'])}"
        if record["status"] != 0:
            return f"{name} must be of a run that ended well, got status {record['status']}"
        if not record["long"]:
            return f"{name} must be of the long forms; set FASTMLP_TRUST=1"
    return None


def page(text: str, tests: dict[str, list[str]]) -> tuple[str, list[str]]:
    """The page with the figures of these tests, and what of each row could not be given one."""
    before, head, after = text.partition(HEAD)
    assert head, f"the page has no table that begins with {HEAD.splitlines()[0]}"
    table, end, after = after.partition("\n\n")
    lines, kept = [], []
    for line in table.splitlines():
        promise, tested, _ = (cell.strip() for cell in line.strip("|").split("|"))
        nodes = NAMED.findall(tested)
        missing = [node for node in nodes if node not in tests]
        if missing or not nodes:
            kept += missing
            lines.append(line)
            continue
        figures = "; ".join(sentence for node in nodes for sentence in tests[node])
        lines.append(f"| {promise} | {tested} | {figures} |")
    return before + head + "\n".join(lines) + end + after, kept


def main(words: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="tests.guarantees_page", description=__doc__)
    parser.add_argument("records", nargs="+", type=Path, metavar="RECORD")
    parser.add_argument("--into", type=Path, default=PAGE, metavar="PAGE")
    options = parser.parse_args(words)
    records = {
        str(path): json.loads(path.read_text()) if path.exists() else {} for path in options.records
    }
    if why := refusal(records):
        print(f"{options.into} is as it was: {why}", file=sys.stderr)
        return 1
    # A test that ran in the simulator and on the CPU: the last run counts.
    tests = {node: said for record in records.values() for node, said in record["tests"].items()}
    text, kept = page(options.into.read_text(), tests)
    options.into.write_text(text)
    for node in kept:
        print(f"no new figure: {node} did not run")
    return 0


if __name__ == "__main__":
    sys.exit(main())
