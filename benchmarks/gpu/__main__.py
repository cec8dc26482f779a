"""Check and measure the CUDA engine on a GPU: `make gpu`, or

    python -m benchmarks.gpu [--device 0] [--out benchmarks/results] [--quick]

Needs Python, numba, numba-cuda and scikit-learn, and PyTorch for what is compared; no network. A
kit that lies unpacked in gpu-kit/ has all but NumPy, SciPy, scikit-learn and PyTorch.
Within 9 minutes: the roofline, all products and operations against float64, bits that the PTX
foretells, trainings beside the CPU's, the same bits again, and steps beside PyTorch's. The file of
results is written anew after each stage; the table comes last. Ends with 1 where something was
wrong, and with 2, after a first line that says so, where something is missing.

--quick: a few operations at small sizes, which the simulator does too.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from . import processes, surroundings
from .report import table
from .runner import Runner

BUDGET_S = 520.0  # of 9 minutes, whatever hangs; cases for which no time is left are named
# Most seconds of a stage; timings have what is left, which is at least BUDGET_S less all of these.
LIMITS_S = {
    "versions": 25.0, "roofline": 45.0, "products": 80.0, "foretold bits": 20.0,
    "operations": 165.0, "repeatability": 40.0, "accuracy": 90.0,
}  # fmt: skip
LAST_CASE_S = 25.0  # for the timings' case that is under way when their time is over
# Each compiles its own kernels, which takes a processor; the GPU has room for all of them.
MOST_WORKERS = 12


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--device", type=int, default=0, help="number of the GPU")
    parser.add_argument("--out", type=Path, default=surroundings.ROOT / "benchmarks" / "results")
    parser.add_argument("--quick", action="store_true", help="a few operations at small sizes")
    options = parser.parse_args(arguments)
    with Runner("gpu", options.out, options.device, few=options.quick) as run:
        if not run.begin(LIMITS_S["versions"]):
            return 2
        run.stage("roofline", LIMITS_S["roofline"])
        run.stage("products", LIMITS_S["products"])
        run.stage("foretold bits", LIMITS_S["foretold bits"])
        n_workers = min(MOST_WORKERS, max(1, len(os.sched_getaffinity(0)) - 1))
        run.shared(
            "operations", "benchmarks.gpu.operations", 1 if run.few else n_workers,
            LIMITS_S["operations"],
        )  # fmt: skip
        run.stage("repeatability", LIMITS_S["repeatability"])
        left_s = BUDGET_S - LIMITS_S["accuracy"] - run.seconds
        run.stage("timings", left_s, "--seconds", str(left_s - LAST_CASE_S))
        run.stage("accuracy", LIMITS_S["accuracy"])
        _print(run)
    return 1 if run.wrong else 0


def _print(run: Runner) -> None:
    rates = run.found.get("roofline", {})
    print("\n" + table(("rate", "measured"), list(rates.items())))
    of_products = run.found.get("products", {}).get("tflops", {})
    print("\n" + table(("product of fastmlp", "TFLOP/s"), list(of_products.items())))
    foretold = run.found.get("foretold bits", {})
    kept = ("launches", "exact", "elements", "different")
    print("\n" + table(("foretold by the PTX", "n"), [(k, foretold.get(k)) for k in kept]))
    rows = [
        (f"{r['case']}, seed {r['seed']}", r["cpu_accuracy"], r["cuda_accuracy"],
         r["cpu_seconds"], r["cuda_seconds"])
        for r in run.found.get("accuracy", [])
    ]  # fmt: skip
    header = ("training", "accuracy CPU", "GPU", "seconds CPU", "GPU")
    print("\n" + table(header, rows))
    run.told()
    print("\n" + steps(run.found.get("timings", []), rates.get("float32_tflops")))


def steps(records: list[dict[str, Any]], float32_tflops: float | None = None) -> str:
    """The table of steps beside their peers."""
    best = {r["case"]: r.get("us_per_step_best") for r in records if r["peer"] == "fastmlp"}
    rows: list[tuple[Any, ...]] = []
    for r in records:
        ours, its = best.get(r["case"]), r.get("us_per_step_best")
        times = its / ours if its and ours else None
        share = r["tflops"] / float32_tflops if float32_tflops and "tflops" in r else None
        numbers = (its, r.get("us_per_step_median"), r.get("tflops"), share)
        rows.append((r["case"], r["peer"], *numbers, times))
    header = ("case, batch", "who", "us a step", "median", "TFLOP/s", "of float32", "times ours")
    faults = [f"{r['case']}, {r['peer']}: {r['error']}" for r in records if "error" in r]
    return "\n".join([table(header, rows), *faults])


if __name__ == "__main__":
    processes.end_with_children()
    sys.exit(main())
