"""The display of many fits: how many are done and running, and the best so far."""

from __future__ import annotations

import math
import sys
import time
from typing import TYPE_CHECKING, TextIO

from fastmlp.history import History
from fastmlp.training.progress import terminal_may_be_gone

if TYPE_CHECKING:
    from rich.progress import Progress

_LINE_S = 5.0  # between two lines where there is no terminal


class ManyDisplay:
    """Counts networks by what they are doing; shown from the thread that waits for them.

    On a terminal a bar that is drawn anew, elsewhere a line every five seconds and at the end.
    """

    def __init__(self, n: int, series: str, direction: str, stream: TextIO, live: bool) -> None:
        """`series`: what the best network is the best of, "min" or "max" by `direction`."""
        self.n, self._series, self._sign = n, series, -1.0 if direction == "max" else 1.0
        self._stream, self._live = stream, live
        self._running: set[int] = set()
        self._n_done = self._n_diverged = 0
        self._best: tuple[float, int] | None = None
        self._progress: Progress | None = None
        self._shown_s, self._said = time.perf_counter(), ""

    def begin(self, number: int) -> None:
        self._running.add(number)

    def end(self, number: int, history: History) -> None:
        """Of the thread that trained it."""
        self._running.discard(number)
        self._n_done += 1
        self._n_diverged += history.stopped_by == "diverged"
        values = history[self._series] if self._series in history.names else []
        found = [self._sign * value for value in values if math.isfinite(value)]
        if found and (self._best is None or min(found) < self._best[0]):
            self._best = min(found), number

    def text(self) -> str:
        """``12 of 64 done, 2 running, best val_loss 0.123 (networks[7])``."""
        parts = [f"{self._n_done} of {self.n} done"]
        if self._running:
            parts.append(f"{len(self._running)} running")
        if self._n_diverged:
            parts.append(f"{self._n_diverged} diverged")
        if self._best is not None:
            value, number = self._best
            parts.append(f"best {self._series} {self._sign * value:.4g} (networks[{number}])")
        return ", ".join(parts)

    def show(self, is_last: bool = False) -> None:
        with terminal_may_be_gone():
            if self._live:
                self._draw(is_last)
            elif (is_last or time.perf_counter() - self._shown_s >= _LINE_S) and (
                self.text() != self._said
            ):
                self._shown_s, self._said = time.perf_counter(), self.text()
                self._stream.write(f"{self._said}\n")
                self._stream.flush()

    def _draw(self, is_last: bool) -> None:
        if self._progress is None:
            from rich.console import Console
            from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

            self._progress = Progress(
                BarColumn(bar_width=20), TextColumn("{task.description}", markup=False),
                TimeRemainingColumn(compact=True), console=Console(file=self._stream),
                auto_refresh=False,
            )  # fmt: skip
            self._task = self._progress.add_task("", total=self.n)
            self._progress.start()
        self._progress.update(self._task, completed=self._n_done, description=self.text())
        self._progress.refresh()
        if is_last:
            self._progress.stop()
            self._progress = None


def make_display(
    verbose: bool | str, n: int, series: str, direction: str, stream: TextIO | None = None
) -> ManyDisplay | None:
    """As `fastmlp.training.progress.make_display`, for `n` networks."""
    out = sys.stderr if stream is None else stream
    on_terminal = out is not None and out.isatty()
    if verbose is False or out is None or (verbose == "auto" and not on_terminal):
        return None
    return ManyDisplay(n, series, direction, out, on_terminal)
