"""Settings that depend on the data, where the user gives none.

They were chosen by their mean test score over 60 to 100 seeds on the five bundled data sets, all
settings alike for all five; `make defaults` measures them again.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from fastmlp.model.network import Network
from fastmlp.spec.losses import Loss

PATIENCE = 20

_L2_TIMES_ROWS = 3.0
_STEPS_PER_EPOCH = 50
_BATCH_SIZES = (32, 256)
_LEAST_SHARE = 1e-6


def default_l2(n_rows: int) -> float:
    """The penalty for `n_rows` rows to train on.

    A Gaussian prior on the weights adds a term to the sum of the losses that does not depend on
    the number of rows; to their mean it adds that term divided by the rows.
    """
    return _L2_TIMES_ROWS / n_rows


def default_batch_size(n_rows: int) -> int:
    """A power of two that makes about 50 steps an epoch, within 32 and 256."""
    size = 2 ** round(math.log2(max(1.0, n_rows / _STEPS_PER_EPOCH)))
    return int(np.clip(size, *_BATCH_SIZES))


def can_be_shifted(loss: Loss) -> bool:
    """Whether a target may be standardised for `loss`.

    A target that the loss takes within limits alone, as a count, cannot be shifted.
    """
    return not loss.kind.is_limited


def start_at_constant(network: Network, y: np.ndarray, class_weight: Any = None) -> None:
    """Set the output layer so that every row is first given the best constant prediction.

    Drawn output weights would make the untrained network a random function as large as the
    target, which small data must first unlearn: on diabetes it costs 0.12 of R^2. Weights of zero
    learn from the first step on, as the layers below are random; the biases are the constant.
    `class_weight`: as `Network.fit` has it.
    """
    weights, biases = network.get_parameters()
    weights[-1][:] = 0.0
    biases[-1][:] = _constant(network, y, class_weight)
    network.set_parameters(weights, biases)


def _constant(network: Network, y: np.ndarray, class_weight: Any) -> np.ndarray | float:
    """The raw output, the same for all rows, of the least loss on `y` (or near it)."""
    if network.task == "regression":
        return network.loss.kind.start(y, network.loss.parameters)
    classes, n_rows = np.unique(y, return_counts=True)
    counts = n_rows.astype(np.float64)
    if isinstance(class_weight, str):
        counts = np.ones(len(classes))
    elif class_weight is not None:
        counts = counts * np.array([class_weight.get(label, 1.0) for label in classes.tolist()])
    # A weight of 0 leaves a class out of the loss; its logarithm is still a bias.
    log_shares = np.log(np.maximum(counts / (counts.sum() or 1.0), _LEAST_SHARE))
    return float(log_shares[1] - log_shares[0]) if network.task == "binary" else log_shares
