"""Default scores of many epochs at once, of the outputs that an engine kept of each.

What does not change from epoch to epoch is found once: of a small network, the scores one by one
took as long as a third of its training. The values are those of metrics.py to the last bit.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from fastmlp.data.inputs import Dataset
from fastmlp.data.targets import LearningTask
from fastmlp.spec.losses import Loss
from fastmlp.training.metrics import R2, answers_of, r2_of, rows_right

Scores = Callable[[np.ndarray], np.ndarray]


def epoch_scores(task: LearningTask, loss: Loss, data: Dataset) -> Scores:
    """A function of raw outputs (epochs, rows of `data`, n_outputs) to their scores (epochs,)."""
    block = data.rows(0, data.n_rows)
    return _r2(loss, block) if task == "regression" else _accuracy(task, loss, block)


def _r2(loss: Loss, block: Dataset) -> Scores:
    assert block.targets is not None
    y = block.targets.astype(np.float64)
    weights = np.ones(len(y)) if block.weights is None else block.weights.astype(np.float64)

    def scores(z: np.ndarray) -> np.ndarray:
        n_epochs, n_rows, n_outputs = z.shape
        predicted = loss.points(z.reshape(-1, n_outputs)).reshape(n_epochs, n_rows, -1)
        # All residuals of an epoch lie together, as they do where there is one.
        return r2_of(weights @ (y - predicted) ** 2, first.spread)

    first = R2()
    first.add(np.zeros((len(y), y.shape[1] * loss.outputs_per_target), np.float32), block, loss)
    return scores


def _accuracy(task: LearningTask, loss: Loss, block: Dataset) -> Scores:
    answers, weight = answers_of(task, block), block.weight_sum

    def scores(z: np.ndarray) -> np.ndarray:
        n_epochs, n_rows, n_outputs = z.shape
        every = np.concatenate([answers] * n_epochs)
        right = rows_right(task, loss, z.reshape(-1, n_outputs), every).reshape(n_epochs, n_rows)
        weights = None if block.weights is None else np.broadcast_to(block.weights, right.shape)
        return np.asarray(np.average(right, axis=1, weights=weights)) * weight / weight

    return scores
