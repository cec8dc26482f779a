"""A queue of fits: the longest first, one thread a network, until all are done or ended.

A network alone on a thread meets nobody at a barrier, so many small ones keep a processor busier
than the threads of one do. The last ones get the threads that have nothing left to do.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import cast

from fastmlp.errors import TrainingDivergedError
from fastmlp.many.progress import ManyDisplay
from fastmlp.many.workers import Ending, run_workers, sharing_threads
from fastmlp.model.fit import Fit
from fastmlp.model.network import Network
from fastmlp.training.trainer import Trainer


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

    def run(self, interrupted: Callable[[], bool]) -> list[int]:
        """Train; the numbers of the networks that diverged. As `run_workers` otherwise."""
        self._diverged: list[int] = []

        def show() -> None:
            if self.display is not None:
                self.display.show()

        n_workers = min(self.n_threads, len(self.jobs))
        run_workers(n_workers, self._work, self.ending, interrupted, show)
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
        try:
            with sharing_threads(cast(Network, job.fit.model), self.share):
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
            self._tell(lambda display: display.end(job.number, job.trainer.history))

    def _tell(self, what: Callable[[ManyDisplay], None]) -> None:
        if self.display is not None:
            with self._lock:
                what(self.display)
