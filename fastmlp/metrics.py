"""Loss and score of a network on data, block by block, so that nothing of their size is made."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from fastmlp.data import Dataset
from fastmlp.losses import Loss
from fastmlp.targets import Task, predictions

if TYPE_CHECKING:
    from fastmlp.engine.cpu import CpuEngine

# A block takes some 20 ms at 100 GFLOP/s: between two, Ctrl-C and max_time_s are heard.
_BLOCK_FLOP = 2e9
_MIN_ROWS, _MAX_ROWS = 256, 65536


def metric_of(task: Task) -> str:
    """The score beside the loss: "accuracy" for classes, "r2" for values."""
    return "r2" if task == "regression" else "accuracy"


def evaluate(
    engine: CpuEngine,
    data: Dataset,
    task: Task,
    out_of_time: Callable[[], bool] = lambda: False,
) -> dict[str, float] | None:
    """Mean loss (penalties left out) and score, both weighted where there are sample weights.

    The score is the share of rows whose labels are all right, or R^2, the mean of it over the
    outputs. None once `out_of_time()` says so.
    """
    n_rows = len(data.X)
    step = int(_BLOCK_FLOP / (4 * engine.spec.n_parameters))
    step = min(max(step, _MIN_ROWS), _MAX_ROWS)
    score = R2() if task == "regression" else Accuracy(task)
    loss_sum = weight_sum = 0.0
    for start in range(0, n_rows, step):
        if out_of_time():
            return None
        block = data.rows(start, start + step)
        weight = _total(block)
        if weight == 0.0:
            continue  # its weighted mean would be 0 / 0
        loss_sum += weight * engine.evaluate(block)
        weight_sum += weight
        score.add(engine.predict(block.X), block, engine.spec.loss)
    return {"loss": loss_sum / weight_sum, metric_of(task): score.value()}


class Accuracy:
    """The weighted share of rows that are right, in every label where there are several."""

    def __init__(self, task: Task) -> None:
        self._task: Task = task
        self._right = self._all = 0.0

    def add(self, z: np.ndarray, block: Dataset, loss: Loss) -> None:
        """Count a block with raw outputs `z` (n, n_outputs)."""
        predicted = predictions(self._task, loss, z, None)
        if block.labels is not None:
            right = predicted == block.labels
        elif self._task == "multiclass":  # probabilities
            assert block.targets is not None
            right = predicted == block.targets.argmax(axis=1)
        else:
            assert block.targets is not None
            wanted = block.targets > 0.5
            right = (predicted.reshape(wanted.shape) == wanted).all(axis=1)
        weight = _total(block)
        self._right += float(np.average(right, weights=block.weights)) * weight
        self._all += weight

    def value(self) -> float:
        return self._right / self._all


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
        residual, spread = np.asarray(self._residual), np.asarray(self._spread)
        without_spread = np.where(residual == 0.0, 1.0, 0.0)
        with np.errstate(divide="ignore", invalid="ignore"):
            return float(np.where(spread > 0.0, 1.0 - residual / spread, without_spread).mean())


def _total(block: Dataset) -> float:
    return float(len(block.X) if block.weights is None else block.weights.sum(dtype=np.float64))
