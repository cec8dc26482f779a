"""Which rows a member trains on and which it never sees: bootstraps and folds, as row numbers."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np

from fastmlp.data.inputs import as_array
from fastmlp.data.targets import LearningTask
from fastmlp.errors import OptionError
from fastmlp.many.arguments import as_rows

_N_SEEDS = 2**32  # of scikit-learn's


@dataclass(frozen=True)
class Share:
    """The rows of one member: those to train on, and those that it never sees, (m,) int64 each."""

    train: np.ndarray
    held_out: np.ndarray


def bootstraps(rows: np.ndarray, n_members: int, share: float, seed: int) -> list[Share]:
    """For each member as many draws from `rows` as `share` of them, with replacement.

    Breiman, Bagging predictors (1996). Draws are sorted, so that the table is read in order where
    rows are not shuffled.
    """
    n_drawn = max(1, round(share * len(rows)))
    shares = []
    for number in range(n_members):
        drawn = np.random.default_rng([seed, number]).integers(0, len(rows), n_drawn)
        is_left = np.ones(len(rows), np.bool_)
        is_left[drawn] = False
        shares.append(Share(rows[np.sort(drawn)], rows[is_left]))
    return shares


def folds(
    rows: np.ndarray, n_members: int, n_folds: int, seed: int, y: Any, task: LearningTask
) -> list[Share]:
    """Of n_folds folds member m trains on all but number m % n_folds.

    Every n_folds members take new folds. Labels are spread evenly over them (scikit-learn's
    `StratifiedKFold`), as far as there are enough of each.
    """
    from sklearn.model_selection import KFold, StratifiedKFold  # takes a second to import

    if n_folds > len(rows):
        raise OptionError(f"n_folds must be at most the number of rows, {len(rows)}, got {n_folds}")
    labels = _labels(y, rows) if task in ("multiclass", "binary") else None
    if labels is not None and max(np.unique(labels, return_counts=True)[1]) < n_folds:
        labels = None  # not one for each fold of any class
    kind = KFold if labels is None else StratifiedKFold
    shares = []
    for repeat in range(n_members // n_folds):
        splitter = kind(n_folds, shuffle=True, random_state=(seed + repeat) % _N_SEEDS)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of a class with fewer rows than folds
            for train, held_out in splitter.split(rows, labels):
                shares.append(Share(rows[train], rows[held_out]))
    return shares


def _labels(y: Any, rows: np.ndarray) -> np.ndarray | None:
    """The labels of these rows as what scikit-learn tells apart; None of probabilities."""
    array = as_array(y, "y")
    if array.ndim != 1 or len(array) <= rows.max():
        return None  # or wrong, which `fit_many` says
    chosen = array[rows]
    kinds = chosen.astype(str) if chosen.dtype.kind in "OT" else chosen
    return np.unique(kinds, return_inverse=True)[1]


def given_shares(eval_rows: Any, n_members: int, n_rows: int) -> list[Share] | None:
    """From a list with the rows that each member never sees; None where there is no such list."""
    is_list = isinstance(eval_rows, list) and any(np.ndim(part) > 0 for part in eval_rows)
    if not is_list or len(eval_rows) != n_members:
        return None
    parts = [as_rows("eval_rows", part, n_rows) for part in eval_rows]
    nothing = np.zeros(0, np.int64)
    return [Share(nothing, nothing if part is None else part) for part in parts]
