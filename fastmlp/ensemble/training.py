"""How members are trained: by `fit_many`, each on its rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from fastmlp.data.frames import is_frame
from fastmlp.data.inputs import as_array, as_table
from fastmlp.ensemble.rows import Share, bootstraps, folds, given_shares
from fastmlp.errors import OptionError
from fastmlp.history import History
from fastmlp.many.arguments import as_rows
from fastmlp.many.fit_many import fit_many
from fastmlp.model.datasets import in_place
from fastmlp.model.network import Network


@dataclass(frozen=True)
class Sharing:
    """How rows are shared among members: folds to leave out, or a share to draw, or neither."""

    n_folds: int | None
    bagging: float | None

    @property
    def name(self) -> str | None:
        """Of the argument that says so."""
        if self.n_folds is not None:
            return f"n_folds={self.n_folds}"
        return None if self.bagging is None else f"bagging={self.bagging:g}"


def fit_members(
    members: Sequence[Network],
    sharing: Sharing,
    X: Any,
    y: Any,
    rows: Any,
    eval_rows: Any,
    sample_weight: Any,
    settings: dict[str, Any],
) -> tuple[list[Share] | None, list[History]]:
    """Train as `Ensemble.fit` says; the rows of each member where they differ, and the histories.

    settings: the other arguments of `fit_many`.
    """
    first, n = members[0], len(members)
    as_array(in_place(first, y, "y"), "y")  # refuses what is no array, before lists are made of it
    in_place(first, X)
    n_rows = len(X) if is_frame(X) else len(as_table(X, first.sizes[0])[0])
    if sharing.name is None:
        shares = given_shares(eval_rows, n, n_rows)
    else:
        shares = _shares(sharing, members, y, rows, eval_rows, n_rows)
        rows = [share.train for share in shares]
        wants = settings.get("early_stopping") is not None or settings.get("metrics") is not None
        if wants and settings.get("eval_set") is None:
            # One that has drawn every row has none to evaluate.
            eval_rows = [share.held_out if len(share.held_out) else None for share in shares]
    # A list has the y of each: a matrix with as many columns as there are members is one y too.
    histories = fit_many(
        members, X, [y] * n, rows=rows, eval_rows=eval_rows, sample_weight=sample_weight, **settings
    )
    return shares, histories


def _shares(
    sharing: Sharing, members: Sequence[Network], y: Any, rows: Any, eval_rows: Any, n_rows: int
) -> list[Share]:
    if eval_rows is not None:
        raise OptionError(
            f"eval_rows cannot be given with {sharing.name}, where they are the rows that a member "
            "does not see; leave it out, or pass eval_set"
        )
    if isinstance(rows, list) and any(np.ndim(part) > 0 for part in rows):
        raise OptionError(
            f"rows must be those of all members with {sharing.name}, got a list of "
            f"{len(rows)}; pass one array"
        )
    shared = as_rows("rows", rows, n_rows)
    shared = np.arange(n_rows) if shared is None else shared
    seed, n = members[0].seed, len(members)
    if sharing.n_folds is not None:
        return folds(shared, n, sharing.n_folds, seed, y, members[0].task)
    assert sharing.bagging is not None
    return bootstraps(shared, n, sharing.bagging, seed)
