"""Share of the machine's multiply-add peak that whole training steps reach.

    python -m benchmarks.share [--case mnist2] [--threads 2] [--dtype float32]

Everything in a step is included: shuffled minibatches, loss, Adam. Peak and training are measured
in turn, in one run, so that both see the same machine.
"""

from __future__ import annotations

import json
import statistics
import time
from typing import Any

import click

import fastmlp

from .cases import CASES, Case
from .command import Names, n_cores, run
from .peak import measure

# Long enough that starting threads does not count, short enough to fit between disturbances.
SECONDS_PER_REPEAT = 0.5


class Training:
    """A network of a case with its data, and how many epochs fill a repeat."""

    def __init__(
        self,
        case: Case,
        n_threads: int | None,
        dtype: str = "float32",
        activation: str = "relu",
        n_steps: int | None = None,
    ) -> None:
        self.n_steps = n_steps or max(4, min(200, int(2e10 / case.flops_per_step)))
        self.batch_size = case.batch_size
        self.X, self.y = case.data(self.n_steps, dtype)
        self.net = fastmlp.Network(
            case.sizes, activation=activation, loss=case.loss, dtype=dtype, n_threads=n_threads
        )
        self._seconds(1)
        self.n_epochs = max(1, round(SECONDS_PER_REPEAT / self._seconds(1)))

    def _seconds(self, n_epochs: int) -> float:
        start = time.perf_counter()
        self.net.fit(
            self.X, self.y, optimizer=fastmlp.optim.Adam(lr=1e-4), epochs=n_epochs,
            batch_size=self.batch_size, verbose=False,
        )  # fmt: skip
        return time.perf_counter() - start

    def step_seconds(self) -> float:
        """Seconds of a step, over one repeat."""
        return self._seconds(self.n_epochs) / (self.n_epochs * self.n_steps)


def shares(
    case: Case,
    n_threads: int,
    dtype: str,
    repeats: int,
    activations: tuple[str, ...] = ("relu",),
    n_steps: int | None = None,
) -> list[dict[str, Any]]:
    """A record for each activation: best and median of `repeats`, and the peak of the same run.

    "loss_percent" is how much longer the best step is than that of the first activation.
    """
    trainings = [Training(case, n_threads, dtype, name, n_steps) for name in activations]
    seconds: list[list[float]] = [[] for _ in activations]
    peaks = []
    for _ in range(repeats):
        peaks.append(measure(n_threads, dtype, repeats=1))
        for training, measured in zip(trainings, seconds, strict=True):
            measured.append(training.step_seconds())
    gflops, records = case.flops_per_step / 1e9, []
    for activation, measured in zip(activations, seconds, strict=True):
        best, median = min(measured), statistics.median(measured)
        record = {
            "case": case.name,
            "sizes": list(case.sizes),
            "batch": case.batch_size,
            "dtype": dtype,
            "activation": activation,
            "threads": n_threads,
            "us_per_step_best": round(best * 1e6, 1),
            "us_per_step_median": round(median * 1e6, 1),
            "gflops_best": round(gflops / best, 1),
            "peak_gflops": round(max(peaks), 1),
            "fraction_of_peak_best": round(gflops / best / max(peaks), 3),
            "fraction_of_peak_median": round(gflops / median / statistics.median(peaks), 3),
        }
        if len(activations) > 1:
            record["loss_percent"] = round(100 * (1 - min(seconds[0]) / best), 1)
        records.append(record)
    return records


@click.command("benchmarks.share")
@click.option("--case", "cases", type=Names(list(CASES)), default="mnist2", show_default=True)
@click.option("--threads", type=click.IntRange(1), help="[cores]")
@click.option(
    "--dtype", type=click.Choice(("float32", "float64")), default="float32", show_default=True
)
@click.option("--repeats", type=click.IntRange(1), default=7, show_default=True)
def share(cases: tuple[str, ...], threads: int | None, dtype: str, repeats: int) -> None:
    """Share of the multiply-add peak that whole training steps reach, one JSON record a line."""
    for name in cases:
        for record in shares(CASES[name], threads or n_cores(), dtype, repeats):
            click.echo(json.dumps(record))


if __name__ == "__main__":
    run(share)
