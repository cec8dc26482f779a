"""An emulated `Gpu`: what the CUDA engine launches runs from its PTX in this machine."""

from __future__ import annotations

import contextlib
import weakref
from collections.abc import Iterator
from typing import Any
from unittest import mock

import numpy as np

from benchmarks.gpu.resources import Typed, ptx_of, signature_of
from fastmlp.kernels.cuda.launch import Launch

from .arithmetic import Approximation
from .grid import Program, Ran, launch
from .memory import GLOBAL, Memory

TARGET = (9, 0)
# Of each kernel and types of arguments, for as long as the process lives: compiling is slow.
_PROGRAMS: dict[tuple[Any, str], tuple[str, Program]] = {}


def ptx_and_program(launched: Any) -> tuple[str, Program]:
    """The PTX of a launch's kernel, and the program of it."""
    key = (launched.kernel, str(signature_of(launched)))
    if key not in _PROGRAMS:
        text = ptx_of(launched, TARGET).decode()
        _PROGRAMS[key] = text, Program(text, launched.kernel.py_func.__name__)
    return _PROGRAMS[key]


class DeviceArray(Typed):
    """(n,) of a dtype in the machine's global memory, as NumPy sees it."""

    def __init__(self, memory: Memory, address: int, n: int, dtype: Any, owner: Any = None) -> None:
        super().__init__(dtype)
        self.memory, self.address, self.n, self.size, self._owner = memory, address, n, n, owner
        if owner is None:
            n_bytes = n * self.dtype.itemsize
            self._end = weakref.finalize(self, memory.free, address, n_bytes)

    def __len__(self) -> int:
        return self.n

    def __getitem__(self, part: slice) -> DeviceArray:
        begin, end, step = part.indices(self.n)
        assert step == 1
        address = self.address + begin * self.dtype.itemsize
        owner = self if self._owner is None else self._owner
        return DeviceArray(self.memory, address, max(0, end - begin), self.dtype, owner)

    def get(self) -> np.ndarray:
        return self.memory.get(self.address, self.n, self.dtype)

    def put(self, values: np.ndarray) -> None:
        assert len(values) <= self.n
        self.memory.put(self.address, np.ascontiguousarray(values, self.dtype))

    def copy_to_device(self, values: np.ndarray, stream: Any = None) -> None:
        self.put(values)


def flat_arguments(arguments: tuple[Any, ...]) -> list[Any]:
    """As numba passes them: of an array its owners, sizes, address, shape and strides."""
    made: list[Any] = []
    for argument in arguments:
        if isinstance(argument, DeviceArray):
            n, width = argument.n, argument.dtype.itemsize
            made += [0, 0, n, width, argument.address, n, width]
        elif isinstance(argument, bool | np.bool_):
            made.append(int(argument))
        else:
            made.append(argument)
    return made


class PtxGpu:
    """Stands for `fastmlp.kernels.cuda.launch.Gpu`.

    seed: of the order of blocks and warps, another one for each launch; edit: what is done to the
    PTX of a kernel by its name before it runs.
    """

    def __init__(
        self, number: int = 0, *, seed: int | None = None, lean: Any = 0.0, edit: Any = None
    ) -> None:
        self.number, self.seed, self.stream, self.edit = number, seed, None, edit
        self.memory = Memory("global", 1 << 16, GLOBAL)
        self.approximation = Approximation(lean)
        self.ran: list[Ran] = []

    @contextlib.contextmanager
    def current(self) -> Iterator[None]:
        yield

    here = current

    def free_bytes(self) -> float:
        return float(1 << 40)

    def empty(self, n: int, dtype: Any) -> DeviceArray:
        n, width = max(n, 1), np.dtype(dtype).itemsize
        return DeviceArray(self.memory, self.memory.allocate(n * width), n, dtype)

    def array(self, values: np.ndarray) -> DeviceArray:
        made = self.empty(len(values), values.dtype)
        made.put(values)
        return made

    def pinned(self, n: int, dtype: Any) -> np.ndarray:
        return np.empty(n, dtype)

    def write(self, target: DeviceArray, values: np.ndarray) -> None:
        target.put(values)

    def write_rows(self, target: DeviceArray, rows: np.ndarray) -> None:
        target.put(np.ascontiguousarray(rows).reshape(-1))

    def read(self, source: DeviceArray, target: np.ndarray) -> None:
        target[:] = source[: len(target)].get()

    def launch(self, launches: list[Launch], stream: Any = None) -> None:
        for launched in launches:
            self.run(launched)

    def run(self, launched: Any) -> Ran:
        text, program = ptx_and_program(launched)
        if self.edit is not None and (edited := self.edit(program.kernel.name, text)) != text:
            program = Program(edited, program.kernel.name)
        seed = None if self.seed is None else self.seed + 1000 * len(self.ran)
        ran = launch(
            program, self.memory, launched.grid, launched.block,
            flat_arguments(launched.arguments), seed=seed, approximation=self.approximation,
        )  # fmt: skip
        self.ran.append(ran)
        return ran

    def wait(self) -> None:
        """All that was launched has run."""


class PtxHalves:
    """Stands for `Halves`: one array that the host fills in turn."""

    def __init__(self, gpu: PtxGpu, n: int, dtype: Any) -> None:
        self.device, self._n, self._turn = gpu.empty(2 * n, dtype), n, 0

    def send(self, values: np.ndarray) -> int:
        start = self._turn * self._n
        self.device[start : start + len(values)].put(values)
        return start

    def used(self) -> None:
        self._turn = 1 - self._turn


class PtxAnswers:
    """Stands for `Answers`: results are there at once."""

    def __init__(self, gpu: PtxGpu, n: int, dtype: Any) -> None:
        self.n, self._asked = n, list[np.ndarray]()

    def ask(self, source: DeviceArray, n: int) -> None:
        self._asked.append(source[:n].get())

    def take(self) -> np.ndarray:
        return self._asked.pop(0)


class PtxSteps:
    """Stands for `Steps`, without graphs."""

    def __init__(self, gpu: PtxGpu, launches: list[Launch]) -> None:
        self._gpu, self.launches = gpu, launches

    def run(self, n: int) -> None:
        for _ in range(n):
            self._gpu.launch(self.launches)


@contextlib.contextmanager
def engine_on_ptx(**settings: Any) -> Iterator[list[PtxGpu]]:
    """Within it a `CudaEngine` runs on the machine; settings: of `PtxGpu`. The machines made."""
    from fastmlp.engine import cuda, cuda_feed, cuda_program, cuda_store

    made: list[PtxGpu] = []

    def gpu(number: int = 0) -> PtxGpu:
        made.append(PtxGpu(number, **settings))
        return made[-1]

    with contextlib.ExitStack() as stack:
        for module, name, stand_in in (
            (cuda_store, "Gpu", gpu), (cuda_store, "Answers", PtxAnswers),
            (cuda, "Answers", PtxAnswers), (cuda_feed, "Halves", PtxHalves),
            (cuda_program, "Steps", PtxSteps),
        ):  # fmt: skip
            stack.enter_context(mock.patch.object(module, name, stand_in))
        yield made
