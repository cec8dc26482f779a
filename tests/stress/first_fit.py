"""A fork while another thread is in the first fit of a process, which imports and loads kernels.

`python -m tests.stress.first_fit WHEN`: "importing", "loading", or a number of seconds after the
fit has begun. Prints the status of the child, which fits too.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import time

import numpy as np

import fastmlp

# Of a child that hangs.
CHILD_S = 60
SLOW_S = 0.5


class SlowImport:
    """Finds no module; says when one of the engine's is looked for, and takes a while."""

    def __init__(self, reached: threading.Event) -> None:
        self.reached = reached

    def find_spec(self, name: str, *_) -> None:
        if name == "fastmlp.engine.cpu.crew" and not self.reached.is_set():
            self.reached.set()
            time.sleep(SLOW_S)


def slow_loading(reached: threading.Event) -> None:
    from fastmlp.kernels.cpu.loop import run

    load = run._cache.load_overload

    def slowly(*arguments):
        reached.set()
        time.sleep(SLOW_S)
        return load(*arguments)

    run._cache.load_overload = slowly


def fit() -> None:
    X = np.arange(80, dtype=np.float32).reshape(20, 4)
    fastmlp.Network([4, 3, 1]).fit(X, X[:, 0], epochs=1)


def status_of_child(when: str) -> int:
    reached = threading.Event()
    if when == "importing":
        sys.meta_path.insert(0, SlowImport(reached))
    elif when == "loading":
        slow_loading(reached)
    thread = threading.Thread(target=fit)
    thread.start()
    if when in ("importing", "loading"):
        assert reached.wait(CHILD_S)
    else:
        time.sleep(float(when))
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            signal.alarm(CHILD_S)
            fit()
            code = 0
        finally:
            os._exit(code)
    thread.join()
    return os.waitpid(pid, 0)[1]


if __name__ == "__main__":
    print(status_of_child(sys.argv[1]))
