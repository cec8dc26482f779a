"""Python threads that run a compiled job without the GIL, while the caller waits and listens."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from fastmlp.errors import ThreadsRefusedError
from fastmlp.interrupts import held_back

POLL_S = 0.05


def run_crew(
    work: Callable[[int], None],
    n_threads: int,
    stop: Callable[[], None],
    deadline_s: float | None = None,
    on_poll: Callable[[], None] | None = None,
    interrupted: Callable[[], bool] = lambda: False,
) -> str:
    """Call work(0) to work(n_threads - 1) on as many threads; return when all have ended.

    Every POLL_S seconds `on_poll` is called, and `interrupted` and the deadline (a time of
    time.perf_counter) are looked at. They and Ctrl-C call `stop`, which must end the work soon.
    Returns "done", "interrupted" or "deadline"; an error of a thread or of on_poll is raised, and
    Ctrl-C when all have ended.
    ThreadsRefusedError where the system has not so many threads left: then no work was begun.
    """
    remaining, lock, all_done = n_threads, threading.Lock(), threading.Event()
    # The work waits for all of the crew at its first barrier: it begins when all are there.
    begin, refused = threading.Event(), False
    errors: list[BaseException] = []

    def body(number: int) -> None:
        nonlocal remaining
        try:
            begin.wait()
            if not refused:
                work(number)
        except BaseException as error:
            errors.append(error)
            stop()
        finally:
            with lock:
                remaining -= 1
                if remaining == 0:
                    all_done.set()

    threads = [
        threading.Thread(target=body, args=(number,), name=f"fastmlp-{number}", daemon=True)
        for number in range(n_threads)
    ]
    outcome = "done"
    # All of it, or threads could work on without our knowing, on arrays that another job gets.
    with held_back() as interrupts:
        try:
            for thread in threads:
                thread.start()
        except (RuntimeError, MemoryError) as error:
            refused = True
            n_started = sum(thread.ident is not None for thread in threads)
            errors.append(_refusal(n_threads, n_started, error))
        begin.set()
        try:
            while not (refused or all_done.wait(POLL_S)):
                if on_poll is not None:
                    on_poll()
                if interrupts or interrupted():
                    outcome = "interrupted"
                    stop()
                elif deadline_s is not None and time.perf_counter() >= deadline_s:
                    outcome = "deadline"
                    stop()
        except KeyboardInterrupt:  # of on_poll itself
            outcome = "interrupted"
            stop()
        except BaseException as error:
            errors.append(error)
            stop()
        for thread in threads:
            if thread.ident is not None:
                thread.join()
    if errors:
        raise errors[0]
    return outcome


def _refusal(n_threads: int, n_started: int, error: Exception) -> ThreadsRefusedError:
    said = " ".join(str(error).split()) or type(error).__name__
    fewer = "use n_threads=1, or " if n_threads > 1 else ""
    return ThreadsRefusedError(
        f"{n_threads} threads are wanted and the system started {n_started} ({said}); {fewer}raise "
        "the limits of processes and memory (ulimit -u, ulimit -v)"
    )
