"""A small network on all 10,000 rows at once: what SimpleChains.jl is measured with.

    python -m benchmarks.full_batch [--threads 1,2]

4-32-16-4, tanh, squared error, Adam; microseconds an epoch, which is one step.
"""

from __future__ import annotations

import json
import statistics
import time

import click
import numpy as np

import fastmlp

from .command import Integers, n_cores, run

SIZES = (4, 32, 16, 4)
N_ROWS = 10_000


def epoch_us(net: fastmlp.Network, X: np.ndarray, y: np.ndarray, n_epochs: int) -> float:
    """Microseconds an epoch of a fit of `n_epochs`."""
    start = time.perf_counter()
    net.fit(X, y, epochs=n_epochs, batch_size=len(X), verbose=False)
    return (time.perf_counter() - start) / n_epochs * 1e6


@click.command("benchmarks.full_batch")
@click.option("--threads", type=Integers(), help="[1,cores]")
@click.option("--epochs", type=click.IntRange(1), default=1000, show_default=True)
@click.option("--repeats", type=click.IntRange(1), default=7, show_default=True)
def full_batch(threads: tuple[int, ...] | None, epochs: int, repeats: int) -> None:
    """Microseconds an epoch of 4-32-16-4 on 10,000 rows, a JSON record for each of --threads."""
    rng = np.random.default_rng(0)
    X = rng.standard_normal((N_ROWS, SIZES[0]), dtype=np.float32)
    y = np.tanh(X[:, ::-1]) * X
    nets = {
        n: fastmlp.Network(SIZES, activation="tanh", loss="squared_error", n_threads=n)
        for n in threads or sorted({1, n_cores()})
    }
    found: dict[int, list[float]] = {n: [] for n in nets}
    for net in nets.values():
        epoch_us(net, X, y, 1)
    for _ in range(repeats):
        for n, net in nets.items():
            found[n].append(epoch_us(net, X, y, epochs))
    for n, us in found.items():
        record = {
            "sizes": list(SIZES), "batch": N_ROWS, "activation": "tanh", "threads": n,
            "us_per_epoch_best": round(min(us), 1),
            "us_per_epoch_median": round(statistics.median(us), 1),
        }  # fmt: skip
        click.echo(json.dumps(record))


if __name__ == "__main__":
    run(full_batch)
