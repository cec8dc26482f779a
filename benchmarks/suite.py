"""The asv suite. What is measured is compiled, and its data made, in `setup`."""

from __future__ import annotations

import numpy as np

import fastmlp
from benchmarks.cases import CASES

N_STEPS = 100

# A fresh interpreter each time; the cache is warm after the first.
FIRST_FIT = """
import numpy as np, fastmlp
net = fastmlp.Network([20, 64, 3], loss="cross_entropy")
net.fit(np.zeros((256, 20), np.float32), np.arange(256) % 3, epochs=1, verbose=False)
"""


class Epoch:
    """100 steps of Adam, shuffled, on random rows."""

    params = (["tiny", "small", "mnist", "mnist2", "tab"], [1, None])
    param_names = ("case", "threads")

    def setup(self, name: str, threads: int | None) -> None:
        case = CASES[name]
        self.batch_size = case.batch_size
        self.X, self.y = case.data(N_STEPS)
        self.net = fastmlp.Network(list(case.sizes), loss=case.loss, n_threads=threads)
        self.fit()

    def fit(self) -> None:
        self.net.fit(self.X, self.y, epochs=1, batch_size=self.batch_size, verbose=False)

    def time_epoch(self, name: str, threads: int | None) -> None:
        self.fit()


class Digits:
    """A whole fit of scikit-learn's digits with an eval set, the network made anew."""

    def setup(self) -> None:
        from sklearn.datasets import load_digits

        X, y = load_digits(return_X_y=True)
        X = (X / 16).astype(np.float32)
        self.train, self.held_back = (X[:1400], y[:1400]), (X[1400:], y[1400:])
        self.time_fit()

    def time_fit(self) -> None:
        net = fastmlp.Network([64, 128, 64, 10], loss="cross_entropy")
        net.fit(*self.train, epochs=20, batch_size=32, eval_set=[self.held_back], verbose=False)


class Predict:
    """`predict` of the mnist2 network."""

    params = (1, 1_000, 100_000)
    param_names = ("rows",)

    def setup(self, n_rows: int) -> None:
        sizes = CASES["mnist2"].sizes
        self.net = fastmlp.Network(list(sizes), loss="cross_entropy")
        self.X = np.random.default_rng(0).standard_normal((n_rows, sizes[0]), dtype=np.float32)
        self.net.predict(self.X)

    def time_predict(self, n_rows: int) -> None:
        self.net.predict(self.X)

    def peakmem_predict(self, n_rows: int) -> None:
        self.net.predict(self.X)


class Start:
    """What a new process waits for."""

    def timeraw_import(self) -> str:
        return "import fastmlp"

    def timeraw_first_fit(self) -> str:
        return FIRST_FIT
