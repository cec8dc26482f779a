"""Model files written while a network is trained."""

from __future__ import annotations

import os
from pathlib import Path

from fastmlp.callbacks.base import Callback, Run
from fastmlp.checks import flag, integer, shown
from fastmlp.errors import OptionError
from fastmlp.monitor import Monitor
from fastmlp.paths import as_path, check_target


class Checkpoint(Callback):
    """Saves the network during a fit; a loaded file trains on as if it had never been away.

    A file holds all that training goes on from (parameters, the optimizer's state, the counters
    of the random numbers), so a fit of the loaded network over the epochs that were left gives
    bitwise the weights of one that was not interrupted, where the learning rate is constant: a
    schedule begins anew with every fit. Files are replaced at once or not at all.

    Parameters
    ----------
    path : str or Path
        The model file. ``{epoch}`` in it stands for the number of the epoch, with a format if
        you like (``run-{epoch:03d}.safetensors``): then every file is kept.
    monitor : str
        For save_best_only: a series of the history, as for EarlyStopping.
    save_best_only : bool
        Save only where `monitor` is better than at all earlier epochs of this fit.
    every_n_epochs : int
        Look only at epochs whose number, over all fits, is a multiple of this.
    mode : str
        As for EarlyStopping.

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
    ) -> None:
        self.path = as_path(path)
        self._monitor = Monitor.make("Checkpoint", monitor, mode)
        self.monitor, self.mode = monitor, mode
        self.save_best_only = flag("save_best_only of Checkpoint", save_best_only)
        self.every_n_epochs = integer("every_n_epochs of Checkpoint", every_n_epochs, 1)
        try:
            self._path_of(1)
        except (IndexError, KeyError, ValueError, AttributeError):
            raise OptionError(
                "path of Checkpoint must have no braces but {epoch}, with a format if need be such "
                f"as {{epoch:03d}}, got {shown(str(self.path))}; write others twice"
            ) from None

    def _path_of(self, epoch: int) -> Path:
        return Path(str(self.path).format(epoch=epoch))

    def on_fit_begin(self, run: Run) -> None:
        check_target(self._path_of(run.epoch + 1))
        self._watch = None
        if self.save_best_only:
            self._watch = self._monitor.begin(run.directions, run.val_loss)

    def on_epoch_end(self, run: Run) -> None:
        if run.epoch % self.every_n_epochs:
            return
        if self._watch is None or self._watch.improves(run.logs[self._watch.series]):
            run.network.save(self._path_of(run.epoch))

    def on_fit_end(self, run: Run) -> None:
        self.__dict__.pop("_watch", None)
