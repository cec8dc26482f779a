"""Learnt embeddings: rows of tables for columns that hold categories, and their gradient."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


def embed_rows(X: np.ndarray, columns: Sequence[int], tables: Sequence[np.ndarray]) -> np.ndarray:
    """What the first layer gets: rows of the tables, then the other columns."""
    parts = [table[X[:, column].astype(int)] for column, table in zip(columns, tables, strict=True)]
    others = [column for column in range(X.shape[1]) if column not in columns]
    return np.concatenate([*parts, X[:, others]], axis=1)


def embedding_gradient(categories: np.ndarray, da: np.ndarray, n_categories: int) -> np.ndarray:
    """(categories, width): the sum of da over the rows of each category."""
    dtable = np.zeros((n_categories, da.shape[1]))
    np.add.at(dtable, categories.astype(int), da)
    return dtable
