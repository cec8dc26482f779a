"""All that a model has learnt as the plain values and arrays of a file, and back."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from fastmlp.engine import OptimizerState
from fastmlp.history import History
from fastmlp.model.file import ModelState
from fastmlp.model.parameters import checked_parameters, checked_running
from fastmlp.optim import LBFGS, Optimizer, optimizer_from_dict
from fastmlp.training.counters import Counters

if TYPE_CHECKING:
    from fastmlp.engine import Engine


def content_of(
    engine: Engine,
    counters: Counters,
    optimizer: Optimizer | None,
    classes: np.ndarray | None,
    extra: dict[str, Any],
    history: History | None = None,
) -> ModelState:
    """What a file holds of a model on this engine: copies, but for `classes` and `extra`."""
    optimizer_state = engine.get_optimizer_state()
    slots = optimizer_state.slots
    if optimizer is not None and optimizer.ema is not None:
        # The parameters proper are the averages; training goes on from these.
        slots = [*slots, engine.get_training_parameters()]
    values = {
        "spec": engine.spec.to_dict(),
        "n_epochs": counters.n_epochs,
        "n_steps": counters.n_steps,
        "optimizer": None if optimizer is None else optimizer.to_dict(),
        "optimizer_steps": optimizer_state.n_steps,
        "optimizer_rate": optimizer_state.last_rate,
        "extra": extra,
        "history": None if history is None else history.to_dict(),
    }
    return ModelState(values, engine.parameters(), classes, slots, engine.get_running())


def counters_in(content: ModelState) -> Counters:
    """How far the model had been trained."""
    return Counters(content.values["n_epochs"], content.values["n_steps"])


def classes_in(content: ModelState, n_classes: int) -> np.ndarray | None:
    """The class labels; ValueError where there are others than `n_classes`."""
    classes = content.classes
    if classes is not None and classes.shape != (n_classes,):
        raise ValueError(f"{classes.shape} classes for {n_classes}")
    return classes


def carry(content: ModelState, engine: Engine) -> Optimizer | None:
    """Give an engine all parameters and states of a content; returns the optimizer.

    The engine's spec is the content's, the device apart. ValueError, or an error of
    `checked_parameters`, where the arrays are not those of such a network.
    """
    values, spec = content.values, engine.spec
    engine.set_all_parameters(checked_parameters(spec, content.parameters))
    engine.set_running(checked_running(spec, content.running))
    if values["optimizer"] is None:
        return None
    optimizer = optimizer_from_dict(values["optimizer"])
    averaged = optimizer.ema is not None
    if len(content.slots) != optimizer.n_states + averaged:
        raise ValueError(f"{len(content.slots)} state arrays of {optimizer.rule}")
    if isinstance(optimizer, LBFGS):
        return optimizer
    slots = [
        checked_parameters(spec, slot, prefix=f"optimizer.slot{i}.")
        for i, slot in enumerate(content.slots)
    ]
    n_steps = content.values["optimizer_steps"]
    training = slots.pop() if averaged else None
    # Files written before do not have it.
    last_rate = float(values.get("optimizer_rate", 0.0))
    engine.set_optimizer_state(OptimizerState(optimizer.rule, n_steps, slots, last_rate))
    engine.set_optimizer(optimizer.rule, optimizer.hyper, optimizer.options)
    if training is not None:
        engine.set_training_parameters(training)
    return optimizer
