"""A fit under way as callbacks see it, and the base of callbacks."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from fastmlp.callbacks.trained import Trained
from fastmlp.checks import integer, shown
from fastmlp.errors import OptionError, OptionTypeError
from fastmlp.history import History
from fastmlp.monitor import Directions


def _cannot_save(path: str | os.PathLike[str]) -> None:
    raise NotImplementedError("only a fit can say where it stands")


@dataclass
class Run:
    """A fit under way, as callbacks see it.

    Attributes
    ----------
    network : Network
        The network that is trained; predict, evaluate, save and weights work.
    epoch : int
        Number of the epoch that has just ended, or in `on_steps` is under way, counted from 1
        over all fits.
    step : int
        Number of minibatch steps made, over all fits.
    history : History
        What was recorded so far, this epoch included.
    names : tuple of str
        The names of the series that the history will have.
    directions : mapping of str to str or None
        For each series that can be monitored "min" or "max", whichever is better; None for a
        metric that is a function.
    val_loss : str
        The series that "val_loss" stands for where there is none of that name: the loss of the
        last eval set, or that of training.
    logs : dict
        The values of this epoch; in `on_steps` of its steps so far, not evaluated yet (nan).
    save : function of a path
        Writes the network and where its fit stands, so that ``fit(resume=path)`` goes on from
        there: a file is written at once or not at all. The callback that calls it counts as
        called then.
    differences : list of str
        Of a fit that goes on with `force`: how it differs from the one that it goes on with.
    """

    network: Trained
    epoch: int
    step: int
    history: History
    names: tuple[str, ...]
    directions: Directions
    val_loss: str = "loss"
    logs: dict[str, Any] = field(default_factory=dict)
    save: Callable[[str | os.PathLike[str]], None] = field(default=_cannot_save, repr=False)
    differences: list[str] = field(default_factory=list)


class Callback:
    """The base of callbacks; override what is needed.

    Attributes
    ----------
    every_n_steps : int or None
        How many minibatch steps to make from one call of `on_steps` to the next; None for no
        such calls. What is trained stays bitwise the same.

    Examples
    --------
    >>> import fastmlp
    >>> class Stop(fastmlp.callbacks.Callback):
    ...     every_n_steps = 100
    ...     def on_steps(self, run):
    ...         return run.logs["loss"] < 0.1
    """

    every_n_steps: int | None = None
    is_quick = False  # whether Ctrl-C waits for the end of a call; for fastmlp's own

    def on_fit_begin(self, run: Run) -> None:
        """Called before anything is trained; an error raised here leaves the network as it was."""

    def on_steps(self, run: Run) -> bool | None:
        """Called whenever `run.step` is a multiple of `every_n_steps`; True ends the fit there."""
        return None

    def on_epoch_end(self, run: Run) -> bool | None:
        """Called after every whole epoch; True ends the fit."""
        return None

    def on_fit_end(self, run: Run) -> None:
        """Called at the end, however the fit ended, and whatever other callbacks raise there."""

    def get_state(self, run: Run) -> dict[str, Any]:
        """What it needs, beside its settings, to go on in another process: plain JSON values and
        arrays by name.

        One that counts or remembers anything and has no such state begins anew in a fit that is
        resumed.
        """
        return {}

    def described(self) -> Any:
        """What must be the same for a fit to be resumed, as plain values: its class, and settings
        that decide when the fit ends."""
        return type(self).__name__

    def set_state(self, run: Run, state: dict[str, Any]) -> None:
        """Go on from what `get_state` gave, after `on_fit_begin` of the fit that resumes."""


class _Function(Callback):
    """A plain function taken as `on_epoch_end`."""

    def __init__(self, function: Callable[[Run], Any]) -> None:
        self._function = function

    def on_epoch_end(self, run: Run) -> bool | None:
        return self._function(run)

    def described(self) -> Any:
        found = getattr(self._function, "__qualname__", None)
        return found if isinstance(found, str) else type(self._function).__name__


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
            _check_interval(callback, f"callbacks[{i}]")
            checked.append(callback)
        elif callable(callback):
            checked.append(_Function(callback))
        else:
            raise OptionTypeError(
                f"callbacks[{i}] must be one of fastmlp.callbacks or a function of one argument, "
                f"got {shown(callback)}"
            )
    return checked


def _check_interval(callback: Callback, name: str) -> None:
    if callback.every_n_steps is not None:
        integer(f"every_n_steps of {name}", callback.every_n_steps, 1)
    elif type(callback).on_steps is not Callback.on_steps:
        raise OptionError(
            f"every_n_steps of {name} must be an integer >= 1, as {type(callback).__name__} has "
            "an on_steps, got None; set it in the class"
        )


def asks_to_stop(answer: object) -> bool:
    """Whether what a callback returned is True; other values do not stop a fit by accident."""
    return isinstance(answer, bool | np.bool_) and bool(answer)
