"""Fits of all sorts, by number, and a digest of everything that each of them leaves.

`python -m tests.stress.networks N` prints the digests of the first N, so that processes and what
runs beside them can be compared with a fit that runs alone.
"""

from __future__ import annotations

import hashlib
import json
import sys
from typing import Any, NamedTuple

import numpy as np

import fastmlp
from fastmlp import optim
from fastmlp.callbacks import EarlyStopping


class Kind(NamedTuple):
    """A network and a fit of it."""

    sizes: tuple[int, ...]
    n_rows: int
    batch_size: int | None
    network: dict[str, Any]
    optimizer: optim.Optimizer | None = None
    shuffle: bool | str = True
    stops_early: bool = False


# Small and large, few threads and many, minibatches that are cut into bands, rules that keep
# states, layers whose threads meet within a step, jobs that run on the calling thread.
KINDS = (
    Kind((8, 16, 1), 60, 16, {}),
    Kind((8, 16, 1), 300, 300, {"dtype": "float64", "activation": "tanh"}),
    Kind((30, 64, 64, 3), 400, 50, {"loss": "cross_entropy", "n_threads": 2, "dropout": 0.2}),
    Kind((13, 40, 40, 2), 200, 33, {"loss": "gaussian_nll", "norm": "batch", "n_threads": 3}),
    Kind((5, 33, 4), 120, 20, {"loss": "cross_entropy", "embeddings": {1: (7, 3)}}),
    Kind((64, 200, 200, 2), 900, 300, {}, optim.Adam(ema=0.9)),
    Kind((16, 24, 24, 1), 2500, 2500, {"n_threads": 2}),  # in bands
    Kind((20, 65, 33, 4), 150, 40, {"norm": ["layer", "rms"]}, optim.Muon(1e-3)),
    Kind((9, 20, 20, 2), 150, 64, {"residual": True, "n_threads": 2, "dtype": "float64"},
         optim.SGD(0.01, momentum=0.9, clip_norm=0.5)),
    Kind((6, 12, 1), 90, None, {"dtype": "float64"}, optim.LBFGS()),
    Kind((1, 1), 7, 2, {"loss": "binary_cross_entropy"}),
    Kind((100, 3), 64, 1, {"loss": "cross_entropy", "input_dropout": 0.1}, shuffle="blocks"),
    Kind((10, 32, 5), 256, 32, {"loss": "huber", "activation": "gelu", "n_threads": 2},
         stops_early=True),
)  # fmt: skip


def data_of(kind: Kind, number: int) -> tuple[np.ndarray, np.ndarray]:
    """Rows and targets for a kind of fit, drawn by number."""
    rng, dtype = np.random.default_rng(number), kind.network.get("dtype", "float32")
    loss = kind.network.get("loss", "squared_error")
    X = rng.standard_normal((kind.n_rows, kind.sizes[0])).astype(dtype)
    for column, (n_categories, _) in kind.network.get("embeddings", {}).items():
        X[:, column] = rng.integers(0, n_categories, kind.n_rows)
    if loss == "cross_entropy":
        # Every class is there, or the network would not know it.
        y = np.arange(kind.n_rows) % kind.sizes[-1]
        return X, rng.permutation(y)
    n_targets = kind.sizes[-1] // 2 if loss == "gaussian_nll" else kind.sizes[-1]
    y = rng.standard_normal((kind.n_rows, n_targets)).astype(dtype)
    return X, (y > 0).ravel() if loss == "binary_cross_entropy" else y


def digest_of(number: int) -> str:
    """Fit the network of this number and predict: a digest of its parameters, its history less
    the seconds, and its predictions."""
    kind = KINDS[number % len(KINDS)]
    X, y = data_of(kind, number)
    net = fastmlp.Network(list(kind.sizes), seed=number, **kind.network)
    settings: dict[str, Any] = {}
    if kind.stops_early:
        settings = {"eval_set": [(X[:50], y[:50])], "callbacks": [EarlyStopping(patience=1)]}
    history = net.fit(
        X, y, epochs=3, batch_size=kind.batch_size, optimizer=kind.optimizer,
        shuffle=kind.shuffle, verbose=False, **settings,
    )  # fmt: skip
    digest = hashlib.sha256()
    arrays = [*net.engine.parameters().named().values(), *net.engine.get_running().values()]
    for array in (*arrays, history.loss, history.epochs, net.predict(X), net.engine.state):
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()


def digests(numbers) -> list[str]:
    return [digest_of(number) for number in numbers]


if __name__ == "__main__":
    json.dump(digests(range(int(sys.argv[1]))), sys.stdout)
