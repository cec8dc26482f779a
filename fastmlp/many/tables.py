"""The table of many networks: checked and encoded once for all that read it alike."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from fastmlp.data.inputs import Dataset, as_table
from fastmlp.errors import DataError
from fastmlp.model.datasets import dataset_for
from fastmlp.model.network import Network


class SharedTable:
    """X, and what networks make of it and of their y; nothing is made twice.

    The arrays that a `Dataset` has for a network are those of every other one whose y, weights,
    loss and dtype are the same: a thousand networks keep one copy of the encoded labels.
    """

    def __init__(self, X: Any, n_features: int) -> None:
        self.X, _ = as_table(X, n_features)
        self._known: dict[tuple[Any, ...], tuple[Dataset, np.ndarray | None]] = {}
        self._given: list[Any] = []  # keeps the arrays alive whose `id` is a key

    @property
    def n_rows(self) -> int:
        return len(self.X)

    def dataset(
        self, network: Network, y: Any, weights: Any, rows: np.ndarray | None
    ) -> tuple[Dataset, np.ndarray | None]:
        """What a network trains on, and its classes; raises as `Network.fit`."""
        spec, known = network.spec, network.classes_
        key = (
            id(y), id(weights), spec.sizes[0], spec.sizes[-1], spec.dtype, spec.loss,
            spec.embeddings, network.task, None if known is None else tuple(known.tolist()),
        )  # fmt: skip
        if key not in self._known:
            self._known[key] = dataset_for(network, self.X, y, weights, known)
            self._given += [y, weights]
        data, classes = self._known[key]
        if rows is None:
            return data, classes
        chosen = replace(data, chosen=rows)
        if data.weights is not None and not data.weights[rows].any():
            raise DataError("sample_weight must be above 0 in one of the rows, got zeros alone")
        return chosen, classes
