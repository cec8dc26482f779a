"""How many threads a fit really has, counted in this process or in a worker.

`python -m tests.stress.crews FUNCTION JSON` calls one of the functions below and prints it.
"""

from __future__ import annotations

import json
import os
import sys
import threading
import time
from typing import Any

import numpy as np

import fastmlp
from fastmlp.engine.cpu import cores


def most_threads(**network: Any) -> int:
    """The most threads of a crew at any time of a fit with enough work for a hundred of them."""
    rng = np.random.default_rng(0)
    X, y = rng.standard_normal((1000, 64)), rng.standard_normal((1000, 2))
    net = fastmlp.Network([64, 300, 300, 2], **network)
    most, over = 0, threading.Event()

    def look() -> None:
        nonlocal most
        while not over.is_set():
            names = [thread.name for thread in threading.enumerate()]
            most = max(most, sum(name.startswith("fastmlp-") for name in names))
            time.sleep(0.0005)

    watcher = threading.Thread(target=look)
    watcher.start()
    try:
        net.fit(X, y, epochs=20, batch_size=1000, verbose=False)
    finally:
        over.set()
        watcher.join()
    assert most == net.engine.n_threads_used, "not all of them were seen"
    return most


def with_eight_cores(quota: float | None = None, **network: Any) -> int:
    """`most_threads` as on a machine with eight processors, of which a container has `quota`."""
    cores._own_quota = lambda: quota
    os.sched_getaffinity = lambda _: set(range(8))
    return most_threads(**network)


def on_one_core(**network: Any) -> int:
    """`most_threads` where the system lets this process run on one processor alone."""
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    return most_threads(**network)


if __name__ == "__main__":
    print(globals()[sys.argv[1]](**json.loads(sys.argv[2])))
