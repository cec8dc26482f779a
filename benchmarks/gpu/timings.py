"""A training step of fastmlp beside PyTorch's on the same GPU, from the same start."""

from __future__ import annotations

import statistics
import time
from typing import Any

import numpy as np

from benchmarks.cases import Case
from benchmarks.gpu.torch_peers import BETAS, EPS, LR, PEERS
from fastmlp.data import Dataset
from fastmlp.engine.cuda import CudaEngine
from fastmlp.optim import UpdateOptions
from fastmlp.spec import NetworkSpec

DEEP, WIDE = (128, 64, 64, 64, 64, 64, 16), (784, 256, 128, 10)
CASES = (
    Case("tiny, 32", (4, 32, 32, 1), 32),
    Case("tiny, 2^16", (4, 32, 32, 1), 1 << 16),
    Case("784-256-128-10, 128", WIDE, 128),
    Case("784-256-128-10, 8192", WIDE, 8192),
    Case("128-64x5-16, 2^10", DEEP, 1 << 10),
    Case("128-64x5-16, 2^14", DEEP, 1 << 14),
    Case("128-64x5-16, 2^18", DEEP, 1 << 18),
    Case("1024-1024-1024-10, 512", (1024, 1024, 1024, 10), 512),
    Case("1024-1024-1024-10, 8192", (1024, 1024, 1024, 10), 8192),
    Case("4096x4, 4096", (4096,) * 5, 4096),
)
FEW = (Case("small", (4, 8, 3), 16), Case("tiny", (4, 8, 1), 16))
ROUNDS = 5
ROUND_S = 0.15
AGREEMENT_STEPS = 6
COMPILED = ("784-256-128-10, 128", "128-64x5-16, 2^14", "1024-1024-1024-10, 8192")


class FastMLP:
    """This project, through its engine: what `Network.fit` calls."""

    name = "fastmlp"

    def __init__(self, case: Case, X: np.ndarray, y: np.ndarray, number: int) -> None:
        spec = NetworkSpec.make(sizes=case.sizes, loss=case.loss, device=f"cuda:{number}")
        self.case, self.engine = case, CudaEngine(spec, number)
        self.engine.set_optimizer("adam", (*BETAS, EPS), UpdateOptions())
        self.data = Dataset(X)
        if case.loss == "cross_entropy":
            self.data.labels = y.astype(np.int32)
        else:
            self.data.targets = y.reshape(-1, 1)
        self.weights, self.biases = self.engine.get_parameters()

    def train(self, n_steps: int, shuffle: bool) -> float:
        per_epoch = len(self.data.X) // self.case.batch_size
        n_epochs = -(-n_steps // per_epoch)
        run = self.engine.train(
            self.data, batch_size=self.case.batch_size, n_epochs=n_epochs, first_epoch=0,
            first_step=0, learning_rates=np.full(n_steps, LR), shuffle=shuffle,
            n_steps_left=n_epochs * per_epoch - n_steps,
        )  # fmt: skip
        assert run.status == "done", run
        return float(run.loss[-1])


def measure(
    number: int, *, few: bool, deadline_s: float, float32_tflops: float | None
) -> list[dict[str, Any]]:
    """A record for each case and peer: microseconds of a step, best and median of the rounds."""
    records: list[dict[str, Any]] = []
    for case in FEW if few else CASES:
        if time.perf_counter() > deadline_s:
            records.append({"case": case.name, "peer": "", "error": "no time was left"})
            continue
        records += _case(case, number, few, float32_tflops)
    return records


def _case(case: Case, number: int, few: bool, float32_tflops: float | None) -> list[dict[str, Any]]:
    n_batches = max(2, min(64, (1 << 26) // (case.batch_size * case.sizes[0])))
    X, y = case.data(n_batches if not few else 3)
    ours = FastMLP(case, X, y, number)
    peers: list[Any] = [ours]
    records: list[dict[str, Any]] = [{"case": case.name, "peer": ours.name}]
    for kind in PEERS:
        if kind.name == "torch compile" and case.name not in COMPILED:
            continue
        record: dict[str, Any] = {"case": case.name, "peer": kind.name}
        try:
            peers.append(kind(case, X, y, ours.weights, ours.biases, number))
        except Exception as error:  # one of PyTorch's ways that fails shall not end the others
            records.append(record | {"error": f"{type(error).__name__}: {error}"[:300]})
            continue
        records.append(record)
    timed = [record for record in records if "error" not in record]
    # From the same start over the same rows: the mean loss tells who computes something else.
    for peer, record in zip(peers, timed, strict=True):
        record["loss"] = peer.train(min(AGREEMENT_STEPS, n_batches), False)
    steps = {}
    for peer in peers:  # which compiles, captures, and tells how many steps fill a round
        peer.train(2, True)
        began_s = time.perf_counter()
        peer.train(4, True)
        each = (time.perf_counter() - began_s) / 4
        steps[peer.name] = int(min(max(ROUND_S / each, 4), 3000)) if not few else 4
        began_s = time.perf_counter()
        peer.train(steps[peer.name], True)
        each = (time.perf_counter() - began_s) / steps[peer.name]
        steps[peer.name] = int(min(max(ROUND_S / each, 4), 20000)) if not few else 4
    seconds: dict[str, list[float]] = {peer.name: [] for peer in peers}
    for _ in range(ROUNDS if not few else 2):
        for peer in peers:  # in turn, so that a disturbance meets all of them
            began_s = time.perf_counter()
            peer.train(steps[peer.name], True)
            seconds[peer.name].append((time.perf_counter() - began_s) / steps[peer.name])
    for peer, record in zip(peers, timed, strict=True):
        best = min(seconds[peer.name])
        record["steps"] = steps[peer.name]
        record["us_per_step_best"] = 1e6 * best
        record["us_per_step_median"] = 1e6 * statistics.median(seconds[peer.name])
        record["tflops"] = 1e-12 * case.flops_per_step / best
        if float32_tflops:
            record["share_of_float32"] = record["tflops"] / float32_tflops
    return records


def disagreements(records: list[dict[str, Any]]) -> list[str]:
    """Peers whose loss after the same steps is not ours."""
    ours = {r["case"]: r["loss"] for r in records if r["peer"] == FastMLP.name and "loss" in r}
    return [
        f"{r['case']}, {r['peer']}: loss {r['loss']:.6g}, fastmlp {ours[r['case']]:.6g}"
        for r in records
        if "loss" in r and abs(r["loss"] - ours[r["case"]]) > 1e-3 * abs(ours[r["case"]])
    ]
