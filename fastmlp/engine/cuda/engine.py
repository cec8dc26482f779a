"""The CUDA engine: what fastmlp/engine/cpu/engine.py does on the CPU, on one GPU."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np

from fastmlp.data.gpu_arrays import GpuArray
from fastmlp.data.inputs import Dataset
from fastmlp.engine.cuda.arrays import on_host, table_of
from fastmlp.engine.cuda.feed import Feed
from fastmlp.engine.cuda.muon import NUMBERS_HELD
from fastmlp.engine.cuda.program import CudaProgram
from fastmlp.engine.cuda.store import CudaStore, on_its_gpu, one_at_a_time
from fastmlp.engine.results import NonFinite, TrainResult
from fastmlp.engine.train_job import TrainJob
from fastmlp.kernels import structs
from fastmlp.kernels.constants import nadam_momentum
from fastmlp.kernels.cuda.launch import Answers
from fastmlp.kernels.cuda.steps import STATUS_LEVEL
from fastmlp.kernels.cuda.structs import N_HYPER, Clock, Number, Record
from fastmlp.layout.parameters import Parameters, aligned_zeros
from fastmlp.spec.conventions import FASTMLP, Conventions

# Rows that predict, evaluate and loss_and_gradients take at a time.
CHUNK_ROWS = 16384
# The host looks at progress, deadline and Ctrl-C about this often.
_POLL_S = 0.025
_MOST_STEPS = 4096  # launched between two looks
_WRITTEN = ("params", "state", "average", "running")  # by a training


class CudaEngine(CudaStore):
    """A network on a GPU; the arguments of every method have been checked by its callers."""

    evaluation_rows: int | None = 1 << 18  # at a time: tables of these stay where they are

    @staticmethod
    def most_validated(_data: Dataset | None) -> int:
        """None: what ends a training after an epoch is asked in Python."""
        return 0

    @property
    def n_sums(self) -> int:
        """How many numbers `seen` of a `TrainResult` has: each layer leaves one."""
        return 2 + len(self.plan.layers)

    # ---- training ----------------------------------------------------------------------------

    @on_its_gpu
    def train(self, job: TrainJob) -> TrainResult:
        """Epochs of minibatch steps, launched ahead; see `TrainJob` and `TrainResult`."""
        data, batch_size = job.data, job.minibatch_rows
        feed = self._feeds.of("train", data, batch_size, self.spec.seed)
        orthogonalises = self.record.orthogonalises
        kind = "orthogonalise" if orthogonalises else "train"
        stores = bool(self.options.clip_norm) or orthogonalises
        max_norm = self.options.max_norm > 0.0
        # What decides which kernels run; all other numbers are read from memory.
        held = tuple(self.numbers[name] for name in NUMBERS_HELD) if orthogonalises else ()
        variant = (stores, max_norm, held)
        program = self._program(
            "train", feed.tables, batch_size, kind, "params", self._loss(data), variant=variant
        )
        self._describe_job(program, data, job)
        program.numbers_host[:] = 0.0
        if job.seen is not None:
            program.numbers_host[Number.LOSS : Number.WEIGHT + 1] = job.seen[:2]
            program.numbers_host[Number.PER_LAYER + N_HYPER * program.n_layers :] = job.seen[2:]
        program.numbers_host[Number.PRODUCT] = self._momentum_product()
        self._prepare(program, job.learning_rates, job.n_epochs, stores, max_norm)
        launch = feed.launcher(
            program, job.shuffle, job.first_epoch, job.first_step, job.epoch_steps
        )
        written = [m for m in map(self._mirrors.get, _WRITTEN) if m is not None]
        try:
            for mirror in written:
                mirror.lend()
            outcome = self._run_steps(program, launch, job)
        finally:
            for mirror in written:
                mirror.changed()
            self._version += 1
        return self._train_result(program, outcome, job)

    def _momentum_product(self) -> float:
        """mu_1 ... mu_n of the steps made where it warms up: see kernels/cpu/optimizers.py."""
        product = 1.0
        if self.record.warms_up:
            beta1 = self.numbers[self.record.warms_up]
            for t in range(1, self.n_updates + 1):
                product *= nadam_momentum(beta1, t)
        return product

    def _prepare(
        self, program: CudaProgram, rates: np.ndarray, n_epochs: int, stores: bool, max_norm: bool
    ) -> None:
        """A job's numbers onto the device; launches are made anew where an array had to grow."""
        gpu, elems = self.gpu, n_epochs * program.record_elems
        if len(rates) > program.n_rates or elems > program.n_records or program.steps is None:
            program.n_rates = 1 << max(10, (len(rates) - 1).bit_length())
            program.n_records = 1 << max(8, (elems - 1).bit_length())
            program.rates = gpu.empty(program.n_rates, np.float64)
            program.history = gpu.empty(program.n_records, np.float64)
            if stores:
                program.grads = gpu.empty(self.plan.n_elems, self.dtype)
            program.steps = program.train_steps(stores=stores, max_norm=max_norm)
        gpu.write(program.rates, np.ascontiguousarray(rates, np.float64))
        gpu.write(program.job, program.job_host)
        gpu.write(program.floats, program.floats_host)
        gpu.write(program.numbers, program.numbers_host)
        program.clock_host[:] = 0
        gpu.write(program.clock, program.clock_host)
        gpu.launch([program.begin()])

    def _run_steps(
        self, program: CudaProgram, launch: Callable[[int, int], None], job: TrainJob
    ) -> str:
        """Launch all steps, in groups that take about _POLL_S; "done", "interrupted" or
        "deadline"."""
        done, group, n_steps = 0, 1, len(job.learning_rates)
        while done < n_steps:
            group = min(group, n_steps - done)
            began_s = time.perf_counter()
            launch(done, group)
            done += group
            self.gpu.read(program.clock, program.clock_host)
            took_s = time.perf_counter() - began_s
            if program.clock_host[Clock.STATUS] != structs.STATUS_RUNNING:
                return "done"
            self.gpu.read(program.numbers, program.numbers_host)
            loss_sum, weight_sum = program.numbers_host[Number.LOSS : Number.WEIGHT + 1]
            job.report(int(program.clock_host[Clock.DONE]), loss_sum, weight_sum)
            if job.interrupted():
                return "interrupted"
            if job.deadline_s is not None and time.perf_counter() >= job.deadline_s:
                return "deadline"
            # A first group compiles kernels: no more than twice as many come next.
            wanted = int(group * _POLL_S / max(took_s, 1e-6))
            group = max(1, min(2 * group, wanted, _MOST_STEPS))
        return "done"

    def _train_result(self, program: CudaProgram, outcome: str, job: TrainJob) -> TrainResult:
        n_layers = program.n_layers
        self.gpu.read(program.clock, program.clock_host)
        self.gpu.read(program.numbers, program.numbers_host)
        clock, numbers = program.clock_host, program.numbers_host
        status, done = int(clock[Clock.STATUS]), int(clock[Clock.DONE])
        n_updates = done - (status == structs.STATUS_BAD_LOSS)
        self.n_updates += n_updates
        if n_updates:
            self.last_rate = float(job.learning_rates[n_updates - 1])
        width = program.record_elems
        begun = min(job.n_epochs, -(-(job.first_step + done) // job.epoch_steps))
        if status == structs.STATUS_RUNNING and begun > int(clock[Clock.EPOCHS_DONE]):
            self.gpu.launch([program.record_now()])
        history = np.zeros(max(1, begun) * width)
        self.gpu.read(program.history, history)
        records = history.reshape(-1, width)[:begun]
        norms = records[:, Record.N_FIELDS :].copy()
        known = norms[norms.any(axis=1)]
        if len(known):
            self._last_grad_norms = known[-1]
        bad = status in (structs.STATUS_BAD_LOSS, structs.STATUS_BAD_UPDATE)
        losses = records[:, Record.LOSS].copy()
        n_epochs_done = int(clock[Clock.EPOCHS_DONE])
        squares = numbers[Number.PER_LAYER + N_HYPER * n_layers :]
        return TrainResult(
            status="non_finite" if bad else "plateau" if status == STATUS_LEVEL else outcome,
            n_epochs_done=n_epochs_done,
            n_steps_done=n_updates,
            loss=losses,
            grad_norm=norms,
            seconds=records[:, Record.SECONDS].copy(),
            seen=np.concatenate((numbers[Number.LOSS : Number.WEIGHT + 1], squares)),
            plateau=job.plateau and job.plateau.after(losses[:n_epochs_done].tolist()),
            non_finite=self._non_finite(clock, done, begun - 1, losses) if bad else None,
        )

    def _non_finite(
        self, clock: np.ndarray, step: int, epoch: int, losses: np.ndarray
    ) -> NonFinite:
        n_layers = len(self.plan.layers)
        faulty = np.flatnonzero(clock[Clock.FAULTY_LAYER : Clock.FAULTY_LAYER + n_layers])
        return NonFinite(
            step=step,
            epoch=epoch,
            layer=int(faulty[0]) if len(faulty) else None,
            loss=float(losses[epoch]),
            weight_norms=self.weight_norms(),
            grad_norms=[float(norm) for norm in self._last_grad_norms],
        )

    # ---- arrays that lie on the device -------------------------------------------------------

    @one_at_a_time
    def table_on_gpu(self, X: Any, name: str = "X") -> GpuArray:
        """X of another library's, checked as `as_inputs` checks; read where it lies."""
        return table_of(self.gpu, self.spec, X, name)

    @one_at_a_time
    def to_host(self, data: Any, name: str) -> np.ndarray:
        """A copy of an array of another library's."""
        return on_host(self.gpu, data, name)

    # ---- without training --------------------------------------------------------------------

    @one_at_a_time
    def predict(self, X: np.ndarray) -> np.ndarray:
        """Raw outputs z of the last layer, (n, n_out) of the network's dtype."""
        n_rows, n_out = X.shape[0], self.spec.sizes[-1]
        outputs = np.empty((n_rows, n_out), self.dtype)
        if n_rows == 0:
            return outputs
        batch_size = min(n_rows, CHUNK_ROWS)
        feed = self._feeds.of_rows("predict", X, batch_size)
        program = self._program(
            "predict", feed.tables, batch_size, "predict", self._used_name(), None
        )
        self._begin(program, feed, Dataset(X))
        self._each_block(feed, program, batch_size, n_rows, outputs)
        return outputs

    def _each_block(
        self, feed: Feed, program: CudaProgram, batch_size: int, n_rows: int, outputs: np.ndarray
    ) -> None:
        """Launch the rows a block at a time; raw outputs (n_rows, n_out) where there is room.

        The host sends and gathers a block while the GPU computes the one before.
        """
        ld, n_out = self.plan.layers[-1].out_pad, self.spec.sizes[-1]
        answers = None
        if len(outputs):
            if self._answers is None or self._answers.n < batch_size * ld:
                self._answers = Answers(self.gpu, batch_size * ld, self.dtype)
            answers = self._answers
        taken = 0
        # One turn more than there are blocks: the last answer is taken in it.
        for start in range(0, n_rows + batch_size, batch_size):
            n = min(batch_size, n_rows - start)
            if n > 0:
                self._run_block(feed, program, start, n)
            if answers is None:
                continue
            if n > 0:
                answers.ask(program.act(program.n_layers), n * ld)
            if start:
                rows = answers.take().reshape(-1, ld)
                outputs[taken : taken + len(rows)] = rows[:, :n_out]
                taken += len(rows)

    def evaluate(self, data: Dataset) -> float:
        """Weighted mean of the row losses, without penalty and dropout."""
        return self.evaluate_rows(data, False)[0]

    @one_at_a_time
    def evaluate_rows(self, data: Dataset, wants_outputs: bool) -> tuple[float, np.ndarray]:
        """`evaluate`, and where they are wanted the outputs of `predict`, else none of them."""
        n_rows = len(data.X) if wants_outputs else 0
        outputs = np.empty((n_rows, self.spec.sizes[-1]), self.dtype)
        loss_sum, weight_sum, _ = self._go_over(data, "predict", None, outputs)
        return loss_sum / weight_sum, outputs

    def _go_over(
        self, data: Dataset, kind: str, batch_size: int | None, outputs: np.ndarray
    ) -> tuple[float, float, CudaProgram]:
        """Losses and weights of all rows, and the program, which with `kind` "gradients" has the
        sums of gradients; raw outputs too where there is room for them."""
        n_rows = len(data.X)
        batch_size = batch_size or min(n_rows, CHUNK_ROWS)
        use = "evaluate" if kind == "predict" else kind
        feed = self._feeds.of(use, data, batch_size, self.spec.seed)
        program = self._program(
            use, feed.tables, batch_size, kind, self._used_name(), self._loss(data)
        )
        self._begin(program, feed, data)
        self.gpu.write(program.numbers, program.numbers_host)
        if kind == "gradients":
            self.gpu.write(program.grads, np.zeros(self.plan.n_elems, self.dtype))
        self._each_block(feed, program, batch_size, n_rows, outputs)
        sums = np.zeros(Number.WEIGHT + 1)
        self.gpu.read(program.numbers, sums)
        return float(sums[Number.LOSS]), float(sums[Number.WEIGHT]), program

    def loss_and_gradients(self, data: Dataset) -> tuple[float, list[np.ndarray], list[np.ndarray]]:
        """Mean loss plus penalty over all rows, and its gradients (in, out) and (out,)."""
        loss, gradients = self.loss_and_all_gradients(data)
        return loss, gradients.weights, gradients.biases

    @one_at_a_time
    def loss_and_all_gradients(
        self, data: Dataset, conventions: Conventions = FASTMLP
    ) -> tuple[float, Parameters]:
        """Mean loss plus penalty over all rows, and its gradients; see `CpuEngine`."""
        batch_size = len(data.X) if self.plan.meets else None
        nothing = np.empty((0, self.spec.sizes[-1]), self.dtype)
        loss_sum, weight_sum, program = self._go_over(data, "gradients", batch_size, nothing)
        grads = aligned_zeros(self.plan.n_elems, self.dtype)
        self.gpu.read(program.grads, grads)
        return self._with_penalty(grads, loss_sum / weight_sum, weight_sum, conventions)

    @one_at_a_time
    def trace(self, X: np.ndarray) -> list[np.ndarray]:
        """Activations of every layer for these rows, input first, the raw output z last."""
        n_rows = X.shape[0]
        feed = self._feeds.of_rows("trace", X, n_rows)
        program = self._program("trace", feed.tables, n_rows, "predict", self._used_name(), None)
        self._begin(program, feed, Dataset(X))
        self._run_block(feed, program, 0, n_rows)
        leading = [self.plan.layers[0].in_pad, *(a.out_pad for a in self.plan.layers)]
        traced = []
        for i, (ld, size) in enumerate(zip(leading, self.spec.layer_sizes, strict=True)):
            values = np.empty(n_rows * ld, self.dtype)
            self.gpu.read(program.act(i), values)
            traced.append(values.reshape(n_rows, ld)[:, :size].copy())
        self._programs.pop("trace", None)
        return traced
