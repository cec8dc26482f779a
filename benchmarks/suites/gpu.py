"""Steps on a GPU, where there is one: asv's environments need numba-cuda for it."""

from __future__ import annotations

import time

import fastmlp
from benchmarks.cases import Case

WIDE, DEEP = (784, 256, 128, 10), (128, 64, 64, 64, 64, 64, 16)
CASES = {
    case.name: case
    for case in (
        Case("tiny, 32", (4, 32, 32, 1), 32),
        Case("784-256-128-10, 128", WIDE, 128),
        Case("784-256-128-10, 8192", WIDE, 8192),
        Case("128-64x5-16, 2^14", DEEP, 1 << 14),
        Case("1024-1024-1024-10, 8192", (1024, 1024, 1024, 10), 8192),
    )
}
N_STEPS = 200  # timed, after as many that compile and capture


class Gpu:
    """Epochs of shuffled steps of Adam on random rows, in one call of `fit`."""

    params = (list(CASES),)
    param_names = ("case",)

    def setup(self, name: str) -> None:
        try:
            from fastmlp.spec import devices
        except ImportError:
            raise NotImplementedError("a commit without GPUs") from None
        missing = devices.trouble(0)
        if missing:
            raise NotImplementedError(missing)
        self.case = CASES[name]
        self.X, self.y = self.case.data(max(2, min(50, 2**26 // (self.case.batch_size * 784))))
        self.net = fastmlp.Network(self.case.sizes, loss=self.case.loss, device="cuda")
        self.fit()

    def fit(self) -> float:
        """Microseconds of a step."""
        per_epoch = len(self.X) // self.case.batch_size
        epochs = max(1, N_STEPS // per_epoch)
        start = time.perf_counter()
        self.net.fit(self.X, self.y, epochs=epochs, batch_size=self.case.batch_size, verbose=False)
        return 1e6 * (time.perf_counter() - start) / (epochs * per_epoch)

    def track_step(self, name: str) -> float:
        """Best of five fits."""
        return min(self.fit() for _ in range(5))

    track_step.unit = "us"  # type: ignore[attr-defined]

    def track_rate(self, name: str) -> float:
        """Of the products, in the best of five fits."""
        return 1e-3 * self.case.flops_per_step / min(self.fit() for _ in range(5))

    track_rate.unit = "GFLOP/s"  # type: ignore[attr-defined]
