"""Settings of the estimators: what is allowed, and what they are to a network and an optimizer."""

from __future__ import annotations

import dataclasses
import math
from numbers import Integral, Real
from typing import Any

import numpy as np
from sklearn.utils._param_validation import Interval, StrOptions

from fastmlp.data.targets import balanced
from fastmlp.names import ACTIVATIONS
from fastmlp.optim import BY_NAME, LBFGS, SGD, Adam, Optimizer, as_optimizer
from fastmlp.optim.base import OPTIMIZER_SETTINGS
from fastmlp.schedules.plateau import ReduceOnPlateau
from fastmlp.spec import losses
from fastmlp.spec.allowed import DTYPES
from fastmlp.spec.loss_table import TABLE
from fastmlp.spec.losses import Loss
from fastmlp.spec.network import NETWORK_SETTINGS
from fastmlp.training.lbfgsb import trouble
from fastmlp.training.options import FIT_SETTINGS, ON_DIVERGENCE, ROLLBACK

# Scikit-learn's names for what has another one here.
_ACTIVATIONS = {"logistic": "sigmoid"}
_LOG_LOSS = "log_loss"
LOSSES_OF_SKLEARN = {kind.sklearn.name for kind in TABLE.values() if kind.sklearn is not None}
_OF_VALUES = [kind for kind in TABLE.values() if kind.targets == "values"]
# Scikit-learn's interface has no room for deviations.
_LOSSES_OF_VALUES = [kind.name for kind in _OF_VALUES if kind.deviations is None]
_LOSSES_OF_NETWORKS = [kind.name for kind in _OF_VALUES if kind.deviations is not None]
# Those without a name of scikit-learn's.
_LOSSES_OF_CLASSES = [
    kind.name for kind in TABLE.values() if kind.targets == "classes" and kind.sklearn is None
]
PROGRESS = "progress"

COMMON: dict[str, list[Any]] = {
    "activation": [StrOptions({*ACTIVATIONS, *_ACTIVATIONS}), list, tuple],
    "solver": [StrOptions({"sgd", *BY_NAME}), Optimizer],
    "learning_rate": [StrOptions({"constant", "invscaling", "adaptive"}), callable],
    "verbose": ["verbose", StrOptions({PROGRESS})],
    "dtype": [StrOptions(set(DTYPES)), None],
    "device": [str],
    "n_threads": [Interval(Integral, 1, None, closed="left"), None],
    "dropout": [Interval(Real, 0, 1, closed="left"), list, tuple],
    "clip_norm": [Interval(Real, 0, None, closed="neither"), None],
    "ema": [Interval(Real, 0, 1, closed="neither"), None],
    "callbacks": [list, tuple, None],
    "max_time_s": [Interval(Real, 0, None, closed="neither"), None],
    "on_divergence": [StrOptions(set(ON_DIVERGENCE))],
}
OF_CLASSES: dict[str, list[Any]] = {
    "loss": [StrOptions({_LOG_LOSS, *_LOSSES_OF_CLASSES}), Loss],
    "label_smoothing": [Interval(Real, 0, 1, closed="left")],
    "class_weight": [dict, StrOptions({"balanced"}), None],
}
OF_VALUES: dict[str, list[Any]] = {"loss": [StrOptions(set(_LOSSES_OF_VALUES)), Loss]}
# The values with which scikit-learn's own estimator does the same.
DEFAULTS: dict[str, Any] = {
    "dtype": None, "callbacks": None, "label_smoothing": 0.0, "class_weight": None,
    **{name: NETWORK_SETTINGS[name].default for name in ("device", "n_threads", "dropout")},
    **{name: OPTIMIZER_SETTINGS[name].default for name in ("clip_norm", "ema")},
    **{name: FIT_SETTINGS[name].default for name in ("max_time_s", "on_divergence")},
}  # fmt: skip


def activations_of(activation: Any) -> Any:
    """As a network takes them: a name, or one for each hidden layer."""
    if isinstance(activation, str):
        return _ACTIVATIONS.get(activation, activation)
    return [_ACTIVATIONS.get(name, name) for name in activation]


def loss_of_classes(loss: Any, label_smoothing: float, out_activation: str) -> Loss:
    """The loss of a classifier, whose output activation says how many classes there are.

    Two classes, or several yes-or-no outputs, are smoothed in their targets instead.
    """
    if out_activation != "softmax":
        if loss != _LOG_LOSS:
            raise ValueError(
                f"loss must be 'log_loss' where y has two classes or several labels, got {loss!r}; "
                "other losses are for three classes or more"
            )
        return Loss("binary_cross_entropy")
    if loss == _LOG_LOSS:
        return losses.cross_entropy(label_smoothing)
    chosen = losses.as_loss(loss)
    if not chosen.is_classes:
        raise ValueError(
            f"loss of MLPClassifier must be a loss of classes, got {chosen}; use "
            "fastmlp.losses.cross_entropy() or focal(), or MLPRegressor"
        )
    if label_smoothing:
        raise ValueError(
            f"label_smoothing goes with loss='log_loss', got {label_smoothing} and loss={chosen}; "
            "use fastmlp.losses.cross_entropy(label_smoothing)"
        )
    return chosen


def loss_of_values(loss: Any) -> Loss:
    """The loss of a regressor."""
    chosen = loss if isinstance(loss, Loss) else Loss(loss)
    if chosen.kind.targets != "values" or chosen.kind.deviations is not None:
        raise ValueError(
            f"loss of MLPRegressor must be one of values, got {chosen}; use one of "
            f"{', '.join(map(repr, _LOSSES_OF_VALUES))} or fastmlp.losses, MLPClassifier for "
            f"classes and fastmlp.Network for {' and '.join(_LOSSES_OF_NETWORKS)}"
        )
    return chosen


def unknown_to_sklearn(estimator: Any, solver: Any, eval_sets: Any) -> list[str]:
    """Names of what was asked for that scikit-learn's own estimator does not have.

    solver: the user's; eval_sets: the data to score, or None.
    """
    found = [name for name, value in DEFAULTS.items() if getattr(estimator, name, value) != value]
    sklearns = {
        "solver": (solver, ("adam", "sgd", "lbfgs")),
        "activation": (estimator.activation, ("identity", "logistic", "tanh", "relu")),
        "learning_rate": (estimator.learning_rate, ("constant", "invscaling", "adaptive")),
        "loss": (estimator.loss, LOSSES_OF_SKLEARN),
    }
    for name, (value, known) in sklearns.items():
        if not isinstance(value, str) or value not in known:
            found.append(name)
    if estimator.verbose == PROGRESS:
        found.append("verbose")
    if eval_sets is not None:
        found.append("data to score")
    return found


def check_learning_rate(learning_rate: Any) -> None:
    """ValueError for a schedule that looks at the results of a fit."""
    if isinstance(learning_rate, ReduceOnPlateau):
        raise ValueError(
            "learning_rate must be a schedule of steps, got ReduceOnPlateau; use "
            "learning_rate='adaptive' with solver='sgd', or fastmlp.Network"
        )


def check_for_lbfgs(estimator: Any, eval_sets: Any) -> None:
    """ValueError for what belongs to solvers with steps."""
    given = {
        "dropout": estimator.dropout if np.any(estimator.dropout) else None,
        "clip_norm": estimator.clip_norm,
        "ema": estimator.ema,
        "callbacks": (trouble() and estimator.callbacks) or None,
        "max_time_s": estimator.max_time_s,
        "on_divergence": ROLLBACK if estimator.on_divergence == ROLLBACK else None,
        "data to score": eval_sets and list(eval_sets.parts),
    }
    wrong = [f"{name}={value!r}" for name, value in given.items() if value is not None]
    if wrong:
        raise ValueError(
            f"solver='lbfgs' has no steps to which {', '.join(wrong)} could apply; leave that "
            "out, or use another solver"
        )


def optimizer_of(estimator: Any) -> Optimizer:
    """The optimizer of an estimator's settings; its learning rate is the first one."""
    solver, lr = estimator.solver, float(estimator.learning_rate_init)
    options = {"clip_norm": estimator.clip_norm, "ema": estimator.ema}
    if isinstance(solver, LBFGS):
        raise ValueError(f"solver must be 'lbfgs' for L-BFGS, got {solver!r}; pass the name")
    if isinstance(solver, Optimizer):
        given = {name: value for name, value in options.items() if value is not None}
        return dataclasses.replace(solver, **given)
    if solver == "sgd":
        # Scikit-learn allows 1, which has no rate of decay; the next number below is as good.
        momentum = min(float(estimator.momentum), math.nextafter(1.0, 0.0))
        nesterov = bool(estimator.nesterovs_momentum) and momentum > 0.0
        return SGD(lr, momentum, nesterov, **options)
    if solver == "adam":
        eps = max(float(estimator.epsilon), 1e-37)  # below, float32 has none
        return Adam(lr, float(estimator.beta_1), float(estimator.beta_2), eps, **options)
    return dataclasses.replace(as_optimizer(solver), lr=lr, **options)


def weights_of_classes(class_weight: Any, codes: np.ndarray, classes: np.ndarray) -> np.ndarray:
    """A factor for each class; codes: the class of each row."""
    if isinstance(class_weight, str):  # "balanced", as the constraints have it
        return balanced(codes, len(classes))
    known = dict(zip(classes.tolist(), range(len(classes)), strict=True))
    factors = np.ones(len(classes))
    for label, factor in class_weight.items():
        if label not in known:
            raise ValueError(
                f"class_weight must have labels of y as keys, got {label!r}; "
                f"y has {classes.tolist()}"
            )
        if not (isinstance(factor, Real) and 0.0 <= float(factor) < math.inf):
            raise ValueError(f"class_weight of {label!r} must be a number >= 0, got {factor!r}")
        factors[known[label]] = float(factor)
    return factors
