"""Where a fit goes back to when its numbers leave the finite range: its last good epoch.

A mean loss tells of the weights with which an epoch was computed, not of those at its end: these
may be about to blow up. So the state kept is that with which the last good epoch began. Good is an
epoch whose mean loss is finite and at most |lowest| above the lowest so far: a loss that grows from
epoch to epoch before it is infinite must not be taken for one to go back to.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from fastmlp.training.differences import Differences

# What each going back leaves of the learning rate, and how often a fit may: to a thousandth.
FACTOR, MOST_TIMES = 0.5, 10


class Trained(Protocol):
    """The part of an engine whose state is kept."""

    def training_state(self) -> dict[str, Any]: ...
    def restore_training_state(self, kept: dict[str, Any]) -> None: ...
    def training_arrays(self, kept: dict[str, Any]) -> dict[str, np.ndarray]: ...
    def training_state_of(
        self, arrays: Mapping[str, np.ndarray], n_updates: int, last_rate: float
    ) -> dict[str, Any]: ...


@dataclass(frozen=True, eq=False)
class Kept:
    """Weights, optimizer state and running statistics after `done` epochs of the fit, the last of
    them number `epoch` over all fits."""

    done: int
    epoch: int
    state: dict[str, Any]


class GoodEpochs:
    """Copies of the states with which the last good epoch, and the one under way, began.

    n_times: how often the fit has gone back.
    """

    def __init__(self, engine: Trained) -> None:
        self._engine = engine
        self.n_times = 0
        self._lowest = math.inf
        self._good: Kept | None = None
        self._begun: Kept | None = None  # None between two epochs

    @property
    def factor(self) -> float:
        """On every learning rate: a power of two, so that products with it are exact."""
        return FACTOR**self.n_times

    def begin_epoch(self, done: int, epoch: int) -> None:
        """Keep the state before the first step of an epoch: see `Kept`."""
        if self._begun is None:
            self._begun = Kept(done, epoch, self._engine.training_state())
        if self._good is None:
            self._good = self._begun

    def end_epoch(self, loss: float) -> None:
        """Judge the epoch that is over by its mean loss, which is finite."""
        if loss <= self._lowest + abs(self._lowest):
            self._good, self._lowest = self._begun, min(self._lowest, loss)
        self._begun = None

    def go_back(self, n_steps: int) -> int | None:
        """Put the good state back; how many epochs of the fit are over in it.

        None where the fit ends, in that state: it has gone back often enough, or not one of the
        `n_steps` of the epoch was made since then, so that no other rate could help.
        """
        assert self._good is not None
        if n_steps == 0 and self._begun is self._good:
            return None
        self._engine.restore_training_state(self._good.state)
        self._begun = self._good
        if self.n_times == MOST_TIMES:
            return None
        self.n_times += 1
        return self._good.done

    def said(self, epoch: int) -> str:
        """A line for a fit that has gone back in `epoch`, a number over all fits."""
        good = self._good
        where = "where the fit began"
        if good is not None and good.done:
            where = f"the state after epoch {good.epoch}"
        return (
            f"epoch {epoch}: the loss or an update became nan or infinite; training goes back to "
            f"{where}, and on at {self.factor:g} times its learning rate "
            f"({self.n_times} of at most {MOST_TIMES} times)"
        )

    def get_state(self) -> dict[str, Any]:
        """Plain values and arrays, for `set_state` on any device."""
        is_at_good = self._begun is self._good
        state: dict[str, Any] = {
            "n_times": self.n_times,
            "lowest": self._lowest,
            "is_at_good": is_at_good and self._good is not None,
        }
        parts = {"good": self._good, "begun": None if is_at_good else self._begun}
        for name, kept in parts.items():
            if kept is None:
                continue
            state[name] = {
                "done": kept.done,
                "epoch": kept.epoch,
                **{value: kept.state[value] for value in ("n_updates", "last_rate")},
            }
            arrays = self._engine.training_arrays(kept.state)
            state.update({f"{name}.{array}": values for array, values in arrays.items()})
        return state

    @property
    def has_begun(self) -> bool:
        """Whether the state with which the epoch under way began is there."""
        return self._begun is not None

    def go_on(self, state: Mapping[str, Any], differs: Differences) -> None:
        """Go on from where another fit stood; raises as `set_state`.

        Where settings or data differ, its losses and states are not comparable: of these what it
        has left of the learning rate is kept, unless the optimizer is another one.
        """
        if not differs:
            self.set_state(state)
        elif state and not differs.are_of("optimizer", "solver", "learning_rate_init"):
            self.n_times = _times(state)

    def set_state(self, state: Mapping[str, Any]) -> None:
        """Go on from what `get_state` gave; ValueError, KeyError or TypeError for anything else."""
        n_times, lowest = _times(state), float(state["lowest"])
        self._good, self._begun = (self._kept(state, name) for name in ("good", "begun"))
        if state["is_at_good"]:
            self._begun = self._good
        self.n_times, self._lowest = n_times, lowest

    def _kept(self, state: Mapping[str, Any], name: str) -> Kept | None:
        if name not in state:
            return None
        values, prefix = state[name], f"{name}."
        arrays = {
            key.removeprefix(prefix): array
            for key, array in state.items()
            if key.startswith(prefix)
        }
        kept = self._engine.training_state_of(
            arrays, int(values["n_updates"]), float(values["last_rate"])
        )
        return Kept(int(values["done"]), int(values["epoch"]), kept)


def _times(state: Mapping[str, Any]) -> int:
    n_times = int(state["n_times"])
    if not 0 <= n_times <= MOST_TIMES:
        raise ValueError(f"a fit that went back {n_times} times")
    return n_times
