"""Memory of a GPU, its stream, and lists of launches that are replayed as a graph.

A launch from Python takes microseconds for its arguments; a graph of launches is handed to
the GPU at once. All arguments are fixed when the list is made: what changes from step to step lies
in device memory.
"""

from __future__ import annotations

import ctypes
import functools
import logging
import threading
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any, NamedTuple

import numpy as np
from numba import cuda
from numba.cuda.core import config

from .jit import SIMULATED, Kernel

if not SIMULATED:
    from . import binaries
    from .arguments import kinds_of, signature_of, words_of
    from .compiler import Binary, Target, target_of

_log = logging.getLogger("fastmlp")
COPY_BYTES = 64 * 1024 * 1024  # of a host array that are copied at a time
_OUT_OF_MEMORY = 2  # CUDA_ERROR_OUT_OF_MEMORY
_LEGACY_STREAM, _THREAD_STREAM = 1, 2  # in the CUDA array interface
IN_FLIGHT = 2  # groups of launches that the GPU has at a time


class Launch(NamedTuple):
    """One kernel with its grid, its block and all arguments."""

    kernel: Any
    grid: tuple[int, ...]
    block: int
    arguments: tuple[Any, ...]


# numba's advice about grids that are small, for every launch: a minibatch is as small as it is.
config.CUDA_LOW_OCCUPANCY_WARNINGS = 0
# The simulator runs one kernel at a time in a process.
_SIMULATOR_LOCK = threading.RLock()


class Gpu:
    """One device: allocations, copies and launches in the order of one stream."""

    def __init__(self, number: int) -> None:
        self.number = number
        # Several threads may use a network. What one of them launches while another captures a
        # graph of the same stream would become part of that.
        self._lock = _SIMULATOR_LOCK if SIMULATED else threading.RLock()
        with self.current():
            self.stream = cuda.stream()

    @contextmanager
    def current(self) -> Iterator[None]:
        """A context in which this thread alone calls, and its calls are meant for this device."""
        with self._lock, cuda.gpus[self.number]:
            yield

    def here(self) -> Any:
        """A context in which this thread's calls are meant for this device, of others' too.

        Whoever makes slices of device arrays, or drops the last name of one, does so within it:
        numba would take GPU 0 for it.
        """
        return cuda.gpus[self.number]

    def free_bytes(self) -> float:
        with self.current():
            context = cuda.current_context()
            if not SIMULATED:
                # What was given back is kept for a while, to be freed with more.
                manager = context.memory_manager
                getattr(manager, "deallocations", context.deallocations).clear()
            return context.get_memory_info().free

    def empty(self, n: int, dtype: Any) -> Any:
        """An array (n,) of the device, its contents undefined; at least one element.

        MemoryError where there is no room for it.
        """
        with self.current():
            return _allocated(cuda.device_array, max(n, 1), dtype)

    def array(self, values: np.ndarray) -> Any:
        """A copy of a host array (n,) on the device."""
        made = self.empty(len(values), values.dtype)
        if len(values):
            self.write(made, values)
        return made

    def borrowed(self, pointer: int, n: int, dtype: np.dtype, owner: Any) -> Any:
        """Another library's memory on this device as an array (n,); `owner` is kept alive."""
        if SIMULATED:
            memory: Any = (ctypes.c_char * (n * dtype.itemsize)).from_address(pointer)
            return cuda.devicearray.FakeCUDAArray(np.frombuffer(memory, dtype))
        with self.current():
            return cuda.as_cuda_array(_Borrowed(pointer, n, dtype, owner), sync=False)

    def wait_for(self, stream: int | None) -> None:
        """Until all that another library launched on a stream has run; None: on any of them."""
        if SIMULATED:
            return
        with self.current():
            if stream is None:
                cuda.synchronize()
            elif stream == _LEGACY_STREAM:
                cuda.legacy_default_stream().synchronize()
            elif stream == _THREAD_STREAM:
                cuda.per_thread_default_stream().synchronize()
            else:
                cuda.external_stream(stream).synchronize()

    def pinned(self, n: int, dtype: Any) -> np.ndarray:
        """Memory of the host (n,) that copies to and from the device need not wait for.

        MemoryError where there is no room for it.
        """
        with self.current():
            return _allocated(cuda.pinned_array, n, dtype)

    def write(self, target: Any, values: np.ndarray) -> None:
        """A host array (n,) into the first n elements of a device array."""
        step = max(1, COPY_BYTES // values.itemsize)
        with self.current():
            for start in range(0, len(values), step):
                part = np.ascontiguousarray(values[start : start + step])
                target[start : start + len(part)].copy_to_device(part, stream=self.stream)
            self.stream.synchronize()

    def write_rows(self, target: Any, rows: np.ndarray) -> None:
        """A host table (n, m) of any strides, row after row, into a device array (n m,)."""
        n_columns = rows.shape[1]
        step = max(1, COPY_BYTES // (n_columns * rows.itemsize))
        for start in range(0, len(rows), step):
            part = np.ascontiguousarray(rows[start : start + step]).reshape(-1)
            self.write(target[start * n_columns :], part)

    def read(self, source: Any, target: np.ndarray) -> None:
        """The first len(target) elements of a device array into a host array."""
        with self.current():
            if len(target):
                source[: len(target)].copy_to_host(target, stream=self.stream)
            self.stream.synchronize()

    def launch(self, launches: list[Launch], stream: Any = None) -> None:
        """All of them, one after the other, on `stream` or what records a graph; returns before
        they have run."""
        with self.current():
            if SIMULATED:
                for kernel, grid, block, arguments in launches:
                    kernel[grid, block, self.stream](*arguments)
                return
            core = _core()
            on = _core_stream(self.stream) if stream is None else stream
            for kernel, grid, block, arguments in launches:
                config = core.LaunchConfig(grid=grid, block=block)
                core.launch(on, config, self._kernel(kernel, arguments), *words_of(arguments))

    def _kernel(self, kernel: Kernel, arguments: tuple[Any, ...]) -> Any:
        """The kernel for these types of arguments, as the driver has it."""
        key = self.target, kinds_of(arguments)
        if key not in kernel.loaded:
            kernel.loaded[key] = _loaded(kernel, signature_of(arguments), self.target)
        return kernel.loaded[key]

    @functools.cached_property
    def target(self) -> Target:
        """What is compiled for this GPU."""
        return target_of(cuda.gpus[self.number].compute_capability)

    def wait(self) -> None:
        """Until all that was launched has run."""
        with self.current():
            self.stream.synchronize()


def _loaded(kernel: Kernel, signature: Any, target: Target) -> Any:
    """The kernel of `cuda.core`, on whichever GPU of this target it is launched."""
    binary = binaries.load(kernel, signature, target)
    try:
        return _core_kernel(binary, kernel.name)
    except Exception as error:  # the driver's
        if not binary.was_read:
            raise
        _log.warning("%s is compiled, as the driver refuses what was kept: %s", kernel.name, error)
        return _core_kernel(binaries.compile_anew(kernel, signature, target), kernel.name)


def _core_kernel(binary: Binary, name: str) -> Any:
    return _core().ObjectCode.from_cubin(binary.cubin, name=name).get_kernel(binary.entry)


def _allocated(allocate: Callable[..., Any], n: int, dtype: Any) -> Any:
    try:
        return allocate(n, dtype)
    except Exception as error:  # the driver's, which has no type in the simulator
        if getattr(error, "code", None) != _OUT_OF_MEMORY:
            raise
        raise MemoryError(f"{n * np.dtype(dtype).itemsize} bytes for a GPU") from error


class _Borrowed:
    """Memory of another library, as numba takes it."""

    def __init__(self, pointer: int, n: int, dtype: np.dtype, owner: Any) -> None:
        self._owner = owner
        self.__cuda_array_interface__ = {
            "shape": (n,), "typestr": dtype.str, "data": (pointer, False), "version": 3,
        }  # fmt: skip


class Halves:
    """A device array of two halves that the host fills in turn, while kernels read the other."""

    def __init__(self, gpu: Gpu, n: int, dtype: Any) -> None:
        """n: elements of a half."""
        self._gpu, self._n, self._turn = gpu, n, 0
        self.device = gpu.empty(2 * n, dtype)
        self._hosts = [gpu.pinned(n, dtype) for _ in range(2)]
        with gpu.current():
            self._stream = cuda.stream()
            self._sent = [cuda.event() for _ in range(2)]
            self._used = [cuda.event() for _ in range(2)]
        self._was_sent, self._was_used = [False, False], [False, False]

    def send(self, values: np.ndarray) -> int:
        """`values` to the half whose turn it is, before what is launched next; where it begins."""
        half, n = self._turn, len(values)
        with self._gpu.current():
            if self._was_sent[half]:
                self._sent[half].synchronize()  # the copy before last has left the pinned memory
            host = self._hosts[half]
            host[:n] = values
            if self._was_used[half]:
                self._used[half].wait(self._stream)
            start = half * self._n
            self.device[start : start + n].copy_to_device(host[:n], stream=self._stream)
            self._sent[half].record(self._stream)
            self._sent[half].wait(self._gpu.stream)
        self._was_sent[half] = True
        return start

    @property
    def turn(self) -> int:
        """Which half is sent next."""
        return self._turn

    def used(self) -> None:
        """What was launched until now is the last to read the half that was sent last."""
        with self._gpu.current():
            self._used[self._turn].record(self._gpu.stream)
        self._was_used[self._turn] = True
        self._turn = 1 - self._turn


class Answers:
    """Results that come back in turn through two pinned arrays, while the GPU works on the next."""

    def __init__(self, gpu: Gpu, n: int, dtype: Any) -> None:
        """n: most elements of an answer."""
        self._gpu, self.n, self._turn = gpu, n, 0
        self._asked: deque[tuple[Any, np.ndarray]] = deque()
        self._hosts = [gpu.pinned(n, dtype) for _ in range(2)]

    def ask(self, source: Any, n: int) -> None:
        """For the first n elements of a device array, as they are after what was launched; at most
        two answers may be waited for."""
        with self._gpu.current():
            host = self._hosts[self._turn][:n]
            source[:n].copy_to_host(host, stream=self._gpu.stream)
            event = cuda.event()
            event.record(self._gpu.stream)
        self._asked.append((event, host))
        self._turn = 1 - self._turn

    def take(self) -> np.ndarray:
        """The oldest answer, to be used before the next but one is asked for."""
        event, host = self._asked.popleft()
        event.synchronize()
        return host


class Steps:
    """A list of launches that is run many times."""

    captures = not SIMULATED  # which has no graphs

    def __init__(self, gpu: Gpu, launches: list[Launch]) -> None:
        self._gpu, self.launches = gpu, launches
        self._graph: Any = None
        self._was_run, self._tried = False, not self.captures
        self.trouble = ""  # why there is no graph, where one was tried
        self._events: deque[Any] = deque()

    def run(self, n: int) -> None:
        """n times, in groups of which the GPU has IN_FLIGHT at most; returns before they end.

        The first time kernels are launched one by one, which compiles and loads them: within a
        capture neither may happen. What is run once pays for no capture.
        """
        if not n:
            return
        gpu, left = self._gpu, n
        if not self._was_run:
            gpu.launch(self.launches)
            self._was_run, left = True, n - 1
        if left and not self._tried:
            gpu.wait()
            self._graph, self._tried = self._captured(), True
        if self._graph is None:
            for _ in range(left):
                gpu.launch(self.launches)
        else:
            with gpu.current():
                stream = _core_stream(gpu.stream)
                for _ in range(left):
                    self._graph.launch(stream)
        self._limit_queue()

    def _limit_queue(self) -> None:
        """Wait until no more than IN_FLIGHT calls of `run` are under way."""
        with self._gpu.current():
            event = cuda.event()
            event.record(self._gpu.stream)
            self._events.append(event)
            if len(self._events) > IN_FLIGHT:
                self._events.popleft().synchronize()

    def _captured(self) -> Any:
        """The launches as a graph, or None where the driver cannot capture them."""
        try:
            with self._gpu.current():
                # On a stream of its own, which waits for no other: what other libraries do on the
                # default stream meanwhile would end the capture, and one that has failed may be
                # lost for launches.
                device = _core_device(self._gpu.number)
                device.set_current()
                builder = device.create_graph_builder()
                try:
                    builder.begin_building()
                    self._gpu.launch(self.launches, builder)
                    return builder.end_building().complete()
                finally:
                    with suppress(Exception):
                        builder.close()
        except Exception as error:  # the driver's, cuda.core's or numba's
            self.trouble = f"{type(error).__name__}: {error}"
            _log.warning(
                "steps are launched kernel by kernel, as no graph could be made: %s", error
            )
            return None


def _core() -> Any:
    """NVIDIA's library for launches, which the simulator does without."""
    from cuda import core

    return core


def _core_device(number: int) -> Any:
    return _core().Device(number)


def _core_stream(stream: Any) -> Any:
    from numba.cuda.cudadrv import driver

    return driver._to_core_stream(stream)
