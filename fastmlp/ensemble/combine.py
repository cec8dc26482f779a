"""What members predict, brought together: means, spreads, and the raw outputs that they stand for.

Members' values are float64 arrays (members, rows, values): probabilities of classes, or values in
the units of y. Sums over members are taken one after another, in the members' order, so that
neither threads nor the number of rows change a bit.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from fastmlp.data.predictions import probabilities
from fastmlp.data.targets import LearningTask
from fastmlp.spec.losses import Loss

# Sums of so few elements are taken in one call, which keeps all partial sums.
_FEW_ELEMS = 1 << 12

# values (rows, V) of raw outputs (rows, K), which may be overwritten
Converter = Callable[[LearningTask, Loss, np.ndarray], np.ndarray]


def values_of(task: LearningTask, loss: Loss, z: np.ndarray) -> np.ndarray:
    """Probabilities, or the values that a network of this loss predicts."""
    if task == "regression":
        return loss.values(z).reshape(len(z), -1)
    return probabilities(task, z)


def moments_of(task: LearningTask, loss: Loss, z: np.ndarray) -> np.ndarray:
    """`values_of`; of a loss of variances (rows, 3 targets): means m, variances s^2, and m^2.

    Their means over members are all that is wanted of a mixture.
    """
    deviations = loss.kind.deviations
    if deviations is None:
        return values_of(task, loss, z)
    variances = deviations(z).astype(np.float64) ** 2
    means = loss.values(z).astype(np.float64)
    return np.concatenate([means, variances, means**2], axis=1)


def stacked(
    task: LearningTask,
    losses: Sequence[Loss],
    groups: Sequence[np.ndarray],
    outputs: Sequence[np.ndarray],
    convert: Converter = values_of,
) -> np.ndarray:
    """Values (members, rows, V) from raw outputs (networks of a group, rows, K) of each group.

    groups: the numbers of each group's members; losses: of the members.
    """
    n_rows = outputs[0].shape[1]
    parts = [
        convert(task, losses[numbers[0]], z.reshape(-1, z.shape[2])).reshape(len(z), n_rows, -1)
        for numbers, z in zip(groups, outputs, strict=True)
    ]
    if len(parts) == 1:  # whose members are all of them, in order
        return parts[0]
    values = np.empty((len(losses), *parts[0].shape[1:]))
    for numbers, part in zip(groups, parts, strict=True):
        values[numbers] = part
    return values


def total(values: np.ndarray, weights: np.ndarray | None) -> np.ndarray:
    """sum_m weights_m values_m, (rows, V) float64, in the order of m."""
    if weights is not None:
        values = values * weights[:, None, None]
    if values.size <= _FEW_ELEMS:
        # Not a reduction: NumPy adds a single row's values in another order than several rows'.
        sums: np.ndarray = np.add.accumulate(values, axis=0, dtype=np.float64)[-1]
        return sums
    sums = values[0].astype(np.float64)
    for part in values[1:]:
        sums += part
    return sums


class Mean:
    """Weighted means over members; of equal weights sum / n, without a product.

    weights: (members,) float64, >= 0, some above 0.
    """

    def __init__(self, weights: np.ndarray) -> None:
        are_ones = bool((weights == 1.0).all())
        self._weights = None if are_ones else weights
        self._weight = float(len(weights)) if are_ones else float(np.add.accumulate(weights)[-1])

    def __call__(self, values: np.ndarray) -> np.ndarray:
        """(rows, V) float64 from (members, rows, V)."""
        return total(values, self._weights) / self._weight

    def variance(self, values: np.ndarray, mean: np.ndarray) -> np.ndarray:
        """Of the members' values about their mean, (rows, V): E (v - E v)^2."""
        return self((values - mean) ** 2)

    def spread(self, values: np.ndarray) -> np.ndarray:
        """The standard deviation of the members' values, (rows, V)."""
        return np.sqrt(self.variance(values, self(values)))

    def deviations(self, moments: np.ndarray) -> np.ndarray:
        """The standard deviation (rows, targets) of the mixture of members, from their moments
        (members, rows, 3 targets): E s^2 + E (m - E m)^2, the law of total variance."""
        means, variances, _ = np.split(moments, 3, axis=2)
        return np.sqrt(self(variances) + self.variance(means, self(means)))


def entropy(task: LearningTask, p: np.ndarray) -> np.ndarray:
    """Of probabilities (rows, classes), in nats: (rows, 1), or (rows, outputs) of several yes-or-no
    outputs, one for each."""
    from scipy.special import entr  # takes a tenth of a second to import

    if task == "multilabel":
        return np.asarray(entr(p) + entr(1.0 - p))
    return np.asarray(entr(p).sum(axis=1, keepdims=True))


def raw_outputs(task: LearningTask, loss: Loss, mean: np.ndarray) -> np.ndarray:
    """Raw outputs (rows, K) float64 of which a network of this loss would make averaged moments.

    With them losses and scores take an ensemble for one network.
    """
    if task == "multiclass":
        return _log(mean)
    if task == "binary":
        return _log(mean[:, 1:]) - _log(mean[:, :1])
    if task == "multilabel":
        return _log(mean) - _log(1.0 - mean)
    if loss.kind.deviations is not None:
        means, variances, squares = np.split(mean, 3, axis=1)
        # What members differ by is at least 0, whatever is lost in the difference.
        between = np.maximum(squares - means**2, 0.0)
        return np.concatenate([means, _log(variances + between)], axis=1)
    several = len(loss.suffixes)
    return loss.raw_outputs(mean.reshape(len(mean), -1, several) if several > 1 else mean)


def _log(values: np.ndarray) -> np.ndarray:
    return np.log(np.maximum(values, np.finfo(np.float64).tiny))
