"""The CPU engine: jobs for the compiled loop, on the parameters in its store."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

import numpy as np

from fastmlp.data.inputs import Dataset
from fastmlp.engine.cpu.cores import n_cores
from fastmlp.engine.cpu.crew import run_crew
from fastmlp.engine.cpu.few_rows import MAX_ELEMS, MAX_ROWS, FewRows
from fastmlp.engine.cpu.program import ensure_usable, make_program, start_of
from fastmlp.engine.cpu.read_ahead import Windows, reading_ahead
from fastmlp.engine.cpu.validation import Evaluation, most_epochs, validated
from fastmlp.engine.cpu.workspace import Workspace
from fastmlp.engine.results import NonFinite, TrainResult
from fastmlp.engine.store import ParameterStore
from fastmlp.engine.train_job import TrainJob, never
from fastmlp.kernels import structs
from fastmlp.kernels.structs import Job, Program, Sync
from fastmlp.layout.parameters import Parameters, aligned_zeros
from fastmlp.spec.conventions import FASTMLP, Conventions
from fastmlp.spec.network import NetworkSpec

# A step with less work than this for each thread is faster on fewer threads.
FLOPS_PER_THREAD = 1_000_000
# From so many operations a thread and rows on, which take about a third of a second and more, the
# sums of dW can be left on Ctrl-C: then all of dW is stored, and updates are a second pass. That
# costs the more of a step, the fewer rows it has: some 7 % of it at these.
LEAVING_FLOPS = 20_000_000_000
LEAVING_ROWS = 1024
# Rows that predict, evaluate and loss_and_gradients take at a time.
CHUNK_ROWS = 512
# Workspaces up to this size stay for the next call.
KEPT_BYTES = 64 * 1024 * 1024
# A job below this takes the calling thread half a millisecond: no longer than to start threads for
# it, and it is over before Ctrl-C could be wanted.
FLOPS_WITHOUT_THREADS = 60_000_000
_ANY_EPOCHS = 1 << 62


@dataclass(frozen=True)
class Workspaces:
    """Workspaces by their use, and what a network must be like to use them."""

    likeness: tuple[object, ...]
    spare: dict[str, Workspace]


class CpuEngine(ParameterStore):
    """A network on the CPU; the arguments of every method have been checked by its callers."""

    evaluation_rows: int | None = None  # to evaluate at a time: as many as take some 20 ms

    def __init__(self, spec: NetworkSpec) -> None:
        super().__init__(spec)
        self._grads: np.ndarray | None = None
        self.n_threads_used, self.n_steps_alone = 1, 0
        # Asked at every job, where other networks share the processors; None: all are ours.
        self.most_threads: Callable[[], int] | None = None
        self._last_grad_norms = np.zeros(len(self.plan.layers))
        self._spare: dict[str, Workspace] = {}
        self._few_rows = min(
            MAX_ROWS, MAX_ELEMS // spec.sizes[0], FLOPS_WITHOUT_THREADS // self._flops(1, 1)
        )
        self._spare_few: list[FewRows] = []

    @property
    def n_sums(self) -> int:
        """How many numbers `seen` of a `TrainResult` has: each task of an update leaves one."""
        return 2 + len(self.plan.tasks())

    def _flops(self, n_rows: int, products: int) -> int:
        """Of `products` matrix products a layer: 3 for a training step, 1 for the forward pass."""
        return sum(2 * n_rows * a.n_in * a.n_out * products for a in self.plan.layers)

    def work_of(self, n_rows: int) -> float:
        """Operations of a training epoch over `n_rows` rows, for comparing networks."""
        return float(self._flops(n_rows, 3))

    def _update_flops(self) -> int:
        """Of the products in the update of a training step: those of kernels/cpu/muon.py."""
        if not self._orthogonalises:
            return 0
        shapes = [(min(a.n_in, a.n_out), max(a.n_in, a.n_out)) for a in self.plan.layers[:-1]]
        return int(self.numbers["n_iterations"]) * sum(3 * k * k * m + k**3 for k, m in shapes)

    @property
    def _orthogonalises(self) -> bool:
        return self.record.orthogonalises

    def _n_threads(self, flops: int, of_job: int) -> int:
        """For a job of `of_job` operations, `flops` of them between two barriers."""
        if self.spec.n_threads is None and of_job < FLOPS_WITHOUT_THREADS:
            return 1
        n_threads = self.spec.n_threads or max(1, min(n_cores(), flops // FLOPS_PER_THREAD))
        return int(n_threads if self.most_threads is None else min(n_threads, self.most_threads()))

    @contextmanager
    def _workspace(
        self, use: str, batch_size: int, products: int, n_rows: int
    ) -> Iterator[Workspace]:
        """A workspace that no other thread has: the last one of this `use` if it fits and is free.

        For a job over `n_rows` rows, all epochs counted, with `products` products a layer.

        Threads may predict with one network at the same time, and the kernels run without the GIL.
        """
        orthogonalises = use == "train" and self._orthogonalises
        flops, of_job = self._flops(batch_size, products), self._flops(n_rows, products)
        if orthogonalises:
            flops += self._update_flops()
            of_job += self._update_flops() * -(-n_rows // batch_size)
        workspace = self._taken(use, batch_size, self._n_threads(flops, of_job), orthogonalises)
        try:
            yield workspace
        finally:
            self._spare[use] = workspace

    def _taken(
        self, use: str, batch_size: int, n_threads: int, orthogonalises: bool = False
    ) -> Workspace:
        # dict.pop is atomic. The old one goes first: two could be more than the machine has.
        workspace = self._spare.pop(use, None)
        if workspace is None or not workspace.serves(batch_size, n_threads, orthogonalises):
            workspace, folds = None, use in ("predict", "validate")
            workspace = Workspace(
                self, batch_size, n_threads, folds=folds, orthogonalises=orthogonalises
            )
        return workspace

    def give_workspaces(self) -> Workspaces:
        """Those that it has, for another network whose turn comes; it makes new ones when asked.

        Making them takes as long as some hundred steps of a small network.
        """
        given = Workspaces(self._likeness(), self._spare)
        self._spare = {}
        self.release(0)
        return given

    def take_workspaces(self, given: Workspaces) -> None:
        """Use them where they are as they would be made here."""
        if given.likeness == self._likeness():
            self._spare = given.spare

    def _likeness(self) -> tuple[object, ...]:
        """All that a workspace depends on, but for its batch size and number of threads."""
        return replace(self.spec, seed=0), tuple(self.activation_codes)

    def compile(self) -> None:
        """Make the kernels ready: seconds for an element type that was never used before."""
        ensure_usable(self.dtype)

    def release(self, kept_bytes: int = KEPT_BYTES) -> None:
        """Give large workspaces back, such as those of a fit with all rows in one minibatch."""
        for use, workspace in list(self._spare.items()):
            if workspace.n_bytes > kept_bytes:
                self._spare.pop(use, None)
        self._spare_few = [few for few in self._spare_few if few.n_bytes <= kept_bytes]
        if self._grads is not None and self._grads.nbytes > kept_bytes:
            self._grads = None

    def _run(
        self,
        workspace: Workspace,
        program: Program,
        flops: int,
        deadline_s: float | None = None,
        on_poll: Callable[[], None] | None = None,
        interrupted: Callable[[], bool] = never,
    ) -> str:
        self.compile()
        n_threads = int(program.job[Job.N_THREADS])
        start = start_of(program, workspace)
        if n_threads == 1 and flops < FLOPS_WITHOUT_THREADS:
            start(0)
            return "done"

        def stop() -> None:
            program.sync[Sync.STOP] = 1

        return run_crew(start, n_threads, stop, deadline_s, on_poll, interrupted)

    def train(self, job: TrainJob) -> TrainResult:
        """Epochs of minibatch steps in one compiled call; see `TrainJob` and `TrainResult`."""
        data, n_rows, n_epochs = job.data, job.n_rows, job.n_epochs
        batch_size, n_steps = job.minibatch_rows, job.epoch_steps
        with self._workspace("train", batch_size, 3, n_rows * n_epochs) as workspace:
            self.n_threads_used = workspace.plan.n_threads
            evaluation = self._evaluation(job, workspace.plan.n_threads)
            program = make_program(
                workspace, self, structs.KIND_TRAIN, data, params=self.params,
                grads=self._stored_gradient(batch_size), training=job,
            )  # fmt: skip
            sync = program.sync

            def report() -> None:
                # From one word: epoch and step are then of the same moment.
                loss_sum, weight_sum = program.seen[:2]
                job.report(int(sync[Sync.STEP]), loss_sum, weight_sum)

            flops = self._flops(n_rows * n_epochs, 3) + n_steps * n_epochs * self._update_flops()
            if evaluation is not None:
                evaluation.join(program)
                flops += self._flops(evaluation.outputs.shape[1] * n_epochs, 1)
            windows = Windows(
                data.X, batch_size, job.shuffle, self.spec.seed, job.first_epoch, n_epochs
            )
            # Rows of a choice may lie anywhere.
            mapped = () if data.chosen is not None else (data.X, data.targets, data.weights)
            try:
                with reading_ahead(mapped, windows, lambda: int(sync[Sync.STEP]) + job.first_step):
                    outcome = self._run(
                        workspace, program, flops, job.deadline_s, report, job.interrupted
                    )
            finally:
                self._version += 1
                if evaluation is not None:
                    self._spare["validate"] = evaluation.workspace
            result = self._train_result(program, outcome, job)
            if job.validation is None:
                return result
            return replace(result, validated=validated(self, program, job.validation, evaluation))

    def most_validated(self, data: Dataset | None) -> int:
        """Epochs of one call that `TrainJob.validation` may have; `data`: what it evaluates."""
        return _ANY_EPOCHS if data is None else most_epochs(self, data)

    def _evaluation(self, job: TrainJob, n_threads: int) -> Evaluation | None:
        data = None if job.validation is None else job.validation.data
        if data is None:
            return None
        workspace = self._taken("validate", min(data.n_rows, CHUNK_ROWS), n_threads)
        return Evaluation(workspace, self, data, job.n_epochs)

    def _stored_gradient(self, batch_size: int) -> np.ndarray | None:
        """Where dW is kept before an update. Clipping by the global norm and orthogonal steps need
        all of it first; where its sums take long, they can be left as long as no weight has moved.
        """
        is_long = batch_size >= LEAVING_ROWS and (
            self._flops(batch_size, 1) >= LEAVING_FLOPS * self.n_threads_used
        )
        if not (is_long or self.options.clip_norm or self._orthogonalises):
            self._grads = None
        elif self._grads is None:
            self._grads = aligned_zeros(self.plan.n_elems, self.dtype)
        return self._grads

    def _train_result(self, program: Program, outcome: str, job: TrainJob) -> TrainResult:
        sync = program.sync
        self.n_steps_alone = int(sync[Sync.N_ALONE])
        status, done = int(sync[Sync.STATUS]), int(sync[Sync.STEP])
        n_updates = done - (status in (structs.STATUS_BAD_LOSS, structs.STATUS_ABORTED))
        self.n_updates += n_updates
        if n_updates:
            self.last_rate = float(program.learning_rates[n_updates - 1])
        n_epochs_done = int(sync[Sync.EPOCH])
        seen = done - (status == structs.STATUS_ABORTED)
        begun = min(job.n_epochs, -(-(job.first_step + seen) // job.epoch_steps))
        bad = status in (structs.STATUS_BAD_LOSS, structs.STATUS_BAD_UPDATE)
        for norms in program.grad_norms[:begun][::-1]:
            if norms.any():
                self._last_grad_norms = norms.copy()
                break
        level = bool(sync[Sync.LEVEL])
        ended = "done" if status == structs.STATUS_DONE else outcome
        return TrainResult(
            status="non_finite" if bad else "plateau" if level else ended,
            n_epochs_done=n_epochs_done,
            n_steps_done=n_updates,
            loss=program.losses[:begun],
            grad_norm=program.grad_norms[:begun],
            seconds=program.seconds[:begun],
            seen=program.seen.copy(),
            plateau=job.plateau and job.plateau.after(program.losses[:n_epochs_done].tolist()),
            non_finite=self._non_finite(program, done, begun - 1) if bad else None,
        )

    def _non_finite(self, program: Program, step: int, epoch: int) -> NonFinite:
        first, n_layers = Sync.FAULTY_LAYER, len(self.plan.layers)
        faulty = np.flatnonzero(program.sync[first : first + n_layers])
        # A first step with a bad loss has no gradient: the norms known last tell more than zeros.
        return NonFinite(
            step=step,
            epoch=epoch,
            layer=int(faulty[0]) if len(faulty) else None,
            loss=float(program.losses[epoch]),
            weight_norms=self.weight_norms(),
            grad_norms=[float(norm) for norm in self._last_grad_norms],
        )

    def predict(self, X: np.ndarray) -> np.ndarray:
        """Raw outputs z of the last layer, (n, n_out) of the network's dtype."""
        n_rows, n_out = X.shape[0], self.spec.sizes[-1]
        if 0 < n_rows <= self._few_rows:
            return self._predict_few(X)
        outputs = np.empty((n_rows, n_out), self.dtype)
        if n_rows == 0:
            return outputs
        with self._workspace("predict", min(n_rows, CHUNK_ROWS), 1, n_rows) as workspace:
            data, params = Dataset(X), self.folded()
            program = make_program(
                workspace, self, structs.KIND_PREDICT, data, params=params, outputs=outputs
            )
            self._finish(workspace, program, n_rows, 1)
        return outputs

    def _predict_few(self, X: np.ndarray) -> np.ndarray:
        self.compile()
        try:
            # Taken by no other thread meanwhile: a list's pop is atomic.
            few = self._spare_few.pop()
        except IndexError:
            few = FewRows(self, self._few_rows)
        outputs = few.predict(self.folded(), X)
        self._spare_few.append(few)
        return outputs

    def evaluate(self, data: Dataset) -> float:
        """Weighted mean of the row losses, without penalty and dropout."""
        n_rows = len(data.X)
        with self._workspace("predict", min(n_rows, CHUNK_ROWS), 1, n_rows) as workspace:
            program = make_program(
                workspace, self, structs.KIND_EVALUATE, data, params=self.folded()
            )
            self._finish(workspace, program, n_rows, 1)
        return float(program.losses[0])

    def evaluate_rows(self, data: Dataset, wants_outputs: bool) -> tuple[float, np.ndarray]:
        """`evaluate`, and where they are wanted the outputs of `predict`, else none of them."""
        loss = self.evaluate(data)
        return loss, self.predict(data.X if wants_outputs else data.X[:0])

    def _finish(self, workspace: Workspace, program: Program, n_rows: int, products: int) -> None:
        """Run a job over so many rows to its end; Ctrl-C ends it and is raised."""
        if self._run(workspace, program, self._flops(n_rows, products)) == "interrupted":
            raise KeyboardInterrupt

    def loss_and_gradients(self, data: Dataset) -> tuple[float, list[np.ndarray], list[np.ndarray]]:
        """Mean loss plus penalty over all rows, and its gradients (in, out) and (out,)."""
        loss, gradients = self.loss_and_all_gradients(data)
        return loss, gradients.weights, gradients.biases

    def loss_and_all_gradients(
        self, data: Dataset, conventions: Conventions = FASTMLP
    ) -> tuple[float, Parameters]:
        """Mean loss plus penalty over all rows, and its gradients.

        Batch normalisation takes the statistics of these rows, as a training step does of its
        minibatch: then all of them are one.
        """
        n_rows = data.n_rows
        batch_size = n_rows if self.plan.meets else min(n_rows, CHUNK_ROWS)
        grads = aligned_zeros(self.plan.n_elems, self.dtype)
        with self._workspace("gradients", batch_size, 3, n_rows) as workspace:
            program = make_program(
                workspace, self, structs.KIND_GRADIENTS, data, params=self._used(), grads=grads
            )
            windows = Windows(data.X, batch_size)
            mapped = () if data.chosen is not None else (data.X, data.targets, data.weights)
            with reading_ahead(mapped, windows, lambda: int(program.sync[Sync.STEP])):
                self._finish(workspace, program, n_rows, 3)
        loss = float(program.losses[0])
        return self._with_penalty(grads, loss, data.weight_sum, conventions)

    def trace(self, X: np.ndarray) -> list[np.ndarray]:
        """Activations of every layer for these rows, input first, the raw output z last."""
        n_rows = X.shape[0]
        workspace = Workspace(self, n_rows, 1, folds=True)
        outputs = np.empty((n_rows, self.spec.sizes[-1]), self.dtype)
        program = make_program(
            workspace, self, structs.KIND_PREDICT, Dataset(X), params=self.folded(),
            outputs=outputs, copies_rows=True,
        )  # fmt: skip
        self.compile()
        start_of(program, workspace)(0)
        plan, sizes = workspace.plan, self.spec.layer_sizes
        return [
            workspace.work[at : at + n_rows * ld].reshape(n_rows, ld)[:, :size].copy()
            for at, ld, size in zip(plan.activations, plan.leading, sizes, strict=True)
        ]
