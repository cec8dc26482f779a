"""Losses and scores of mean predictions, by the kernels and the scoring of a single network.

A mean is turned into the raw outputs of which a network would make it; a network that passes its
inputs through has the loss of these.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from fastmlp.data.inputs import Dataset, check_inputs
from fastmlp.data.targets import LearningTask, make_dataset
from fastmlp.ensemble.answers import Asked, Members
from fastmlp.ensemble.combine import Mean, raw_outputs
from fastmlp.ensemble.members import Agreed
from fastmlp.model.datasets import in_place
from fastmlp.model.network import Network
from fastmlp.spec.losses import Loss
from fastmlp.spec.network import NetworkSpec
from fastmlp.training import metrics
from fastmlp.training.scoring import as_metrics

_DTYPE = "float64"  # of means
# Work of members on a block, as in training/metrics.py.
_BLOCK_FLOP = 2e9
_MIN_ROWS, _MAX_ROWS = 256, 65536

_WHERE_LOSSES_DIFFER: dict[LearningTask, str] = {
    "multiclass": "cross_entropy",
    "binary": "binary_cross_entropy",
    "multilabel": "binary_cross_entropy",
    "regression": "squared_error",
}


class Judge:
    """The loss by which the mean of networks is judged, and data as it takes them.

    Attributes
    ----------
    loss : Loss
        That of all networks; where they have several, cross-entropy or the squared error.
    """

    def __init__(self, networks: Sequence[Network], agreed: Agreed) -> None:
        self.task, self._classes = agreed.task, agreed.classes
        losses = {network.loss for network in networks}
        is_one = len(losses) == 1
        self.loss = networks[0].loss if is_one else Loss(_WHERE_LOSSES_DIFFER[agreed.task])
        n_raw = networks[0].sizes[-1] if is_one else agreed.n_values - (agreed.task == "binary")
        self._n_raw = n_raw
        self._spec = NetworkSpec.make(sizes=[agreed.n_inputs, n_raw], loss=self.loss, dtype=_DTYPE)
        self._passes = Network([n_raw, n_raw], loss=self.loss, dtype=_DTYPE, init=[np.eye(n_raw)])

    def dataset(self, X: Any, y: Any, sample_weight: Any, narrowest: NetworkSpec) -> Dataset:
        """Checked data; `narrowest`: what X must fit. Raises as `Network.evaluate`."""
        X = in_place(self._passes, X)
        data, _ = make_dataset(self._spec, self.task, X, y, sample_weight, self._classes)
        check_inputs(data.X, narrowest.dtype, "X", narrowest.embeddings)
        return data

    def rows_of(self, X: np.ndarray, y: Any, sample_weight: Any, rows: np.ndarray) -> Dataset:
        """Labels, targets and weights of some rows, whose X is not looked at; of X as many rows."""
        data, _ = make_dataset(self._spec, self.task, X, y, sample_weight, self._classes)
        answers = replace(data, chosen=rows).answers()
        return replace(answers, X=np.broadcast_to(X[:1], (len(rows), X.shape[1])), chosen=None)

    def scoring(self, given: Any) -> metrics.Scoring:
        """What to compute, from a user's `metrics`."""
        chosen = as_metrics(given, self.task, self.loss, self._n_raw)
        return metrics.Scoring(self.task, chosen, self._classes)

    def of_mean(
        self, mean: np.ndarray, data: Dataset, scoring: metrics.Scoring
    ) -> dict[str, float]:
        """Loss and scores of averaged moments (rows, V) of all rows of `data`."""
        return self._evaluate(lambda X: mean, len(data.X), data, scoring)

    def of_members(
        self, members: Members, mean: Mean, data: Dataset, scoring: metrics.Scoring
    ) -> dict[str, float]:
        """The same of members, asked a block of rows at a time."""
        convert, n_columns = members.moments
        asked = Asked(members, mean, members.spec_of(n_columns), convert)
        n_parameters = sum(network.n_parameters for network in members.networks)
        step = min(max(int(_BLOCK_FLOP / (4 * n_parameters)), _MIN_ROWS), _MAX_ROWS)
        return self._evaluate(asked.predict, step, data, scoring)

    def _evaluate(
        self,
        moments: Callable[[np.ndarray], np.ndarray],
        step: int,
        data: Dataset,
        scoring: metrics.Scoring,
    ) -> dict[str, float]:
        engine = _AsEngine(self.task, self.loss, self._passes, moments, step)
        found = metrics.evaluate(engine, data, scoring)
        assert found is not None  # only a time limit gives None
        return found


class _AsEngine:
    """What `metrics.evaluate` asks of an engine."""

    def __init__(
        self,
        task: LearningTask,
        loss: Loss,
        passes: Network,
        moments: Callable[[np.ndarray], np.ndarray],
        step: int,
    ) -> None:
        self.spec, self.evaluation_rows = passes.spec, step
        self._task, self._loss, self._passes, self._moments = task, loss, passes, moments

    def predict(self, X: np.ndarray) -> np.ndarray:
        return raw_outputs(self._task, self._loss, self._moments(X))

    def evaluate_rows(self, data: Dataset, wants_outputs: bool) -> tuple[float, np.ndarray]:
        z = self.predict(data.X)
        own = Dataset(np.ascontiguousarray(z), data.labels, data.targets, data.weights)
        # Values may be made of the outputs in their place.
        return self._passes.engine.evaluate(own), z.copy() if wants_outputs else z[:0]
