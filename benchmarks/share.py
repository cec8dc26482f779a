"""Share of the machine's multiply-add peak that whole training steps reach.

    python -m benchmarks.share [--case mnist2] [--threads 2] [--dtype float32]

Everything in a step is included: shuffled minibatches, loss, Adam. Peak and training are measured
in turn, in one run, so that both see the same machine.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time

import fastmlp

from .cases import CASES, Case
from .peak import measure

# Long enough that starting threads does not count, short enough to fit between disturbances.
SECONDS_PER_REPEAT = 0.5


def step_seconds(net: fastmlp.Network, case: Case, dtype: str, n_steps: int) -> float:
    """Seconds of one training step, over epochs of `n_steps` steps."""
    X, y = case.data(n_steps, dtype)
    optimizer = fastmlp.optim.Adam(lr=1e-4)
    start = time.perf_counter()
    net.fit(X, y, optimizer=optimizer, epochs=1, batch_size=case.batch_size, verbose=False)
    one_s = time.perf_counter() - start
    epochs = max(1, round(SECONDS_PER_REPEAT / one_s))
    start = time.perf_counter()
    net.fit(X, y, optimizer=optimizer, epochs=epochs, batch_size=case.batch_size, verbose=False)
    return (time.perf_counter() - start) / (epochs * n_steps)


def share(case: Case, n_threads: int, dtype: str, repeats: int) -> dict[str, object]:
    """One record: best and median of `repeats`, and the peak of the same run."""
    net = fastmlp.Network(case.sizes, loss=case.loss, dtype=dtype, n_threads=n_threads)
    n_steps = max(4, min(200, int(2e10 / case.flops_per_step)))
    step_seconds(net, case, dtype, 4)
    seconds, peaks = [], []
    for _ in range(repeats):
        peaks.append(measure(n_threads, dtype, repeats=1))
        seconds.append(step_seconds(net, case, dtype, n_steps))
    gflops = case.flops_per_step / 1e9
    best, median = min(seconds), statistics.median(seconds)
    return {
        "case": case.name,
        "sizes": list(case.sizes),
        "batch": case.batch_size,
        "dtype": dtype,
        "threads": n_threads,
        "us_per_step_best": round(best * 1e6, 1),
        "us_per_step_median": round(median * 1e6, 1),
        "gflops_best": round(gflops / best, 1),
        "peak_gflops": round(max(peaks), 1),
        "fraction_of_peak_best": round(gflops / best / max(peaks), 3),
        "fraction_of_peak_median": round(gflops / median / statistics.median(peaks), 3),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--case", choices=(*CASES, "all"), default="mnist2")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--dtype", choices=("float32", "float64"), default="float32")
    parser.add_argument("--repeats", type=int, default=7)
    args = parser.parse_args()
    for name in CASES if args.case == "all" else (args.case,):
        print(json.dumps(share(CASES[name], args.threads, args.dtype, args.repeats)), flush=True)


if __name__ == "__main__":
    main()
