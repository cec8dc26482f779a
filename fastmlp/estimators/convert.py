"""Fitted estimators from scikit-learn's classes to ours and back."""

from __future__ import annotations

import copy
from typing import Any

from sklearn.base import is_classifier

from fastmlp.estimators import settings
from fastmlp.estimators.hooks import SklearnClassifier, SklearnRegressor
from fastmlp.spec.losses import OF_VALUES

_ACTIVATIONS = ("identity", "logistic", "tanh", "relu")
_SOLVERS = ("lbfgs", "sgd", "adam")
_RATES = ("constant", "invscaling", "adaptive")
# Ours alone, or what a network of ours has in another form.
_NOT_COPIED = ("_network", "_held", "validation_loss_curve_", "evals_result_")


def _theirs(cls_or_estimator: Any) -> Any:
    return SklearnClassifier if is_classifier(cls_or_estimator) else SklearnRegressor


def _learnt(estimator: Any) -> dict[str, Any]:
    params = estimator.get_params(deep=False)
    kept = {k: v for k, v in vars(estimator).items() if k not in params and k not in _NOT_COPIED}
    return copy.deepcopy(kept)


def _obstacles(estimator: Any) -> list[str]:
    """Settings that change what is predicted or trained, and that scikit-learn does not have."""
    found = []
    activation = estimator.activation
    if not isinstance(activation, str) and len(set(activation)) == 1:
        activation = activation[0]
    if activation not in (*_ACTIVATIONS, "sigmoid"):
        found.append(f"activation={estimator.activation!r}")
    loss = estimator.loss
    if not is_classifier(estimator) and estimator._loss.outputs_per_target > 1:
        found.append(f"loss={loss!r}")
    return found


def to_sklearn(estimator: Any) -> Any:
    """Scikit-learn's estimator that predicts what this one does."""
    obstacles = _obstacles(estimator)
    if obstacles:
        raise ValueError(
            "to_sklearn needs settings that scikit-learn's estimator has too, got "
            f"{', '.join(obstacles)}; it knows the activations {', '.join(_ACTIVATIONS)} for all "
            "layers alike and one output a target"
        )
    cls = _theirs(estimator)
    params = {k: getattr(estimator, k) for k in cls().get_params(deep=False)}
    activation = params["activation"]
    if not isinstance(activation, str):
        activation = next(iter(activation), "identity")
    params["activation"] = "logistic" if activation == "sigmoid" else activation
    # How it was trained does not matter to what it predicts: the nearest that is known there.
    if params["solver"] not in _SOLVERS:
        params["solver"] = "adam"
    if params["learning_rate"] not in _RATES:
        params["learning_rate"] = "constant"
    if params["verbose"] == settings.PROGRESS:
        params["verbose"] = True
    if "loss" in params and params["loss"] not in settings.LOSSES_OF_SKLEARN:
        params["loss"] = OF_VALUES
    other = cls(**params)
    vars(other).update(_learnt(estimator))
    # Its momenta are scikit-learn's own objects: without them it makes new ones.
    vars(other).pop("_optimizer", None)
    return other


def from_sklearn(cls: Any, estimator: Any) -> Any:
    """An estimator of `cls` that predicts what scikit-learn's does."""
    theirs = _theirs(cls())
    if type(estimator) is not theirs:
        raise TypeError(
            f"from_sklearn of {cls.__name__} needs an sklearn.neural_network.{theirs.__name__}, "
            f"got {type(estimator).__name__}"
        )
    other = cls(**estimator.get_params(deep=False))
    vars(other).update(_learnt(estimator))
    vars(other).pop("_optimizer", None)
    return other
