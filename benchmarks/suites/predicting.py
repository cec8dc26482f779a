"""Time and peak memory of `predict`: one row, a thousand, a million."""

from __future__ import annotations

import fastmlp
from benchmarks.cases import CASES
from benchmarks.latency import random_rows


class Predict:
    """The mnist network, labels of float32 rows."""

    params = (1, 1_000, 1_000_000)
    param_names = ("rows",)

    def setup(self, n_rows: int) -> None:
        case = CASES["mnist"]
        self.net = fastmlp.Network(list(case.sizes), loss=case.loss)
        self.X = random_rows(n_rows, case.sizes[0])
        self.net.predict(self.X[:1000])

    def time_predict(self, n_rows: int) -> None:
        self.net.predict(self.X)

    def peakmem_predict(self, n_rows: int) -> None:
        self.net.predict(self.X)
