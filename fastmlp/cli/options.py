"""Values of options that are more than a number: layer sizes, a loss, an optimizer."""

from __future__ import annotations

from dataclasses import MISSING, Field, fields, replace
from typing import Any

import numpy as np

from fastmlp import registered
from fastmlp.checks import name_among, real, suggestion
from fastmlp.cli.kinds import Call
from fastmlp.errors import OptionError
from fastmlp.optim import BY_NAME, SGD, Optimizer
from fastmlp.schedules import (
    Constant,
    Cosine,
    CosineRestarts,
    Exponential,
    InverseScaling,
    OneCycle,
    Polynomial,
    ReduceOnPlateau,
    Schedule,
    Step,
)
from fastmlp.spec.loss_table import TABLE
from fastmlp.spec.losses import OF_CLASSES, OF_VALUES, Loss, as_loss

SCHEDULES: dict[str, type[Schedule]] = {
    "constant": Constant,
    "step": Step,
    "exponential": Exponential,
    "cosine": Cosine,
    "cosine_restarts": CosineRestarts,
    "polynomial": Polynomial,
    "one_cycle": OneCycle,
    "inverse_scaling": InverseScaling,
    "reduce_on_plateau": ReduceOnPlateau,
}
_VALUE_LOSSES = tuple(kind.name for kind in TABLE.values() if kind.targets == "values")
_CLASS_LOSSES = tuple(kind.name for kind in TABLE.values() if kind.targets != "values")
_MOMENTUM = 0.9
_NAMED: dict[str, Optimizer] = {
    "momentum": SGD(momentum=_MOMENTUM),
    "nesterov": SGD(momentum=_MOMENTUM, nesterov=True),
    **{name: make() for name, make in BY_NAME.items()},  # type: ignore[call-arg]
}
OPTIMIZERS = tuple(_NAMED)
# The decays that are not 0 by default, in words.
USUAL_DECAYS = ", ".join(f"{o.weight_decay:g} of {n}" for n, o in _NAMED.items() if o.weight_decay)


def hidden_sizes(text: str) -> list[int]:
    """Sizes of the hidden layers from ``256,128``, none from ``none``."""
    if text.strip().lower() == "none":
        return []
    try:
        sizes = [int(part) for part in text.split(",")]
    except ValueError:
        sizes = [0]
    if min(sizes) < 1:
        raise OptionError(
            f"--hidden must be sizes >= 1 such as 256,128, or 'none' for a linear model, "
            f"got {text!r}"
        )
    return sizes


def loss_for(call: Call | None, task: str, target: str) -> Loss:
    """A loss from ``huber``, ``huber:2.0`` or ``quantiles:0.1,0.9``; by default the task's own."""
    if call is None:
        return as_loss(OF_CLASSES if task == "classification" else OF_VALUES)
    loss = as_loss(call.name)
    if call.numbers and not call.named:
        loss = Loss(call.name, call.numbers)
    elif call.named:
        names = [parameter.name for parameter in loss.kind.parameters]
        # The numbers of a list, as of quantiles, are one parameter together.
        if call.numbers and loss.kind.has_list:
            raise OptionError(
                f"--loss {call.name} must have {names[0]} once, got it by name and without"
            )
        given = call.bound("--loss", names)
        loss = Loss(call.name, loss.kind.from_named(given))
    of_users = registered.losses.of_users()
    allowed = _CLASS_LOSSES if task == "classification" else (*_VALUE_LOSSES, *of_users)
    if call.name not in allowed:
        holds, other = (
            ("classes", "regression") if task == "classification" else ("values", "classification")
        )
        raise OptionError(
            f"--loss must be one of {', '.join(allowed)}, as the target {target!r} holds {holds}, "
            f"got {call.name!r}; --task {other} treats the target otherwise"
        )
    return loss


def optimizer_for(call: Call, **settings: Any) -> Optimizer:
    """An optimizer from its name and numbers; settings that are not None take their place.

    "momentum" and "nesterov" are SGD with a momentum of 0.9. The numbers of ``adam:0.01,0.8`` are
    those of `fastmlp.optim.Adam` in its order.
    """
    given = {key: value for key, value in settings.items() if value is not None}
    numbers = optimizer_numbers(call)
    return replace(_NAMED[call.name], **(numbers | given))


def check_layer_lr(optimizer: Optimizer, hidden: list[int]) -> None:
    """Raise OptionError where the factors of the layers are not one for each."""
    n_layers, n_given = len(hidden) + 1, len(optimizer.layer_lr)
    if n_given not in (0, n_layers):
        raise OptionError(
            f"--layer-lr must have a factor for each of the {n_layers} layers, the output layer "
            f"included, got {n_given}"
        )


def optimizer_numbers(call: Call) -> dict[str, Any]:
    """What `call` says of an optimizer, by name."""
    optimizer = _NAMED[name_among("--optimizer", call.name, _NAMED)]
    return call.bound("--optimizer", [f.name for f in _in_order(type(optimizer))])


def class_weights_for(
    weights: str | dict[str, Any] | None, values: np.ndarray, target: str
) -> str | dict[Any, float] | None:
    """``balanced`` as it is, or weights by the labels in `values` from weights by their text."""
    if weights is None or isinstance(weights, str):
        return weights
    labels = {str(label): label for label in np.unique(values).tolist()}
    for text in weights:
        if text not in labels:
            raise OptionError(
                f"--class-weight must name classes of the target {target!r} "
                f"({', '.join(labels)}), got {text!r}{suggestion(text, labels)}"
            )
    return {
        labels[text]: real(f"--class-weight of {text!r}", weight, 0.0)
        for text, weight in weights.items()
    }


def schedule_for(call: Call, monitor: str | None = None) -> Schedule:
    """A schedule from its name and numbers; `monitor` is what it watches unless it says so."""
    make = SCHEDULES[name_among("--schedule", call.name, SCHEDULES)]
    known = _in_order(make)
    given = call.bound("--schedule", [f.name for f in known])
    if monitor is not None and make is ReduceOnPlateau:
        given.setdefault("monitor", monitor)
    missing = [f.name for f in known if f.default is MISSING and f.name not in given]
    if missing:
        raise OptionError(
            f"--schedule {call.name} needs {missing[0]}, such as {call.name}:{missing[0]}=1000"
        )
    return make(**given)


def _in_order(make: type[Any]) -> list[Field[Any]]:
    """The fields of a dataclass, those for names alone last."""
    return sorted(fields(make), key=lambda f: f.kw_only is True)
