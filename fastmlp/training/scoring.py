"""Metrics by name or function: scikit-learn's scorers, and what each of them is given.

A metric is computed from the outputs of all rows at once, while the default scores of metrics.py
are summed block by block.
"""

from __future__ import annotations

import difflib
import inspect
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from fastmlp.checks import shown
from fastmlp.data.inputs import Dataset
from fastmlp.data.predictions import probabilities
from fastmlp.data.targets import LearningTask
from fastmlp.errors import OptionError, OptionTypeError
from fastmlp.spec.losses import Loss


@dataclass(frozen=True)
class Metric:
    """A number for targets and predictions; make some with `as_metrics`.

    Attributes
    ----------
    name : str
        In the history behind the name of the eval set.
    direction : "min", "max" or None
        Whichever is better; None where only the user knows.
    function : callable
        (y_true, y_pred) -> float.
    settings : dict
        Keyword arguments of the function.
    sign : float
        A factor on its result.
    wants_probabilities : bool
        y_pred are probabilities rather than predictions.
    is_users : bool
        A function of the user's: it gets labels as the user wrote them; a scorer of scikit-learn
        gets the indices of classes, of two the second being the positive one.
    """

    name: str
    direction: str | None
    function: Callable[..., Any]
    settings: dict[str, Any]
    sign: float = 1.0
    wants_probabilities: bool = False
    is_users: bool = False

    def value(self, outputs: Outputs) -> float:
        """The metric of these rows. OptionError where it cannot be computed of them."""
        y_true, y_pred = outputs.pair(self.is_users, self.wants_probabilities)
        settings = dict(self.settings)
        if outputs.weights is not None and _takes(self.function, "sample_weight"):
            settings["sample_weight"] = outputs.weights
        classes = self.wants_probabilities and outputs.task in ("multiclass", "binary")
        if classes and _takes(self.function, "labels"):
            # Or classes that do not occur in these rows would be missed.
            settings["labels"] = np.arange(y_pred.shape[1] if y_pred.ndim == 2 else 2)
        if self.is_users:
            result = self.function(y_true, y_pred, **settings)
        else:
            try:
                result = self.function(y_true, y_pred, **settings)
            except ValueError as error:
                raise OptionError(
                    f"the metric {self.name!r} must fit the targets and the predictions, "
                    f"got: {error}; choose another"
                ) from error
        if not np.isscalar(result) and np.ndim(result) != 0:
            raise OptionTypeError(
                f"the metric {self.name!r} must give a number, got {shown(result)}"
            )
        try:
            return self.sign * float(result)
        except (TypeError, ValueError):
            raise OptionTypeError(
                f"the metric {self.name!r} must give a number, got {shown(result)}"
            ) from None


class Outputs:
    """Targets and raw outputs of all rows, collected block by block, as metrics see them."""

    def __init__(
        self, task: LearningTask, loss: Loss, data: Dataset, classes: np.ndarray | None
    ) -> None:
        self.task, self._loss, self._data, self._classes = task, loss, data, classes
        self._blocks: list[np.ndarray] = []

    def add(self, z: np.ndarray) -> None:
        """The raw outputs (n, n_outputs) of the next rows."""
        self._blocks.append(z.copy())

    @property
    def weights(self) -> np.ndarray | None:
        """Sample weights (n,) float64, or None."""
        weights = self._data.weights
        return None if weights is None else weights.astype(np.float64)

    def pair(self, is_users: bool, wants_probabilities: bool) -> tuple[np.ndarray, np.ndarray]:
        """y_true and y_pred: labels (or class indices), values in float64, or probabilities.

        Of two classes the probability (n,) of the second; else (n, outputs).
        """
        z = np.concatenate(self._blocks).astype(np.float64)
        labels, targets = self._data.labels, self._data.targets
        if self.task == "regression":
            assert targets is not None
            return _column(targets.astype(np.float64)), _column(self._loss.points(z))
        if self.task == "multiclass":
            if labels is None:  # probabilities
                assert targets is not None
                labels = targets.argmax(axis=1)
            y_true, y_pred = labels, z.argmax(axis=1)
        else:
            assert targets is not None
            wanted, found = (targets > 0.5).astype(np.int64), (z > 0).astype(np.int64)
            y_true, y_pred = (wanted, found) if self.task == "multilabel" else (
                wanted[:, 0], found[:, 0]
            )  # fmt: skip
        if wants_probabilities:
            p = probabilities(self.task, z)
            two = self.task != "multilabel" and p.shape[1] == 2
            return y_true, p[:, 1] if two else p
        if is_users and self._classes is not None and self.task != "multilabel":
            return self._classes[y_true], self._classes[y_pred]
        return y_true, y_pred


def as_metrics(
    metrics: object, task: LearningTask, loss: Loss, n_outputs: int
) -> list[Metric] | None:
    """Metrics from names and functions, and from metrics themselves; None for the default score.

    A name is a scorer's of scikit-learn, with its value and sign: greater is better, so errors
    are negative (``neg_log_loss``). Without its ``neg_`` the name stands for the error itself
    (``log_loss``), where less is better. Raises OptionError or OptionTypeError.

    >>> from fastmlp.losses import Loss
    >>> found = as_metrics(["r2", "mean_absolute_error"], "regression", Loss("huber"), 1)
    >>> [(metric.name, metric.direction) for metric in found]
    [('r2', 'max'), ('mean_absolute_error', 'min')]
    """
    if metrics is None:
        return None
    if isinstance(metrics, str) or not isinstance(metrics, Sequence):
        raise OptionTypeError(
            f"metrics must be a list of names and functions, got {shown(metrics)}; "
            "write metrics=[...]"
        )
    found = [_as_metric(metric, i, task, loss, n_outputs) for i, metric in enumerate(metrics)]
    names = ["loss", *(metric.name for metric in found)]
    for i, name in enumerate(names):
        if name in names[:i]:
            raise OptionError(
                f"metrics must have names that differ from one another and from 'loss', "
                f"got {name!r} again; leave it out"
            )
    return found


def check_metrics(metrics: Sequence[Metric], outputs: Outputs) -> None:
    """Compute each once, before anything is trained, so that one that cannot be is refused."""
    with warnings.catch_warnings():
        # What is ill-defined for an untrained network need not be so later.
        warnings.simplefilter("ignore")
        for metric in metrics:
            metric.value(outputs)


def _as_metric(metric: Any, number: int, task: LearningTask, loss: Loss, n_outputs: int) -> Metric:
    if isinstance(metric, Metric):
        return metric
    if isinstance(metric, str):
        return _scorer(metric, task, loss, n_outputs)
    if not callable(metric) or isinstance(metric, type):
        raise OptionTypeError(
            f"metrics[{number}] must be a name or a function (y_true, y_pred) -> float, "
            f"got {shown(metric)}"
        )
    name = getattr(metric, "__name__", "")
    if not name.isidentifier():
        raise OptionError(
            f"metrics[{number}] must be a function with a name, which its series in the history "
            f"gets, got {shown(metric)}; write it with def"
        )
    return Metric(name, None, metric, {}, is_users=True)


def _scorer(name: str, task: LearningTask, loss: Loss, n_outputs: int) -> Metric:
    # scikit-learn takes a second to import, and few fits need it.
    from sklearn.metrics import get_scorer, get_scorer_names

    known = get_scorer_names()
    plain = [other.removeprefix("neg_") for other in known if other.startswith("neg_")]
    if name not in known and name not in plain:
        near = difflib.get_close_matches(name.lower(), [*known, *plain], n=3, cutoff=0.5)
        meant = f"; did you mean {' or '.join(map(repr, near))}?" if near else ""
        raise OptionError(
            "metrics must be names of scikit-learn's scorers (sklearn.metrics.get_scorer_names()), "
            f"these without their 'neg_', or functions, got {name!r}{meant}"
        )
    falls = name not in known
    scorer = get_scorer(f"neg_{name}" if falls else name)
    methods = scorer._response_method
    wants_probabilities = "predict_proba" in ([methods] if isinstance(methods, str) else methods)
    if wants_probabilities and task == "regression":
        raise OptionError(
            f"the metric {name!r} needs probabilities of classes, got loss={loss.name!r} of "
            "values; use for example 'r2' or 'mean_absolute_error'"
        )
    if scorer._kwargs.get("average") == "binary" and task == "multiclass" and n_outputs > 2:
        # scikit-learn would say so only once a third class occurs.
        raise OptionError(
            f"the metric {name!r} is for two classes, got a network of {n_outputs}; use for "
            f"example '{name}_macro' or '{name}_weighted'"
        )
    return Metric(
        name,
        "min" if falls else "max",
        scorer._score_func,
        dict(scorer._kwargs),
        1.0 if falls else float(scorer._sign),
        wants_probabilities,
    )


def _takes(function: Callable[..., Any], argument: str) -> bool:
    try:
        return argument in inspect.signature(function).parameters
    except ValueError:  # a function of C code that does not say
        return False


def _column(values: np.ndarray) -> np.ndarray:
    return values[:, 0] if values.shape[1] == 1 else values
