"""From a table to what a network learns from, and back: target, split, standardisation.

What is learnt from the data here is learnt from the training part alone, and lies in the model
file, so that a later table is treated in the same way.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from fastmlp.csv_file import TableError, as_number
from fastmlp.errors import ModelFileError
from fastmlp.tables import Table

TASKS = ("auto", "classification", "regression")

# Whole numbers are class labels where there are few of them and each comes often; more than that
# is more likely a count, an age or a year.
_MAX_NUMBERED_CLASSES = 20
_MIN_ROWS_PER_CLASS = 5

_VERSION = 1


# --- target ----------------------------------------------------------------------------------


@dataclass
class Target:
    """What to learn: class labels (int64 or text), or values (float64), each (n,)."""

    name: str
    task: str
    values: np.ndarray

    @property
    def n_classes(self) -> int:
        return len(np.unique(self.values))


def read_target(table: Table, name: str, task: str = "auto") -> Target:
    """The target of `table`, and whether it is classes or values.

    With task="auto" text means classes, and so do whole numbers of which there are at most 20
    different ones, in at least 5 rows each on average. Raises TableError for text among numbers,
    one class only, a constant value, or as many classes as rows.
    """
    cells = table.target
    assert cells is not None, "the table was read with a target"
    numbers = [as_number(cell) for cell in cells]
    n_numbers = sum(number is not None for number in numbers)
    if task == "regression" or (task == "auto" and 2 * n_numbers > len(cells)):
        for row, (cell, number) in enumerate(zip(cells, numbers, strict=True)):
            if number is None or not math.isfinite(number):
                hint = "" if task == "regression" else "; --task classification takes it as a class"
                raise TableError(
                    f"the target {name!r} must be a finite number in every row, got {cell!r} in "
                    f"row {row + 1}{hint}"
                )
    values = np.array(numbers, dtype=np.float64) if n_numbers == len(cells) else None
    if task == "auto":
        task = "classification" if values is None or _are_labels(values) else "regression"
    if task == "classification":
        return _classes(name, cells, values)
    assert values is not None, "text was refused above"
    if values.min() == values.max():
        raise TableError(
            f"the target {name!r} must vary to be learnt, got {cells[0]} in all {len(cells)} rows"
        )
    return Target(name, task, values)


def _are_labels(values: np.ndarray) -> bool:
    if (values != np.floor(values)).any():
        return False
    n_different = len(np.unique(values))
    few = n_different <= _MAX_NUMBERED_CLASSES
    return n_different <= 2 or (few and n_different * _MIN_ROWS_PER_CLASS <= len(values))


def _classes(name: str, cells: list[str], values: np.ndarray | None) -> Target:
    # "1" and "1.0" are the same class; other text stays as it stands in the table.
    whole = values is not None and bool((values == np.floor(values)).all())
    labels = np.array(cells) if values is None or not whole else values.astype(np.int64)
    n_classes = len(np.unique(labels))
    if n_classes == 1:
        raise TableError(
            f"the target {name!r} must have at least two classes, got only {cells[0]!r} in all "
            f"{len(cells)} rows"
        )
    if 2 * n_classes > len(labels) and n_classes > 2:
        raise TableError(
            f"the target {name!r} must have classes that come more than once, got {n_classes} "
            f"different labels in {len(labels)} rows; --task regression takes numbers as values"
        )
    return Target(name, "classification", labels)


# --- split -----------------------------------------------------------------------------------


@dataclass
class Split:
    """Row numbers of each part; the validation and the test part may be empty."""

    train: np.ndarray
    validation: np.ndarray
    test: np.ndarray


def split_rows(target: Target, val_fraction: float, test_fraction: float, seed: int) -> Split:
    """Rows for training, validation and test, drawn from `seed`.

    Fractions (>= 0, < 1) are of all rows, 0 for no such part. Classes keep their shares in every
    part as nearly as whole rows allow, and each has a row to train on. Raises TableError where too
    few rows are left for that.
    """
    values = target.values
    n_rows = len(values)
    # A score of values needs two rows that differ, one of classes is right or wrong for one row.
    least = 1 if target.task == "classification" else 2
    n_val, n_test = (
        max(least, round(fraction * n_rows)) if fraction else 0
        for fraction in (val_fraction, test_fraction)
    )
    strata = np.zeros(n_rows, dtype=np.int64)
    if target.task == "classification":
        strata = np.unique(values, return_inverse=True)[1]
    n_strata = int(strata.max()) + 1
    if n_rows - n_val - n_test < max(2, n_strata):
        raise TableError(
            f"too few rows to split: {n_rows} rows leave {max(0, n_rows - n_val - n_test)} to "
            f"train on after {n_val} for validation and {n_test} for the test, and at least "
            f"{max(2, n_strata)} are needed; bring more rows, or make --val-fraction or "
            "--test-fraction smaller (0 for none)"
        )
    rng = np.random.default_rng(seed)
    order = rng.permutation(n_rows)
    # Stable: within a stratum the rows stay shuffled.
    order = order[np.argsort(strata[order], kind="stable")]
    counts = np.bincount(strata)
    in_test = _shares(counts, n_test, rng)
    in_val = _shares(counts - in_test, n_val, rng)
    parts: tuple[list[np.ndarray], ...] = ([], [], [])
    for rows, t, v in zip(np.split(order, np.cumsum(counts)[:-1]), in_test, in_val, strict=True):
        for part, chosen in zip(parts, np.split(rows, [t, t + v]), strict=True):
            part.append(chosen)
    test, validation, train = (np.sort(np.concatenate(part)) for part in parts)
    return Split(train, validation, test)


def _shares(counts: np.ndarray, n: int, rng: np.random.Generator) -> np.ndarray:
    """How many of `n` rows to take from each stratum: by size, and never the whole of one."""
    quota = counts * (n / counts.sum())
    shares = np.floor(quota).astype(np.int64)
    # What the rounding left over goes to the largest remainders, ties in random order.
    ties = rng.permutation(len(counts))
    for i in ties[np.argsort(-(quota - shares)[ties], kind="stable")]:
        if shares.sum() < n and shares[i] + 1 < counts[i]:
            shares[i] += 1
    return shares


# --- standardisation -------------------------------------------------------------------------


@dataclass(frozen=True)
class Preparation:
    """Which columns a model takes, and the shift and scale of each.

    Attributes
    ----------
    features : names of the columns, in the order of the network's inputs.
    mean, scale : of each feature in the training part; constant columns have scale 1.
    target, task : the target's name; "classification" or "regression".
    target_mean, target_scale : of the values in the training part; 0 and 1 for classes and for
        losses that need the values as they are.
    """

    features: list[str]
    mean: list[float]
    scale: list[float]
    target: str
    task: str
    target_mean: float = 0.0
    target_scale: float = 1.0

    @classmethod
    def learn(
        cls,
        X: np.ndarray,
        features: list[str],
        target: Target,
        rows: np.ndarray,
        scale_target: bool,
    ) -> Preparation:
        """Learn from `rows` of `X` (n, n_features) and of the target."""
        mean, scale = _mean_and_scale(X[rows], features)
        target_mean, target_scale = 0.0, 1.0
        if scale_target:
            means, scales = _mean_and_scale(target.values[rows][:, None], [target.name])
            target_mean, target_scale = means[0], scales[0]
        return cls(features, mean, scale, target.name, target.task, target_mean, target_scale)

    def inputs(self, X: np.ndarray, dtype: str) -> np.ndarray:
        """`X` (n, n_features) standardised, in the network's dtype."""
        return ((X - np.array(self.mean)) / np.array(self.scale)).astype(dtype)

    def outputs(self, y: np.ndarray) -> np.ndarray:
        """Target values as the network learns them."""
        return (y - self.target_mean) / self.target_scale

    def values(self, outputs: np.ndarray) -> np.ndarray:
        """What the network puts out, in the target's own units."""
        return outputs.astype(np.float64) * self.target_scale + self.target_mean

    def to_extra(self) -> dict[str, Any]:
        """Plain values for `Network.extra`."""
        return {"preparation": {"version": _VERSION, **asdict(self)}}

    @classmethod
    def from_extra(cls, extra: dict[str, Any], path: str) -> Preparation:
        """What `to_extra` gave; ModelFileError where the model in `path` holds none."""
        stored = dict(extra.get("preparation") or {})
        if not stored:
            raise ModelFileError(
                f"{path!r} must be a model that 'fastmlp train' wrote, got one without a "
                "preparation of tables; use it from Python with fastmlp.Network.load"
            )
        version = stored.pop("version", None)
        if version != _VERSION:
            raise ModelFileError(
                f"the preparation in {path!r} must have version {_VERSION}, got {version}; "
                "use the fastmlp that wrote it, or train again"
            )
        return cls(**stored)


def _mean_and_scale(X: np.ndarray, names: list[str]) -> tuple[list[float], list[float]]:
    with np.errstate(over="ignore", invalid="ignore"):
        mean, scale = X.mean(axis=0), X.std(axis=0)
    for name, m, s in zip(names, mean, scale, strict=True):
        if not (math.isfinite(m) and math.isfinite(s)):
            raise TableError(
                f"column {name!r} must have numbers whose squares fit float64, got values up to "
                f"{np.abs(X[:, names.index(name)]).max():g}; scale it, or leave it out"
            )
    # The mean of equal values is off by a rounding, and so is their deviation from it.
    constant = scale <= 1e-12 * np.abs(mean)
    return mean.tolist(), np.where(constant, 1.0, scale).tolist()
