"""Programs for the compiled loop: a job, its arrays and those of a workspace; compiling it."""

from __future__ import annotations

import functools
import inspect
import warnings
from collections.abc import Callable, Mapping

import numpy as np
from numba import types
from numba.core.compiler_lock import global_compiler_lock

from fastmlp.data.inputs import Dataset
from fastmlp.engine.cpu.job import describe_job
from fastmlp.engine.cpu.workspace import Workspace
from fastmlp.engine.descriptions import describe_validation
from fastmlp.engine.forks import free_in_children
from fastmlp.engine.store import ParameterStore
from fastmlp.engine.train_job import TrainJob
from fastmlp.errors import CacheWarning
from fastmlp.interrupts import held_back, never_lost
from fastmlp.kernels import structs
from fastmlp.kernels.cache import cache_root, write_trouble
from fastmlp.kernels.compiler import Entry
from fastmlp.kernels.cpu.loop import run
from fastmlp.kernels.structs import Job, Program, Watch
from fastmlp.layout.parameters import aligned_zeros

_has_warned = False

# Held while kernels are compiled or loaded.
free_in_children(global_compiler_lock)


def flat(array: np.ndarray | None, dtype: str) -> np.ndarray:
    """A C-contiguous array as one dimension, its elements where the kernels may read them; (1,)
    for None."""
    if array is None:
        return _nothing(dtype)
    return (array if array.flags.aligned else array.copy()).reshape(-1)


@functools.cache
def _nothing(dtype: str) -> np.ndarray:
    """What stands for an array that a job has not: nobody reads or writes it."""
    array = np.zeros(1, dtype)
    _NOTHING[id(array)] = array.ctypes.data
    return array


# Their addresses by `id`, as in `Workspace.addresses`; they stay for good.
_NOTHING: dict[int, int] = {}


@functools.cache
def _element_types(dtype: np.dtype) -> tuple[np.dtype, ...]:
    """Those of a program's arrays, where the network's is `dtype`: 28, looked up in every call."""
    names = structs.ELEMENT_TYPES
    return tuple(np.dtype(names.get(name, dtype)) for name in Program._fields)


def address_table(program: Program, known: Mapping[int, int]) -> np.ndarray:
    """The addresses of a program's arrays, int64, as the compiled loop takes them.

    `known`: those of arrays that live longer than the call, by `id`; NumPy takes a microsecond to
    tell one.
    """
    wanted = _element_types(program.params.dtype)
    for name, array, dtype in zip(Program._fields, program, wanted, strict=True):
        # The kernels see an address, and would read whatever is there.
        assert array.dtype == dtype, name
        assert array.flags.c_contiguous, name
    return np.array(
        [known.get(id(a)) or _NOTHING.get(id(a)) or a.ctypes.data for a in program], np.int64
    )


def start_of(program: Program, workspace: Workspace) -> Callable[[int], None]:
    """What runs a program of a workspace as one of its threads, by number; both must outlive it."""
    addresses, zero = address_table(program, workspace.addresses), program.params.dtype.type(0)

    def start(thread: int) -> None:
        run(addresses.ctypes.data, thread, zero)

    return start


def make_program(
    workspace: Workspace,
    store: ParameterStore,
    kind: int,
    data: Dataset,
    *,
    params: np.ndarray,
    grads: np.ndarray | None = None,
    outputs: np.ndarray | None = None,
    training: TrainJob | None = None,
    copies_rows: bool = False,
) -> Program:
    """A job over the rows of `data`, ready to run: see `describe_job`.

    `params`: what predicts or is trained; `grads`: where dW goes, if anywhere; `outputs`: where
    predictions go. What a training changes beside `params` is the store's.
    """
    dtype, n_layers = workspace.spec.dtype, len(workspace.layers)
    workspace.begin()
    job = describe_job(
        workspace, store, kind, data, training, stores_gradient=grads is not None,
        copies_rows=copies_rows,
    )  # fmt: skip
    job[Job.KEEPS_OUTPUTS] = outputs is not None
    state = running = average = best = None
    learning_rates, n_epochs = np.zeros(1), int(job[Job.N_EPOCHS])
    watch, eval_losses = _nothing("float64"), _nothing("float64")
    if training is not None:
        state, running, average = store.state, store.running, store.average
        learning_rates = np.ascontiguousarray(training.learning_rates, np.float64)
        if training.seen is not None:
            workspace.seen[:] = training.seen
        if training.validation is not None:
            watch, eval_losses = np.zeros(Watch.N_FIELDS), np.full(n_epochs, np.nan)
            describe_validation(training.validation, job, watch)
            if training.validation.watch is not None:
                best = aligned_zeros(store.plan.n_elems, store.dtype)
    return Program(
        params=params,
        state=flat(state, dtype),
        grads=flat(grads, dtype),
        average=flat(average, dtype),
        running=flat(running, dtype),
        work=workspace.work,
        layers=workspace.layers,
        tasks=workspace.tasks,
        embeddings=workspace.embeddings,
        numbers=workspace.numbers,
        shares=workspace.shares,
        rows=workspace.rows,
        job=job,
        floats=workspace.floats,
        sync=workspace.sync,
        gradient_squares=workspace.squares[0],
        momentum_squares=workspace.squares[1],
        weight_squares=workspace.squares[2],
        seen=workspace.seen,
        loss_parameters=workspace.loss_parameters,
        chosen=flat(data.chosen, "int64"),
        labels=flat(data.labels, "int32"),
        targets=flat(data.targets, dtype),
        weights=flat(data.weights, dtype),
        learning_rates=learning_rates,
        losses=np.zeros(n_epochs),
        grad_norms=np.zeros((n_epochs, n_layers)),
        seconds=np.zeros(n_epochs),
        outputs=flat(outputs, dtype),
        eval_losses=eval_losses,
        watch=watch,
        best=flat(best, dtype),
    )


def _signature(dtype: np.dtype) -> tuple[types.Type, ...]:
    return types.int64, types.int64, getattr(types, dtype.name)


@functools.cache
def ensure_compiled(dtype: np.dtype) -> bool:
    """Compile the loop for an element type, or load it from the cache; whether it was compiled.

    Ctrl-C ends compiling at once, and a later call begins anew. Loading is over before it could
    be wanted.
    """
    return ensure_entry(run, _signature(dtype))


def ensure_entry(entry: Entry, signature: tuple[types.Type, ...]) -> bool:
    """As `ensure_compiled`, for any entry and the types of its arguments."""
    if _load(entry, signature):
        return False
    with entry.alone(signature):
        if _load(entry, signature):  # another process has just compiled it
            return False
        with never_lost():
            entry.compile(signature)
    return True


def loop_address(dtype: np.dtype) -> int:
    """The C address of the loop for an element type, which has been compiled or loaded."""
    compiled = run.overloads[_signature(dtype)]
    name = compiled.fndesc.llvm_cfunc_wrapper_name
    return int(compiled.library.get_pointer_to_function(name))


@functools.cache
def ensure_usable(dtype: np.dtype) -> None:
    """`ensure_compiled`, and one CacheWarning a process where the next one must compile anew."""
    global _has_warned
    if not ensure_compiled(dtype) or is_on_disk(dtype) or _has_warned or cache_root() is None:
        return
    _has_warned = True
    trouble = write_trouble() or "its disk may be full"
    frame, level = inspect.currentframe(), 1
    while frame is not None and frame.f_globals.get("__name__", "").startswith("fastmlp."):
        frame, level = frame.f_back, level + 1
    warnings.warn(
        f"compiled kernels could not be kept, so every process compiles them for itself: {trouble}"
        "; set FASTMLP_CACHE_DIR to a folder of your own, or to off if that is all right",
        CacheWarning,
        stacklevel=level,
    )


def _load(entry: Entry, signature: tuple[types.Type, ...]) -> bool:
    with held_back():
        return bool(entry.load(signature))


def is_on_disk(dtype: np.dtype) -> bool:
    """Whether the cache has the loop for an element type, compiled for this processor."""
    return run.is_kept(_signature(dtype))
