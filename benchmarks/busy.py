"""Does the automatic number of threads hold, on a quiet machine and beside a busy process?

    python -m benchmarks.busy [--case all]

"automatic_to_best" is the time of a step with automatic threads divided by the better of one
thread and one a core, all undisturbed; "busy_to_one" is that time while another process keeps
one core busy, divided by the undisturbed time of one thread.
"""

from __future__ import annotations

import json
import os
import signal
import statistics
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import click

from .cases import CASES, Case
from .command import Names, n_cores, run
from .share import Training


class BusyProcess:
    """A process that never rests, on one core, and is held but for the time of `at_work`."""

    def __enter__(self) -> BusyProcess:
        core = max(os.sched_getaffinity(0))
        program = f"import os; os.sched_setaffinity(0, {{{core}}})\nwhile True: pass"
        self._process = subprocess.Popen([sys.executable, "-c", program])
        self._process.send_signal(signal.SIGSTOP)
        return self

    @contextmanager
    def at_work(self) -> Iterator[None]:
        self._process.send_signal(signal.SIGCONT)
        try:
            yield
        finally:
            self._process.send_signal(signal.SIGSTOP)

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.wait()


def measure(case: Case, repeats: int) -> dict[str, Any]:
    """The record of a case; all ways take turns."""
    ways: dict[str, int | None] = {"1": 1, str(n_cores()): n_cores(), "automatic": None}
    trainings = {name: Training(case, n_threads) for name, n_threads in ways.items()}
    found: dict[str, list[float]] = {}
    with BusyProcess() as busy:
        for _ in range(repeats):
            for name, training in trainings.items():
                found.setdefault(name, []).append(training.step_seconds())
            with busy.at_work():
                for name in ("1", "automatic"):
                    seconds = trainings[name].step_seconds()
                    found.setdefault(f"{name}, busy", []).append(seconds)
    middle = {name: statistics.median(seconds) for name, seconds in found.items()}
    least = {name: min(seconds) for name, seconds in found.items()}
    fixed = [name for name in trainings if name != "automatic"]
    return {
        "case": case.name,
        "us_per_step_best": {name: round(s * 1e6, 1) for name, s in least.items()},
        "us_per_step_median": {name: round(s * 1e6, 1) for name, s in middle.items()},
        "automatic_to_best": round(least["automatic"] / min(least[n] for n in fixed), 3),
        "automatic_to_best_median": round(middle["automatic"] / min(middle[n] for n in fixed), 3),
        "busy_to_one": round(least["automatic, busy"] / least["1"], 3),
        "busy_to_one_median": round(middle["automatic, busy"] / middle["1"], 3),
    }


@click.command("benchmarks.busy")
@click.option("--case", "cases", type=Names(list(CASES)), default="all", show_default=True)
@click.option("--repeats", type=click.IntRange(1), default=7, show_default=True)
def busy(cases: tuple[str, ...], repeats: int) -> None:
    """Automatic threads against fixed ones and beside a busy process, one JSON record a case."""
    for name in cases:
        click.echo(json.dumps(measure(CASES[name], repeats)))


if __name__ == "__main__":
    run(busy)
