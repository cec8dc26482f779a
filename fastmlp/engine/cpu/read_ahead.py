"""Reading ahead in mapped files: a thread that follows a training and asks for what comes next.

The compiled loop reads the table where it lies, and where a page is not in memory it waits for
the disk. So the rows of the next windows are asked for while the loop is in one. Where the disk
is slower than the step, the loop waits at the first page that has not come, and the disk never
does.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress

import numpy as np

from fastmlp.data.mapped import is_mapped, will_need, will_not_need, without_neighbours
from fastmlp.data.shuffle import Blocks
from fastmlp.engine.block_order import BlockOrder

WINDOWS_AHEAD = 2
_POLL_S = 0.005


class Windows:
    """The rows that epochs of steps use, window by window, numbered over all epochs from 0.

    Rows that are not shuffled come in windows of as many. Those that are shuffled over the whole
    table, as `anywhere` says, have no windows.
    """

    def __init__(
        self,
        X: np.ndarray,
        batch_size: int,
        shuffle: bool | Blocks = False,
        seed: int = 0,
        first_epoch: int = 0,
        n_epochs: int = 1,
    ) -> None:
        self._n_rows, self._batch_size = len(X), batch_size
        self.anywhere, self._seed, self._first_epoch = shuffle is True, seed, first_epoch
        self._shuffle = shuffle if isinstance(shuffle, Blocks) else None
        self._window_rows = (self._shuffle or Blocks.of(X)).window_rows
        self._in_epoch = -(-self._n_rows // self._window_rows)
        self.number = self._in_epoch * n_epochs
        self._order: tuple[int, BlockOrder] | None = None

    @property
    def in_blocks(self) -> bool:
        """Whether rows of a window come from many places of the table."""
        return self._shuffle is not None

    def at(self, step: int) -> int:
        """The window in which a step begins; steps are counted from the first epoch's first."""
        epoch, step = divmod(step, -(-self._n_rows // self._batch_size))
        return epoch * self._in_epoch + step * self._batch_size // self._window_rows

    def __getitem__(self, number: int) -> list[tuple[int, int]]:
        """Pairs (first row, row after the last), in the order of the table."""
        epoch, window = divmod(number, self._in_epoch)
        if self._shuffle is None:
            first = window * self._window_rows
            return [(first, min(first + self._window_rows, self._n_rows))]
        if self._order is None or self._order[0] != epoch:
            numbered = self._first_epoch + epoch
            order = BlockOrder(self._n_rows, self._shuffle, self._seed, numbered)
            self._order = epoch, order
        return self._order[1].rows_of(window)


@contextmanager
def reading_ahead(
    arrays: Sequence[np.ndarray | None], windows: Windows, step: Callable[[], int]
) -> Iterator[None]:
    """Within it, a thread keeps WINDOWS_AHEAD windows asked for beyond that of `step()`.

    Of `arrays` those that are mapped; where none is, or rows come from anywhere, nothing is done.
    What lies behind may leave memory first. Should the thread fail, the training goes on, at the
    speed of a disk that is asked late.
    """
    mapped = [array for array in arrays if array is not None and is_mapped(array)]
    if not mapped or windows.anywhere:
        yield
        return
    first = windows.at(step())
    ended = threading.Event()
    thread = threading.Thread(
        target=_follow,
        args=(mapped, windows, first, step, ended),
        name="fastmlp-reader",
        daemon=True,
    )
    with ExitStack() as until_ended:
        if windows.in_blocks:
            for array in mapped:
                until_ended.enter_context(without_neighbours(array))
        _ask_for(mapped, windows[first], ended)  # before the loop misses its pages one by one
        with suppress(RuntimeError, MemoryError):  # no thread is left: the disk is asked late
            thread.start()
        try:
            yield
        finally:
            ended.set()
            if thread.ident is not None:
                thread.join()


def _ask_for(
    arrays: list[np.ndarray], ranges: list[tuple[int, int]], ended: threading.Event
) -> None:
    for start, stop in ranges:
        for array in arrays:
            if ended.is_set():
                return
            will_need(array, start, stop)


def _follow(
    arrays: list[np.ndarray],
    windows: Windows,
    first: int,
    step: Callable[[], int],
    ended: threading.Event,
) -> None:
    """Ask for windows after `first`, which has been asked for, until `ended`."""
    used, asked = first, first + 1
    while not ended.is_set():
        current = windows.at(step())
        # What a faster loop has left behind is not needed any more.
        asked = max(asked, current)
        if asked <= min(current + WINDOWS_AHEAD, windows.number - 1):
            _ask_for(arrays, windows[asked], ended)
            asked += 1
            continue
        while used < current and not ended.is_set():
            for start, stop in windows[used]:
                for array in arrays:
                    will_not_need(array, start, stop)
            used += 1
        ended.wait(_POLL_S)
