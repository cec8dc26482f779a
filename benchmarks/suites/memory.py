"""Peak memory of a fit, and how much of it is neither data nor what `fastmlp.layout` lays out."""

from __future__ import annotations

import fastmlp
from benchmarks.cases import CASES
from benchmarks.memory import measure

N_ROWS = 20_000


class FitMemory:
    params = (["mnist", "large"],)
    param_names = ("case",)

    def setup(self, name: str) -> None:
        case = CASES[name]
        self.X, self.y = case.data(N_ROWS // case.batch_size)

    def peakmem_fit(self, name: str) -> None:
        case = CASES[name]
        net = fastmlp.Network(list(case.sizes), loss=case.loss)
        net.fit(self.X, self.y, epochs=1, batch_size=case.batch_size, verbose=False)

    def track_beyond_data_and_arena(self, name: str) -> float:
        return float(measure(CASES[name], N_ROWS)["beyond_data_and_1.1_arena_mb"])

    track_beyond_data_and_arena.unit = "MB"  # type: ignore[attr-defined]
