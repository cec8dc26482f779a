"""Loss and score of a network on data, block by block, so that nothing of their size is made."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np

from fastmlp.data.inputs import Dataset
from fastmlp.data.mapped import in_order
from fastmlp.data.predictions import predictions
from fastmlp.data.targets import LearningTask
from fastmlp.errors import OptionError
from fastmlp.spec.losses import Loss
from fastmlp.spec.network import NetworkSpec
from fastmlp.training.scoring import Metric, Outputs, check_metrics

if TYPE_CHECKING:
    from fastmlp.engine import Engine

# A block takes some 20 ms at 100 GFLOP/s: between two, Ctrl-C and max_time_s are heard.
_BLOCK_FLOP = 2e9
_MIN_ROWS, _MAX_ROWS = 256, 65536


def metric_of(task: LearningTask) -> str:
    """The score beside the loss: "accuracy" for classes, "r2" for values."""
    return "r2" if task == "regression" else "accuracy"


@dataclass(frozen=True)
class Scoring:
    """What is found out about data beside the loss.

    metrics: None for the default score; classes: the labels, for metrics that are functions.
    """

    task: LearningTask
    metrics: list[Metric] | None = None
    classes: np.ndarray | None = None

    @property
    def directions(self) -> dict[str, str | None]:
        """The names of all that `evaluate` finds: "min" or "max", whichever is better, or None."""
        if self.metrics is None:
            return {"loss": "min", metric_of(self.task): "max"}
        return {"loss": "min"} | {metric.name: metric.direction for metric in self.metrics}

    def check(self, engine: Engine, data: Dataset) -> None:
        """Raise OptionError or OptionTypeError for a metric that cannot be computed of `data`."""
        if self.metrics:
            outputs = Outputs(self.task, engine.spec.loss, data.answers(), self.classes)
            outputs.add(engine.predict(data.rows(0, data.n_rows).X))
            check_metrics(self.metrics, outputs)


class Evaluator(Protocol):
    """What `evaluate` asks: an engine, or several that answer as one."""

    @property
    def spec(self) -> NetworkSpec:
        """Its loss, and as many parameters as its work is worth."""

    @property
    def evaluation_rows(self) -> int | None:
        """Rows to evaluate at a time; None for as many as take some 20 ms."""

    def predict(self, X: np.ndarray) -> np.ndarray:
        """Raw outputs (n, n_outputs)."""

    def evaluate_rows(self, data: Dataset, wants_outputs: bool) -> tuple[float, np.ndarray]:
        """The mean loss, and where they are wanted the raw outputs, else none of them."""


def evaluate(
    engine: Evaluator,
    data: Dataset,
    scoring: Scoring,
    out_of_time: Callable[[], bool] = lambda: False,
    on_failure: Callable[[OptionError], None] | None = None,
) -> dict[str, float] | None:
    """Mean loss (penalties left out) and scores, weighted where there are sample weights.

    The default score is the share of rows whose labels are all right, or R^2, the mean of it over
    the outputs. None once `out_of_time()` says so. A metric that cannot be computed of these
    predictions is nan after `on_failure` was told, and raises OptionError where there is none.
    """
    n_rows, loss, step = data.n_rows, engine.spec.loss, _block_rows(engine)
    wants_outputs = scoring.metrics is None or bool(scoring.metrics)
    score = R2() if scoring.task == "regression" else Accuracy(scoring.task)
    answers = data.answers() if scoring.metrics else data
    outputs = Outputs(scoring.task, loss, answers, scoring.classes)
    loss_sum = weight_sum = 0.0
    mapped = () if data.chosen is not None else (data.X, data.targets, data.weights)
    for start in in_order(mapped, n_rows, step):
        if out_of_time():
            return None
        block = data.rows(start, start + step)
        weight = block.weight_sum
        if weight > 0.0:  # or its weighted mean would be 0 / 0
            mean, z = engine.evaluate_rows(block, wants_outputs)
            loss_sum += weight * mean
            weight_sum += weight
        if scoring.metrics:
            outputs.add(z if weight > 0.0 else engine.predict(block.X))
        elif wants_outputs and weight > 0.0:
            score.add(z, block, loss)
    found = {"loss": loss_sum / weight_sum}
    if scoring.metrics is None:
        return found | {metric_of(scoring.task): score.value()}
    for metric in scoring.metrics:
        try:
            found[metric.name] = metric.value(outputs)
        except OptionError as error:
            if on_failure is None:
                raise
            on_failure(error)
            found[metric.name] = math.nan
    return found


def _block_rows(engine: Evaluator) -> int:
    step = int(_BLOCK_FLOP / (4 * engine.spec.n_parameters))
    return engine.evaluation_rows or min(max(step, _MIN_ROWS), _MAX_ROWS)


def is_one_block(engine: Engine, data: Dataset) -> bool:
    """Whether `evaluate` takes all rows at once, and their weights are not all 0."""
    return data.n_rows <= _block_rows(engine) and data.weight_sum > 0.0


class Accuracy:
    """The weighted share of rows that are right, in every label where there are several."""

    def __init__(self, task: LearningTask) -> None:
        self._task: LearningTask = task
        self._right = self._all = 0.0

    def add(self, z: np.ndarray, block: Dataset, loss: Loss) -> None:
        """Count a block with raw outputs `z` (n, n_outputs)."""
        right, weight = (
            rows_right(self._task, loss, z, answers_of(self._task, block)),
            block.weight_sum,
        )
        self._right += float(np.average(right, weights=block.weights)) * weight
        self._all += weight

    def value(self) -> float:
        return self._right / self._all


def answers_of(task: LearningTask, data: Dataset) -> np.ndarray:
    """Labels (n,), or of several labels a row which of them it has (n, labels)."""
    if data.labels is not None:
        return data.labels
    assert data.targets is not None
    if task == "multiclass":  # probabilities
        return np.asarray(data.targets.argmax(axis=1))
    return data.targets > 0.5


def rows_right(task: LearningTask, loss: Loss, z: np.ndarray, answers: np.ndarray) -> np.ndarray:
    """Whether each row of raw outputs `z` (n, n_outputs) says all of its answer."""
    predicted = predictions(task, loss, z, None)
    if answers.ndim == 1:
        return np.asarray(predicted == answers)
    return np.asarray((predicted.reshape(answers.shape) == answers).all(axis=1))


class R2:
    """1 - sum w (y - p)^2 / sum w (y - mean y)^2, the mean over outputs, as in scikit-learn.

    An output that is constant in the data scores 1 where it is met exactly, else 0.
    """

    def __init__(self) -> None:
        self._weight = 0.0
        self._mean: np.ndarray | float = 0.0
        self._spread: np.ndarray | float = 0.0
        self._residual: np.ndarray | float = 0.0

    def add(self, z: np.ndarray, block: Dataset, loss: Loss) -> None:
        """Count a block with raw outputs `z` (n, n_outputs)."""
        assert block.targets is not None
        y = block.targets.astype(np.float64)
        predicted = loss.points(z)
        weights = np.ones(len(y)) if block.weights is None else block.weights.astype(np.float64)
        weight, weight_before = float(weights.sum()), self._weight
        mean = weights @ y / weight
        self._residual = self._residual + weights @ (y - predicted) ** 2
        # Two sets' squared deviations from their common mean (Chan, Golub and LeVeque, 1983).
        apart = (mean - self._mean) ** 2 * weight * weight_before / (weight + weight_before)
        self._spread = self._spread + weights @ (y - mean) ** 2 + apart
        self._weight += weight
        self._mean = self._mean + (mean - self._mean) * weight / self._weight

    def value(self) -> float:
        return float(r2_of(np.asarray(self._residual), self.spread))

    @property
    def spread(self) -> np.ndarray:
        """Weighted squares of what each output is apart from its mean (outputs,)."""
        return np.asarray(self._spread)


def r2_of(residual: np.ndarray, spread: np.ndarray) -> np.ndarray:
    """The score of sums of squares (..., outputs), of each of the leading axes."""
    without_spread = np.where(residual == 0.0, 1.0, 0.0)
    with np.errstate(divide="ignore", invalid="ignore"):
        ratios = np.where(spread > 0.0, 1.0 - residual / spread, without_spread)
    return np.asarray(ratios.mean(axis=-1))
