"""Products of a layer, and the panels that its weights lie in, by plain indexing.

A matrix (rows, columns) in panels of 2 V columns, the last one V wide where that suffices,
each panel [rows][width] contiguous and zero-padded: rows and columns up to multiples of V.
"""

from __future__ import annotations

import numpy as np


def padded(n: int, lanes: int) -> int:
    return (n + lanes - 1) // lanes * lanes


def panel_columns(n_columns: int, lanes: int) -> list[tuple[int, int]]:
    """(first column, width) of every panel of a matrix with that many columns."""
    total = padded(n_columns, lanes)
    return [(c, min(2 * lanes, total - c)) for c in range(0, total, 2 * lanes)]


def to_panels(matrix: np.ndarray, lanes: int) -> np.ndarray:
    """The panels of a matrix, one after the other, flat."""
    n_rows, n_columns = matrix.shape
    full = np.zeros((padded(n_rows, lanes), padded(n_columns, lanes)), matrix.dtype)
    full[:n_rows, :n_columns] = matrix
    panels = [full[:, c : c + width].ravel() for c, width in panel_columns(n_columns, lanes)]
    return np.concatenate(panels)


def padded_rows(matrix: np.ndarray, ld: int) -> np.ndarray:
    """A matrix with zero columns up to a leading dimension."""
    full = np.zeros((matrix.shape[0], ld), matrix.dtype)
    full[:, : matrix.shape[1]] = matrix
    return full


def nn(a: np.ndarray, b: np.ndarray, bias: np.ndarray) -> np.ndarray:
    """bias[n] + sum_k a[m, k] b[k, n]."""
    return np.einsum("mk,kn->mn", a.astype(np.float64), b.astype(np.float64)) + bias


def tn(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """sum_k a[k, m] b[k, n]."""
    return np.einsum("km,kn->mn", a.astype(np.float64), b.astype(np.float64))
