"""Values of options that are more than a number: layer sizes, a loss, an optimizer."""

from __future__ import annotations

from dataclasses import replace

from fastmlp.checks import name_among
from fastmlp.csv_file import as_number
from fastmlp.errors import OptionError
from fastmlp.losses import NAMES, Loss, as_loss
from fastmlp.optim import BY_NAME, SGD, Optimizer
from fastmlp.schedules import (
    Constant,
    Cosine,
    InverseScaling,
    OneCycle,
    Polynomial,
    Schedule,
)

CLASS_LOSSES = ("cross_entropy", "focal", "binary_cross_entropy")
SCHEDULES: dict[str, type[Schedule]] = {
    "constant": Constant,
    "cosine": Cosine,
    "polynomial": Polynomial,
    "one_cycle": OneCycle,
    "inverse_scaling": InverseScaling,
}
_VALUE_LOSSES = tuple(name for name in NAMES if name not in CLASS_LOSSES)
_MOMENTUM = 0.9
_NAMED: dict[str, Optimizer] = {
    "momentum": SGD(momentum=_MOMENTUM),
    "nesterov": SGD(momentum=_MOMENTUM, nesterov=True),
    **{name: make() for name, make in BY_NAME.items()},  # type: ignore[call-arg]
}
OPTIMIZERS = tuple(_NAMED)


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


def one_or_each(text: str) -> str | list[str]:
    """``relu`` for all layers, or a list from ``relu,tanh``, one for each."""
    parts = [part.strip() for part in text.split(",")]
    return parts[0] if len(parts) == 1 else parts


def dropout_rates(text: str) -> float | list[float]:
    """``0.1`` for all hidden layers, or a list from ``0.1,0.2``, one for each."""
    try:
        rates = [float(part) for part in text.split(",")]
    except ValueError:
        raise OptionError(
            f"--dropout must be a rate such as 0.1, or one for each hidden layer such as 0.1,0.2, "
            f"got {text!r}"
        ) from None
    return rates[0] if len(rates) == 1 else rates


def loss_for(text: str | None, task: str, target: str) -> Loss:
    """A loss from ``huber``, ``huber:2.0`` or ``quantiles:0.1,0.9``; by default the task's own."""
    if text is None:
        return as_loss("cross_entropy" if task == "classification" else "squared_error")
    name, colon, numbers = text.partition(":")
    loss = as_loss(name)
    if colon:
        parameters = tuple(as_number(number) for number in numbers.split(","))
        if None in parameters:
            raise OptionError(
                f"--loss must have numbers after the colon (such as quantile:0.9), got {text!r}"
            )
        loss = Loss(name, parameters)  # type: ignore[arg-type]
    allowed = CLASS_LOSSES if task == "classification" else _VALUE_LOSSES
    if name not in allowed:
        holds, other = (
            ("classes", "regression") if task == "classification" else ("values", "classification")
        )
        raise OptionError(
            f"--loss must be one of {', '.join(allowed)}, as the target {target!r} holds {holds}, "
            f"got {name!r}; --task {other} treats the target otherwise"
        )
    return loss


def optimizer_for(name: str, **settings: float | None) -> Optimizer:
    """An optimizer from its name; settings that are None stay at its own defaults.

    "momentum" and "nesterov" are SGD with a momentum of 0.9.
    """
    optimizer = _NAMED[name_among("--optimizer", name, _NAMED)]
    given = {key: value for key, value in settings.items() if value is not None}
    return replace(optimizer, **given)  # type: ignore[arg-type]


def schedule_for(name: str) -> Schedule:
    """A schedule from its name, with its own numbers."""
    return SCHEDULES[name_among("--schedule", name, SCHEDULES)]()
