"""The display of a fit: a live bar on a terminal, one plain line an epoch elsewhere.

`Network.fit` hands one to the trainer, which knows the five calls of a `Display` and nothing of
terminals.
"""

from __future__ import annotations

import contextlib
import math
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Protocol, TextIO

if TYPE_CHECKING:
    from rich.progress import Progress

# Left out of a line: they are lists, or the same in nearly every epoch, or shown otherwise.
_NOT_SHOWN = ("grad_norm", "lr", "seconds", "rollbacks")

_BARS = "▁▂▃▄▅▆▇█"
_SPARK_WIDTH = 16

# A terminal cannot be read faster, and every drawing takes time from the training threads.
_REFRESHES_PER_S = 8.0
# Columns of a terminal that has room for everything.
_WIDE = 110


class Display(Protocol):
    """What shows a fit while it runs; epochs are counted from 0 in this fit."""

    def begin(self, n_epochs: int, n_steps: int) -> None: ...
    def step(self, epoch: int, step: int, loss: float) -> None: ...
    def epoch(self, epoch: int, logs: dict[str, Any]) -> None: ...
    def note(self, text: str) -> None: ...
    def end(self, stopped_by: str) -> None: ...


def make_display(verbose: bool | str, stream: TextIO | None = None) -> Display | None:
    """The display for `verbose` ("auto", True or False); None where nothing shall be shown.

    `stream` (default sys.stderr) decides: on a terminal True and "auto" show a live bar, elsewhere
    True writes plain lines and "auto" nothing.
    """
    out = sys.stderr if stream is None else stream
    # A process without a console (pythonw, a daemon) has no stderr at all.
    on_terminal = out is not None and out.isatty()
    if verbose is False or out is None or (verbose == "auto" and not on_terminal):
        return None
    return LiveBar(out) if on_terminal else PlainLines(out)


@contextlib.contextmanager
def waiting(text: str, shown: bool = True) -> Iterator[Callable[[str], None]]:
    """On a terminal, `text` and the seconds so far while the block runs; nothing elsewhere.

    The block gets a function that puts another text in its place.
    """
    if not shown or sys.stderr is None or not sys.stderr.isatty():
        yield lambda text: None
        return
    from rich.console import Console
    from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    columns = SpinnerColumn(), TextColumn("{task.description}", markup=False), TimeElapsedColumn()
    with Progress(*columns, console=Console(file=sys.stderr), transient=True) as progress:
        task = progress.add_task(text, total=None)
        yield lambda text: progress.update(task, description=text)


def epoch_text(logs: Mapping[str, Any]) -> str:
    """The values of an epoch in a line: ``loss 0.1234 val_loss 0.2345 val_accuracy 0.9876``."""
    # An epoch that was cut short has not been evaluated: nan stands in its history.
    return " ".join(
        f"{name} {value:.4g}"
        for name, value in logs.items()
        if name not in _NOT_SHOWN and (name == "loss" or not math.isnan(value))
    )


def duration_text(seconds: float) -> str:
    """``12.3 s`` or ``4.56 ms``."""
    return f"{seconds:.3g} s" if seconds >= 1.0 else f"{seconds * 1e3:.3g} ms"


def sparkline(values: list[float]) -> str:
    """The course of `values` in `_SPARK_WIDTH` characters at most, each the mean of its share.

    By their logarithm where all are above 0: a loss falls by factors.
    """
    values = [value for value in values if math.isfinite(value)]
    if not values:
        return ""
    width = min(_SPARK_WIDTH, len(values))
    edges = [round(i * len(values) / width) for i in range(width + 1)]
    shares = [values[a:b] for a, b in pairwise(edges)]
    means = [sum(share) / len(share) for share in shares]
    if min(means) > 0.0:
        means = [math.log(mean) for mean in means]
    low, high = min(means), max(means)
    scale = (len(_BARS) - 1) / (high - low) if high > low else 0.0
    return "".join(_BARS[round((mean - low) * scale)] for mean in means)


class PlainLines:
    """One line an epoch, for files and pipes."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._n_epochs = 0

    def begin(self, n_epochs: int, n_steps: int) -> None:
        self._n_epochs = n_epochs

    def step(self, epoch: int, step: int, loss: float) -> None:
        """Nothing: a line that is rewritten has no place in a file."""

    def epoch(self, epoch: int, logs: Mapping[str, Any]) -> None:
        seconds = logs.get("seconds", 0.0)
        line = f"epoch {epoch + 1}/{self._n_epochs} {epoch_text(logs)} {duration_text(seconds)}\n"
        with terminal_may_be_gone():
            self._stream.write(line)
            self._stream.flush()

    def note(self, text: str) -> None:
        with terminal_may_be_gone():
            self._stream.write(f"{text}\n")
            self._stream.flush()

    def end(self, stopped_by: str) -> None:
        """Nothing: every line was written when its epoch ended."""


class LiveBar:
    """A bar over all epochs, the last epoch's values, the course of the loss, time left."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._progress: Progress | None = None
        self._n_steps = 1
        self._losses: list[float] = []
        self._epoch = 0
        self._text = ""
        self._drawn_s = 0.0

    def begin(self, n_epochs: int, n_steps: int) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
        from rich.table import Column

        console = Console(file=self._stream)
        course = [TextColumn("[cyan]{task.fields[course]}")]
        self._n_steps = n_steps
        self._progress = Progress(
            TextColumn("epoch {task.fields[epoch]}/{task.fields[n_epochs]}"),
            BarColumn(bar_width=20 if console.width >= _WIDE else 10),
            TextColumn("{task.fields[text]}", markup=False, table_column=Column(no_wrap=True)),
            *(course if console.width >= _WIDE else []),
            TimeRemainingColumn(compact=True),
            console=console,
            # Drawn from here, not from rich's own thread: that one would compete for the GIL.
            auto_refresh=False,
        )
        self._task = self._progress.add_task(
            "", total=n_epochs * n_steps, epoch=0, n_epochs=n_epochs, text="", course=""
        )
        with terminal_may_be_gone():
            self._progress.start()

    def step(self, epoch: int, step: int, loss: float) -> None:
        self._epoch = epoch
        self._draw_at_times(step, self._text or f"loss {loss:.4g}")

    def epoch(self, epoch: int, logs: Mapping[str, Any]) -> None:
        self._epoch, self._text = epoch, epoch_text(logs)
        self._losses.append(logs["loss"])
        self._draw_at_times(self._n_steps, self._text)

    def note(self, text: str) -> None:
        if self._progress is None:
            return
        with terminal_may_be_gone():  # above the bar
            self._progress.console.print(text, markup=False, highlight=False)

    def end(self, stopped_by: str) -> None:
        if self._progress is None:
            return
        if self._losses:
            self._draw(self._n_steps, self._text)
        with terminal_may_be_gone():
            self._progress.stop()
        self._progress = None

    def _draw_at_times(self, step: int, text: str) -> None:
        if time.perf_counter() - self._drawn_s >= 1.0 / _REFRESHES_PER_S:
            self._draw(step, text)

    def _draw(self, step: int, text: str) -> None:
        if self._progress is None:
            return
        self._drawn_s = time.perf_counter()
        with terminal_may_be_gone():
            self._progress.update(
                self._task,
                completed=self._epoch * self._n_steps + step,
                epoch=self._epoch + 1,
                text=text,
                course=sparkline(self._losses),
            )
            self._progress.refresh()


def terminal_may_be_gone() -> contextlib.suppress:
    """A closed terminal or pipe must not end a training."""
    return contextlib.suppress(OSError, ValueError)
