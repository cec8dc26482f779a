"""A queue of fits: the longest first, one thread a network, until all are done or ended.

A network alone on a thread meets nobody at a barrier, so many small ones keep a processor busier
than the threads of one do. The last ones get the threads that have nothing left to do.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, cast

from fastmlp.errors import ThreadsRefusedError, TrainingDivergedError
from fastmlp.many.progress import ManyDisplay
from fastmlp.model.fit import Fit
from fastmlp.training.trainer import Trainer

if TYPE_CHECKING:
    from fastmlp.engine.cpu.engine import CpuEngine

_POLL_S = 0.05


@dataclass(eq=False)
class Waiting:
    """A fit that waits for its turn: checked, with nothing of its network changed.

    number: of its network, as the user counts them.
    work: operations of all its epochs, by estimate.
    """

    number: int
    fit: Fit
    trainer: Trainer
    work: float


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


@dataclass(eq=False)
class Queue:
    """Fits to run with `n_threads` threads in all.

    jobs: all of them, in any order.
    ending: what the fits themselves ask too.
    """

    jobs: Sequence[Waiting]
    n_threads: int
    ending: Ending
    display: ManyDisplay | None = None
    _left: list[Waiting] = field(init=False)

    def __post_init__(self) -> None:
        # Popped from the end; of equal ones the first comes first.
        self._left = sorted(self.jobs, key=lambda job: (job.work, -job.number))
        self._n_unfinished = len(self._left)
        self._lock = threading.Lock()
        self._errors: list[BaseException] = []

    def run(self, interrupted: Callable[[], bool]) -> list[int]:
        """Train; the numbers of the networks that diverged.

        To be called where Ctrl-C is held back, or fits could go on without our knowing; once
        `interrupted()` says so, all of them end. An error of one ends all, and is raised when all
        have ended. ThreadsRefusedError where the system has no thread left for a
        network of its own: then nothing has begun.
        """
        self._diverged: list[int] = []
        n_workers = min(self.n_threads, len(self.jobs))
        begin, done = threading.Event(), threading.Semaphore(0)

        def body() -> None:
            try:
                begin.wait()
                self._work()
            except BaseException as error:
                self._errors.append(error)
                self.ending.failed = True
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
            self._errors.append(_refusal(n_workers, error))
            self.ending.failed = True
        begin.set()
        started = [worker for worker in workers if worker.ident is not None]
        n_left = len(started)
        while n_left:
            n_left -= done.acquire(timeout=_POLL_S)
            if interrupted():
                self.ending.reason = self.ending.reason or "interrupt"
            if self.display is not None:
                self.display.show()
        for worker in started:
            worker.join()
        if self._errors:
            raise self._errors[0]
        return sorted(self._diverged)

    def share(self) -> int:
        """Threads for a network that asks now: more than one where others find no work."""
        return max(1, self.n_threads // max(1, self._n_unfinished))

    def _work(self) -> None:
        while not self.ending():
            try:
                job = self._left.pop()  # which is atomic
            except IndexError:
                return
            self._train(job)
            with self._lock:
                self._n_unfinished -= 1

    def _train(self, job: Waiting) -> None:
        engine = cast("CpuEngine", job.fit.model.engine)
        engine.most_threads = self.share
        try:
            job.fit.start(job.trainer)
            self._tell(lambda display: display.begin(job.number))
            job.trainer.run()
        except TrainingDivergedError:
            # In its history; the others go on.
            self._diverged.append(job.number)
        except BaseException as error:
            error.add_note(f"while networks[{job.number}] was trained")
            raise
        finally:
            engine.most_threads = None
            engine.release(0)  # the next one has a workspace of its own
            self._tell(lambda display: display.end(job.number, job.trainer.history))

    def _tell(self, what: Callable[[ManyDisplay], None]) -> None:
        if self.display is not None:
            with self._lock:
                what(self.display)


def _refusal(n_threads: int, error: Exception) -> ThreadsRefusedError:
    said = " ".join(str(error).split()) or type(error).__name__
    return ThreadsRefusedError(
        f"{n_threads} threads are wanted to train networks side by side, and the system refused "
        f"one ({said}); use a smaller n_threads, or raise the limits of processes and memory "
        "(ulimit -u, ulimit -v)"
    )
