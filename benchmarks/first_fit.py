"""Seconds of a first fit in a fresh process, interpreter and imports included.

    python -m benchmarks.first_fit [--repeats 3] [--warm-only]

Cold: with an empty cache of compiled kernels; warm: with the cache that the cold one left, or with
the user's. Beside them, the seconds of importing: nothing, numba, fastmlp, and one after the other.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
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


IMPORTS = {
    "python": "pass",
    "numba": "import numba",
    "fastmlp": "import fastmlp",
    "both": "import numba, fastmlp",
}


def seconds_of_a_process(program: str, cache_dir: str | None = None) -> float:
    environment = dict(os.environ)
    # Of a package that was installed, Python has the bytecode.
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    if cache_dir is not None:
        environment["FASTMLP_CACHE_DIR"] = cache_dir
    start = time.perf_counter()
    subprocess.run([sys.executable, "-c", program], env=environment, check=True)
    return time.perf_counter() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--warm-only", action="store_true")
    options = parser.parse_args()
    seconds: dict[str, list[float]] = {}
    if options.warm_only:
        seconds_of_a_process(PROGRAM)
    for _ in range(options.repeats):
        for name, program in IMPORTS.items():
            seconds.setdefault(f"import_{name}", []).append(seconds_of_a_process(program))
        if options.warm_only:
            seconds.setdefault("warm", []).append(seconds_of_a_process(PROGRAM))
            continue
        with tempfile.TemporaryDirectory() as folder:
            for name in ("cold", "warm"):
                seconds.setdefault(name, []).append(seconds_of_a_process(PROGRAM, folder))
    record: dict[str, float] = {}
    for name, taken_s in seconds.items():
        record[f"{name}_s_best"] = round(min(taken_s), 3)
        record[f"{name}_s_median"] = round(statistics.median(taken_s), 3)
    print(json.dumps(record))


if __name__ == "__main__":
    main()
