"""A training step of fastmlp beside PyTorch's on the same GPU, from the same start."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import numpy as np

from benchmarks.cases import Case
from benchmarks.gpu.torch_peers import BETAS, EPS, LR, PEERS
from fastmlp.data.inputs import Dataset
from fastmlp.engine.cuda.engine import CudaEngine
from fastmlp.engine.train_job import TrainJob
from fastmlp.optim import UpdateOptions
from fastmlp.spec.network import NetworkSpec

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

    @property
    def graph_trouble(self) -> str:
        """Why steps are launched kernel by kernel; "" for a graph."""
        steps = self.engine._programs["train"][1].steps
        return steps.trouble if steps is not None else "no steps were made"

    @property
    def captured(self) -> bool:
        """Whether steps are replayed from a graph."""
        steps = self.engine._programs["train"][1].steps
        return steps is not None and steps._graph is not None

    def train(self, n_steps: int, shuffle: bool) -> float:
        per_epoch = len(self.data.X) // self.case.batch_size
        n_epochs = -(-n_steps // per_epoch)
        run = self.engine.train(TrainJob(
            self.data, batch_size=self.case.batch_size, n_epochs=n_epochs, first_epoch=0,
            first_step=0, learning_rates=np.full(n_steps, LR), shuffle=shuffle,
            n_steps_left=n_epochs * per_epoch - n_steps,
        ))  # fmt: skip
        assert run.status == "done", run
        return float(run.loss[-1])


def jobs() -> Iterator[dict[str, Any]]:
    """What `offline.launches_of` takes for every step that is timed."""
    for case in (*CASES, *FEW):
        yield {"sizes": case.sizes, "batch_size": case.batch_size, "loss": case.loss}


def measure(number: int, *, few: bool, deadline_s: float) -> Iterator[list[dict[str, Any]]]:
    """For each case a record for each peer: microseconds of a step, best and median of rounds."""
    for case in FEW if few else CASES:
        if time.perf_counter() > deadline_s:
            yield [{"case": case.name, "peer": "", "error": "no time was left"}]
            continue
        try:
            yield _case(case, number, few)
        except Exception as error:  # of one case, which shall not end the others
            yield [{"case": case.name, "peer": "", "error": _told(error)}]


def _told(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"[:500]


def _case(case: Case, number: int, few: bool) -> list[dict[str, Any]]:
    n_batches = max(2, min(64, (1 << 26) // (case.batch_size * case.sizes[0]))) if not few else 3
    X, y = case.data(n_batches)
    ours = FastMLP(case, X, y, number)
    kinds = [k for k in PEERS if not k.name.startswith("torch compile") or case.name in COMPILED]
    records: list[dict[str, Any]] = []
    peers: list[tuple[Any, dict[str, Any]]] = []
    makers: list[tuple[str, Callable[[], Any]]] = [(ours.name, lambda: ours)]
    makers += [(k.name, partial(k, case, X, y, ours.weights, ours.biases, number)) for k in kinds]
    for name, make in makers:
        record: dict[str, Any] = {"case": case.name, "peer": name}
        records.append(record)
        try:
            peer = make()
            # From the same start over the same rows: the mean loss tells who computes something
            # else. Compiles, captures, and tells how many steps fill a round.
            record["loss"] = peer.train(min(AGREEMENT_STEPS, n_batches), False)
            record["steps"] = _steps_of_a_round(peer, few)
            if peer is ours:
                record["graph_trouble"] = ours.graph_trouble
            peers.append((peer, record))
        except Exception as error:  # one of the ways that fails shall not end the others
            record["error"] = _told(error)
    seconds: dict[str, list[float]] = {record["peer"]: [] for _, record in peers}
    for _ in range(ROUNDS if not few else 2):
        for peer, record in peers:  # in turn, so that a disturbance meets all of them
            began_s = time.perf_counter()
            peer.train(record["steps"], True)
            seconds[record["peer"]].append((time.perf_counter() - began_s) / record["steps"])
    for _, record in peers:
        best = min(seconds[record["peer"]])
        record["us_per_step_best"] = 1e6 * best
        record["us_per_step_median"] = 1e6 * statistics.median(seconds[record["peer"]])
        record["tflops"] = 1e-12 * case.flops_per_step / best
    return records


def _steps_of_a_round(peer: Any, few: bool) -> int:
    """As many as take ROUND_S, found in two tries of which the first compiles."""
    steps = 4
    peer.train(steps, True)
    for most in (3000, 20000) if not few else ():
        began_s = time.perf_counter()
        peer.train(steps, True)
        each = (time.perf_counter() - began_s) / steps
        steps = int(min(max(ROUND_S / each, 4), most))
    peer.train(steps, True)  # so that no array has to grow within a round
    return steps
