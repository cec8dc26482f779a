"""Whole trainings on the GPU: the accuracy of the CPU's, and the same bits in every run."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import numpy as np
from sklearn.datasets import load_digits

import fastmlp
from fastmlp.engine.cuda import feed as cuda_feed
from fastmlp.engine.cuda import tables as cuda_tables

SEEDS = 3
N_TRAIN = 1400  # rows of the digits; the others are to test
N_TEST = 397
CASES = (("digits", (64, 100, 10), 1), ("784-256-128-10", (784, 256, 128, 10), 4))
FEW = (("digits", (64, 8, 10), 1),)
N_FEW_TEST = 50
BATCH_SIZE = 64
NETWORK: dict[str, Any] = {"loss": "cross_entropy", "dropout": 0.1}
REPEATED: dict[str, Any] = {
    "sizes": (64, 256, 128, 10), "loss": "cross_entropy", "norm": "batch", "dropout": 0.2,
}  # fmt: skip
REPEATED_BATCH = 37


def jobs() -> Iterator[dict[str, Any]]:
    """What `offline.launches_of` takes for all that is trained and evaluated here."""
    for cases, n_test in ((CASES, N_TEST), (FEW, N_FEW_TEST)):
        for _, sizes, _ in cases:
            yield {**NETWORK, "sizes": sizes, "batch_size": BATCH_SIZE}
            yield {**NETWORK, "sizes": sizes, "batch_size": n_test, "kind": "predict"}
    for sizes in (REPEATED["sizes"], FEW[0][1]):
        yield {**REPEATED, "sizes": sizes, "batch_size": REPEATED_BATCH}


def digits(side: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """scikit-learn's handwritten digits, each pixel `side` wide, with noise where that is more
    than one: train and test X and y."""
    rng, data = np.random.default_rng(0), load_digits()
    X = data.images.astype(np.float32) / 16.0
    if side > 1:
        # 28 x 28: of 32 x 32 the edges are left out, as digits have them empty.
        X = np.kron(X, np.ones((1, side, side), np.float32))[:, 2:-2, 2:-2]
        X = X + 0.3 * rng.standard_normal(X.shape, dtype=np.float32)
    X, order = np.ascontiguousarray(X.reshape(len(X), -1)), rng.permutation(len(X))
    train, test = order[:N_TRAIN], order[N_TRAIN:]
    return X[train], data.target[train], X[test], data.target[test]


def accuracy(number: int, *, few: bool) -> Iterator[list[dict[str, Any]]]:
    """Test accuracies over seeds of the same trainings on both devices, and their losses: all
    records so far, after each seed."""
    records = []
    cases: tuple[tuple[str, tuple[int, ...], int], ...] = FEW if few else CASES
    for name, sizes, side in cases:
        X, y, X_test, y_test = digits(side)
        if few:
            X, y, X_test, y_test = X[:99], y[:99], X_test[:N_FEW_TEST], y_test[:N_FEW_TEST]
        for seed in range(1 if few else SEEDS):
            told: dict[str, Any] = {"case": name, "seed": seed}
            for device in ("cpu", f"cuda:{number}"):
                net = fastmlp.Network(sizes, seed=seed, device=device, **NETWORK)
                began_s = time.perf_counter()
                history = net.fit(
                    X, y, epochs=2 if few else 30, batch_size=BATCH_SIZE, verbose=False,
                    optimizer=fastmlp.optim.Adam(lr=2e-3),
                )  # fmt: skip
                kind = device.partition(":")[0]
                told[f"{kind}_seconds"] = time.perf_counter() - began_s
                told[f"{kind}_loss"] = history["loss"][-1]
                told[f"{kind}_accuracy"] = net.evaluate(X_test, y_test)["accuracy"]
            records.append(told)
            yield records


def repeatability(number: int, *, few: bool) -> Iterator[dict[str, bool]]:
    """Whether the weights of a training are bitwise the same again, and from a table in parts."""
    X, y, *_ = digits(1)
    X, y = (X[:64], y[:64]) if few else (X, y)

    def weights() -> list[np.ndarray]:
        sizes = FEW[0][1] if few else REPEATED["sizes"]
        net = fastmlp.Network(**{**REPEATED, "sizes": sizes}, device=f"cuda:{number}")
        net.fit(X, y, epochs=2 if few else 10, batch_size=REPEATED_BATCH, verbose=False)
        return [*net.weights, *net.biases]

    first = weights()
    same = {"again": _equal(first, weights())}
    yield same
    share, half = cuda_tables.TABLE_SHARE, cuda_feed.HALF_BYTES
    cuda_tables.TABLE_SHARE, cuda_feed.HALF_BYTES = -1.0, 64 * 1024
    try:
        same["from a table in parts"] = _equal(first, weights())
    finally:
        cuda_tables.TABLE_SHARE, cuda_feed.HALF_BYTES = share, half
    yield same


def _equal(a: list[np.ndarray], b: list[np.ndarray]) -> bool:
    return all(map(np.array_equal, a, b))
