"""The settings of a run with its defaults filled in, as a run file repeats them."""

from __future__ import annotations

from dataclasses import asdict, fields
from typing import Any

from fastmlp.cli.kinds import Call
from fastmlp.cli.options import SCHEDULES, loss_parameters
from fastmlp.losses import Loss
from fastmlp.optim import Optimizer
from fastmlp.schedules import Schedule


def loss_in_force(loss: Loss) -> Call:
    """The loss with all its numbers."""
    numbers: Any = loss.parameters
    if loss.name == "quantiles":
        numbers = (list(numbers),)
    return Call(loss.name, (), dict(zip(loss_parameters(loss.name), numbers, strict=True)))


def schedule_in_force(schedule: Schedule) -> Call:
    """The schedule with all its numbers."""
    names = {kind: name for name, kind in SCHEDULES.items()}
    return Call(names[type(schedule)], (), asdict(schedule))  # type: ignore[call-overload]


def optimizer_in_force(optimizer: Optimizer) -> dict[str, Any]:
    """Values of --optimizer and of the options beside it.

    The learning rate and the weight decay lie in the optimizer's table, as their defaults are the
    rule's: who puts another rule in its place gets that one's.
    """
    values = asdict(optimizer)
    own = [f.name for f in fields(optimizer) if not f.kw_only]
    in_table = {name: values.pop(name) for name in [*own, "weight_decay"]}
    return {
        "optimizer": Call(type(optimizer).__name__.lower(), (), in_table),
        "lr": None,
        "weight_decay": None,
        **values,
        "layer_lr": list(optimizer.layer_lr) or None,
    }
