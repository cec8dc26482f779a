"""Memory and tables for the jobs of the compiled loop."""

from __future__ import annotations

import numpy as np

from fastmlp import names
from fastmlp.engine.cpu.cores import n_cores
from fastmlp.engine.descriptions import describe_network, keep_threshold
from fastmlp.engine.store import ParameterStore
from fastmlp.kernels.activations import output_tells_slope
from fastmlp.kernels.cpu.random import SHUFFLE_LANES
from fastmlp.kernels.cpu.width import TILE
from fastmlp.kernels.structs import Embedding, Float, Job, Layer, Sync, ThreadWord
from fastmlp.layout.parameters import CACHE_LINE_BYTES, aligned_zeros, round_up
from fastmlp.layout.work import WorkPlan

# Longer than threads of like speed differ in a step, much shorter than a time slice that another
# process takes. With more threads than cores the one that is waited for needs this core.
_SPIN_NS = 200_000
# How long steps of all threads are measured, where their number is automatic, before the loop asks
# whether one thread would be faster alone: kernels/cpu/team.py. More than a time slice.
_WINDOW_NS = 5_000_000
_LINE_WORDS = CACHE_LINE_BYTES // 8


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
        self.activation_codes = store.activation_codes
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
        self.meets = any(
            layer.kind.meets and not (folds and layer.kind.folds) for layer in parameters.layers
        )
        embedded = {table.column for table in parameters.embeddings}
        columns = [column for column in range(spec.sizes[0]) if column not in embedded]
        self.numbers = np.array(columns if embedded and columns else [0], np.int64)
        tables = [Embedding(e.column, e.width, e.at, e.position) for e in parameters.embeddings]
        self.embeddings = np.array(tables or [Embedding(0, 0, 0, 0)], np.int64)
        self.squares = tuple(aligned_zeros(len(self.tasks), floats) for _ in range(3))
        self.floats = aligned_zeros(Float.PER_LAYER + 2 * len(parameters.layers), floats)
        describe_network(spec, self.floats)
        self.loss_parameters = np.array(spec.loss.kernel_parameters)
        self.job = aligned_zeros(Job.N_FIELDS, ints)
        self.common_fields: np.ndarray | None = None  # of Job: see engine/cpu/job.py
        # By `id`, of all arrays that are the workspace's.
        self.addresses = {
            id(array): array.ctypes.data
            for array in (*vars(self).values(), *self.squares)
            if isinstance(array, np.ndarray)
        }

    def serves(self, batch_size: int, n_threads: int, orthogonalises: bool) -> bool:
        own = (self.plan.batch_size, self.plan.n_threads, self.orthogonalises)
        return own == (batch_size, n_threads, orthogonalises)

    @property
    def n_bytes(self) -> int:
        return self.work.nbytes

    def begin(self) -> None:
        """Words and sums as at the beginning of a job."""
        plan = self.plan
        self.sync[:], self.seen[:] = 0, 0.0
        self.sync[self.thread_words + ThreadWord.CPU :: _LINE_WORDS] = -1
        has_cores = plan.n_threads == 1 or plan.n_threads <= n_cores()
        self.sync[Sync.SPIN_NS] = _SPIN_NS if has_cores else 0
        # Batch normalisation and muon have meetings of all threads within a step.
        adapts = self.spec.n_threads is None and plan.n_threads > 1
        if adapts and not (self.meets or self.orthogonalises):
            self.sync[Sync.WINDOW_NS] = _WINDOW_NS

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
                norm=0 if folds and layer.kind.folds else names.NORMS.index(layer.norm),
                n_vectors=len(layer.kind.vectors),
                scale=layer.scale,
                normed=plan.normed[i],
                statistics=plan.statistics[i],
                sums=plan.sums[i],
                keeps_running=layer.kind.keeps_running,
                running=running[i],
                residual=i < hidden and spec.residual[i],
                da=plan.da[i + 1],
                da_in=plan.da[i],
                keeps_slope=i < hidden and self._keeps_slope(i),
                packs_dz=plan.packs_dz[i],
                meets=layer.kind.meets and not (folds and layer.kind.folds),
            )
            rows.append(row)
        return np.array(rows, np.int64)

    def _keeps_slope(self, number: int) -> bool:
        """Whether f'(Z) of a hidden layer is stored: where the output tells it as well (relu's
        does), it is not, unless dropout scales it, another array is added to the output, or dA is
        wanted beside dZ."""
        spec, plain = self.spec, self.parameters.layers[number].kind.is_plain
        told = output_tells_slope(spec.activations[number])
        said = told and plain and not spec.dropout[number]
        return not (said and not spec.residual[number] and not self.plan.da[number + 1])
