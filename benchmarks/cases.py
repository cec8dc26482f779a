"""The networks that are measured: layer sizes and batch, and data for them."""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Case:
    """A network and its minibatch; one output is trained as a regression, more as classes."""

    name: str
    sizes: tuple[int, ...]
    batch_size: int

    @property
    def flops_per_step(self) -> int:
        """Of the products: 2 B in out for each of forward, dX (not in the first layer) and dW."""
        return sum(
            2 * self.batch_size * n_in * n_out * (2 if i == 0 else 3)
            for i, (n_in, n_out) in enumerate(itertools.pairwise(self.sizes))
        )

    @property
    def loss(self) -> str:
        return "cross_entropy" if self.sizes[-1] > 1 else "squared_error"

    def data(self, n_steps: int, dtype: str = "float32") -> tuple[np.ndarray, np.ndarray]:
        """Random rows and targets for `n_steps` minibatches."""
        rng = np.random.default_rng(0)
        n_rows = self.batch_size * n_steps
        X = rng.standard_normal((n_rows, self.sizes[0])).astype(dtype)
        if self.loss == "cross_entropy":
            # Every class occurs, where there are rows enough: libraries tell classes by the data.
            return X, rng.permutation(np.arange(n_rows) % self.sizes[-1])
        return X, rng.standard_normal(n_rows).astype(dtype)


CASES = {
    case.name: case
    for case in (
        Case("tiny", (4, 32, 32, 1), 32),
        Case("small", (20, 64, 64, 3), 128),
        Case("mnist", (784, 128, 10), 64),
        Case("mnist2", (784, 256, 128, 10), 128),
        Case("tab", (64, 256, 256, 256, 2), 256),
        Case("large", (1024, 1024, 1024, 10), 512),
        Case("xl", (2048, 2048, 2048, 2048), 1024),
    )
}
