"""Threads of a simulated block as coroutines, in an order of one's choice, and what they touch.

numba's simulator starts an operating system's thread for each of a block's, and polls them: some
hundred times slower. Here they run one after the other up to a barrier, and blocks one after the
other, in an order of one's choice too. What real hardware would leave undefined is an error here: a
barrier that not all threads of a block reach, an index below zero, shared memory that is read
before it was written (it holds NaN), and with `races_found` two threads that touch one element, one
of them to write, and nothing that orders them.

Barriers order the threads of a block. Blocks are ordered by a fence, an atomic operation on one
element by both, and another fence: what the first block did up to the last barrier before its
fence comes before what the second does from the first barrier after its own fence on. Less than
hardware promises, and all that kernels ask for (kernels/cuda/last.py).
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
Place = tuple[int, ...]


class Touch(NamedTuple):
    """Who touched an element: a thread of a block, or SEVERAL of them."""

    block: int
    interval: int  # between which barriers of its block
    thread: int


class _Now:
    """The thread that runs, and the settings of the simulation."""

    order = "forward"
    checks_races = False
    block = interval = thread = 0
    readers: dict[int, dict[int, Touch]]  # by element and block, the last interval
    writers: dict[int, Touch]
    kept: list[np.ndarray]  # shared memory of all blocks: no address is used twice
    blocks: list[Place]  # of the grid, in the order in which they run
    # By element of atomic operations: blocks, and before which interval their accesses are told.
    told: dict[int, dict[int, int]]
    fenced: set[int]  # threads that have fenced since the last barrier
    met: dict[int, dict[int, int]]  # by thread, what its atomic operations were told
    learnt: dict[int, int]  # what a fence behind them made sure of
    known: dict[int, int]  # and what all threads may rely on since the last barrier

    def touch(self) -> Touch:
        return Touch(self.block, self.interval, self.thread)

    def clashes(self, other: Touch | None) -> bool:
        """Whether nothing orders another's access before this thread's."""
        if other is None:
            return False
        if other.block != self.block:
            return other.interval >= self.known.get(other.block, 0)
        return other.interval == self.interval and other.thread != self.thread

    def begin_grid(self, grid: Place) -> None:
        self.readers, self.writers, self.kept, self.told = {}, {}, [], {}
        self.blocks = list(np.ndindex(*grid))
        if self.order == "backward":
            self.blocks.reverse()
        elif self.order == "random":
            random.shuffle(self.blocks)

    def begin_block(self, number: int) -> None:
        self.block, self.interval = number, 0
        self.fenced, self.met, self.learnt, self.known = set(), {}, {}, {}

    def barrier(self) -> None:
        self.known |= self.learnt
        self.fenced, self.learnt = set(), {}
        self.interval += 1

    def fence(self) -> None:
        self.fenced.add(self.thread)
        self.learnt |= self.met.pop(self.thread, {})

    def meet(self, place: int) -> None:
        """The thread that runs has an atomic operation there."""
        if place in self.readers or place in self.writers:
            raise AssertionError(f"an atomic operation beside others: {self.touch()}")
        told = self.told.setdefault(place, {})
        self.met[self.thread] = self.met.get(self.thread, {}) | told
        if self.thread in self.fenced:
            told[self.block] = self.interval


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

    def atomic(self, index: int) -> np.ndarray:
        """The element as an array (1,), for an atomic operation."""
        if now.checks_races:
            now.meet(self.address + int(index) * self.width)
        return self.values[index : index + 1]

    def _note_read(self, place: int, index: int) -> None:
        if now.clashes(now.writers.get(place)) or place in now.told:
            raise AssertionError(f"element {index} is read beside a write: {now.touch()}")
        of_blocks, this = now.readers.setdefault(place, {}), now.touch()
        last = of_blocks.get(this.block)
        if last is not None and last.interval == this.interval and last.thread != this.thread:
            this = Touch(this.block, this.interval, SEVERAL)
        of_blocks[this.block] = this

    def _note_write(self, place: int, index: int, value: Any) -> None:
        # Several threads may write the same: which of them is the last then makes no difference.
        clash = now.clashes(now.writers.get(place)) and self.values[index] != value
        readers = now.readers.get(place, {}).values()
        if clash or place in now.told or any(map(now.clashes, readers)):
            raise AssertionError(f"element {index} is written beside others: {now.touch()}")
        now.writers[place] = now.touch()


class Block:
    """Runs the threads of a block; in the place of numba's BlockManager."""

    def __init__(self, function: Any, grid: Any, block: Any, debug: bool) -> None:
        self._function, self._grid, self._block = function, grid, block

    def run(self, at: tuple[int, ...], *arguments: Any) -> None:
        if not any(at):
            now.begin_grid(self._grid)
        at = now.blocks[int(np.ravel_multi_index(at, self._grid))]
        now.begin_block(int(np.ravel_multi_index(at, self._grid)))
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
            now.barrier()


def add(self: Any, array: Elements, index: int, value: Any) -> Any:
    element = array.atomic(index)
    before = element[0]
    element[0] += value
    return before


def exchange(self: Any, array: Elements, index: int, value: Any) -> Any:
    element = array.atomic(index)
    before, element[0] = element[0], value
    return before


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
    kernelapi.FakeCUDAAtomic.add, kernelapi.FakeCUDAAtomic.exch = add, exchange
    kernelapi.FakeCUDAModule.threadfence = lambda self: now.fence()


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
    """Blocks run "forward", "backward" or at "random", and so do the threads of a block, anew
    after each barrier."""
    before, now.order = now.order, order
    try:
        yield
    finally:
        now.order = before
