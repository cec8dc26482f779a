"""Seconds of a first fit in a fresh process, interpreter and imports included.

    python -m benchmarks.first_fit [--repeats 3]

Cold: with an empty cache of compiled kernels; warm: with the cache that the cold one left.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time

PROGRAM = """
import numpy as np
import fastmlp
X = np.random.default_rng(0).standard_normal((500, 20)).astype(np.float32)
net = fastmlp.Network([20, 64, 2], loss="cross_entropy")
net.fit(X, (X[:, 0] > 0).astype(int), epochs=2)
"""


def seconds_of_a_process(cache_dir: str) -> float:
    environment = {**os.environ, "FASTMLP_CACHE_DIR": cache_dir}
    start = time.perf_counter()
    subprocess.run([sys.executable, "-c", PROGRAM], env=environment, check=True)
    return time.perf_counter() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=3)
    repeats = parser.parse_args().repeats
    cold, warm = [], []
    for _ in range(repeats):
        with tempfile.TemporaryDirectory() as folder:
            cold.append(seconds_of_a_process(folder))
            warm.append(seconds_of_a_process(folder))
    record = {
        "cold_s_best": round(min(cold), 2),
        "cold_s_all": [round(s, 2) for s in cold],
        "warm_s_best": round(min(warm), 2),
        "warm_s_all": [round(s, 2) for s in warm],
    }
    print(json.dumps(record))


if __name__ == "__main__":
    main()
