"""Seconds of a first fit in a fresh process, interpreter and imports included.

    python -m benchmarks.first_fit [--repeats 3]

Cold: with an empty cache of compiled kernels; warm: with the cache that the cold one left.
"compile_s" is the part of the cold one's fit that its next fit does not need.
"""

from __future__ import annotations

import json
import os
import tempfile
import time

import click

from .command import run
from .processes import printed

PROGRAM = """
import time
import numpy as np
import fastmlp
X = np.random.default_rng(0).standard_normal((500, 20)).astype(np.float32)
y = (X[:, 0] > 0).astype(int)
net = fastmlp.Network([20, 64, 2], loss="cross_entropy")
start = time.perf_counter()
net.fit(X, y, epochs=2, verbose=False)
middle = time.perf_counter()
net.fit(X, y, epochs=2, verbose=False)
print(2 * middle - start - time.perf_counter())
"""

IMPORT = """
import time
import numba
start = time.perf_counter()
import fastmlp
print(time.perf_counter() - start)
"""


def seconds_of_a_process(cache_dir: str) -> tuple[float, float]:
    """Of the whole process, and of what its first fit took longer than the second."""
    start = time.perf_counter()
    beyond = float(printed(PROGRAM, {**os.environ, "FASTMLP_CACHE_DIR": cache_dir}))
    return time.perf_counter() - start, beyond


def import_seconds() -> float:
    """Of `import fastmlp` in a fresh process that has imported numba."""
    return float(printed(IMPORT))


@click.command("benchmarks.first_fit")
@click.option("--repeats", type=click.IntRange(1), default=3, show_default=True)
def first_fit(repeats: int) -> None:
    """Seconds of a first fit in a fresh process, cold and warm, and of the import."""
    cold, warm, compiling, importing = [], [], [], []
    for _ in range(repeats):
        with tempfile.TemporaryDirectory() as folder:
            seconds, beyond = seconds_of_a_process(folder)
            cold.append(seconds)
            compiling.append(beyond)
            warm.append(seconds_of_a_process(folder)[0])
        importing.append(import_seconds())
    record = {
        "cold_s_best": round(min(cold), 2),
        "cold_s_all": [round(s, 2) for s in cold],
        "warm_s_best": round(min(warm), 2),
        "warm_s_all": [round(s, 2) for s in warm],
        "compile_s_best": round(min(compiling), 2),
        "import_beyond_numba_s_best": round(min(importing), 3),
    }
    click.echo(json.dumps(record))


if __name__ == "__main__":
    run(first_fit)
