"""What a process keeps after many fits: `python -m tests.stress.growth N_WARM N_FITS N_THREADS`.

Prints as JSON the resident memory in bytes, and the numbers of threads and of descriptors, after
each tenth of the fits that follow the warm-up.
"""

from __future__ import annotations

import ctypes
import gc
import itertools
import json
import os
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests.stress.networks import digest_of

N_PARTS = 10


def kept() -> dict[str, int]:
    """Of this process, once all garbage is collected."""
    gc.collect()
    # Free memory that the C library holds back is not ours to count.
    ctypes.CDLL(None).malloc_trim(0)
    resident = int(Path("/proc/self/statm").read_text().split()[1])
    return {
        "bytes": resident * os.sysconf("SC_PAGE_SIZE"),
        "threads": len(os.listdir("/proc/self/task")),
        "descriptors": len(os.listdir("/proc/self/fd")),
    }


def series(n_warm: int, n_fits: int, n_threads: int) -> list[dict[str, int]]:
    """Fits of all kinds in turn, on `n_threads` threads at the same time."""
    found = []
    bounds = [n_warm + n_fits * part // N_PARTS for part in range(N_PARTS + 1)]
    with ThreadPoolExecutor(n_threads) as executor:
        for start, stop in itertools.pairwise([0, *bounds]):
            for _ in executor.map(digest_of, range(start, stop)):
                pass
            found.append(kept())
    return found[1:]


if __name__ == "__main__":
    json.dump(series(*map(int, sys.argv[1:])), sys.stdout)
