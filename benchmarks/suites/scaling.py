"""How the time of a sample grows with rows, width, depth and threads."""

from __future__ import annotations

import os

from benchmarks.cases import Case
from benchmarks.share import Training

WIDTH, DEPTH, BATCH_SIZE = 256, 3, 256


class _Scaling:
    timeout = 600

    def rate(self, case: Case, n_threads: int | None = None) -> float:
        """GFLOP/s of whole steps, the best of three."""
        training = Training(case, n_threads)
        best = min(training.step_seconds() for _ in range(3))
        return case.flops_per_step / best / 1e9


class Rows(_Scaling):
    """Should not grow: nanoseconds a sample over the number of rows."""

    params = ([1_000, 10_000, 100_000, 1_000_000],)
    param_names = ("rows",)

    def track_sample(self, n_rows: int) -> float:
        case = Case("rows", (20, 64, 64, 3), 100)
        training = Training(case, None, n_steps=n_rows // case.batch_size)
        best = min(training.step_seconds() for _ in range(3))
        return best / case.batch_size * 1e9

    track_sample.unit = "ns"  # type: ignore[attr-defined]


class Width(_Scaling):
    params = ([16, 64, 256, 1024],)
    param_names = ("width",)

    def track_rate(self, width: int) -> float:
        return self.rate(Case("width", (width,) * (DEPTH + 1), BATCH_SIZE))

    track_rate.unit = "GFLOP/s"  # type: ignore[attr-defined]


class Depth(_Scaling):
    params = ([1, 4, 16],)
    param_names = ("hidden layers",)

    def track_rate(self, depth: int) -> float:
        return self.rate(Case("depth", (64, *(WIDTH,) * depth, 10), BATCH_SIZE))

    track_rate.unit = "GFLOP/s"  # type: ignore[attr-defined]


class Threads(_Scaling):
    """Powers of two up to the cores of the machine."""

    params = ([1 << k for k in range((os.cpu_count() or 1).bit_length())],)
    param_names = ("threads",)

    def track_rate(self, n_threads: int) -> float:
        return self.rate(Case("threads", (WIDTH,) * (DEPTH + 1), BATCH_SIZE), n_threads)

    track_rate.unit = "GFLOP/s"  # type: ignore[attr-defined]
