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


def pytest_configure() -> None:
    """Hear signals, also where the shell that began the tests made them ignore some.

    A background job of a script ignores SIGINT, one under nohup SIGHUP; tests of signals, in
    processes of their own too, would wait for ever.
    """
    signal.signal(signal.SIGINT, signal.default_int_handler)
    for number in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) == signal.SIG_IGN:
            signal.signal(number, signal.SIG_DFL)


def pytest_terminal_summary(terminalreporter) -> None:
    """Print what tests recorded with `record_property`; of equal names, the largest number."""
    figures: dict[str, list] = {}
    for reports in terminalreporter.stats.values():
        for report in reports:
            if getattr(report, "when", "") == "call":
                for name, value in report.user_properties:
                    figures.setdefault(name, []).append(value)
    if figures:
        terminalreporter.section("figures")
    for name, values in figures.items():
        worst = max(values)
        text = f"{worst:.2g}" if isinstance(worst, float) else str(worst)
        if len(values) > 1:
            text += f" (the largest of {len(values)} tests)"
        terminalreporter.write_line(f"{name}: {text}")
