"""Values of options that are more than a number: layer sizes, a loss, an optimizer."""

from __future__ import annotations

from dataclasses import replace

from fastmlp.checks import name_among
from fastmlp.csv_file import as_number
from fastmlp.engine.names import LOSSES, OPTIMIZERS
from fastmlp.errors import OptionError
from fastmlp.losses import Loss, as_loss
from fastmlp.optim import SGD, Adam, AdamW, Optimizer

CLASS_LOSSES = ("cross_entropy", "binary_cross_entropy")
_VALUE_LOSSES = tuple(name for name in LOSSES if name not in CLASS_LOSSES)
_MOMENTUM = 0.9


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
    """A loss from ``huber`` or ``huber:2.0``; by default the usual one of the task."""
    if text is None:
        return as_loss("cross_entropy" if task == "classification" else "squared_error")
    name, colon, number = text.partition(":")
    loss = as_loss(name)
    if colon:
        parameter = as_number(number)
        if parameter is None:
            raise OptionError(
                f"--loss must have a number after the colon (such as quantile:0.9), got {text!r}"
            )
        loss = Loss(name, parameter)
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


def optimizer_for(name: str, lr: float | None) -> Optimizer:
    """An optimizer from the name of its update rule; its own learning rate where `lr` is None.

    "momentum" and "nesterov" are SGD with a momentum of 0.9.
    """
    by_rule: dict[str, Optimizer] = {
        "sgd": SGD(),
        "momentum": SGD(momentum=_MOMENTUM),
        "nesterov": SGD(momentum=_MOMENTUM, nesterov=True),
        "adam": Adam(),
        "adamw": AdamW(),
    }
    optimizer = by_rule[name_among("--optimizer", name, OPTIMIZERS)]
    return optimizer if lr is None else replace(optimizer, lr=lr)
