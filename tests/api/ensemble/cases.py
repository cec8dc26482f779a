"""Trained ensembles of every task, with members that differ."""

from __future__ import annotations

import numpy as np

import fastmlp
from fastmlp import Network, losses

N_ROWS, N_COLUMNS = 300, 6
SETTINGS = {"epochs": 3, "batch_size": 32, "optimizer": fastmlp.optim.Adam(lr=0.02)}


def table(dtype: str = "float32") -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Inputs (n, 6), and y by task."""
    rng = np.random.default_rng(3)
    X = rng.standard_normal((N_ROWS, N_COLUMNS)).astype(dtype)
    labels = (X[:, 0] > 0).astype(int) + (X[:, 1] > 0.5)
    values = np.sin(2 * X[:, 0]) + X[:, 1] * X[:, 2]
    return X, {
        "multiclass": np.array(["low", "mid", "top"])[labels],
        "binary": X[:, 0] * X[:, 1] > 0,
        "multilabel": (X[:, :2] > 0).astype(int),
        "regression": values,
        "several": np.stack([values, X[:, 3] ** 2], axis=1),
        "poisson": rng.poisson(np.exp(X[:, 0])),
        "quantiles": values,
        "gaussian": values,
    }


# What y is learnt, the outputs, and the loss.
KINDS = {
    "multiclass": (3, "cross_entropy"),
    "binary": (1, "binary_cross_entropy"),
    "multilabel": (2, "binary_cross_entropy"),
    "regression": (1, "squared_error"),
    "several": (2, "squared_error"),
    "poisson": (1, "poisson"),
    "quantiles": (3, losses.quantiles()),
    "gaussian": (2, "gaussian_nll"),
}


def members(kind: str, differ: bool = True) -> list[Network]:
    """Untrained; which differ in their layers and dtypes, or in their seeds alone."""
    n_outputs, loss = KINDS[kind]
    if not differ:
        sizes = [N_COLUMNS, 9, n_outputs]
        return [Network(sizes, loss=loss, seed=seed) for seed in range(5)]
    return [
        Network([N_COLUMNS, 8, n_outputs], loss=loss, seed=1),
        Network([N_COLUMNS, 8, n_outputs], loss=loss, seed=2, dtype="float64"),
        Network([N_COLUMNS, 17, 5, n_outputs], loss=loss, seed=3, activation="tanh"),
        Network([N_COLUMNS, 8, n_outputs], loss=loss, seed=4),
        Network([N_COLUMNS, 16, 16, n_outputs], loss=loss, seed=5, norm="batch"),
        Network([N_COLUMNS, n_outputs], loss=loss, seed=6),
    ]


def trained(kind: str, differ: bool = True, **settings) -> fastmlp.Ensemble:
    X, y = table()
    ensemble = fastmlp.Ensemble(members(kind, differ), **settings)
    ensemble.fit(X, y[kind], **SETTINGS)
    return ensemble


def asked(network: Network, X: np.ndarray) -> np.ndarray:
    """What a member adds to a mean, (n, ...) in its dtype."""
    is_values = network.task == "regression"
    return network.predict(X) if is_values else network.predict_proba(X)


def mean_of(parts: list[np.ndarray], weights=None) -> np.ndarray:
    """One after another, in float64; given in the narrowest of their dtypes."""
    dtype, parts = min(part.dtype for part in parts), [part.astype(np.float64) for part in parts]
    if weights is None:
        total, total_weight = parts[0], len(parts)
        for part in parts[1:]:
            total = total + part
    else:
        total, total_weight = parts[0] * weights[0], weights[0]
        for part, weight in zip(parts[1:], weights[1:], strict=True):
            total = total + part * weight
            total_weight += weight
    return (total / total_weight).astype(dtype)


def net(kind: str = "regression", **settings) -> Network:
    n_outputs, loss = KINDS[kind]
    return Network([N_COLUMNS, 9, n_outputs], loss=loss, **settings)


def same(network: Network, other: Network) -> None:
    for weight, wanted in zip(network.weights, other.weights, strict=True):
        np.testing.assert_array_equal(weight, wanted)
