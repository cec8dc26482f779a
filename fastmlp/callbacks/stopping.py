"""Early stopping."""

from __future__ import annotations

from typing import Any

from fastmlp.callbacks.base import Callback, Run
from fastmlp.checks import integer
from fastmlp.monitor import BestSoFar, Monitor


class EarlyStopping(Callback):
    """Ends a fit when `monitor` has not improved for `patience` epochs.

    The weights of the best epoch are kept and put back at the end, also after Ctrl-C.

    Parameters
    ----------
    monitor : str
        A series of the history. "val_loss" stands for the training loss where there is no eval
        set, and for the last eval set's loss where there are several.
    patience : int
        Epochs without improvement after which to stop, >= 1.
    min_delta : float
        An improvement is a change by more than this, in units of `monitor`, >= 0.
    mode : str
        "min", "max" or "auto": max for scores (accuracy, r2, roc_auc, ...), min for losses and
        errors. A metric that is a function needs "min" or "max".

    Raises
    ------
    OptionError, OptionTypeError
        A number out of range, an unknown mode; at fit, a series that there is not.

    Examples
    --------
    >>> import fastmlp
    >>> stopping = fastmlp.callbacks.EarlyStopping(patience=5)
    """

    is_quick = True

    def __init__(
        self,
        monitor: str = "val_loss",
        patience: int = 10,
        min_delta: float = 0.0,
        mode: str = "auto",
    ) -> None:
        self._monitor = Monitor.make("EarlyStopping", monitor, mode, min_delta)
        self.monitor, self.min_delta, self.mode = monitor, self._monitor.min_delta, mode
        self.patience = integer("patience of EarlyStopping", patience, 1)

    def on_fit_begin(self, run: Run) -> None:
        self._watch = self._monitor.begin(run.directions, run.val_loss)
        self._best: Any = None
        self._n_waited = 0

    def on_epoch_end(self, run: Run) -> bool | None:
        if self._watch.improves(run.logs[self._watch.series]):
            self._best = run.network.snapshot()
            run.history.best_epoch = run.epoch
            self._n_waited = 0
        else:
            self._n_waited += 1
        return self._n_waited >= self.patience

    @property
    def standing(self) -> tuple[BestSoFar, int]:
        """What is watched, and how many epochs it has waited; in a fit."""
        return self._watch, self._n_waited

    def catch_up(
        self, run: Run, lowest: float, n_waited: int, best_epoch: int | None, best: Any
    ) -> None:
        """Be as after epochs that were watched elsewhere: `best` is a snapshot of `best_epoch`,
        both None where none of them was better."""
        self._watch.lowest, self._n_waited = lowest, n_waited
        if best_epoch is not None:
            self._best, run.history.best_epoch = best, best_epoch

    def described(self) -> Any:
        settings = {
            name: getattr(self, name) for name in ("monitor", "patience", "min_delta", "mode")
        }
        return {"name": type(self).__name__, **settings}

    def get_state(self, run: Run) -> dict[str, Any]:
        state = {"lowest": self._watch.lowest, "n_waited": self._n_waited}
        if self._best is None:
            return state
        return state | run.network.snapshot_arrays(self._best)

    def set_state(self, run: Run, state: dict[str, Any]) -> None:
        rest = dict(state)
        self._watch.lowest, self._n_waited = float(rest.pop("lowest")), int(rest.pop("n_waited"))
        self._best = run.network.snapshot_of(rest) if rest else None

    def on_fit_end(self, run: Run) -> None:
        self.__dict__.pop("_watch", None)
        if self._best is not None:
            run.network.restore(self._best)
            self._best = None
