"""What every peer is given: a network, its first weights, data and an optimizer."""

from __future__ import annotations

import itertools
from dataclasses import asdict, dataclass
from typing import Any, Protocol

import numpy as np

from benchmarks.cases import Case
from benchmarks.failed import Failed


@dataclass(frozen=True)
class Problem:
    """A training of `n_steps` minibatches an epoch, the same for every peer."""

    case: Case
    n_steps: int
    dtype: str
    optimizer: str
    activation: str
    lr: float
    eps: float  # of Adam

    def parameters(self) -> tuple[list[np.ndarray], list[np.ndarray]]:
        """First weights (in, out) and biases (out,) of every layer."""
        rng = np.random.default_rng(1)
        weights = [
            (rng.standard_normal((n_in, n_out)) * np.sqrt(2.0 / n_in)).astype(self.dtype)
            for n_in, n_out in itertools.pairwise(self.case.sizes)
        ]
        biases = [(0.01 * rng.standard_normal(w.shape[1])).astype(self.dtype) for w in weights]
        return weights, biases

    def data(self) -> tuple[np.ndarray, np.ndarray]:
        """Rows (n_steps batch, inputs) and classes or values (n_steps batch,)."""
        return self.case.data(self.n_steps, self.dtype)

    @property
    def is_classes(self) -> bool:
        return self.case.loss == "cross_entropy"

    def as_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, given: dict[str, Any]) -> Problem:
        case = Case(
            given["case"]["name"], tuple(given["case"]["sizes"]), given["case"]["batch_size"]
        )
        return cls(**{**given, "case": case})


class Peer(Protocol):
    """A library at work on a problem."""

    def train(self, n_epochs: int, shuffle: bool) -> list[float]:
        """The mean loss over the steps of each epoch, every loss taken before its update.

        With `shuffle` the minibatches of each epoch are drawn anew and gathered from the table,
        else they are the rows in their order.
        """


class NotHereError(Failed):
    """Why a peer takes no part, in one sentence."""
