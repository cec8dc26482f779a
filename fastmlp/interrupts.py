"""Ctrl-C held back while several things must change together."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from types import FrameType


@contextmanager
def held_back() -> Iterator[Sequence[object]]:
    """A Ctrl-C that comes within the block takes effect at its end.

    Python delivers it between any two instructions of the main thread: it could otherwise fall
    between the training of an epoch and its record. Gives a sequence that is empty until one has
    come: a block that lasts looks at it, and ends early.
    """
    handler = signal.getsignal(signal.SIGINT)
    in_main = threading.current_thread() is threading.main_thread()
    if not (in_main and callable(handler)):
        yield ()  # nothing can interrupt here, or nothing in Python would hear of it
        return
    came: list[tuple[int, FrameType | None]] = []
    signal.signal(signal.SIGINT, lambda number, frame: came.append((number, frame)))
    try:
        yield came
    finally:
        signal.signal(signal.SIGINT, handler)
    if came:
        handler(*came[0])


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
