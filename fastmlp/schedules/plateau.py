"""A schedule that looks at the results: the learning rate falls where they improve no more."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from fastmlp.checks import integer, real
from fastmlp.monitor import Directions, Monitor
from fastmlp.schedules.base import Factors, Schedule


@dataclass
class ReduceOnPlateau(Schedule):
    """The learning rate times `factor` whenever `monitor` has not improved for some epochs.

    As PyTorch's ReduceLROnPlateau with threshold_mode="abs" and eps=0: after more than `patience`
    epochs in a row without improvement the rate falls, and the next `cooldown` epochs are not
    counted. Every fit begins at the optimizer's lr.

    Parameters
    ----------
    monitor : str
        A series of the history. "val_loss" stands for the training loss where there is no eval
        set, and for the last eval set's loss where there are several.
    factor : float
        What the learning rate is multiplied by, > 0 and < 1.
    patience : int
        Epochs without improvement that are let pass, >= 0.
    min_delta : float
        An improvement is a change by more than this, in units of `monitor`, >= 0.
    cooldown : int
        Epochs after a reduction that are not counted, >= 0.
    min_lr : float
        The learning rate never falls below this, >= 0.
    mode : str
        "min", "max" or "auto", as for callbacks.EarlyStopping.

    Raises
    ------
    OptionError, OptionTypeError
        A number out of range, an unknown mode; at fit, a series that there is not.

    Examples
    --------
    >>> import fastmlp
    >>> net = fastmlp.Network([1, 1])
    >>> plateau = fastmlp.schedules.ReduceOnPlateau(patience=0, min_delta=100.0)
    >>> history = net.fit([[0.0], [1.0]], [0.0, 1.0], epochs=3, schedule=plateau, optimizer="sgd")
    >>> [round(lr, 6) for lr in history.lr]
    [0.01, 0.01, 0.001]
    """

    monitor: str = "val_loss"
    factor: float = 0.1
    patience: int = 10
    min_delta: float = 0.0
    cooldown: int = 0
    min_lr: float = 0.0
    mode: str = "auto"

    def __post_init__(self) -> None:
        self._monitor = Monitor.make("ReduceOnPlateau", self.monitor, self.mode, self.min_delta)
        real("factor of ReduceOnPlateau", self.factor, 0.0, 1.0, low_open=True, high_open=True)
        integer("patience of ReduceOnPlateau", self.patience, 0)
        integer("cooldown of ReduceOnPlateau", self.cooldown, 0)
        real("min_lr of ReduceOnPlateau", self.min_lr, 0.0)
        self._reduced = 1.0

    def begin(self, lr: float, directions: Directions, val_loss: str = "loss") -> None:
        """Begin a fit with the rate `lr` and these series; OptionError where ours is not there."""
        self._watch = self._monitor.begin(directions, val_loss)
        # A rate that begins below min_lr stays where it is.
        self._lowest = min(self.min_lr / lr, 1.0)
        self._reduced = 1.0
        self._n_bad = self._n_cooling = 0

    def get_state(self) -> dict[str, Any]:
        """Where it stands between two epochs: plain values."""
        return {
            "reduced": self._reduced,
            "n_bad": self._n_bad,
            "n_cooling": self._n_cooling,
            "lowest": self._watch.lowest,
        }

    def set_state(self, state: Mapping[str, Any]) -> None:
        """Go on from what `get_state` gave, after `begin`."""
        self._reduced, self._watch.lowest = float(state["reduced"]), float(state["lowest"])
        self._n_bad, self._n_cooling = int(state["n_bad"]), int(state["n_cooling"])

    def epoch_end(self, logs: Mapping[str, Any]) -> None:
        """Look at the values of an epoch, and set the factor of the next."""
        if self._watch.improves(logs[self._watch.series]):
            self._n_bad = 0
        else:
            self._n_bad += 1
        if self._n_cooling > 0:
            self._n_cooling -= 1
            self._n_bad = 0
        if self._n_bad > self.patience:
            self._reduced = max(self._reduced * self.factor, self._lowest)
            self._n_cooling, self._n_bad = self.cooldown, 0

    def factors(self, steps: Factors, n_steps: int) -> Factors:
        return np.full(steps.shape, self._reduced)
