"""What members predict for rows that they never saw, and how good that is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from fastmlp.data.inputs import as_table
from fastmlp.ensemble.answers import Members
from fastmlp.ensemble.combine import Mean
from fastmlp.ensemble.members import Agreed, is_trained
from fastmlp.ensemble.rows import Share
from fastmlp.ensemble.scores import Judge
from fastmlp.model.network import Network

# Rows that are copied from the table at a time.
_BLOCK_BYTES = 16 * 1024 * 1024
_ONE = Mean(np.ones(1))


@dataclass(frozen=True)
class HeldOut:
    """Means over the members that did not see a row.

    rows: (m,) numbers of the rows that some member did not see, ascending; mean: (m, V) float64 of
    what is predicted for them; scores: loss and scores of it, none where all weights are 0.
    """

    rows: np.ndarray
    mean: np.ndarray
    scores: dict[str, float]


def held_out(
    networks: Sequence[Network],
    weights: np.ndarray,
    agreed: Agreed,
    shares: Sequence[Share],
    X: Any,
    y: Any,
    sample_weight: Any,
) -> HeldOut | None:
    """Of trained members on the table that they were trained on; None where there is nothing.

    weights: of the members in a mean; members of weight 0 are left out.
    """
    table, _ = as_table(X, agreed.n_inputs)
    counted = [
        (network, weight, share)
        for network, weight, share in zip(networks, weights, shares, strict=True)
        if weight > 0.0 and is_trained(network)  # or its turn did not come before all was ended
    ]
    if not counted:
        return None
    networks = [network for network, _, _ in counted]
    convert, n_columns = Members(networks, agreed).moments
    sums, weight_sums = np.zeros((len(table), n_columns)), np.zeros(len(table))
    step = max(1, _BLOCK_BYTES // (table.itemsize * table.shape[1]))
    for network, weight, share in counted:
        rows, alone = np.unique(share.held_out), Members([network], agreed)
        for start in range(0, len(rows), step):
            block = rows[start : start + step]
            found = alone.ask(table[block], _ONE, n_columns, lambda means: means, None, convert)
            sums[block] += weight * found
            weight_sums[block] += weight
    rows = np.flatnonzero(weight_sums)
    if not len(rows):
        return None
    moments = sums[rows] / weight_sums[rows, None]
    if isinstance(sample_weight, list) and any(np.ndim(part) > 0 for part in sample_weight):
        sample_weight = None  # each member has weights of its own
    judge = Judge(networks, agreed)
    data = judge.rows_of(table, y, sample_weight, rows)
    are_weighted = data.weights is None or data.weights.any()
    scores = judge.of_mean(moments, data, judge.scoring(None)) if are_weighted else {}
    return HeldOut(rows, moments[:, : agreed.n_values], scores)
