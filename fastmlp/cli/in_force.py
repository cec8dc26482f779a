"""The settings of a run with its defaults filled in, as a run file repeats them."""

from __future__ import annotations

from dataclasses import asdict, fields
from typing import Any

from fastmlp.cli.kinds import Call
from fastmlp.cli.options import SCHEDULES
from fastmlp.model.network import Network
from fastmlp.optim import Optimizer
from fastmlp.schedules import Schedule
from fastmlp.spec.losses import Loss


def functions_in_force(
    network: Network, optimizer: Optimizer, schedule: Schedule, monitor: str | None
) -> dict[str, Any]:
    """Values of the options that a loss, a penalty, an optimizer and a schedule came from.

    `monitor`: of --monitor, which a schedule takes where it has none of its own.
    """
    return {
        "loss": _loss(network.loss),
        "l2": network.spec.l2,
        "schedule": _schedule(schedule, monitor),
        **_optimizer(optimizer),
    }


def _loss(loss: Loss) -> Call:
    """The loss with all its numbers."""
    return Call(loss.name, (), loss.kind.named(loss.parameters))


def _schedule(schedule: Schedule, monitor: str | None) -> Call:
    """The schedule with all its numbers."""
    names = {kind: name for name, kind in SCHEDULES.items()}
    numbers = asdict(schedule)  # type: ignore[call-overload]
    if monitor is not None and numbers.get("monitor") == monitor:
        # Else another --monitor beside the run file would not reach the schedule.
        del numbers["monitor"]
    return Call(names[type(schedule)], (), numbers)


def _optimizer(optimizer: Optimizer) -> dict[str, Any]:
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
