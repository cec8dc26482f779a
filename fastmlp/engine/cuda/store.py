"""What a network keeps on a GPU from one job to the next, and the programs of its jobs."""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable
from typing import Any

import numpy as np

from fastmlp.data.inputs import Dataset
from fastmlp.engine.cuda.feed import Feed, Feeds
from fastmlp.engine.cuda.functions import activation_of, loss_of
from fastmlp.engine.cuda.memory import check_memory, no_room
from fastmlp.engine.cuda.mirror import Mirror
from fastmlp.engine.cuda.program import CudaProgram
from fastmlp.engine.cuda.workspace import OnDevice, Tables
from fastmlp.engine.descriptions import describe_run, describe_training
from fastmlp.engine.store import ParameterStore
from fastmlp.engine.train_job import TrainJob
from fastmlp.kernels.cuda.launch import Answers, Gpu
from fastmlp.kernels.cuda.ptx import VECTOR_BYTES
from fastmlp.kernels.cuda.structs import Clock
from fastmlp.kernels.structs import STATUS_RUNNING
from fastmlp.layout.parameters import ParameterPlan
from fastmlp.spec.network import NetworkSpec

_MEANING = {
    "params": "parameters", "state": "optimizer state", "average": "moving average",
    "running": "running statistics",
}  # fmt: skip


def _mirrored(name: str) -> property:
    """An array of the store that is on both sides."""

    def get(self: CudaStore) -> Any:
        mirror = self._mirrors.get(name)
        return None if mirror is None else mirror.host()

    def put(self: CudaStore, values: Any) -> None:
        if values is None:
            self._mirrors.pop(name, None)
        elif name in self._mirrors:
            self._mirrors[name].replace(values)
        else:
            self._mirrors[name] = Mirror(self.gpu, values)

    return property(get, put)


def on_its_gpu(method: Callable[..., Any]) -> Callable[..., Any]:
    """A method of an engine whose calls are all meant for its GPU.

    What it had begun when an error came is given back: half-filled buffers would be read later.
    """

    @functools.wraps(method)
    def called(self: CudaStore, *arguments: Any, **named: Any) -> Any:
        with self.gpu.here():
            try:
                return method(self, *arguments, **named)
            except BaseException:
                self._forget_programs()
                raise

    return called


def one_at_a_time(method: Callable[..., Any]) -> Callable[..., Any]:
    """Likewise, and one thread after the other: they would share programs and buffers. A training
    has its own of both."""
    on_gpu = on_its_gpu(method)

    @functools.wraps(method)
    def called(self: CudaStore, *arguments: Any, **named: Any) -> Any:
        with self._jobs:
            try:
                return on_gpu(self, *arguments, **named)
            finally:
                self._forget_tables()

    return called


class CudaStore(ParameterStore):
    """A network's parameters and states on both sides, and a program for each use."""

    params = _mirrored("params")
    state = _mirrored("state")
    average = _mirrored("average")
    running = _mirrored("running")

    def __init__(self, spec: NetworkSpec, number: int = 0) -> None:
        self.gpu = Gpu(number)
        self._mirrors: dict[str, Mirror] = {}
        self._programs: dict[str, tuple[Any, CudaProgram]] = {}
        self._feeds = Feeds(self.gpu, spec.dtype)
        self._answers: Answers | None = None
        self._jobs = threading.RLock()
        super().__init__(spec)
        # Once and for all, as in the base: a name may be given to another function later.
        with self.gpu.here():
            self._activations = tuple(activation_of(name, spec.dtype) for name in spec.activations)
            self._loss_function = loss_of(spec.loss.name, spec.dtype)
        self._loss_parameters = self.gpu.array(np.array(spec.loss.kernel_parameters, float))
        self._last_grad_norms = np.zeros(len(self.plan.layers))
        self.n_threads_used = 1

    def _parameter_plan(self, spec: NetworkSpec) -> ParameterPlan:
        lanes = VECTOR_BYTES // np.dtype(spec.dtype).itemsize
        return ParameterPlan.make(
            spec.layer_sizes, lanes, spec.norms, spec.embeddings, has_panels=False
        )

    def compile(self) -> None:
        """Kernels are compiled at their first launch."""

    @one_at_a_time
    def release(self) -> None:
        """Give back what the last calls needed beside parameters and states."""
        self._forget_programs()
        self._feeds.forget()

    def _forget_tables(self) -> None:
        """Hold no table of a user's beyond its job, but for that of a training."""
        with self.gpu.here():
            # A list: another thread may begin a training meanwhile.
            for use, (_, program) in list(self._programs.items()):
                if use != "train":
                    program.tables = self._feeds.nothing
            self._feeds.forget_rows()

    def _forget_programs(self) -> None:
        self._programs.clear()
        self._answers = None
        self._feeds.forget_parts()

    # ---- programs ----------------------------------------------------------------------------

    def _device(self, name: str) -> Any:
        mirror = self._mirrors.get(name)
        if mirror is None:
            return self._nothing
        try:
            return mirror.device()
        except MemoryError:
            raise no_room(self.gpu, f"the network's {_MEANING[name]}", mirror.n_bytes) from None

    @property
    def _nothing(self) -> Any:
        if not hasattr(self, "_one"):
            self._one = self.gpu.empty(1, self.dtype)
        return self._one

    def _on_device(self, params: str, loss: Any) -> OnDevice:
        return OnDevice(
            spec=self.spec,
            plan=self.plan,
            gpu=self.gpu,
            activations=self._activations,
            loss=loss,
            loss_parameters=self._loss_parameters,
            params=self._device(params),
            state=self._device("state"),
            average=self._device("average"),
            running=self._device("running"),
            running_offsets=self.running_offsets(),
        )

    def _loss(self, data: Dataset | None) -> Any:
        """The loss's name, or a function of the user's."""
        has_targets = data is not None and data.targets is not None
        # Classes given by probabilities have a kernel of their own.
        soft = self.spec.loss.soft_kernel if has_targets else None
        return soft or self._loss_function

    def _program(
        self, use: str, tables: Tables, batch_size: int, kind: str, params: str, loss: Any,
        *, variant: tuple[Any, ...] = (),
    ) -> CudaProgram:  # fmt: skip
        """The last program of this use if all of it is the same: its graph then serves again.

        Programs of other jobs than a training have launches for each of their tables.
        """
        net = self._on_device(params, loss)
        arrays = [net.params, net.state, net.average, net.running]
        if use == "train":
            arrays += [tables.X, tables.labels, tables.targets, tables.weights, *tables.steps]
        key = (tuple(map(id, arrays)), batch_size, kind, str(loss), self.rule, variant)
        kept = self._programs.pop(use, None)
        if kept is None or kept[0] != key:
            kept = None  # given back first: two could be more than the device has
            check_memory(self.gpu, self.spec, self.plan, batch_size, self.dtype.itemsize, kind)
            kept = (key, CudaProgram(net, tables, batch_size, kind, self.rule or "sgd"))
        kept[1].tables = tables
        self._programs[use] = kept
        return kept[1]

    def _used(self) -> np.ndarray:
        # To read only: the device's array need not be sent anew afterwards.
        return self._mirrors[self._used_name()].peek()

    @property
    def has_average(self) -> bool:
        return "average" in self._mirrors

    def _used_name(self) -> str:
        return "average" if self.has_average else "params"

    # ---- jobs --------------------------------------------------------------------------------

    def _describe_job(
        self, program: CudaProgram, data: Dataset, training: TrainJob | None = None
    ) -> None:
        """The fields of a job over the rows of `data`; `training`: what to train, if it does."""
        job = program.job_host
        job[:] = 0
        n_epochs = 1 if training is None else training.n_epochs
        describe_run(self, job, len(data.X), program.batch_size, n_epochs)
        if training is not None:
            describe_training(self, job, program.floats_host, training)

    def _begin(self, program: CudaProgram, feed: Feed, data: Dataset) -> None:
        """Of a job that trains nothing."""
        self._describe_job(program, data)
        clock = program.clock_host
        clock[:] = 0
        clock[Clock.STATUS], clock[Clock.N_LAYERS] = STATUS_RUNNING, program.n_layers
        clock[Clock.START] = -program.batch_size
        feed.describe(clock)
        self.gpu.write(program.job, program.job_host)
        self.gpu.write(program.clock, clock)

    def _run_block(self, feed: Feed, program: CudaProgram, start: int, n: int) -> None:
        """Rows start to start + n, which follow those of the last call."""
        feed.send(start, n)
        program.block().run(1)
        feed.used()
