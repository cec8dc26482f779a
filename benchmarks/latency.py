"""How long `predict` takes for one row and for very many.

    python -m benchmarks.latency [--case mnist] [--rows 1000000]

One row: microseconds a call, best and median of the repeats, each the mean of many calls. Many
rows: share of the machine's multiply-add peak, measured in turn.
"""

from __future__ import annotations

import json
import statistics
import time
from collections.abc import Callable

import click
import numpy as np

import fastmlp

from .cases import CASES, Case
from .command import n_cores, run
from .peak import measure

CALLS = 2_000


def seconds_of(call: Callable[[], object], n_calls: int) -> float:
    """Seconds a call, over `n_calls`."""
    start = time.perf_counter()
    for _ in range(n_calls):
        call()
    return (time.perf_counter() - start) / n_calls


def random_rows(n_rows: int, n_columns: int) -> np.ndarray:
    """Rows (n_rows, n_columns) in memory of their own; after 10,000 they come again."""
    X = np.empty((n_rows, n_columns), np.float32)
    rows = np.random.default_rng(0).standard_normal((10_000, n_columns), dtype=np.float32)
    for start in range(0, n_rows, len(rows)):
        X[start : start + len(rows)] = rows[: n_rows - start]
    return X


def one_row(case: Case, repeats: int) -> dict[str, object]:
    """Of `predict` of one row, which is an array already."""
    net = fastmlp.Network(case.sizes, loss=case.loss)
    x = case.data(1)[0][:1]
    record: dict[str, object] = {"case": case.name, "rows": 1}
    net.predict(x)
    us = [1e6 * seconds_of(lambda: net.predict(x), CALLS) for _ in range(repeats)]
    record["us_per_call_best"] = round(min(us), 2)
    record["us_per_call_median"] = round(statistics.median(us), 2)
    return record


def many_rows(case: Case, n_rows: int, repeats: int) -> dict[str, object]:
    """Of `predict` of `n_rows` with as many threads as there are cores."""
    net = fastmlp.Network(case.sizes, loss=case.loss)
    X = random_rows(n_rows, case.sizes[0])
    net.predict(X)
    seconds, peaks = [], []
    for _ in range(repeats):
        peaks.append(measure(n_cores(), "float32", repeats=1))
        seconds.append(seconds_of(lambda: net.predict(X), 1))
    gflop = sum(w.size for w in net.weights) * 2 * n_rows / 1e9
    best, median = min(seconds), statistics.median(seconds)
    return {
        "case": case.name,
        "rows": n_rows,
        "ns_per_row_best": round(best / n_rows * 1e9, 1),
        "ns_per_row_median": round(median / n_rows * 1e9, 1),
        "peak_gflops": round(max(peaks), 1),
        "fraction_of_peak_best": round(gflop / best / max(peaks), 3),
        "fraction_of_peak_median": round(gflop / median / statistics.median(peaks), 3),
    }


@click.command("benchmarks.latency")
@click.option("--case", type=click.Choice(list(CASES)), default="mnist", show_default=True)
@click.option("--rows", type=click.IntRange(1), default=1_000_000, show_default=True)
@click.option("--repeats", type=click.IntRange(1), default=7, show_default=True)
def latency(case: str, rows: int, repeats: int) -> None:
    """Time `predict` of one row and of many, one JSON record each."""
    click.echo(json.dumps(one_row(CASES[case], repeats)))
    click.echo(json.dumps(many_rows(CASES[case], rows, repeats)))


if __name__ == "__main__":
    run(latency)
