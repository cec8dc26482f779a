"""Scores of many epochs at once: to the last bit those of one epoch after the other."""

from __future__ import annotations

import numpy as np
import pytest

from fastmlp.data.inputs import Dataset
from fastmlp.spec.losses import Loss, as_loss
from fastmlp.training.epoch_scores import epoch_scores
from fastmlp.training.metrics import R2, Accuracy

CASES = {
    "squared_error": ("regression", 1, 1),
    "huber": ("regression", 3, 3),
    "poisson": ("regression", 9, 9),
    "gaussian_nll": ("regression", 2, 4),
    "quantiles": ("regression", 2, 6),
    "cross_entropy": ("multiclass", 0, 5),
    "soft": ("multiclass", 5, 5),
    "binary": ("binary", 1, 1),
    "multilabel": ("multilabel", 3, 3),
}


def one_by_one(task, loss: Loss, data: Dataset, z: np.ndarray) -> list[float]:
    found = []
    for outputs in z:
        score = R2() if task == "regression" else Accuracy(task)
        score.add(outputs.copy(), data.rows(0, data.n_rows), loss)
        found.append(score.value())
    return found


@pytest.mark.parametrize("n_rows", [1, 2, 7, 8, 9, 129, 1000])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("is_chosen", [False, True])
@pytest.mark.parametrize("case", CASES)
def test_scores(case, is_chosen, weighted, dtype, n_rows):
    task, n_targets, n_outputs = CASES[case]
    rng = np.random.default_rng(n_rows)
    names = {"soft": "cross_entropy", "binary": "binary_cross_entropy"}
    names["multilabel"] = names["binary"]
    loss = as_loss(names.get(case, case if case != "quantiles" else "squared_error"))
    if case == "quantiles":
        from fastmlp.losses import quantiles

        loss = quantiles([0.1, 0.5, 0.9])
    targets = rng.random((n_rows, n_targets)).astype(dtype) if n_targets else None
    if task in ("binary", "multilabel"):
        targets = (targets > 0.5).astype(dtype)
    data = Dataset(
        rng.random((n_rows, 2)).astype(dtype),
        rng.integers(0, 5, n_rows).astype(np.int32) if not n_targets else None,
        targets,
        rng.random(n_rows).astype(dtype) if weighted else None,
        rng.integers(0, n_rows, n_rows) if is_chosen else None,
    )
    z = rng.standard_normal((6, n_rows, n_outputs)).astype(dtype)
    expected = one_by_one(task, loss, data, z)
    assert epoch_scores(task, loss, data)(z.copy()).tolist() == expected
    assert epoch_scores(task, loss, data)(z[:1].copy()).tolist() == expected[:1]


def test_an_output_that_is_constant_in_the_data():
    data = Dataset(np.zeros((3, 1)), None, np.full((3, 1), 2.0), None)
    z = np.array([[[2.0]] * 3, [[1.0]] * 3])
    loss = as_loss("squared_error")
    assert epoch_scores("regression", loss, data)(z.copy()).tolist() == [1.0, 0.0]
