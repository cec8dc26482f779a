"""Time of many small networks: one fit after another, and all in one call."""

from __future__ import annotations

from typing import Any

import fastmlp
from benchmarks.cases import CASES

N_EPOCHS = 5


class ManyNetworks:
    """Networks of a case that differ in seed and learning rate, on the same shuffled rows."""

    params = ([4, 32], [False, True])
    param_names = ("networks", "evaluated")

    def setup(self, n: int, evaluated: bool) -> None:
        case = CASES["small"]
        X, y = case.data(40)
        self.nets = [
            fastmlp.Network(list(case.sizes), loss=case.loss, seed=seed, n_threads=1)
            for seed in range(n)
        ]
        rules = [fastmlp.optim.Adam(lr=1e-3 * (1 + i % 7)) for i in range(n)]
        n_held = len(X) // 5 if evaluated else 0
        eval_set = [(X[-n_held:], y[-n_held:])] if n_held else None
        settings = {"epochs": N_EPOCHS, "batch_size": case.batch_size, "eval_set": eval_set}
        self.table = X[: len(X) - n_held], y[: len(y) - n_held]
        self.settings: dict[str, Any] = settings | {"verbose": False}
        self.rules = rules
        self.time_in_turn(n, evaluated)

    def time_in_turn(self, n: int, evaluated: bool) -> None:
        for net, rule in zip(self.nets, self.rules, strict=True):
            net.fit(*self.table, optimizer=rule, **self.settings)

    def time_in_one_call(self, n: int, evaluated: bool) -> None:
        fastmlp.fit_many(self.nets, *self.table, optimizer=self.rules, **self.settings)
