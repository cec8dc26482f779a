"""Programs for the compiled loop: tables of offsets, the user's arrays, and room to work in."""

from __future__ import annotations

import functools
from collections.abc import Callable

import numpy as np
from numba import types

from fastmlp import names
from fastmlp.engine.cpu.crew import n_cores
from fastmlp.engine.descriptions import keep_threshold
from fastmlp.engine.store import ParameterStore
from fastmlp.interrupts import never_lost
from fastmlp.kernels import structs
from fastmlp.kernels.activations import output_tells_slope
from fastmlp.kernels.cpu.loop import run
from fastmlp.kernels.cpu.random import SHUFFLE_LANES
from fastmlp.kernels.cpu.width import TILE
from fastmlp.kernels.structs import (
    Embedding,
    Float,
    Job,
    Layer,
    Program,
    Sync,
    ThreadWord,
)
from fastmlp.layout.parameters import CACHE_LINE_BYTES, aligned_zeros, round_up
from fastmlp.layout.work import WorkPlan

# Longer than threads of like speed differ in a step, much shorter than a time slice that another
# process takes. With more threads than cores the one that is waited for needs this core.
_SPIN_NS = 200_000
# How long steps of all threads are measured, where their number is automatic, before the loop asks
# whether one thread would be faster alone: kernels/cpu/team.py. More than a time slice.
_WINDOW_NS = 5_000_000
# Inputs for each row of a minibatch from which on threads take columns of the first layer.
COLUMN_INPUTS = 2
_LINE_WORDS = CACHE_LINE_BYTES // 8


def flat(array: np.ndarray | None, dtype: str) -> np.ndarray:
    """A C-contiguous array as one dimension, its elements where the kernels may read them; (1,)
    for None."""
    if array is None:
        return np.zeros(1, dtype)
    return (array if array.flags.aligned else array.copy()).reshape(-1)


def address_table(program: Program) -> np.ndarray:
    """The addresses of a program's arrays, int64, as the compiled loop takes them."""
    dtype = program.params.dtype
    for name, array in zip(Program._fields, program, strict=True):
        # The kernels see an address, and would read whatever is there.
        wanted = np.dtype(structs.ELEMENT_TYPES.get(name, dtype))
        assert array.dtype == wanted, name
        assert array.flags.c_contiguous, name
    return np.array([array.ctypes.data for array in program], np.int64)


def start_of(program: Program) -> Callable[[int], None]:
    """What runs a program as one of its threads, by number; it keeps the arrays alive."""
    addresses, zero = address_table(program), program.params.dtype.type(0)

    def start(thread: int) -> None:
        run(addresses.ctypes.data, thread, zero)

    return start


def describe_table(X: np.ndarray, job: np.ndarray) -> None:
    """Address, strides and element type of X (n, n_in) into a job."""
    job[Job.N_ROWS] = X.shape[0]
    job[Job.X_ADDRESS] = X.ctypes.data
    job[Job.X_ROW_BYTES], job[Job.X_COLUMN_BYTES] = X.strides
    name = "uint8" if X.dtype == np.bool_ else X.dtype.name
    job[Job.X_TYPE] = names.SOURCE_TYPES.index(name)
    # Rows some multiple of 256 bytes apart would share few sets of the first-level cache.
    apart = X.strides[0] % 256 != 0 and X.strides[0] % X.itemsize == 0
    fits = X.dtype.kind == "f" and X.itemsize == job[Job.IN_PLACE] == X.strides[1]
    job[Job.IN_PLACE] = apart and fits and X.ctypes.data % X.itemsize == 0


class Workspace:
    """Memory and tables for jobs of one batch size and number of threads."""

    def __init__(
        self,
        store: ParameterStore,
        batch_size: int,
        n_threads: int,
        *,
        folds: bool = False,
        orthogonalises: bool = False,
    ) -> None:
        """`folds`: for jobs that only go forward, where batch normalisation is part of the weights,
        as in `ParameterStore.folded`;
        `orthogonalises`: the update rule is muon, which needs room of its own.
        """
        spec, parameters, dtype = store.spec, store.plan, store.dtype
        plan = WorkPlan.make(
            parameters, dtype.itemsize, batch_size, n_threads, TILE.rows[0], spec.residual,
            spec.input_dropout > 0.0, orthogonalises, folds,
        )  # fmt: skip
        self.spec, self.parameters, self.plan = spec, parameters, plan
        self.orthogonalises = orthogonalises
        self.activation_codes, self.loss_code = store.activation_codes, store.loss_code
        self.tasks = parameters.tasks()
        self.shares = parameters.shares(self.tasks, n_threads)
        self.work = aligned_zeros(plan.n_elems, dtype)
        # On lines of their own: some of these are written by all threads, others read all the time.
        ints, floats = np.dtype(np.int64), np.dtype(np.float64)
        self.rows = aligned_zeros(2 * (batch_size + (1 + n_threads) * SHUFFLE_LANES), ints)
        self.thread_words = round_up(Sync.N_FIELDS + 3 * len(parameters.layers), _LINE_WORDS)
        self.sync = aligned_zeros(self.thread_words + _LINE_WORDS * n_threads, ints)
        self.seen = aligned_zeros(2 + len(self.tasks), floats)
        self.layers = self._layer_table(store.running_offsets(), folds)
        self.meets = not folds and "batch" in spec.norms
        embedded = {table.column for table in parameters.embeddings}
        columns = [column for column in range(spec.sizes[0]) if column not in embedded]
        self.numbers = np.array(columns if embedded and columns else [0], np.int64)
        tables = [Embedding(e.column, e.width, e.at, e.position) for e in parameters.embeddings]
        self.embeddings = np.array(tables or [Embedding(0, 0, 0, 0)], np.int64)
        self.norms = aligned_zeros(3 * len(self.tasks), floats)
        self.floats = aligned_zeros(Float.PER_LAYER + 2 * len(parameters.layers), floats)
        self.floats[Float.L1], self.floats[Float.L2] = spec.l1, spec.l2
        self.floats[Float.GRADIENT_FACTOR] = self.floats[Float.LOSS_FACTOR] = 1.0
        self.floats[Float.INPUT_SCALE] = 1.0 / (1.0 - spec.input_dropout)
        for i, rate in enumerate(spec.dropout):
            self.floats[Float.PER_LAYER + 2 * i] = 1.0 / (1.0 - rate)

    def serves(self, batch_size: int, n_threads: int, orthogonalises: bool) -> bool:
        own = (self.plan.batch_size, self.plan.n_threads, self.orthogonalises)
        return own == (batch_size, n_threads, orthogonalises)

    def splits_columns(self, job: np.ndarray) -> bool:
        """Whether threads take columns of the first layer, for a job whose table is described.

        Where its W is larger than the inputs and outputs of a minibatch together, and there are
        whole panels for each thread.
        """
        first, n_threads = self.parameters.layers[0], self.plan.n_threads
        n_panels = -(-first.out_pad // (2 * self.parameters.lanes))
        return bool(
            job[Job.IN_PLACE]
            and not self.meets
            and not self.plan.band_rows
            and (n_panels % n_threads == 0 or n_panels >= 8 * n_threads)
            and first.n_in >= COLUMN_INPUTS * self.plan.batch_size
        )

    @property
    def n_bytes(self) -> int:
        return self.work.nbytes

    def _layer_table(self, running: list[int], folds: bool) -> np.ndarray:
        spec, parameters, plan = self.spec, self.parameters, self.plan
        hidden, rows = len(spec.activations), []
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
                in_t=parameters.transposed_rows(i),
                act_in=plan.activations[i],
                act_out=plan.activations[i + 1],
                dz=plan.dz[i],
                dz_in=plan.dz[i - 1] if i else 0,
                activation=self.activation_codes[i] if i < hidden else 0,
                keep_threshold=keep_threshold(rate),
                block_in=plan.blocks[i],
                block_out=plan.blocks[i + 1],
                norm=0 if folds and layer.norm == "batch" else names.NORMS.index(layer.norm),
                scale=layer.scale,
                normed=plan.normed[i],
                statistics=plan.statistics[i],
                sums=plan.sums[i],
                running=running[i],
                residual=i < hidden and spec.residual[i],
                da=plan.da[i + 1],
                da_in=plan.da[i],
                keeps_slope=i < hidden and self._keeps_slope(i),
                packs_dz=plan.packs_dz[i],
            )
            rows.append(row)
        return np.array(rows, np.int64)

    def _keeps_slope(self, number: int) -> bool:
        """Whether f'(Z) of a hidden layer is stored: where the output tells it as well (relu's
        does), it is not, unless dropout scales it, another array is added to the output, or dA is
        wanted beside dZ."""
        spec, plain = self.spec, self.parameters.layers[number].norm == "none"
        told = output_tells_slope(spec.activations[number])
        said = told and plain and not spec.dropout[number]
        return not (said and not spec.residual[number] and not self.plan.da[number + 1])

    def program(
        self,
        params: np.ndarray,
        kind: int,
        *,
        state: np.ndarray | None = None,
        running: np.ndarray | None = None,
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
        spec, plan, n_layers = self.spec, self.plan, len(self.layers)
        dtype, parameters = spec.dtype, self.parameters
        job = aligned_zeros(Job.N_FIELDS, np.dtype(np.int64))
        job[Job.KIND], job[Job.N_THREADS] = kind, plan.n_threads
        job[Job.BATCH_SIZE], job[Job.N_EPOCHS] = plan.batch_size, n_epochs
        job[Job.HAS_AVERAGE] = average is not None
        job[Job.SEED] = np.uint64(spec.seed).astype(np.int64)
        job[Job.LOSS] = self.loss_code
        if spec.loss.name == "cross_entropy" and targets is not None:
            # Classes given by probabilities have a kernel of their own.
            job[Job.LOSS] = names.LOSSES.index("soft_cross_entropy")
        job[Job.HAS_WEIGHTS] = weights is not None
        job[Job.TARGET_KIND] = 1 if labels is not None else 2 if targets is not None else 0
        job[Job.N_TARGETS] = 0 if targets is None else targets.shape[1]
        job[Job.TARGET], job[Job.TARGET_LD] = plan.target, plan.target_ld
        job[Job.ROW_LOSS], job[Job.ROW_WEIGHT] = plan.row_loss, plan.row_weight
        job[Job.ZEROS], job[Job.N_PARAMS] = plan.zeros, len(params)
        job[Job.SCRATCH], job[Job.SCRATCH_ELEMS] = plan.scratch, plan.scratch_elems
        job[Job.PACKED], job[Job.PACKED_ELEMS] = plan.packed, plan.packed_elems
        job[Job.BAND_ROWS], job[Job.GROUP_ROWS] = plan.band_rows, plan.group_rows
        job[Job.PARTIALS] = plan.partials
        job[Job.N_LAYERS], job[Job.N_TASKS] = n_layers, len(self.tasks)
        job[Job.N_WEIGHT_TASKS] = parameters.n_weight_tasks
        job[Job.N_EMBEDDINGS] = len(parameters.embeddings)
        job[Job.N_EMBEDDED], job[Job.N_COLUMNS] = parameters.n_embedded, spec.sizes[0]
        job[Job.COLUMNS], job[Job.COLUMNS_LD] = plan.columns, plan.columns_ld
        job[Job.INPUT_THRESHOLD] = keep_threshold(spec.input_dropout)
        job[Job.INPUT_MASK], job[Job.ROWS_MEET] = plan.input_mask, self.meets
        job[Job.THREAD_WORDS], job[Job.PATIENCE] = self.thread_words, -1
        # Nothing but products reads what the first layer takes in.
        plain = not (parameters.embeddings or spec.input_dropout or any(spec.residual[:1]))
        whole = parameters.layers[0].out_pad % (2 * parameters.lanes) == 0
        job[Job.IN_PLACE] = self.work.itemsize if plain and whole else 0
        job[Job.MUON_Y : Job.MUON_POLYNOMIAL + 1] = plan.muon
        self.sync[:], self.seen[:] = 0, 0.0
        self.sync[self.thread_words + ThreadWord.CPU :: _LINE_WORDS] = -1
        self.sync[Sync.SPIN_NS] = _SPIN_NS if plan.n_threads <= n_cores() else 0
        # Batch normalisation and muon have meetings of all threads within a step.
        adapts = spec.n_threads is None and plan.n_threads > 1
        if adapts and not (self.meets or self.orthogonalises):
            self.sync[Sync.WINDOW_NS] = _WINDOW_NS
        return Program(
            params=params,
            state=flat(state, dtype),
            grads=flat(grads, dtype),
            average=flat(average, dtype),
            running=flat(running, dtype),
            work=self.work,
            layers=self.layers,
            tasks=self.tasks,
            embeddings=self.embeddings,
            numbers=self.numbers,
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


def _signature(dtype: np.dtype) -> tuple[types.Type, ...]:
    return types.int64, types.int64, getattr(types, dtype.name)


@functools.cache
def ensure_compiled(dtype: np.dtype) -> None:
    """Compile the loop for an element type, or load it from the cache.

    Ctrl-C ends it at once, and a later call begins anew.
    """
    with never_lost():
        run.compile(_signature(dtype))


def is_on_disk(dtype: np.dtype) -> bool:
    """Whether the cache has the loop for an element type, compiled for this processor."""
    return run.is_kept(_signature(dtype))
