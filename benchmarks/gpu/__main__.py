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
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from fastmlp import devices

from . import machine, timings
from .report import Report, table

BUDGET_S = 500.0  # of 9 minutes; cases for which no time is left are named
# Most seconds of a stage in a process of its own; timings have what is left.
LIMITS_S = {"roofline": 45.0, "products": 80.0, "accuracy": 100.0, "repeatability": 45.0}
OPERATIONS_S = 180.0
RESERVED_S = 80.0  # for what comes after the timings
# Each compiles its own kernels, which takes a processor; the GPU has room for all of them.
MOST_WORKERS = 12


def child(arguments: list[str], seconds: float) -> str:
    """Run a module of this package; "" or what went wrong."""
    try:
        done = subprocess.run(
            [sys.executable, "-m", *arguments], cwd=machine.ROOT, stderr=subprocess.PIPE,
            text=True, timeout=seconds, env={"OMP_NUM_THREADS": "4", **os.environ},
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        return f"took more than {seconds:.0f} s"
    return "" if done.returncode == 0 else f"ended with {done.returncode}: {done.stderr[-1500:]}"


def operations(few: bool) -> dict[str, Any]:
    """All operations, shared by processes; {"checked", "largest_errors", "wrong"}."""
    n = 1 if few else min(MOST_WORKERS, max(1, len(os.sched_getaffinity(0)) - 1))
    with tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor(n) as pool:
        paths = [Path(folder) / f"{i}.json" for i in range(n)]
        jobs = [
            pool.submit(
                child,
                ["benchmarks.gpu.operations", "--part", f"{i + 1}/{n}", "--json", str(path),
                 *(["--few"] if few else [])],
                OPERATIONS_S,
            )
            for i, path in enumerate(paths)
        ]  # fmt: skip
        wrong: dict[str, Any] = {
            f"process {i + 1}": fault for i, job in enumerate(jobs) if (fault := job.result())
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
    report = Report(options.out, machine.describe(number))
    wrong: list[str] = []
    found: dict[str, Any] = {}

    def done(stage: str, values: Any, faults: list[str]) -> None:
        found[stage] = values
        report.add(stage, values)
        wrong.extend(f"{stage}: {fault}" for fault in faults)
        report.values["wrong"] = wrong
        report.save()
        state = f"{len(faults)} wrong" if faults else "right"
        print(f"{time.perf_counter() - began_s:5.0f} s  {stage}: {state}", flush=True)

    def run(stage: str, check: Callable[[Any], list[str]], empty: Any) -> None:
        left_s = max(30.0, BUDGET_S - RESERVED_S - (time.perf_counter() - began_s))
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "found.json"
            fault = child(
                ["benchmarks.gpu.stage", stage, "--device", str(number), "--json", str(path),
                 "--seconds", str(left_s), *(["--few"] if few else [])],
                LIMITS_S.get(stage, left_s + 30.0),
            )  # fmt: skip
            values = json.loads(path.read_text()) if path.exists() else empty
        done(stage, values, [*([fault] if fault else []), *check(values)])

    run("roofline", lambda values: [], {})
    run("products", lambda values: values.get("wrong", []), {})
    checked = operations(few)
    done("operations", checked, [f"{name}: {why}" for name, why in checked["wrong"].items()])
    run("repeatability", lambda same: [f"other bits {k}" for k, v in same.items() if not v], {})
    run("timings", timings.faults, [])
    run("accuracy", _less_accurate, [])
    _print(report, found, wrong)
    return 1 if wrong else 0


def _less_accurate(records: list[dict[str, Any]]) -> list[str]:
    """Cases whose mean accuracy on the GPU is below the CPU's by more than chance."""
    faults = []
    for case in dict.fromkeys(r["case"] for r in records):
        runs = [r for r in records if r["case"] == case]
        cpu, gpu = (
            sum(r[f"{kind}_accuracy"] for r in runs) / len(runs) for kind in ("cpu", "cuda")
        )
        # Three seeds of 400 test rows: their mean may be off by 0.006.
        if not gpu >= cpu - 0.025:
            faults.append(f"{case}: accuracy {gpu:.4f}, on the CPU {cpu:.4f}")
    return faults


def _print(report: Report, found: dict[str, Any], wrong: list[str]) -> None:
    rates = found["roofline"]
    print("\n" + table(("rate", "measured"), list(rates.items())))
    of_products = found["products"].get("tflops", {})
    print("\n" + table(("product of fastmlp", "TFLOP/s"), list(of_products.items())))
    rows = [
        (f"{r['case']}, seed {r['seed']}", r["cpu_accuracy"], r["cuda_accuracy"],
         r["cpu_seconds"], r["cuda_seconds"])
        for r in found["accuracy"]
    ]  # fmt: skip
    header = ("training", "accuracy CPU", "GPU", "seconds CPU", "GPU")
    print("\n" + table(header, rows))
    print(f"\nresults in {report.path}")
    for fault in wrong:
        print(f"WRONG  {fault[:400]}")
    print("\n" + _steps(found["timings"], rates.get("float32_tflops")))


def _steps(records: list[dict[str, Any]], float32_tflops: float | None = None) -> str:
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
    sys.exit(main())
