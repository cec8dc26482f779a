"""Rows for training, validation and test."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from fastmlp.errors import TableError
from fastmlp.preparation.target import Target


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
