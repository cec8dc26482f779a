"""Programs for the compiled loop: tables of offsets, the user's arrays, and room to work in."""

from __future__ import annotations

import ctypes
import functools

import numpy as np
from numba import typeof, types

from fastmlp.engine import names
from fastmlp.engine.crew import n_cores
from fastmlp.interrupts import never_lost
from fastmlp.kernels.cpu.loop import run
from fastmlp.kernels.cpu.random import SHUFFLE_LANES
from fastmlp.kernels.cpu.width import TILE
from fastmlp.kernels.structs import Float, Job, Layer, Program, Sync
from fastmlp.plan import ParameterPlan, WorkPlan, aligned_zeros
from fastmlp.spec import NetworkSpec

# Some 20 microseconds: longer than threads of like speed differ in a step. With more threads than
# cores the one that is waited for needs this core.
_SPINS = 1000


def flat(array: np.ndarray | None, dtype: str) -> np.ndarray:
    """A C-contiguous array as one dimension that numba sees as writable, (1,) for None.

    A read-only array would be another type to numba, and compile the whole loop again; the
    kernels write none of these.
    """
    if array is None:
        return np.zeros(1, dtype)
    if array.flags.writeable and array.flags.aligned:
        return array.reshape(-1)
    if not array.flags.aligned:
        return array.copy().reshape(-1)
    memory = (ctypes.c_byte * array.nbytes).from_address(array.ctypes.data)
    return np.frombuffer(memoryview(memory), dtype)


def loss_kernel(name: str, targets: np.ndarray | None) -> str:
    """The kernel of a loss: classes given by probabilities have one of their own."""
    return "soft_cross_entropy" if name == "cross_entropy" and targets is not None else name


def describe_table(X: np.ndarray, job: np.ndarray) -> None:
    """Address, strides and element type of X (n, n_in) into a job."""
    job[Job.N_ROWS] = X.shape[0]
    job[Job.X_ADDRESS] = X.ctypes.data
    job[Job.X_ROW_BYTES], job[Job.X_COLUMN_BYTES] = X.strides
    name = "uint8" if X.dtype == np.bool_ else X.dtype.name
    job[Job.X_TYPE] = names.SOURCE_TYPES.index(name)


def _keep_threshold(rate: float) -> int:
    """(1 - rate) 2^32 within 1 and 2^32 - 1: random words below it keep their unit; 0: all kept."""
    return min(max(round((1.0 - rate) * 2**32), 1), 2**32 - 1) if rate > 0.0 else 0


class Workspace:
    """Memory and tables for jobs of one batch size and number of threads."""

    def __init__(
        self, spec: NetworkSpec, parameters: ParameterPlan, batch_size: int, n_threads: int
    ) -> None:
        dtype = np.dtype(spec.dtype)
        plan = WorkPlan.make(parameters, dtype.itemsize, batch_size, n_threads, TILE.rows[0])
        self.plan = plan
        self.tasks = parameters.tasks()
        self.shares = parameters.shares(self.tasks, n_threads)
        self.work = aligned_zeros(plan.n_elems, dtype)
        self.rows = np.zeros(batch_size + SHUFFLE_LANES, np.int64)
        self.sync = np.zeros(Sync.N_FIELDS + len(parameters.layers), np.int64)
        self.seen = np.zeros(2 + len(self.tasks))
        self.layers = self._layer_table(spec, parameters)
        self.norms = np.zeros(len(self.tasks))
        self.floats = np.zeros(Float.PER_LAYER + 2 * len(parameters.layers))
        self.floats[Float.L1], self.floats[Float.L2] = spec.l1, spec.l2
        for i, rate in enumerate(spec.dropout):
            self.floats[Float.PER_LAYER + 2 * i] = 1.0 / (1.0 - rate)

    def serves(self, batch_size: int, n_threads: int) -> bool:
        return (self.plan.batch_size, self.plan.n_threads) == (batch_size, n_threads)

    @property
    def n_bytes(self) -> int:
        return self.work.nbytes

    def _layer_table(self, spec: NetworkSpec, parameters: ParameterPlan) -> np.ndarray:
        plan, rows = self.plan, []
        hidden = len(spec.activations)
        for i, layer in enumerate(parameters.layers):
            rate = spec.dropout[i] if i < hidden else 0.0
            row = Layer(
                n_in=layer.n_in,
                n_out=layer.n_out,
                in_pad=layer.in_pad,
                out_pad=layer.out_pad,
                ld_in=plan.leading[i],
                ld_out=plan.leading[i + 1],
                weight=layer.weight,
                bias=layer.bias,
                weight_t=plan.weight_t[i],
                act_in=plan.activations[i],
                act_out=plan.activations[i + 1],
                dz=plan.dz[i],
                dz_in=plan.dz[i - 1] if i else 0,
                activation=names.ACTIVATIONS.index(spec.activations[i]) if i < hidden else 0,
                keep_threshold=_keep_threshold(rate),
                block_in=plan.blocks[i],
                block_out=plan.blocks[i + 1],
            )
            rows.append(row)
        return np.array(rows, np.int64)

    def program(
        self,
        spec: NetworkSpec,
        params: np.ndarray,
        kind: int,
        *,
        state: np.ndarray | None = None,
        grads: np.ndarray | None = None,
        average: np.ndarray | None = None,
        labels: np.ndarray | None = None,
        targets: np.ndarray | None = None,
        weights: np.ndarray | None = None,
        outputs: np.ndarray | None = None,
        learning_rates: np.ndarray | None = None,
        n_epochs: int = 1,
    ) -> Program:
        """A job of one of structs.KIND_* over whole epochs, the table still to be described."""
        plan, dtype, n_layers = self.plan, spec.dtype, len(self.layers)
        job = np.zeros(Job.N_FIELDS, np.int64)
        job[Job.KIND], job[Job.N_THREADS] = kind, plan.n_threads
        job[Job.BATCH_SIZE], job[Job.N_EPOCHS] = plan.batch_size, n_epochs
        job[Job.HAS_AVERAGE] = average is not None
        job[Job.SEED] = np.uint64(spec.seed).astype(np.int64)
        job[Job.LOSS] = names.LOSSES.index(loss_kernel(spec.loss.name, targets))
        job[Job.HAS_WEIGHTS] = weights is not None
        job[Job.TARGET_KIND] = 1 if labels is not None else 2 if targets is not None else 0
        job[Job.N_TARGETS] = 0 if targets is None else targets.shape[1]
        job[Job.TARGET], job[Job.TARGET_LD] = plan.target, plan.target_ld
        job[Job.ROW_LOSS], job[Job.ROW_WEIGHT] = plan.row_loss, plan.row_weight
        job[Job.ZEROS], job[Job.N_PARAMS] = plan.zeros, len(params)
        job[Job.SCRATCH], job[Job.SCRATCH_ELEMS] = plan.scratch, plan.scratch_elems
        job[Job.N_LAYERS], job[Job.N_TASKS] = n_layers, len(self.tasks)
        self.sync[:], self.seen[:] = 0, 0.0
        self.sync[Sync.SPINS] = _SPINS if plan.n_threads <= n_cores() else 1
        return Program(
            params=params,
            state=flat(state, dtype),
            grads=flat(grads, dtype),
            average=flat(average, dtype),
            work=self.work,
            layers=self.layers,
            tasks=self.tasks,
            shares=self.shares,
            rows=self.rows,
            job=job,
            floats=self.floats,
            sync=self.sync,
            norms=self.norms,
            seen=self.seen,
            loss_parameters=np.array(spec.loss.kernel_parameters),
            labels=flat(labels, "int32"),
            targets=flat(targets, dtype),
            weights=flat(weights, dtype),
            learning_rates=np.zeros(1) if learning_rates is None else learning_rates,
            losses=np.zeros(n_epochs),
            grad_norms=np.zeros((n_epochs, n_layers)),
            seconds=np.zeros(n_epochs),
            outputs=flat(outputs, dtype),
        )


@functools.cache
def ensure_compiled(dtype: np.dtype) -> None:
    """Compile the loop for an element type, or load it from the cache.

    Ctrl-C ends it at once, and a later call begins anew.
    """
    own, ints, floats = np.zeros(1, dtype), np.zeros(1, np.int64), np.zeros(1)
    types_of = dict.fromkeys(Program._fields, typeof(own))
    types_of |= dict.fromkeys(("shares", "rows", "job", "sync"), typeof(ints))
    types_of |= dict.fromkeys(("layers", "tasks"), typeof(ints.reshape(1, 1)))
    for name in (
        "floats",
        "norms",
        "seen",
        "loss_parameters",
        "learning_rates",
        "losses",
        "seconds",
    ):
        types_of[name] = typeof(floats)
    types_of["grad_norms"] = typeof(floats.reshape(1, 1))
    types_of["labels"] = typeof(np.zeros(1, np.int32))
    fields = tuple(types_of[name] for name in Program._fields)
    with never_lost():
        run.compile((types.NamedTuple(fields, Program), types.intp))
