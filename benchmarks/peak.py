"""The machine's multiply-add peak, from registers alone: what no product can exceed.

python -m benchmarks.peak [--threads N] [--dtype float32]
"""

from __future__ import annotations

import argparse
import json
import threading
import time

import numpy as np

from fastmlp.kernels.cpu.simd import fma, lanes_of, like, load, store
from fastmlp.kernels.jit import entry

N_CHAINS = 12


@entry
def register_fma(out, n_turns):
    """12 independent chains of multiply-adds, enough to cover the latency of any FMA unit.

    They begin at values from memory: of chains that begin at equal constants LLVM keeps one, and
    the rate comes out a fifth too high.
    """
    a, b = like(load(out, 0), 0.999), like(load(out, 0), 1e-3)
    c0, c1, c2, c3 = load(out, 0), load(out, 1), load(out, 2), load(out, 3)
    c4, c5, c6, c7 = load(out, 4), load(out, 5), load(out, 6), load(out, 7)
    c8, c9, c10, c11 = load(out, 8), load(out, 9), load(out, 10), load(out, 11)
    for _ in range(n_turns):
        c0, c1, c2 = fma(c0, a, b), fma(c1, a, b), fma(c2, a, b)
        c3, c4, c5 = fma(c3, a, b), fma(c4, a, b), fma(c5, a, b)
        c6, c7, c8 = fma(c6, a, b), fma(c7, a, b), fma(c8, a, b)
        c9, c10, c11 = fma(c9, a, b), fma(c10, a, b), fma(c11, a, b)
    store(out, 0, c0 + c1 + c2 + c3 + c4 + c5 + c6 + c7 + c8 + c9 + c10 + c11)
    return lanes_of(out)


def measure(n_threads: int, dtype: str = "float32", repeats: int = 5) -> float:
    """Best rate of `repeats`, in GFLOP/s over all threads."""
    outs = [np.linspace(0.0, 1.0, 64, dtype=dtype) for _ in range(n_threads)]
    lanes = register_fma(outs[0], 1)
    n_turns = 4_000_000
    flops = 2.0 * lanes * N_CHAINS * n_turns * n_threads
    best = 0.0
    for _ in range(repeats):
        threads = [threading.Thread(target=register_fma, args=(out, n_turns)) for out in outs]
        start = time.perf_counter()
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        best = max(best, flops / (time.perf_counter() - start) / 1e9)
    return best


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--dtype", choices=("float32", "float64"), default="float32")
    args = parser.parse_args()
    rate = measure(args.threads, args.dtype)
    record = {"threads": args.threads, "dtype": args.dtype, "peak_gflops": round(rate, 1)}
    print(json.dumps(record))


if __name__ == "__main__":
    main()
