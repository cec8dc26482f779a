"""Mean and standard deviation of columns that come in blocks of rows."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from fastmlp.errors import TableError


class Moments:
    """Running number of values, mean and sum of squared deviations of each column.

    Blocks are merged as Chan, Golub and LeVeque do (Updating formulae and a pairwise algorithm for
    computing sample variances, 1979), so that no difference of large sums is ever taken.

    >>> moments = Moments(1)
    >>> for block in ([[1.0], [2.0]], [[np.nan], [6.0]]):
    ...     moments.add(np.array(block))
    >>> moments.count, moments.mean, moments.deviation()
    (array([3]), array([3.]), array([2.1602469]))
    """

    def __init__(self, n_columns: int) -> None:
        self.count = np.zeros(n_columns, dtype=np.int64)
        # All sums are of distances from a first value: where a column lies far from zero, these
        # have the digits that its values have spent on that.
        self._origin = np.zeros(n_columns)
        self._mean = np.zeros(n_columns)
        self._squares = np.zeros(n_columns)

    @property
    def mean(self) -> np.ndarray:
        """Means (n_columns,), 0 where there are no values."""
        return self._origin + self._mean

    def add(self, block: np.ndarray) -> None:
        """Take in a block (n, n_columns) of float64; nan is no value."""
        if not len(block):
            return
        there = ~np.isnan(block)
        # A block without gaps, the common one, is spared the copies that leave gaps out.
        where = True if there.all() else there
        count = there.sum(axis=0)
        first = (self.count == 0) & (count > 0)
        self._origin[first] = block[there.argmax(axis=0)[first], first]
        some = np.maximum(count, 1)
        with np.errstate(over="ignore", invalid="ignore"):
            block = block - self._origin
            mean = block.sum(axis=0, where=where) / some
            rest = block - mean
            # The sum of deviations would be 0 without rounding; what it is mends the mean.
            excess = rest.sum(axis=0, where=where)
            squares = (rest * rest).sum(axis=0, where=where) - excess * excess / some
            mean += excess / some
            share = count / np.maximum(self.count + count, 1)
            step = mean - self._mean
            self._mean += step * share
            self._squares += squares + step * step * (self.count * share)
        self.count += count

    def deviation(self) -> np.ndarray:
        """Standard deviations (n_columns,), of the values as a population; 0 where there are none.

        >>> moments = Moments(2)
        >>> moments.add(np.array([[1.0, 5.0], [3.0, 5.0]]))
        >>> moments.deviation()
        array([1., 0.])
        """
        return np.sqrt(np.maximum(self._squares, 0.0) / np.maximum(self.count, 1))

    def mean_and_scale(self, names: Sequence[str]) -> tuple[list[float], list[float]]:
        """Shift and divisor of each column; constant columns have the divisor 1.

        Raises TableError that names a column whose squares do not fit float64.
        """
        deviation = self.deviation()
        for name, m, s in zip(names, self.mean, deviation, strict=True):
            if not (math.isfinite(m) and math.isfinite(s)):
                raise TableError(
                    f"column {name!r} must have numbers whose squares fit float64, got larger "
                    f"ones; scale it, or leave it out with --drop {name}"
                )
        # The mean of equal values is off by a rounding, and so is their deviation from it.
        constant = deviation <= 1e-12 * np.abs(self.mean)
        return self.mean.tolist(), np.where(constant, 1.0, deviation).tolist()
