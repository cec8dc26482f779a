"""Watching a series of the history: which one, which way it gets better, the best so far."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from fastmlp.checks import name_among, real, shown
from fastmlp.errors import OptionError, OptionTypeError

# For each series that can be watched "min" or "max", whichever is better; None: only its maker
# knows.
Directions = Mapping[str, str | None]

MODES = ("auto", "min", "max")


@dataclass(frozen=True)
class Monitor:
    """What to watch, as a user says it; make one with `make`.

    Attributes
    ----------
    owner : str
        Who watches, for messages.
    series : str
        A series of the history; "val_loss" stands for the training loss where there is no eval
        set, and for the last eval set's loss where there are several.
    mode : str
        "min", "max", or "auto" for what the series itself says.
    min_delta : float
        An improvement is a change by more than this.
    """

    owner: str
    series: str
    mode: str
    min_delta: float

    @classmethod
    def make(cls, owner: str, series: object, mode: object, min_delta: object = 0.0) -> Monitor:
        """A monitor from a user's settings; OptionError or OptionTypeError names a wrong one."""
        if not isinstance(series, str):
            raise OptionTypeError(
                f"monitor of {owner} must be the name of a series, got {shown(series)}"
            )
        return cls(
            owner,
            series,
            name_among(f"mode of {owner}", mode, MODES),
            real(f"min_delta of {owner}", min_delta, 0.0),
        )

    def begin(self, directions: Directions, val_loss: str = "loss") -> BestSoFar:
        """Watch in a fit that will have these series; OptionError where ours is not among them.

        `val_loss` is the series that "val_loss" stands for where there is none of that name.

        >>> watch = Monitor.make("EarlyStopping", "val_loss", "auto").begin({"loss": "min"})
        >>> watch.series, watch.improves(2.0), watch.improves(3.0), watch.best
        ('loss', True, False, 2.0)
        """
        series = self.series
        if series == "val_loss" and series not in directions:
            series = val_loss
        name_among(f"monitor of {self.owner}", series, directions)
        mode = directions[series] if self.mode == "auto" else self.mode
        if mode is None:
            raise OptionError(
                f"mode of {self.owner} must be 'min' or 'max' for {series!r}, a metric of your "
                "own, got 'auto'"
            )
        return BestSoFar(series, -1.0 if mode == "max" else 1.0, self.min_delta)


class BestSoFar:
    """The best value so far of one series in one fit; `lowest` is it, or less it for a maximum."""

    def __init__(self, series: str, sign: float, min_delta: float) -> None:
        self.series = series
        self._sign, self.min_delta = sign, min_delta
        self.lowest = math.inf

    @property
    def is_least(self) -> bool:
        """Whether the least value is the best."""
        return self._sign > 0

    @property
    def best(self) -> float:
        """The best value so far; infinite before the first."""
        return self._sign * self.lowest

    def improves(self, value: Any) -> bool:
        """Whether `value` is better than all before by more than min_delta; it is then the best.

        A nan never is.
        """
        signed = self._sign * float(value)
        if signed < self.lowest - self.min_delta:
            self.lowest = signed
            return True
        return False


Watch = BestSoFar  # the name by which pickles of fastmlp 0.1.0 ask for it
