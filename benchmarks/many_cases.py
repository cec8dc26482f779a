"""`fit_many` beside fastmlp's own other ways: validation, larger networks, memory, many cores.

    python -m benchmarks.many_cases [--repeats 5] [--with all]

- validated: 500 networks 4-32-32-1, 50 epochs of 1,000 rows at 32, with 250 rows to evaluate after
  each and early stopping that never stops, beside the same without either, in processor time.
  `beyond_products` is what that adds beside evaluating itself, as a share of training: evaluating
  is timed in calls of its own, less what a call costs.
- larger: 16 networks 64-256-256-256-2, minibatches of 256, beside `fit` of each with its own
  number of threads.
- waiting: memory of 1,000 networks with 64-64 hidden units that wait for their turn, above that of
  the process with the table and one network.
- cores: efficiency of the queue with 20 networks a core, by simulation: with the seconds that a
  network takes here, of compiled work, of Python of one thread at a time, and of Python before
  the first begins; for networks of 8-64-64-1 with 10 epochs of 10,000 rows, and ten times that.
"""

from __future__ import annotations

import heapq
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ.pop("OPENBLAS_CORETYPE", None)

import click
import numpy as np

import fastmlp
from fastmlp import Network
from fastmlp.callbacks import EarlyStopping

from .command import Names, run
from .failed import Failed

Record = dict[str, Any]


def _table(n_rows: int, n_columns: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    X = rng.standard_normal((n_rows, n_columns)).astype(np.float32)
    noise = 0.3 * rng.standard_normal(n_rows)
    return X, np.sin(2 * X[:, 0]) + X[:, 1] * X[:, 2] + noise


def _in_turn(
    ways: dict[str, Callable[[], Any]],
    repeats: int,
    clock: Callable[[], float] = time.perf_counter,
) -> dict[str, list[float]]:
    """Seconds of each, in turn, after a first time that does not count."""
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(1 + repeats):
        for name, way in ways.items():
            start_s = clock()
            way()
            seconds[name].append(clock() - start_s)
    return {name: times[1:] for name, times in seconds.items()}


def _ratios(a: list[float], b: list[float]) -> Record:
    return {
        "best": round(min(a) / min(b), 3),
        "median": round(statistics.median(a) / statistics.median(b), 3),
    }


def validated(repeats: int) -> Record:
    n, n_epochs, n_held = 500, 50, 250
    X, y = _table(1000 + n_held, 4)

    def networks() -> list[Network]:
        return [Network([4, 32, 32, 1], loss="squared_error", seed=i) for i in range(n)]

    common: dict[str, Any] = {
        "rows": np.arange(1000), "epochs": n_epochs, "batch_size": 32, "verbose": False,
    }  # fmt: skip
    stopping = EarlyStopping(patience=10**6)
    found = _in_turn(
        {
            "plain": lambda: fastmlp.fit_many(networks(), X, y, **common),
            "validated": lambda: fastmlp.fit_many(
                networks(), X, y, eval_rows=np.arange(1000, 1250), early_stopping=stopping, **common
            ),
        },
        repeats,
        time.process_time,  # of both threads: an overhead, which another program must not hide
    )
    net = Network([4, 32, 32, 1], loss="squared_error", n_threads=1)
    # All rows in a call, less one row in a call.
    calls = _in_turn(
        {
            "all": lambda: net.evaluate(X[-n_held:], y[-n_held:], metrics=[]),
            "one": lambda: net.evaluate(X[-1:], y[-1:], metrics=[]),
        },
        500,
    )
    products_s = min(calls["all"]) - min(calls["one"])
    share = products_s * n * n_epochs / min(found["plain"])
    ratios = _ratios(found["validated"], found["plain"])
    beyond = {name: round(ratio - 1 - share, 3) for name, ratio in ratios.items()}
    return {
        "networks": n, "epochs": n_epochs, "s_plain": round(min(found["plain"]), 4),
        "s_validated": round(min(found["validated"]), 4), "ratio": ratios,
        "products": round(share, 3), "beyond_products": beyond,
    }  # fmt: skip


def larger(repeats: int) -> Record:
    X, _ = _table(4096, 64)
    y = (X[:, 0] * X[:, 1] > 0).astype(int)

    def networks() -> list[Network]:
        return [Network([64, 256, 256, 256, 2], loss="cross_entropy", seed=i) for i in range(16)]

    common: dict[str, Any] = {"epochs": 4, "batch_size": 256, "verbose": False}

    def in_turn() -> None:
        for net in networks():
            net.fit(X, y, **common)

    ways = {"in_turn": in_turn, "fit_many": lambda: fastmlp.fit_many(networks(), X, y, **common)}
    found = _in_turn(ways, repeats)
    return {
        "s_in_turn": round(min(found["in_turn"]), 4),
        "s_fit_many": round(min(found["fit_many"]), 4),
        "times": _ratios(found["in_turn"], found["fit_many"]),
    }  # fmt: skip


def _memory_mb(name: str) -> float:
    """VmRSS or VmHWM, memory in use or its peak."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(f"{name}:"):
            return int(line.split()[1]) / 1024
    raise Failed(f"/proc/self/status has no {name}; this case needs Linux")


def waiting(repeats: int) -> Record:
    """In a process of its own, which has used nothing else."""
    script = "from benchmarks.many_cases import _waiting; _waiting()"
    found = [
        float(
            subprocess.run([sys.executable, "-c", script], check=True, capture_output=True).stdout
        )
        for _ in range(min(repeats, 3))
    ]
    return {"networks": 1000, "mb": round(max(found), 1)}


def _waiting() -> None:
    X, y = _table(10_000, 8)
    one = Network([8, 64, 64, 1], loss="squared_error")
    fastmlp.fit_many([one], X, y, epochs=1, n_threads=2, verbose=False)
    before_mb = _memory_mb("VmRSS")
    Path("/proc/self/clear_refs").write_text("5")  # the peak is counted from here on
    nets = [Network([8, 64, 64, 1], loss="squared_error", seed=i) for i in range(1000)]
    # All of them are ready to run when the time is up.
    fastmlp.fit_many(nets, X, y, epochs=100, n_threads=2, max_time_s=1e-6, verbose=False)
    print(_memory_mb("VmHWM") - before_mb)


def queue_efficiency(
    n_cores: int, work_s: np.ndarray, python_s: float, before_s: float = 0.0
) -> float:
    """Share of the cores' time that is compiled work, longest first.

    Of `work_s` each network needs `python_s` first, during which no other one's Python runs;
    all of them need `before_s` in one thread before the first one begins.
    """
    gil_free_s = before_s * len(work_s)
    free_s = [gil_free_s] * n_cores
    for work in np.sort(work_s)[::-1].tolist():
        gil_free_s = max(heapq.heappop(free_s), gil_free_s) + python_s
        heapq.heappush(free_s, gil_free_s + work)
    return float(work_s.sum() / (n_cores * max(free_s)))


def cores(repeats: int) -> Record:
    X, y = _table(10_000, 8)

    def seconds(n_epochs: int, rows: np.ndarray | None, **ended: float) -> float:
        def way() -> None:
            nets = [Network([8, 64, 64, 1], loss="squared_error", seed=i) for i in range(64)]
            began_s = time.process_time()
            fastmlp.fit_many(
                nets, X, y, rows=rows, epochs=n_epochs, n_threads=1, verbose=False, **ended
            )
            taken.append((time.process_time() - began_s) / 64)

        taken: list[float] = []
        _in_turn({"way": way}, repeats)
        return min(taken[1:])

    # A network of one step is Python but for some microseconds, and where the time is up before
    # the first begins, it is what comes before the queue.
    before_s = seconds(1, np.arange(64), max_time_s=1e-6)
    python_s = seconds(1, np.arange(64)) - before_s
    total_s = seconds(10, None) - python_s - before_s
    record: Record = {
        "before_us": round(1e6 * before_s), "python_us": round(1e6 * python_s),
        "work_ms": round(1e3 * total_s, 2),
    }  # fmt: skip
    rng = np.random.default_rng(0)
    for factor in (1, 10):
        # Networks of a search differ: by up to four times here.
        work_s = factor * total_s * 2.0 ** rng.uniform(-1, 1, 20 * 192)
        record[f"times_{factor}"] = {
            n: round(queue_efficiency(n, work_s[: 20 * n], python_s, before_s), 3)
            for n in (8, 64, 192)
        }
        record[f"times_{factor}_without_python"] = {
            n: round(queue_efficiency(n, work_s[: 20 * n], 0.0), 3) for n in (8, 64, 192)
        }
    return record


CASES: dict[str, Callable[[int], Record]] = {
    "validated": validated,
    "larger": larger,
    "waiting": waiting,
    "cores": cores,
}


@click.command("benchmarks.many_cases")
@click.option("--repeats", type=click.IntRange(1), default=5, show_default=True)
@click.option("--with", "names", type=Names(list(CASES)), default="all", show_default=True)
def many_cases(repeats: int, names: tuple[str, ...]) -> None:
    """Figures of fit_many, a JSON record for each case."""
    for name in names:
        click.echo(json.dumps({"case": name} | CASES[name](repeats)))


if __name__ == "__main__":
    run(many_cases)
