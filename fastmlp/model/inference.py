"""What a model is asked once it is there: predictions, scores, gradients, activations.

Each function is the method of `Network` of its name, where shapes and errors are described.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from fastmlp.data import predictions
from fastmlp.data.gpu_arrays import is_on_gpu, like, refuse_out
from fastmlp.data.inputs import Dataset, as_inputs
from fastmlp.errors import OptionError
from fastmlp.layout.parameters import Parameters
from fastmlp.model.datasets import dataset_for, gpu_engine, in_place
from fastmlp.model.model import Model
from fastmlp.model.outputs import converted_outputs
from fastmlp.training import metrics as scores
from fastmlp.training.scoring import as_metrics


def predict(model: Model, X: Any, out: np.ndarray | None = None) -> Any:
    """Labels or values for the rows of X."""
    task, loss = model.task, model.loss
    classes = None if task == "multilabel" else model.classes_
    return _converted(model, X, lambda z: predictions.predictions(task, loss, z, classes), out)


def predict_proba(model: Model, X: Any, out: np.ndarray | None = None) -> Any:
    """Probabilities in the order of `classes_`."""
    task = model.task
    if task == "regression":
        raise predictions.no_probabilities(model.loss)
    return _converted(model, X, lambda z: predictions.probabilities(task, z), out)


def predict_std(model: Model, X: Any, out: np.ndarray | None = None) -> Any:
    """Standard deviations of a model with a loss of variances."""
    loss = model.loss
    if loss.kind.deviations is None:
        raise OptionError(
            f"predict_std needs a loss of variances, got loss={loss.name!r}; "
            "make the network with loss='gaussian_nll' and two outputs for each target"
        )
    return _converted(model, X, lambda z: predictions.deviations(loss, z), out)


def evaluate(
    model: Model, X: Any, y: Any, sample_weight: Any = None, metrics: Any = None
) -> dict[str, float]:
    """Mean loss and scores."""
    data, classes = dataset_for(model, X, y, sample_weight, model.classes_)
    found = scores.evaluate(model.engine, data, scoring_of(model, metrics, classes))
    assert found is not None  # only a time limit gives None
    if not math.isfinite(found["loss"]):
        _check_size(model, data)
    return found


def scoring_of(model: Model, metrics: Any, classes: np.ndarray | None) -> scores.Scoring:
    """What to compute of data whose labels are `classes`, from a user's `metrics`."""
    chosen = as_metrics(metrics, model.task, model.loss, model.sizes[-1])
    return scores.Scoring(model.task, chosen, classes)


def loss_and_gradients(
    model: Model, X: Any, y: Any, sample_weight: Any = None
) -> tuple[float, list[np.ndarray], list[np.ndarray]]:
    """Mean loss and penalty, and the gradients of weights and biases."""
    loss, gradients = loss_and_all_gradients(model, X, y, sample_weight)
    return loss, gradients.weights, gradients.biases


def loss_and_all_gradients(
    model: Model, X: Any, y: Any, sample_weight: Any = None
) -> tuple[float, Parameters]:
    """Mean loss and penalty, and the gradients of all parameters."""
    data, _ = dataset_for(model, X, y, sample_weight, model.classes_)
    found = model.engine.loss_and_all_gradients(data)
    if not math.isfinite(found[0]):
        _check_size(model, data)
    return found


def _check_size(model: Model, data: Dataset) -> None:
    """Raise DataError where inputs so large that outputs are not finite spoilt a loss."""
    if isinstance(data.X, np.ndarray):
        converted_outputs(model.engine, data.X, lambda z: z[:, 0])


def trace(model: Model, X: Any) -> list[np.ndarray]:
    """What every layer puts out."""
    spec = model.spec
    checked = as_inputs(in_place(model, X), spec.sizes[0], spec.dtype, embeddings=spec.embeddings)
    return model.engine.trace(checked)


def _converted(
    model: Model, X: Any, convert: Callable[[np.ndarray], np.ndarray], out: np.ndarray | None
) -> Any:
    """convert(z) of the raw outputs z of all rows; on the GPU of X where that lies there."""
    if not is_on_gpu(X):
        return converted_outputs(model.engine, X, convert, out)
    refuse_out(out)
    engine = gpu_engine(model, X, "X")
    z = engine.predict(engine.table_on_gpu(X))
    if not predictions.is_finite(z):
        predictions.check_outputs(z, engine.to_host(X, "X"))
    return like(X, convert(z))
