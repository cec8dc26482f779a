"""Threads that train networks side by side, and what ends all of them."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

from fastmlp.errors import ThreadsRefusedError
from fastmlp.model.network import Network

if TYPE_CHECKING:
    from fastmlp.engine.cpu.engine import CpuEngine

_POLL_S = 0.05
_own = threading.local()  # what each worker keeps, until it ends


@dataclass(eq=False)
class Ending:
    """What ends all fits of a queue before they are done; one for all of them."""

    reason: str | None = None  # "interrupt" or "max_time", as `History.stopped_by` has it
    failed: bool = False
    deadline_s: float | None = None

    def __call__(self) -> bool:
        due_s = math.inf if self.deadline_s is None else self.deadline_s
        if self.reason is None and time.perf_counter() >= due_s:
            self.reason = "max_time"
        return self.failed or self.reason is not None


def run_workers(
    n_workers: int,
    work: Callable[[], None],
    ending: Ending,
    interrupted: Callable[[], bool],
    show: Callable[[], None],
) -> None:
    """Call `work` in each of `n_workers` threads, and return when all of them have ended.

    To be called where Ctrl-C is held back, or fits could go on without our knowing; once
    `interrupted()` says so, `ending` has its reason. An error of one ends all, and is raised when
    all have ended. `show` is called some twenty times a second. ThreadsRefusedError where the
    system has no thread left: then nothing has begun.
    """
    errors: list[BaseException] = []
    begin, done = threading.Event(), threading.Semaphore(0)

    def body() -> None:
        try:
            begin.wait()
            if not ending.failed:
                work()
        except BaseException as error:
            errors.append(error)
            ending.failed = True
        finally:
            done.release()

    workers = [
        threading.Thread(target=body, name=f"fastmlp-many-{number}", daemon=True)
        for number in range(n_workers)
    ]
    try:
        for worker in workers:
            worker.start()
    except (RuntimeError, MemoryError) as error:
        errors.append(_refusal(n_workers, error))
        ending.failed = True
    begin.set()
    started = [worker for worker in workers if worker.ident is not None]
    n_left = len(started)
    while n_left:
        n_left -= done.acquire(timeout=_POLL_S)
        if interrupted():
            ending.reason = ending.reason or "interrupt"
        show()
    for worker in started:
        worker.join()
    if errors:
        raise errors[0]


@contextmanager
def sharing_threads(network: Network, share: Callable[[], int]) -> Iterator[None]:
    """Within the block the network takes at most `share()` threads, asked whenever it begins.

    Its workspaces are those of the network before in this thread, where both are alike.
    """
    engine = cast("CpuEngine", network.engine)
    engine.most_threads = share
    if hasattr(_own, "workspaces"):
        engine.take_workspaces(_own.workspaces)
    try:
        yield
    finally:
        engine.most_threads = None
        _own.workspaces = engine.give_workspaces()


def _refusal(n_threads: int, error: Exception) -> ThreadsRefusedError:
    said = " ".join(str(error).split()) or type(error).__name__
    return ThreadsRefusedError(
        f"{n_threads} threads are wanted to train networks side by side, and the system refused "
        f"one ({said}); use a smaller n_threads, or raise the limits of processes and memory "
        "(ulimit -u, ulimit -v)"
    )
