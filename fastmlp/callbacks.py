"""What a fit calls between epochs, and early stopping."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from fastmlp.checks import integer, name_among, real, shown
from fastmlp.errors import OptionTypeError
from fastmlp.history import History

if TYPE_CHECKING:
    from fastmlp.network import Network


@dataclass
class Run:
    """A fit under way, as callbacks see it.

    Attributes
    ----------
    network : Network
        The network that is trained; predict, evaluate, save and weights work.
    epoch : int
        Number of the epoch that has just ended, counted from 1 over all fits.
    history : History
        What was recorded so far, this epoch included.
    names : tuple of str
        The names of the series that the history will have.
    logs : dict
        The values of this epoch.
    """

    network: Network
    epoch: int
    history: History
    names: tuple[str, ...]
    logs: dict[str, Any] = field(default_factory=dict)


class Callback:
    """The base of callbacks; override what is needed.

    Examples
    --------
    >>> import fastmlp
    >>> class Stop(fastmlp.callbacks.Callback):
    ...     def on_epoch_end(self, run):
    ...         return run.logs["loss"] < 0.1
    """

    def on_fit_begin(self, run: Run) -> None:
        """Called before anything is trained; an error raised here leaves the network as it was."""

    def on_epoch_end(self, run: Run) -> bool | None:
        """Called after every whole epoch; True ends the fit."""
        return None

    def on_fit_end(self, run: Run) -> None:
        """Called at the end, however the fit ended."""


class _Function(Callback):
    """A plain function taken as `on_epoch_end`."""

    def __init__(self, function: Callable[[Run], Any]) -> None:
        self._function = function

    def on_epoch_end(self, run: Run) -> bool | None:
        return self._function(run)


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
        "min", "max" or "auto": max for accuracy and r2, min else.

    Raises
    ------
    OptionError, OptionTypeError
        A number out of range, an unknown mode; at fit, a series that there is not.

    Examples
    --------
    >>> import fastmlp
    >>> stopping = fastmlp.callbacks.EarlyStopping(patience=5)
    """

    def __init__(
        self,
        monitor: str = "val_loss",
        patience: int = 10,
        min_delta: float = 0.0,
        mode: str = "auto",
    ) -> None:
        if not isinstance(monitor, str):
            raise OptionTypeError(
                f"monitor of EarlyStopping must be the name of a series, got {shown(monitor)}"
            )
        self.monitor = monitor
        self.patience = integer("patience of EarlyStopping", patience, 1)
        self.min_delta = real("min_delta of EarlyStopping", min_delta, 0.0)
        self.mode = name_among("mode of EarlyStopping", mode, ("auto", "min", "max"))

    def on_fit_begin(self, run: Run) -> None:
        series = [name for name in run.names if name not in ("grad_norm", "lr", "seconds")]
        name = self.monitor
        if name == "val_loss" and name not in series:
            name = [candidate for candidate in series if candidate.endswith("loss")][-1]
        self._name = name_among("monitor of EarlyStopping", name, series)
        rises = self.mode == "max" or (
            self.mode == "auto" and self._name.endswith(("accuracy", "r2"))
        )
        self._sign = -1.0 if rises else 1.0
        self._best = math.inf
        self._best_parameters: tuple[list[Any], list[Any]] | None = None
        self._n_waited = 0

    def on_epoch_end(self, run: Run) -> bool | None:
        value = self._sign * float(run.logs[self._name])
        # A nan compares false: it never counts as an improvement.
        if value < self._best - self.min_delta:
            self._best = value
            self._best_parameters = run.network.get_parameters()
            run.history.best_epoch = run.epoch
            self._n_waited = 0
        else:
            self._n_waited += 1
        return self._n_waited >= self.patience

    def on_fit_end(self, run: Run) -> None:
        if self._best_parameters is not None:
            run.network.set_parameters(*self._best_parameters)
            self._best_parameters = None


def as_callbacks(callbacks: object) -> list[Callback]:
    """Callback objects from a list of callbacks and plain functions."""
    if not isinstance(callbacks, list | tuple):
        raise OptionTypeError(
            f"callbacks must be a list, got {shown(callbacks)}; write callbacks=[...]"
        )
    checked: list[Callback] = []
    for i, callback in enumerate(callbacks):
        if isinstance(callback, type):
            raise OptionTypeError(
                f"callbacks[{i}] must be an object, got the class {callback.__name__}; "
                f"write {callback.__name__}()"
            )
        if isinstance(callback, Callback):
            checked.append(callback)
        elif callable(callback):
            checked.append(_Function(callback))
        else:
            raise OptionTypeError(
                f"callbacks[{i}] must be one of fastmlp.callbacks or a function of one argument, "
                f"got {shown(callback)}"
            )
    return checked


def asks_to_stop(answer: object) -> bool:
    """Whether what `on_epoch_end` returned is True; other values do not stop a fit by accident."""
    return isinstance(answer, bool | np.bool_) and bool(answer)
