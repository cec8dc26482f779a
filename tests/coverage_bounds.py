"""Says how much of fastmlp/ the tests reach, and fails below the bounds; `make coverage` calls it.

python -m tests.coverage_bounds REPORT

REPORT is what `coverage json` wrote. Kernels are compiled, so no line of theirs is counted.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

LEAST_LINES, LEAST_BRANCHES = 0.95, 0.90
# The worst files are listed, as many of them.
N_LISTED = 15


def reached(counts: dict[str, Any], what: str) -> float:
    """The share of "lines" or of "branches" that was reached; 1 of none."""
    done, all_ = {
        "lines": (counts["covered_lines"], counts["num_statements"]),
        "branches": (counts["covered_branches"], counts["num_branches"]),
    }[what]
    return done / all_ if all_ else 1.0


def main(words: list[str] | None = None) -> int:
    (path,) = sys.argv[1:] if words is None else words
    report = json.loads(Path(path).read_text())
    if not report["meta"]["branch_coverage"]:
        raise SystemExit(f"{path} must count branches; run coverage with the settings of the tree")

    def missed(name: str) -> int:
        counts = report["files"][name]["summary"]
        return counts["missing_lines"] + counts["missing_branches"]

    for name in sorted(report["files"], key=missed, reverse=True)[:N_LISTED]:
        if missed(name):
            lines = ", ".join(map(str, report["files"][name]["missing_lines"]))
            print(f"{name}: {missed(name)} not reached; lines {lines or 'none'}")
    bad = 0
    for what, least in (("lines", LEAST_LINES), ("branches", LEAST_BRANCHES)):
        share = reached(report["totals"], what)
        bad |= share < least
        print(f"{share:.1%} of {what} reached, at least {least:.0%} wanted")
    return int(bad)


if __name__ == "__main__":
    sys.exit(main())
