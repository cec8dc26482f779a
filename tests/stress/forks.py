"""Forks of a process that trains: `python -m tests.stress.forks N_QUIET N_MEANWHILE`.

The first children are forked when fits have ended, the others while a thread of the parent is
within a fit. All of them train, and so does the parent. Prints as JSON what went wrong.
"""

from __future__ import annotations

import faulthandler
import json
import os
import random
import sys
import threading
import time
import traceback
from typing import Any

from fastmlp import optim
from tests.stress.networks import KINDS, digest_of, digests

# Of fits while a child is forked. Not L-BFGS, which sets the threads of SciPy's BLAS: OpenBLAS has
# a lock for that, which a fork in that instant leaves locked in the child, once in a thousand.
MEANWHILE = [
    number for number, kind in enumerate(KINDS) if not isinstance(kind.optimizer, optim.LBFGS)
]
# Longer than a child takes on any machine; one that hangs is ended by the system.
CHILD_S = 120


def child(numbers: list[int], alone: list[str]) -> int:
    """Fork a child that fits these networks; its process number. It ends with 0 if bits are right.
    """  # fmt: skip
    import signal

    pid = os.fork()
    if pid:
        return pid
    code = 1
    try:
        # Not by a handler of Python's, which a hang would keep waiting.
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        signal.alarm(CHILD_S)
        faulthandler.dump_traceback_later(CHILD_S - 5)
        different = [number for number in numbers if digest_of(number) != alone[number]]
        if different:
            print(f"other bits of {different}", file=sys.stderr, flush=True)
        code = 3 if different else 0
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(code)


def children(n: int, alone: list[str], begun: threading.Semaphore | None = None) -> dict[int, int]:
    """Of `n` children in turn those that failed, and their statuses; they are forked at random
    instants after each signal of `begun`."""
    generator, failed = random.Random(0), {}
    for number in range(n):
        if begun is not None:
            begun.acquire()
            time.sleep(generator.uniform(0.0, 0.02))
        numbers = [(number + step) % len(KINDS) for step in range(4)]
        _, status = os.waitpid(child(numbers, alone), 0)
        if status:
            failed[number] = status
    return failed


def report(n_quiet: int, n_meanwhile: int) -> dict[str, Any]:
    alone = digests(range(len(KINDS)))
    quiet = children(n_quiet, alone)
    begun, over, different = threading.Semaphore(0), threading.Event(), []
    fits = 0

    def train() -> None:
        nonlocal fits
        while not over.is_set():
            number = MEANWHILE[fits % len(MEANWHILE)]
            begun.release()
            if digest_of(number) != alone[number]:
                different.append(number)
            fits += 1

    trainer = threading.Thread(target=train)
    trainer.start()
    try:
        meanwhile = children(n_meanwhile, alone, begun)
    finally:
        over.set()
        trainer.join()
    return {"quiet": quiet, "meanwhile": meanwhile, "different": different, "went_on": fits > 0}


if __name__ == "__main__":
    json.dump(report(int(sys.argv[1]), int(sys.argv[2])), sys.stdout)
