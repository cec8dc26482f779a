"""What the machine stops at: undefined behaviour of PTX, each kind an error of its own."""

from __future__ import annotations

from typing import Any


class Fault(Exception):
    """A kernel did what PTX leaves undefined, or what the machine does not know.

    `lane`: position of the first lane at fault in the group of lanes that ran the instruction. The
    machine adds the kernel, the instruction, its line and the thread.
    """

    def __init__(self, message: str, lane: int | None = None) -> None:
        super().__init__(message)
        self.message, self.lane = message, lane
        self.kernel, self.instruction, self.line = "", "", 0
        self.block: tuple[int, int, int] | None = None
        self.thread: int | None = None

    def locate(self, kernel: str, instruction: Any, lanes: Any) -> None:
        """Say where it happened: `instruction` of the parser, `lanes` that ran it."""
        self.kernel, self.instruction, self.line = kernel, instruction.text, instruction.line
        if lanes is not None and self.lane is not None:
            self.block, self.thread = lanes.place(self.lane)

    def __str__(self) -> str:
        told = self.message
        if self.kernel:
            told += f"\n  kernel {self.kernel}, line {self.line}: {self.instruction}"
        if self.thread is not None:
            told += f"\n  block {self.block}, thread {self.thread}"
        return told


class Unsupported(Fault):
    """The machine does not know an opcode, a type or a form of it."""


class Misaligned(Fault):
    """An address is no multiple of the bytes that are read or written at once."""


class OutOfBounds(Fault):
    """An address lies outside every array."""


class Unwritten(Fault):
    """Memory is read that nobody has written."""


class Race(Fault):
    """Two threads of a block meet at a word between two barriers, and one of them writes."""


class Unfenced(Fault):
    """A thread meets a word of another block without a chain of release and acquire."""


class SplitWarp(Fault):
    """Some lanes of a warp miss an instruction that needs all of them."""


class MissedBarrier(Fault):
    """Some threads of a block wait at a barrier that others never come to."""


class Deadlock(Fault):
    """Threads wait in a loop for what nobody will write."""


class NotWaited(Fault):
    """The destination of cp.async is touched before the copy was waited for."""
