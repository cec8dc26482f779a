"""Ctrl-C held back while several things must change together."""

from __future__ import annotations

# What `signal` wraps: before Python 3.12 its functions take ten times as long, to make enums.
import _signal  # type: ignore[import-not-found]
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from types import FrameType, TracebackType


def held_back() -> AbstractContextManager[Sequence[object]]:
    """A Ctrl-C that comes within the block takes effect at its end.

    Python delivers it between any two instructions of the main thread: it could otherwise fall
    between the training of an epoch and its record. Gives a sequence that is empty until one has
    come: a block that lasts looks at it, and ends early.
    """
    return _HeldBack()


class _HeldBack:
    """A class rather than a generator: every engine call enters one, and generators are slower."""

    __slots__ = ("_came", "_handler")

    def __enter__(self) -> Sequence[object]:
        self._came: list[tuple[int, FrameType | None]] = []
        self._handler: Callable[[int, FrameType | None], object] | None = None
        handler = _signal.getsignal(signal.SIGINT)
        in_main = threading.current_thread() is threading.main_thread()
        if in_main and callable(handler):
            self._handler = handler
            _signal.signal(signal.SIGINT, self._note)
        # Else nothing can interrupt here, or nothing in Python would hear of it.
        return self._came

    def _note(self, number: int, frame: FrameType | None) -> None:
        self._came.append((number, frame))

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._handler is None:
            return
        _signal.signal(signal.SIGINT, self._handler)
        if self._came and error is None:  # an error of the block goes first
            self._handler(*self._came[0])


@contextmanager
def never_lost() -> Iterator[None]:
    """A Ctrl-C within the block is raised at once, and again at its end if it got lost.

    Where C code calls Python, an exception is printed and forgotten: so it is while LLVM compiles.
    """
    handler = signal.getsignal(signal.SIGINT)
    in_main = threading.current_thread() is threading.main_thread()
    if not (in_main and callable(handler)):
        yield
        return
    came: list[tuple[int, FrameType | None]] = []

    def note_and_raise(number: int, frame: FrameType | None) -> None:
        came.append((number, frame))
        handler(number, frame)

    signal.signal(signal.SIGINT, note_and_raise)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, handler)
    if came:
        handler(*came[0])
