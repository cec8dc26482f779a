"""Model files written while a network is trained."""

from __future__ import annotations

import os
import re
import string
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

from fastmlp.callbacks.base import Callback, Run
from fastmlp.checks import flag, integer, real, shown
from fastmlp.errors import OptionError
from fastmlp.monitor import Monitor
from fastmlp.paths import as_path, check_target

# What may stand in the braces behind "epoch:": such as 03d.
_FORMAT = re.compile("0?[1-9]?d?")


class Checkpoint(Callback):
    """Saves the network and where its fit stands; ``fit(resume=path)`` goes on from there.

    A fit that is killed and resumed ends with bitwise the weights, the history and the last epoch
    of one that was not. A file is a model file too, which `Network.load` and ``fastmlp predict``
    take. It is replaced at once or not at all, and is on the disk when training goes on; where a
    fit ends early, by Ctrl-C, a signal or `max_time_s`, it is written once more.

    It saves after all other callbacks of an epoch, wherever it stands in the list.

    Parameters
    ----------
    path : str or Path
        The model file. ``{epoch}`` in its name stands for the number of the epoch, with a format
        if you like (``run-{epoch:03d}.safetensors``): then every file is kept.
    monitor : str
        For save_best_only: a series of the history, as for EarlyStopping.
    save_best_only : bool
        Save only where `monitor` is better than at all earlier epochs of this fit.
    every_n_epochs : int
        Look only at epochs whose number, over all fits, is a multiple of this.
    mode : str
        As for EarlyStopping.
    every_s : float or None
        Save after so many seconds instead, in the middle of an epoch if need be. Not with
        `save_best_only`, as an epoch is measured at its end.
    keep : int or None
        With {epoch}: how many files to keep; the oldest of this fit are removed. None for all.

    Raises
    ------
    OptionError, OptionTypeError
        A wrong setting; at fit, a series that there is not.
    ModelFileNotFoundError, ModelFileError
        At fit, before anything is trained: the folder is not there, or `path` is a folder; in
        the course of it: the file cannot be written.

    Examples
    --------
    >>> import fastmlp, tempfile, pathlib
    >>> path = pathlib.Path(tempfile.mkdtemp()) / "best.safetensors"
    >>> net = fastmlp.Network([1, 1])
    >>> saving = fastmlp.callbacks.Checkpoint(path, monitor="loss", save_best_only=True)
    >>> history = net.fit([[0.0], [1.0]], [0.0, 1.0], epochs=3, callbacks=[saving])
    >>> fastmlp.Network.load(path).n_epochs_
    3
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        monitor: str = "val_loss",
        save_best_only: bool = False,
        every_n_epochs: int = 1,
        mode: str = "auto",
        every_s: float | None = None,
        keep: int | None = None,
    ) -> None:
        self.path = as_path(path)
        self._monitor = Monitor.make("Checkpoint", monitor, mode)
        self.monitor, self.mode = monitor, mode
        self.save_best_only = flag("save_best_only of Checkpoint", save_best_only)
        self.every_n_epochs = integer("every_n_epochs of Checkpoint", every_n_epochs, 1)
        self.every_s = None
        if every_s is not None:
            self.every_s = real("every_s of Checkpoint", every_s, 0.0, low_open=True)
            if self.every_n_epochs != 1:
                raise OptionError(
                    "every_s of Checkpoint saves after seconds and every_n_epochs after epochs, "
                    "got both; leave one of them out"
                )
            if self.save_best_only:
                raise OptionError(
                    "every_s of Checkpoint saves in mid-epoch and save_best_only after epochs that "
                    "were measured, got both; leave one of them out"
                )
        self._pattern = _pattern_of(self.path)
        self.keep = None if keep is None else integer("keep of Checkpoint", keep, 1)
        if keep is not None and not self._pattern.groups:
            raise OptionError(
                "keep of Checkpoint is how many files to keep, which needs {epoch} in path, got "
                f"{shown(str(self.path))}; name the files for example run-{{epoch:03d}}.safetensors"
            )

    def _path_of(self, epoch: int) -> Path:
        return Path(str(self.path).format(epoch=epoch))

    def files(self) -> list[Path]:
        """All files that are there under a name that it gives, the one written last at the end."""
        found: list[tuple[int, int, Path]] = []
        with suppress(OSError):
            for name in os.listdir(self._path_of(0).parent):
                match = self._pattern.fullmatch(name)
                if match is None:
                    continue
                epoch = int(match[1]) if match.groups() else 0
                path = self._path_of(epoch)
                if path.name == name and path.is_file():
                    found.append((path.stat().st_mtime_ns, epoch, path))
        return [path for _, _, path in sorted(found)]

    def may_write(self, path: Path) -> bool:
        """Whether `path` is a name that it gives."""
        is_there = path.parent.resolve() == self._path_of(0).parent.resolve()
        return is_there and self._pattern.fullmatch(path.name) is not None

    def latest(self) -> Path | None:
        """The file that was written last, by this process or another; None where there is none."""
        return next(reversed(self.files()), None)

    @property
    def due_s(self) -> float | None:
        """The time of time.perf_counter at which `every_s` is over."""
        return None if self.every_s is None else self._saved_s + self.every_s

    def on_fit_begin(self, run: Run) -> None:
        check_target(self._path_of(run.epoch + 1))
        self._watch = None
        self._saved_s = time.perf_counter()
        self._epochs: list[int] = []  # whose files are kept, the oldest first
        if self.save_best_only:
            self._watch = self._monitor.begin(run.directions, run.val_loss)

    def on_epoch_end(self, run: Run) -> None:
        if self.due_s is not None:
            self.on_pause(run)
        elif run.epoch % self.every_n_epochs == 0 and (
            self._watch is None or self._watch.improves(run.logs[self._watch.series])
        ):
            self._save(run)

    def on_pause(self, run: Run) -> None:
        """Save where `every_s` is over; also between two steps of an epoch."""
        if self.due_s is not None and time.perf_counter() >= self.due_s:
            self._save(run)

    def on_early_end(self, run: Run) -> None:
        """Save what would be lost else."""
        if self._watch is None:
            self._save(run)

    def _save(self, run: Run) -> None:
        if self._pattern.groups:
            self._epochs = [epoch for epoch in self._epochs if epoch != run.epoch] + [run.epoch]
        run.save(self._path_of(run.epoch))
        # The file that was written knows of the old ones: whoever is killed here leaves them to
        # the fit that goes on.
        while self.keep is not None and len(self._epochs) > self.keep:
            self._path_of(self._epochs[0]).unlink(missing_ok=True)
            del self._epochs[0]
        self._saved_s = time.perf_counter()

    def get_state(self, run: Run) -> dict[str, Any]:
        state = {"name": self.path.name, "epochs": self._epochs}
        return state if self._watch is None else state | {"lowest": self._watch.lowest}

    def set_state(self, run: Run, state: dict[str, Any]) -> None:
        if state.get("name") != self.path.name:
            return  # of another one, or none: it begins with its own files
        self._epochs = [int(epoch) for epoch in state["epochs"]]
        if self._watch is not None and "lowest" in state:
            self._watch.lowest = float(state["lowest"])

    def on_fit_end(self, run: Run) -> None:
        self.__dict__.pop("_watch", None)


def _pattern_of(path: Path) -> re.Pattern[str]:
    """The names of its files, with a group for each {epoch}; OptionError for other braces."""
    found = ""
    try:
        if any(field is not None for _, field, _, _ in string.Formatter().parse(str(path.parent))):
            raise ValueError("in a folder")
        for text, field, form, conversion in string.Formatter().parse(path.name):
            found += re.escape(text)
            if field is None:
                continue
            if field != "epoch" or conversion or not _FORMAT.fullmatch(form or ""):
                raise ValueError("another field")
            found += " *([0-9]+)"
    except ValueError:
        raise OptionError(
            "path of Checkpoint must have no braces but {epoch} in the name of the file, with a "
            f"format if need be such as {{epoch:03d}}, got {shown(str(path))}; write others twice"
        ) from None
    return re.compile(found, re.DOTALL)
