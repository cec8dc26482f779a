"""Forks of a process that trains: `python -m tests.stress.forks N_QUIET N_MEANWHILE`.

The first children are forked when fits have ended, the others while a thread of the parent is
within a fit. All of them train, and so does the parent. Prints as JSON what went wrong.
"""

from __future__ import annotations

import json
import os
import random
import sys
import threading
import time
from typing import Any

from tests.stress.networks import KINDS, digest_of, digests

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
        code = 0 if digests(numbers) == [alone[number] for number in numbers] else 3
    finally:
        os._exit(code)


def children(n: int, alone: list[str], begun: threading.Semaphore | None = None) -> list[int]:
    """Statuses of `n` children in turn, forked at random instants after each signal of `begun`."""
    generator, statuses = random.Random(0), []
    for number in range(n):
        if begun is not None:
            begun.acquire()
            time.sleep(generator.uniform(0.0, 0.02))
        numbers = [(number + step) % len(KINDS) for step in range(4)]
        pid = child(numbers, alone)
        statuses.append(os.waitpid(pid, 0)[1])
    return statuses


def report(n_quiet: int, n_meanwhile: int) -> dict[str, Any]:
    alone = digests(range(len(KINDS)))
    quiet = children(n_quiet, alone)
    begun, over, different = threading.Semaphore(0), threading.Event(), []
    fits = 0

    def train() -> None:
        nonlocal fits
        while not over.is_set():
            number = fits % len(KINDS)
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
