"""The settings of a fit, checked."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from fastmlp.callbacks import Callback, as_callbacks
from fastmlp.checks import integer, real
from fastmlp.data.shuffle import as_shuffle
from fastmlp.optim import Optimizer
from fastmlp.schedules import as_schedule


@dataclass(frozen=True)
class FitOptions:
    """The checked settings of a fit; make them with `make`."""

    optimizer: Optimizer
    epochs: int
    batch_size: int | None
    schedule: Callable[[int, int], Any]
    callbacks: list[Callback]
    shuffle: bool | str
    max_time_s: float | None

    @classmethod
    def make(
        cls,
        *,
        optimizer: Optimizer,
        epochs: object,
        batch_size: object,
        schedule: object,
        callbacks: object,
        shuffle: object,
        max_time_s: object,
    ) -> FitOptions:
        """Options from a user's settings; OptionError or OptionTypeError names a wrong one."""
        return cls(
            optimizer=optimizer,
            epochs=integer("epochs", epochs, 1),
            batch_size=None if batch_size is None else integer("batch_size", batch_size, 1),
            schedule=as_schedule(schedule),
            callbacks=as_callbacks(callbacks),
            shuffle=as_shuffle(shuffle),
            max_time_s=(
                None if max_time_s is None else real("max_time_s", max_time_s, 0.0, low_open=True)
            ),
        )
