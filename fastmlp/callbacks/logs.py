"""The history as a file that grows while a network is trained."""

from __future__ import annotations

import csv
import json
import math
import os
from pathlib import Path
from typing import IO, Any

from fastmlp.callbacks.base import Callback, Run
from fastmlp.checks import flag
from fastmlp.errors import OptionError, OptionFileError
from fastmlp.paths import as_path
from fastmlp.whole_files import is_special


class _Log(Callback):
    """A text file with a line for each epoch, flushed at its end.

    An epoch that was cut short gets its line when the fit ends. A fit that is resumed goes on
    behind the lines of its checkpoint: those of epochs that are trained again are cut off.
    """

    is_quick = True

    def __init__(self, path: str | os.PathLike[str], append: bool = False) -> None:
        name = type(self).__name__
        self.path = as_path(path)
        self.append = flag(f"append of {name}", append)

    def on_fit_begin(self, run: Run) -> None:
        name, path = type(self).__name__, self.path
        self._file: IO[str] | None = None
        self._n_written = 0
        # Bytes of the file before the lines of this fit, and with the lines written so far.
        self._n_before = _size(path) if self.append else 0
        self._n_bytes = self._n_before
        if path.is_dir() or not path.parent.is_dir():
            what = "the folder" if path.is_dir() else "a file in a folder that is not there,"
            raise OptionFileError(
                f"path of {name} must be a file in a folder that exists, got {what} {str(path)!r}"
            )
        if not os.access(path if path.exists() else path.parent, os.W_OK):
            raise OptionFileError(
                f"path of {name} must be a file that can be written, got {str(path)!r}; "
                "change its permissions or write elsewhere"
            )
        self._check(run)

    def on_epoch_end(self, run: Run) -> None:
        self._write(run)

    def on_fit_end(self, run: Run) -> None:
        try:
            self._write(run)
        finally:
            if self._file is not None:
                self._file.close()

    def _write(self, run: Run) -> None:
        """The lines of all epochs that have none yet.

        The file is opened, and an old one replaced, only here: before that another callback may
        still refuse the fit.
        """
        if self._file is None:
            self._file = self._opened(run)
        history = run.history
        for i in range(self._n_written, len(history)):
            values = {name: history[name][i] for name in history}
            self._line(self._file, {"epoch": history.epochs[i], **values})
        self._file.flush()
        self._n_written, self._n_bytes = len(history), os.fstat(self._file.fileno()).st_size

    def _opened(self, run: Run) -> IO[str]:
        """The file, open behind what stays of it, with what stands above all lines."""
        if is_special(self.path):  # a pipe or a terminal takes lines and keeps none
            file = self.path.open("w", newline="", encoding="utf-8")
            is_new = self._n_written == 0
        else:
            size = _size(self.path)
            if size < self._n_bytes:  # lines were lost: they are in the history
                self._n_written, self._n_bytes = 0, min(self._n_before, size)
            file = self.path.open("a", newline="", encoding="utf-8")
            file.truncate(self._n_bytes)
            is_new = self._n_bytes == 0
        if is_new:
            self._begin(file, run)
        return file

    def get_state(self, run: Run) -> dict[str, Any]:
        return {
            "name": self.path.name,
            "n_written": self._n_written,
            "n_before": self._n_before,
            "n_bytes": self._n_bytes,
        }

    def set_state(self, run: Run, state: dict[str, Any]) -> None:
        if state["name"] != self.path.name:
            return  # another file, which gets all lines
        self._n_written, self._n_before = int(state["n_written"]), int(state["n_before"])
        self._n_bytes = int(state["n_bytes"])

    def _check(self, run: Run) -> None:
        """Refuse a file that cannot be gone on with."""

    def _begin(self, file: IO[str], run: Run) -> None:
        """Write what stands above the lines of a new file."""

    def _line(self, file: IO[str], values: dict[str, Any]) -> None:
        raise NotImplementedError


class CSVLog(_Log):
    """The history as a CSV file: a row for each epoch, written when the epoch ends.

    Columns are epoch and the series of the history, with one for each layer of grad_norm
    (grad_norm_0, grad_norm_1, ...). nan is an empty field.

    Parameters
    ----------
    path : str or Path
        The file.
    append : bool
        Go on with a file that is there instead of replacing it; it must have the same columns.

    Raises
    ------
    OptionError, OptionFileError
        At fit, before anything is trained: other columns, a file that cannot be written.

    Examples
    --------
    >>> import fastmlp, tempfile, pathlib
    >>> path = pathlib.Path(tempfile.mkdtemp()) / "log.csv"
    >>> net = fastmlp.Network([1, 1])
    >>> log = fastmlp.callbacks.CSVLog(path)
    >>> history = net.fit([[0.0], [1.0]], [0.0, 1.0], epochs=3, callbacks=[log])
    >>> path.read_text().splitlines()[0]
    'epoch,loss,lr,seconds,grad_norm_0'
    """

    def _columns(self, run: Run) -> list[str]:
        n_layers = len(run.network.sizes) - 1
        norms = [f"grad_norm_{i}" for i in range(n_layers)]
        columns = ["epoch"]
        for name in run.names:
            columns += norms if name == "grad_norm" else [name]
        return columns

    def _check(self, run: Run) -> None:
        if not self.append or _size(self.path) == 0:
            return
        with self.path.open(newline="", encoding="utf-8", errors="replace") as file:
            found = next(csv.reader(file), [])
        if found != self._columns(run):
            raise OptionError(
                f"a CSVLog that is appended to must have the columns {self._columns(run)}, got "
                f"{found} in {str(self.path)!r}; write to another file, or use append=False"
            )

    def _begin(self, file: IO[str], run: Run) -> None:
        csv.writer(file, lineterminator="\n").writerow(self._columns(run))

    def _line(self, file: IO[str], values: dict[str, Any]) -> None:
        row: list[Any] = []
        for value in values.values():
            row += value if isinstance(value, list) else [value]
        fields = ["" if isinstance(v, float) and math.isnan(v) else v for v in row]
        csv.writer(file, lineterminator="\n").writerow(fields)


class JSONLinesLog(_Log):
    """The history as JSON lines: an object for each epoch, written when the epoch ends.

    Keys are epoch and the series of the history; grad_norm is a list. nan and infinity, which
    JSON does not have, are null.

    Parameters
    ----------
    path : str or Path
        The file.
    append : bool
        Go on with a file that is there instead of replacing it.

    Raises
    ------
    OptionFileError
        At fit, before anything is trained: the file cannot be written.

    Examples
    --------
    >>> import fastmlp, json, tempfile, pathlib
    >>> path = pathlib.Path(tempfile.mkdtemp()) / "log.jsonl"
    >>> net = fastmlp.Network([1, 1])
    >>> log = fastmlp.callbacks.JSONLinesLog(path)
    >>> history = net.fit([[0.0], [1.0]], [0.0, 1.0], epochs=3, callbacks=[log])
    >>> [json.loads(line)["epoch"] for line in path.read_text().splitlines()]
    [1, 2, 3]
    """

    def _line(self, file: IO[str], values: dict[str, Any]) -> None:
        plain = {
            name: [_number(v) for v in value] if isinstance(value, list) else _number(value)
            for name, value in values.items()
        }
        file.write(json.dumps(plain, allow_nan=False) + "\n")


def _number(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0
