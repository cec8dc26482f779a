"""``--sample-weight COL``: a weight for each row of a table."""

from __future__ import annotations

import numpy as np

from fastmlp.errors import TableError
from fastmlp.tables.source import NUMBER, Source, check_columns


def read_weights(source: Source, column: str | None) -> np.ndarray | None:
    """The numbers (n_rows,) float64 of `column`, None where there is none to read.

    Raises TableError for text, and names the first row without a weight, or with one below 0.
    """
    if column is None:
        return None
    check_columns([column], source.columns, source.where, "--sample-weight")
    if source.kinds[column] != NUMBER:
        raise TableError(
            f"--sample-weight must be a column of numbers, got {column!r} of {source.where}, "
            "which holds text; name another"
        )
    weights = np.concatenate([block[column] for block in source.blocks([column])])
    wrong = np.flatnonzero(~(np.isfinite(weights) & (weights >= 0.0)))
    if len(wrong):
        got = weights[wrong[0]]
        raise TableError(
            f"--sample-weight {column!r} of {source.where} must have a number >= 0 in every row, "
            f"got {'none' if np.isnan(got) else f'{got:g}'} in row {wrong[0] + 1}; mend it"
        )
    return weights
