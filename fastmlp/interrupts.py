"""Ctrl-C, and signals that end the process: held back while several things change together."""

from __future__ import annotations

# What `signal` wraps: before Python 3.12 its functions take ten times as long, to make enums.
import _signal  # type: ignore[import-not-found]
import os
import signal
import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from types import FrameType, TracebackType
from typing import Any

# Signals that end a process, those that this system has.
_ENDING = tuple(
    getattr(signal, name).value for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name)
)
_SIGINT = int(signal.SIGINT)


class Terminated(KeyboardInterrupt):
    """SIGTERM or SIGHUP within `ending_by_signals`: it ends what Ctrl-C ends, as that does."""

    def __init__(self, number: int) -> None:
        super().__init__(signal.Signals(number).name)
        self.number = number


def held_back(*, only_first: bool = False) -> AbstractContextManager[list[object]]:
    """A Ctrl-C, or signal of `ending_by_signals`, that comes in the block takes effect at its end.

    Python delivers it between any two instructions of the main thread: it could otherwise fall
    between the training of an epoch and its record. Gives a list that is empty until one has
    come: a block that lasts looks at it, and ends early; where it is emptied, nothing is raised.
    `only_first`: a further one takes effect at once, for a block whose end may not come.
    """
    return _HeldBack(only_first)


def let_through() -> AbstractContextManager[None]:
    """Within a block of `held_back`: what comes in this one takes effect as it does outside."""
    return _LetThrough()


def ending_by_signals() -> AbstractContextManager[None]:
    """SIGTERM and SIGHUP raise `Terminated` in the block, and SystemExit(128 + number) at its end.

    Of these, the ones that would end the process at once: a signal that is ignored (SIGHUP under
    nohup) or has a handler is left alone, and so are all of them outside the main thread. In a
    block within another `Terminated` is raised once more at its end, up to the outermost one.
    Its own end must not be interrupted: ``with held_back(), ending_by_signals(), let_through():``.
    """
    return _EndingBySignals()


def ending_signal() -> int | None:
    """The first signal that came in the `ending_by_signals` under way; None for none."""
    return _received[0] if _received else None


# Of the main thread: the block of `held_back` that holds now, and the signals that came in the
# outermost block of `ending_by_signals`, None outside of one, with the process that began it.
_innermost: _HeldBack | None = None
_received: list[int] | None = None
_process = 0


def _in_main() -> bool:
    return threading.current_thread() is threading.main_thread()


class _HeldBack:
    """A class rather than a generator: every engine call enters one, and generators are slower."""

    __slots__ = ("_came", "_handler", "_only_first", "_outer", "_serves")

    def __init__(self, only_first: bool) -> None:
        self._only_first = only_first

    def __enter__(self) -> list[Any]:
        self._came: list[tuple[int, FrameType | None]] = []
        # Elsewhere nothing interrupts.
        self._serves = threading.current_thread() is threading.main_thread()
        if self._serves:
            self.hold()
        return self._came

    def hold(self) -> None:
        global _innermost
        handler = _signal.getsignal(_SIGINT)
        # Else nothing in Python would hear of it.
        self._handler = handler if callable(handler) else None
        self._outer = _innermost
        if self._handler is not None:
            try:
                _signal.signal(_SIGINT, self.note)
            except BaseException:  # a signal just now: the block does not begin
                _signal.signal(_SIGINT, self._handler)
                raise
        _innermost = self

    def release(self) -> None:
        global _innermost
        try:
            if self._handler is not None:
                _signal.signal(_SIGINT, self._handler)
        except BaseException:  # of the handler of another signal
            _signal.signal(_SIGINT, self._handler)
            raise
        finally:
            _innermost = self._outer

    def note(self, number: int, frame: FrameType | None) -> None:
        self._came.append((number, frame))
        if self._only_first and len(self._came) > 1:
            self._came.pop()
            self._pass_on(number, frame)

    def deliver(self) -> None:
        """Let everything that has come take effect, or tell the block around this one."""
        while self._came:
            self._pass_on(*self._came.pop(0))

    def _pass_on(self, number: int, frame: FrameType | None) -> None:
        if number == _SIGINT:
            assert self._handler is not None, "it would not have been noted"
            self._handler(number, frame)
        elif self._outer is not None:
            self._outer.note(number, frame)
        else:
            raise Terminated(number)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if not self._serves:
            return
        self.release()
        if self._came and error is None:  # an error of the block goes first
            self.deliver()


class _LetThrough:
    __slots__ = ("_held",)

    def __enter__(self) -> None:
        held = self._held = _innermost if _in_main() else None
        if held is None:
            return
        held.deliver()  # which raises while it still holds
        try:
            held.release()
        except BaseException:
            held.hold()
            raise

    def __exit__(self, *error: object) -> None:
        if self._held is None:
            return
        try:
            self._held.hold()
        except BaseException:  # of a signal just now, which has had its effect
            self._held.hold()
            raise


class _EndingBySignals:
    __slots__ = ("_numbers", "_within")

    def __enter__(self) -> None:
        global _received, _process
        self._numbers: list[int] = []
        self._within = _received is not None and _in_main()
        if self._within or not _in_main():
            return
        self._numbers = [n for n in _ENDING if _signal.getsignal(n) == _signal.SIG_DFL]
        if not self._numbers:
            return
        _received, _process = [], os.getpid()
        try:
            for number in self._numbers:
                _signal.signal(number, _on_signal)
        except BaseException:
            self._restore()
            raise

    def _restore(self) -> None:
        global _received
        with held_back():
            for number in self._numbers:
                if _signal.getsignal(number) is _on_signal:
                    _signal.signal(number, _signal.SIG_DFL)
            _received = None

    def __exit__(self, *error: object) -> None:
        if self._within and _received:
            raise Terminated(_received[0])
        if not self._numbers:
            return
        received = _received
        try:
            self._restore()
        finally:
            if received:
                raise SystemExit(128 + received[0])


def _on_signal(number: int, frame: FrameType | None) -> None:
    if os.getpid() != _process or _received is None:
        # A process that was forked within the block: what ends it is not for the fit.
        _signal.signal(number, _signal.SIG_DFL)
        os.kill(os.getpid(), number)
        return
    _received.append(number)
    if _innermost is None:
        raise Terminated(number)
    _innermost.note(number, frame)


@contextmanager
def never_lost() -> Iterator[None]:
    """A Ctrl-C within the block is raised at once, and again at its end if it got lost.

    Where C code calls Python, an exception is printed and forgotten: so it is while LLVM compiles.
    """
    n_before = len(_received or ())
    given = signal.getsignal(signal.SIGINT)
    handler = given if callable(given) and _in_main() else None
    came: list[tuple[int, FrameType | None]] = []

    def note_and_raise(number: int, frame: FrameType | None) -> None:
        came.append((number, frame))
        assert handler is not None
        handler(number, frame)

    if handler is not None:
        signal.signal(signal.SIGINT, note_and_raise)
    try:
        yield
    finally:
        if handler is not None:
            signal.signal(signal.SIGINT, handler)
    if handler is not None and came:
        handler(*came[0])
    if _in_main() and _received is not None and len(_received) > n_before:
        raise Terminated(_received[0])
