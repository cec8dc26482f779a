"""What all tests share: short and long hypothesis profiles, and the figures that tests report."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

import hypothesis

# Tests import one another's helpers as tests.*, whatever the folder pytest was started in.
ROOT = Path(__file__).parents[1]
if str(ROOT) not in sys.path:
    sys.path.insert(0, str(ROOT))

# FASTMLP_TRUST=1 (`make trust`): ten times the random cases, new ones every time.
LONG = os.environ.get("FASTMLP_TRUST", "") not in ("", "0")
hypothesis.settings.register_profile(
    "short", deadline=None, derandomize=True, database=None, max_examples=300
)
hypothesis.settings.register_profile("long", deadline=None, max_examples=3000)
hypothesis.settings.load_profile("long" if LONG else "short")

from tests import figures  # noqa: E402 (the path is set above)


def pytest_configure() -> None:
    """Hear signals, also where the shell that began the tests made them ignore some.

    A background job of a script ignores SIGINT, one under nohup SIGHUP; tests of signals, in
    processes of their own too, would wait for ever.
    """
    signal.signal(signal.SIGINT, signal.default_int_handler)
    for number in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) == signal.SIG_IGN:
            signal.signal(number, signal.SIG_DFL)


def pytest_terminal_summary(terminalreporter, exitstatus) -> None:
    """Print what tests stated; write it into the file that FASTMLP_FIGURES names."""
    stats = terminalreporter.stats
    stated: dict[str, list] = {}
    for named in figures.of_reports([*stats.get("passed", []), *stats.get("failed", [])]).values():
        for what, values in named.items():
            if what:
                stated.setdefault(what, []).extend(values)
    if stated:
        terminalreporter.section("figures")
    for what, values in stated.items():
        figure = figures.together(values)
        text = figures.text_of(figure)
        if len(values) > 1:
            how = "in" if isinstance(figure, figures.Count) else "the largest of"
            text += f" ({how} {len(values)} tests)"
        terminalreporter.write_line(f"{what}: {text}")
    if path := os.environ.get("FASTMLP_FIGURES"):
        figures.write(Path(path), stats, status=exitstatus, long=LONG)
