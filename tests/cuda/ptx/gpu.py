"""An emulated `Gpu`: what the CUDA engine launches runs from its PTX in this machine."""

from __future__ import annotations

import contextlib
import weakref
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any
from unittest import mock

import numpy as np

from fastmlp.engine.cuda.offline import Typed
from fastmlp.kernels.cuda.arguments import signature_of, words_of
from fastmlp.kernels.cuda.compiler import Target, ptx_of
from fastmlp.kernels.cuda.launch import Gpu, Launch, Steps

from .arithmetic import Approximation
from .grid import Ran, launch
from .memory import GLOBAL, Memory
from .program import Program

TARGET = Target(9, 0, "a")
# Of each kernel and types of arguments, for as long as the process lives: compiling is slow.
_PROGRAMS: dict[tuple[Any, Any], tuple[str, Program]] = {}


def ptx_and_program(launched: Launch) -> tuple[str, Program]:
    """The PTX of a launch's kernel, as a GPU's assembler gets it, and the program of it."""
    signature = signature_of(launched.arguments)
    key = (launched.kernel, signature)
    if key not in _PROGRAMS:
        text = ptx_of(launched.kernel.py_func, signature, TARGET)[1].decode()
        _PROGRAMS[key] = text, Program(text, launched.kernel.name)
    return _PROGRAMS[key]


class DeviceArray(Typed):
    """(n,) of a dtype in the machine's global memory, as NumPy sees it."""

    def __init__(self, memory: Memory, address: int, n: int, dtype: Any, owner: Any = None) -> None:
        super().__init__(dtype)
        self.memory, self.address, self.n, self.size, self._owner = memory, address, n, n, owner
        if owner is None:
            n_bytes = n * self.dtype.itemsize
            self._end = weakref.finalize(self, memory.free, address, n_bytes)

    @property
    def itemsize(self) -> int:
        return self.dtype.itemsize

    def __len__(self) -> int:
        return self.n

    def __getitem__(self, part: slice) -> DeviceArray:
        begin, end, step = part.indices(self.n)
        assert step == 1
        address = self.address + begin * self.dtype.itemsize
        owner = self if self._owner is None else self._owner
        return DeviceArray(self.memory, address, max(0, end - begin), self.dtype, owner)

    @property
    def __cuda_array_interface__(self) -> dict[str, Any]:
        """Where it lies, which is all that a launch asks of it."""
        return {"shape": (self.n,), "typestr": self.dtype.str, "data": (self.address, False)}

    def get(self) -> np.ndarray:
        return self.memory.get(self.address, self.n, self.dtype)

    def put(self, values: np.ndarray) -> None:
        assert len(values) <= self.n
        self.memory.put(self.address, np.ascontiguousarray(values, self.dtype))

    def copy_to_device(self, values: np.ndarray, stream: Any = None) -> None:
        self.put(values)

    def copy_to_host(self, values: np.ndarray, stream: Any = None) -> None:
        values[:] = self.get()


class AtOnce:
    """Stands for a stream or an event where all that is launched has run at once."""

    def synchronize(self) -> None:
        """Nothing is under way."""

    def record(self, stream: Any) -> None:
        """Likewise."""

    wait = record


class PtxGpu(Gpu):
    """A `Gpu` whose kernels run in the machine.

    seed: of the order of blocks and warps, another one for each launch; lean: of approximate
    functions; edit: what is done to the PTX of a kernel, edit(name, text), before it runs.
    """

    def __init__(
        self, number: int = 0, *, seed: int | None = None, lean: Any = 0.0, edit: Any = None
    ) -> None:
        self.number, self.stream, self.seed, self.edit = number, AtOnce(), seed, edit
        self.memory = Memory("global", 1 << 16, GLOBAL)
        self.approximation = Approximation(lean)
        self.ran: list[Ran] = []
        self.kernels: set[Any] = set()  # with the types of their arguments
        self.before: Any = None  # called with each launch, if set

    @contextlib.contextmanager
    def current(self) -> Iterator[None]:
        yield

    here = current

    def free_bytes(self) -> float:
        return 2.0**40

    def empty(self, n: int, dtype: Any) -> DeviceArray:
        n, width = max(n, 1), np.dtype(dtype).itemsize
        return DeviceArray(self.memory, self.memory.allocate(n * width), n, dtype)

    def pinned(self, n: int, dtype: Any) -> np.ndarray:
        return np.empty(n, dtype)

    def launch(self, launches: list[Launch], stream: Any = None) -> None:
        for launched in launches:
            if self.before is not None:
                self.before(launched)
            self.run(launched)

    def run(self, launched: Launch) -> Ran:
        text, program = ptx_and_program(launched)
        if self.edit is not None and (edited := self.edit(program.kernel.name, text)) != text:
            program = Program(edited, program.kernel.name)
        seed = None if self.seed is None else self.seed + 1000 * len(self.ran)
        ran = launch(
            program, self.memory, launched.grid, launched.block,
            [getattr(word, "value", word) for word in words_of(launched.arguments)], seed=seed,
            approximation=self.approximation,
        )  # fmt: skip
        self.ran.append(ran)
        self.kernels.add((launched.kernel, signature_of(launched.arguments)))
        return ran


@contextlib.contextmanager
def engine_on_ptx(**settings: Any) -> Iterator[list[PtxGpu]]:
    """Within it a `CudaEngine` runs on the machine; settings: of `PtxGpu`. The machines made."""
    from fastmlp.engine.cuda import store as cuda_store
    from fastmlp.kernels.cuda import launch as launching

    made: list[PtxGpu] = []

    def gpu(number: int = 0) -> PtxGpu:
        made.append(PtxGpu(number, **settings))
        return made[-1]

    at_once = SimpleNamespace(stream=AtOnce, event=AtOnce)
    with (
        mock.patch.object(cuda_store, "Gpu", gpu), mock.patch.object(launching, "cuda", at_once),
        mock.patch.object(Steps, "captures", False),
    ):  # fmt: skip
        yield made
