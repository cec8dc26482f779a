"""Time of an epoch of every case, and of a fit that is one step."""

from __future__ import annotations

import fastmlp
from benchmarks.cases import CASES


class _Fit:
    """A fit of one epoch of `n_steps` shuffled steps of Adam on random rows."""

    def prepare(self, name: str, threads: int | None, n_steps: int) -> None:
        case = CASES[name]
        self.batch_size = case.batch_size
        self.X, self.y = case.data(n_steps)
        self.net = fastmlp.Network(list(case.sizes), loss=case.loss, n_threads=threads)
        self.fit()

    def fit(self) -> None:
        self.net.fit(self.X, self.y, epochs=1, batch_size=self.batch_size, verbose=False)


class Epoch(_Fit):
    """At most 100 steps, as many as some 0.2 s have room for."""

    params = (list(CASES), [1, None])
    param_names = ("case", "threads")

    def setup(self, name: str, threads: int | None) -> None:
        self.prepare(name, threads, max(2, min(100, int(2e10 / CASES[name].flops_per_step))))

    def time_epoch(self, name: str, threads: int | None) -> None:
        self.fit()


class OneStep(_Fit):
    """A fit of one minibatch: mostly what a call of `fit` takes beside its steps."""

    params = (["tiny", "mnist", "tab"],)
    param_names = ("case",)

    def setup(self, name: str) -> None:
        self.prepare(name, None, 1)

    def time_step(self, name: str) -> None:
        self.fit()
