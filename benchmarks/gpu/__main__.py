"""Check and measure the CUDA engine on a GPU: `make gpu`, or

    python -m benchmarks.gpu [--device 0] [--out benchmarks/results] [--quick]

Needs Python, numba, numba-cuda and scikit-learn, and PyTorch for what is compared; no network.
Within 9 minutes: the roofline, all products and operations against float64, trainings beside the
CPU's, the same bits again, and steps beside PyTorch's. The file of results is written anew after
each stage; the table comes last. Ends with 1 where something was wrong.

--quick: a few operations at small sizes, which the simulator does too.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from fastmlp import devices
from fastmlp.kernels.cuda.jit import SIMULATED

from . import machine, products, roofline, timings, trainings
from .report import Report, table

BUDGET_S = 500.0  # of 9 minutes; cases for which no time is left are named
# Each compiles its own kernels, which takes a processor; the GPU has room for all of them.
MOST_WORKERS = 8


def operations(few: bool) -> dict[str, Any]:
    """All operations, shared by processes; {"checked", "largest_errors", "wrong"}."""
    import os

    n = 1 if few else min(MOST_WORKERS, max(1, len(os.sched_getaffinity(0)) - 1))
    with tempfile.TemporaryDirectory() as folder:
        paths = [Path(folder) / f"{i}.json" for i in range(n)]
        started = [
            subprocess.Popen(
                [sys.executable, "-m", "benchmarks.gpu.operations", "--part", f"{i + 1}/{n}",
                 "--json", str(path), *(["--few"] if few else [])],
                cwd=machine.ROOT, stderr=subprocess.PIPE, text=True,
            )
            for i, path in enumerate(paths)
        ]  # fmt: skip
        errors = [process.communicate()[1] for process in started]
        wrong: dict[str, Any] = {
            f"process {i + 1}": error[-2000:]
            for i, (process, error) in enumerate(zip(started, errors, strict=True))
            if process.returncode
        }
        records = [r for path in paths if path.exists() for r in json.loads(path.read_text())]
    wrong |= {r["operation"]: r["wrong"] for r in records if r["wrong"]}
    largest = {
        dtype: max((r["error"] for r in records if r["dtype"] == dtype and r["error"]), default=0.0)
        for dtype in ("float32", "float64")
    }
    return {
        "checked": len(records), "largest_errors": largest, "wrong": wrong, "records": records,
    }  # fmt: skip


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--device", type=int, default=0, help="number of the GPU")
    parser.add_argument("--out", type=Path, default=machine.ROOT / "benchmarks" / "results")
    parser.add_argument("--quick", action="store_true", help="a few operations at small sizes")
    options = parser.parse_args()
    number, few, began_s = options.device, options.quick, time.perf_counter()
    missing = devices.trouble(number)
    if missing:
        print(f"cuda:{number} cannot be used: {missing}", file=sys.stderr)
        return 2
    if SIMULATED:
        from tests.cuda import scheduler

        scheduler.install()
    report = Report(options.out, machine.describe(number))
    wrong: list[str] = []

    def done(stage: str, values: Any, faults: list[str]) -> None:
        report.add(stage, values)
        wrong.extend(f"{stage}: {fault}" for fault in faults)
        state = f"{len(faults)} wrong" if faults else "right"
        print(f"{time.perf_counter() - began_s:5.0f} s  {stage}: {state}", flush=True)

    rates = roofline.measure(number, small=few)
    done("roofline", rates, [])
    found = products.check(number, few=few)
    done("products", found, found["wrong"])
    found = operations(few)
    done("operations", found, [f"{name}: {why}" for name, why in found["wrong"].items()])
    accuracies = trainings.accuracy(number, few=few)
    done("accuracy", accuracies, _less_accurate(accuracies))
    same = trainings.repeatability(number, few=few)
    done("repeatability", same, [f"other bits {name}" for name, equal in same.items() if not equal])
    records = timings.measure(
        number, few=few, deadline_s=began_s + BUDGET_S, float32_tflops=rates.get("float32_tflops")
    )
    done("timings", records, timings.disagreements(records))
    report.values["wrong"] = wrong
    report.save()
    _print(report, rates, accuracies, records, wrong)
    return 1 if wrong else 0


def _less_accurate(records: list[dict[str, Any]]) -> list[str]:
    """Cases whose mean accuracy on the GPU is below the CPU's by more than a point."""
    faults = []
    for case in dict.fromkeys(r["case"] for r in records):
        runs = [r for r in records if r["case"] == case]
        cpu, gpu = (
            sum(r[f"{kind}_accuracy"] for r in runs) / len(runs) for kind in ("cpu", "cuda")
        )
        if gpu < cpu - 0.01:
            faults.append(f"{case}: accuracy {gpu:.4f}, on the CPU {cpu:.4f}")
    return faults


def _print(
    report: Report, rates: dict[str, Any], accuracies: Any, records: Any, wrong: list[str]
) -> None:
    print("\n" + table(("rate", "measured"), list(rates.items())))
    products_found = report.values["stages"]["products"]["tflops"]
    print("\n" + table(("product of fastmlp", "TFLOP/s"), list(products_found.items())))
    rows = [
        (f"{r['case']}, seed {r['seed']}", r["cpu_accuracy"], r["cuda_accuracy"],
         r["cpu_seconds"], r["cuda_seconds"])
        for r in accuracies
    ]  # fmt: skip
    header = ("training", "accuracy CPU", "GPU", "seconds CPU", "GPU")
    print("\n" + table(header, rows))
    print(f"\nresults in {report.path}")
    for fault in wrong:
        print(f"WRONG  {fault}")
    print("\n" + _steps(records))


def _steps(records: list[dict[str, Any]]) -> str:
    best = {r["case"]: r.get("us_per_step_best") for r in records if r["peer"] == "fastmlp"}
    rows: list[tuple[Any, ...]] = []
    for r in records:
        ours, its = best.get(r["case"]), r.get("us_per_step_best")
        times = its / ours if its and ours else None
        numbers = (its, r.get("us_per_step_median"), r.get("tflops"), r.get("share_of_float32"))
        rows.append((r["case"], r["peer"], *numbers, times))
    header = ("case, batch", "who", "us a step", "median", "TFLOP/s", "of float32", "times ours")
    faults = [f"{r['case']}, {r['peer']}: {r['error']}" for r in records if "error" in r]
    return "\n".join([table(header, rows), *faults])


if __name__ == "__main__":
    sys.exit(main())
