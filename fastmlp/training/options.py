"""The settings of a fit, checked."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from fastmlp.callbacks import Callback, as_callbacks
from fastmlp.checks import integer, real, shown
from fastmlp.data.shuffle import as_shuffle
from fastmlp.errors import OptionError
from fastmlp.optim import Adam, Optimizer, as_optimizer
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
    verbose: bool | str

    @classmethod
    def make(
        cls,
        last: Optimizer | None = None,
        *,
        optimizer: Any = None,
        epochs: object = 10,
        batch_size: object = None,
        schedule: object = None,
        callbacks: object = (),
        shuffle: object = "auto",
        max_time_s: object = None,
        verbose: object = "auto",
    ) -> FitOptions:
        """Options from a user's settings; OptionError or OptionTypeError names a wrong one.

        `last` is the optimizer of the fit before, which goes on where there is no other.
        """
        return cls(
            optimizer=last or Adam() if optimizer is None else as_optimizer(optimizer),
            epochs=integer("epochs", epochs, 1),
            batch_size=None if batch_size is None else integer("batch_size", batch_size, 1),
            schedule=as_schedule(schedule),
            callbacks=as_callbacks(callbacks),
            shuffle=as_shuffle(shuffle),
            max_time_s=(
                None if max_time_s is None else real("max_time_s", max_time_s, 0.0, low_open=True)
            ),
            verbose=_verbose(verbose),
        )


def _verbose(verbose: object) -> bool | str:
    if not (isinstance(verbose, bool) or (isinstance(verbose, str) and verbose == "auto")):
        raise OptionError(f"verbose must be True, False or 'auto', got {shown(verbose)}")
    return verbose
