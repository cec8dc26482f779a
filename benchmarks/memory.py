"""Peak memory of a fit in a fresh process, and what of it is neither data nor arena.

    python -m benchmarks.memory [--case large] [--rows 100000]

The arena is what `fastmlp.layout` lays out: parameters, optimizer state, workspace. "baseline_mb"
is the peak after a first fit of a few rows: interpreter, imports, compiled kernels.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click
import numpy as np

from .cases import CASES, Case
from .command import Names, run
from .failed import Failed
from .processes import printed

MB = 1e6


def peak_mb() -> float:
    """Largest resident memory of this process so far; getrusage would count its parent's too."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM"):
            return int(line.split()[1]) * 1024 / MB
    raise Failed("peak memory is read from /proc/self/status, which has no VmHWM here")


def measure_here(case: Case, n_rows: int) -> dict[str, Any]:
    """The record, measured in this process, which should have done nothing else."""
    import fastmlp

    net = fastmlp.Network(case.sizes, loss=case.loss)
    rng = np.random.default_rng(0)
    few = rng.standard_normal((4, case.sizes[0]), dtype=np.float32)
    n_classes = case.sizes[-1]
    fastmlp.Network([4, 4, 2], loss="cross_entropy").fit(few[:, :4], [0, 1, 0, 1], verbose=False)
    baseline = peak_mb()
    X = np.empty((n_rows, case.sizes[0]), np.float32)
    for row in X:  # no second table, be it for a moment
        row[...] = rng.random(case.sizes[0], dtype=np.float32)
    y = np.arange(n_rows) % n_classes if n_classes > 1 else X[:, 0].copy()
    net.fit(X, y, epochs=1, batch_size=case.batch_size, verbose=False)
    peak = peak_mb()
    engine: Any = net.engine
    arena = engine.params.nbytes + engine.state.nbytes
    arena += sum(workspace.n_bytes for workspace in engine._spare.values())
    data_mb, arena_mb = (X.nbytes + y.nbytes) / MB, arena / MB
    return {
        "case": case.name,
        "rows": n_rows,
        "peak_mb": round(peak, 1),
        "data_mb": round(data_mb, 1),
        "arena_mb": round(arena_mb, 1),
        "baseline_mb": round(baseline, 1),
        "beyond_data_and_1.1_arena_mb": round(peak - data_mb - 1.1 * arena_mb, 1),
        "beyond_baseline_mb": round(peak - data_mb - arena_mb - baseline, 1),
    }


def measure(case: Case, n_rows: int) -> dict[str, Any]:
    """The record of a fresh process."""
    program = (
        "import json; from benchmarks.cases import CASES; from benchmarks.memory import "
        f"measure_here; print(json.dumps(measure_here(CASES[{case.name!r}], {n_rows})))"
    )
    record: dict[str, Any] = json.loads(printed(program))
    return record


@click.command("benchmarks.memory")
@click.option("--case", "cases", type=Names(list(CASES)), default="mnist,large", show_default=True)
@click.option("--rows", type=click.IntRange(1), default=50_000, show_default=True)
def memory(cases: tuple[str, ...], rows: int) -> None:
    """Peak memory of a fit of one epoch, one JSON record for each case."""
    for name in cases:
        click.echo(json.dumps(measure(CASES[name], rows)))


if __name__ == "__main__":
    run(memory)
