"""Threads of a simulated block as coroutines, in an order of one's choice, and what they touch.

numba's simulator starts an operating system's thread for each of a block's, and polls them: some
hundred times slower. Here they run one after the other up to a barrier. What real hardware would
leave undefined is an error here: a barrier that not all threads of a block reach, an index below
zero, shared memory that is read before it was written (it holds NaN), and with `races_found` two
threads that touch one element between two barriers, one of them to write.
"""

from __future__ import annotations

import contextlib
import math
import random
import sys
import threading
from collections.abc import Iterator
from typing import Any, NamedTuple

import greenlet
import numpy as np
from numba.cuda.simulator import kernel, kernelapi

from fastmlp.kernels.cuda import activations, losses, optimizers, steps

SEVERAL = -1


class Touch(NamedTuple):
    """Who touched an element: SEVERAL of the grid's blocks, or of a block's threads."""

    block: int
    interval: int  # between which barriers of its block
    thread: int


class _Now:
    """The thread that runs, and the settings of the simulation."""

    order = "forward"
    checks_races = False
    block = interval = thread = 0
    readers: dict[int, Touch]
    writers: dict[int, Touch]
    kept: list[np.ndarray]  # shared memory of all blocks: no address is used twice

    def touch(self) -> Touch:
        return Touch(self.block, self.interval, self.thread)

    def clashes(self, other: Touch | None) -> bool:
        """Whether nothing orders another's access before this thread's."""
        if other is None:
            return False
        if other.block != self.block:
            return True
        return other.interval == self.interval and other.thread != self.thread


now = _Now()


class Elements:
    """An array (n,) as kernels see it."""

    __slots__ = ("address", "dtype", "values", "width")

    def __init__(self, values: Any) -> None:
        self.values = getattr(values, "_ary", values)
        self.dtype = self.values.dtype
        self.address = self.values.__array_interface__["data"][0]
        self.width = self.values.itemsize

    def __len__(self) -> int:
        return len(self.values)

    def __getitem__(self, index: int) -> Any:
        if index < 0:
            raise IndexError(f"element {index} is read")
        if now.checks_races:
            self._note_read(self.address + int(index) * self.width, index)
        return self.values[index]

    def __setitem__(self, index: int, value: Any) -> None:
        if index < 0:
            raise IndexError(f"element {index} is written")
        if now.checks_races:
            self._note_write(self.address + int(index) * self.width, index, value)
        self.values[index] = value

    def _note_read(self, place: int, index: int) -> None:
        if now.clashes(now.writers.get(place)):
            raise AssertionError(f"element {index} is read beside a write: {now.touch()}")
        last, this = now.readers.get(place), now.touch()
        if last is not None and last.block != this.block:
            this = Touch(SEVERAL, this.interval, SEVERAL)
        elif last is not None and last.interval == this.interval and last.thread != this.thread:
            this = Touch(this.block, this.interval, SEVERAL)
        now.readers[place] = this

    def _note_write(self, place: int, index: int, value: Any) -> None:
        # Several threads may write the same: which of them is the last then makes no difference.
        clash = now.clashes(now.writers.get(place)) and self.values[index] != value
        if clash or now.clashes(now.readers.get(place)):
            raise AssertionError(f"element {index} is written beside others: {now.touch()}")
        now.writers[place] = now.touch()


class Block:
    """Runs the threads of a block; in the place of numba's BlockManager."""

    def __init__(self, function: Any, grid: Any, block: Any, debug: bool) -> None:
        self._function, self._grid, self._block = function, grid, block

    def run(self, at: tuple[int, ...], *arguments: Any) -> None:
        if not any(at):
            now.readers, now.writers, now.kept = {}, {}, []
        now.block, now.interval = int(np.ravel_multi_index(at, self._grid)), 0
        kernel._get_kernel_context().shared._allocations.clear()
        this: Any = threading.current_thread()
        hub = greenlet.getcurrent()
        this.blockIdx, this.syncthreads = kernelapi.Dim3(*at), hub.switch
        alive = [
            (number, greenlet.greenlet(self._function), kernelapi.Dim3(*place))
            for number, place in enumerate(np.ndindex(*self._block))
        ]
        if now.order == "backward":
            alive.reverse()
        first = True
        while alive:
            if now.order == "random":
                random.shuffle(alive)
            for number, thread, place in alive:
                now.thread, this.threadIdx = number, place
                thread.switch(*(arguments if first else ()))
            waiting = [each for each in alive if not each[1].dead]
            assert len(waiting) in (0, len(alive)), "some threads have ended, others wait for them"
            alive, first = waiting, False
            now.interval += 1


def shared_array(self: Any, shape: int, dtype: Any, alignment: Any = None) -> Elements:
    """An array of the block: one for each place in the source that asks for it."""
    frame = sys._getframe(1)
    place = frame.f_code, frame.f_lineno
    if place not in self._allocations:
        values = np.empty(shape, dtype)
        values.view(np.uint8)[:] = 0xFF  # NaN, or -1
        now.kept.append(values)
        self._allocations[place] = Elements(values)
    return self._allocations[place]


class Math:
    """The functions of `math` that kernels call, without Python's errors: infinity where a number
    is too large, NaN where there is none."""

    def __getattr__(self, name: str) -> Any:
        exact = getattr(math, name)

        def function(*arguments: Any) -> Any:
            try:
                return exact(*arguments)
            except OverflowError:
                return math.inf
            except ValueError:
                return -math.inf if name == "log" and arguments[0] == 0.0 else math.nan

        setattr(self, name, function)
        return function


def install() -> None:
    """Run all simulated kernels of this process with it."""
    for module in (activations, losses, optimizers, steps):
        module.math = Math()  # type: ignore[attr-defined]
    kernel.BlockManager = Block
    kernel.FakeWithinKernelCUDAArray = Elements
    kernelapi.FakeCUDAShared.array = shared_array


@contextlib.contextmanager
def races_found() -> Iterator[None]:
    """Within it, a kernel whose result could depend on the order of threads fails."""
    now.checks_races = True
    try:
        yield
    finally:
        now.checks_races = False


@contextlib.contextmanager
def ordered(order: str) -> Iterator[None]:
    """Threads of a block run "forward", "backward", or "random" anew after each barrier."""
    before, now.order = now.order, order
    try:
        yield
    finally:
        now.order = before
