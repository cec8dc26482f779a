"""What the launches of a job read and write: a network, a table, and arrays of a batch size."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from fastmlp.engine.cuda.plan import CudaPlan, n_blocks
from fastmlp.engine.descriptions import describe_network
from fastmlp.kernels.activations import output_tells_slope
from fastmlp.kernels.cuda import losses, muon, norms
from fastmlp.kernels.cuda.jit import THREADS
from fastmlp.kernels.cuda.launch import Gpu
from fastmlp.kernels.cuda.structs import N_HYPER, Clock, Number, Record
from fastmlp.kernels.cuda.tile import BlockTile
from fastmlp.kernels.structs import Float, Job
from fastmlp.layout.parameters import ParameterPlan
from fastmlp.spec.network import NetworkSpec


@dataclass(eq=False)
class Tables:
    """A data set on the device: X, and the others or an array of one element.

    steps: elements from one row of X to the next, and from one field to the next.
    """

    X: Any
    labels: Any
    targets: Any
    weights: Any
    n_targets: int
    has_labels: bool
    has_weights: bool
    steps: tuple[int, int]


@dataclass
class OnDevice:
    """A network on a device: its description, and its arrays there.

    activations: for each hidden layer a name, or the device function of a user's; loss likewise.
    """

    spec: NetworkSpec
    plan: ParameterPlan
    gpu: Gpu
    activations: tuple[Any, ...]
    loss: Any
    loss_parameters: Any
    params: Any
    state: Any
    average: Any
    running: Any
    running_offsets: list[int]


class CudaWorkspace:
    """Arrays for a batch size and a kind of job, and the pieces of them that launches take."""

    def __init__(self, net: OnDevice, batch_size: int, kind: str) -> None:
        """`kind`: as for CudaPlan, whose `work` is allocated here."""
        spec, gpu = net.spec, net.gpu
        self.net, self.batch_size, self.kind = net, batch_size, kind
        self.T = np.float32 if spec.dtype == "float32" else np.float64
        self.itemsize, self.lanes = np.dtype(self.T).itemsize, net.plan.lanes
        self.plan = CudaPlan.make(spec, net.plan, batch_size, self.itemsize, kind)
        self.n_layers = len(net.plan.layers)
        self.trains = kind in ("train", "orthogonalise")
        self.loss_lanes = losses.lanes_for(net.loss if isinstance(net.loss, str) else "", self._ld)
        self.n_loss_blocks = n_blocks(batch_size, losses.rows_of_block(self.loss_lanes))
        ints, doubles = np.int64, np.float64
        self.work = gpu.empty(self.plan.n_elems, self.T)
        self.rows = gpu.empty(batch_size, ints)
        self.partial_losses = gpu.empty(2 * self.n_loss_blocks, doubles)
        self.clock = gpu.array(np.zeros(Clock.FAULTY_LAYER + self.n_layers, ints))
        self.clock_host = np.zeros(Clock.FAULTY_LAYER + self.n_layers, ints)
        self.numbers_host = np.zeros(Number.PER_LAYER + (N_HYPER + 1) * self.n_layers)
        self.numbers = gpu.array(self.numbers_host)
        self.job_host = np.zeros(Job.N_FIELDS, ints)
        self.job = gpu.array(self.job_host)
        self.floats_host = np.zeros(Float.PER_LAYER + 2 * self.n_layers)
        describe_network(spec, self.floats_host)
        self.floats = gpu.array(self.floats_host)
        self._describe_embeddings()
        self.n_segments = 0
        if kind != "predict":
            table, ranges = self.plan.segments(net.plan)
            self.n_segments = len(table)
            self.segments, self.ranges = gpu.array(table.reshape(-1)), gpu.array(ranges.reshape(-1))
            self.squares = gpu.empty(2 * self.n_segments, doubles)
        self.grads = gpu.empty(net.plan.n_elems if kind == "gradients" else 0, self.T)
        self.rates, self.history = gpu.empty(0, doubles), gpu.empty(0, doubles)
        self.n_rates = self.n_records = 0

    @property
    def _ld(self) -> int:
        return self.net.plan.layers[-1].out_pad

    @property
    def record_elems(self) -> int:
        return Record.N_FIELDS + self.n_layers

    def _describe_embeddings(self) -> None:
        spec, plan, gpu = self.net.spec, self.net.plan, self.net.gpu
        embedded = {table.column for table in plan.embeddings}
        plain = [column for column in range(spec.sizes[0]) if column not in embedded]
        rows = [(e.column, e.width, e.at, e.position) for e in plan.embeddings]
        self.embeddings = gpu.array(np.array(rows or [(0, 0, 0, 0)], np.int64).reshape(-1))
        self.plain_columns = gpu.array(np.array(plain or [0], np.int64))

    # ---- pieces of work ----------------------------------------------------------------------

    def act(self, i: int) -> Any:
        """The input of layer `i`; with i = n_layers the raw outputs."""
        return self.work[self.plan.act[i] :]

    def dz(self, i: int) -> Any:
        """dZ of layer `i`, where f'(Z) stands before it."""
        return self.work[self.plan.dz[i] :] if self.kind != "predict" else self.work

    def at(self, offset: int) -> Any:
        """`work` from an offset of the plan on."""
        return self.work[max(offset, 0) :]

    def grid(self, tile: BlockTile, n_rows: int, n_columns: int, parts: int = 1) -> tuple[int, ...]:
        """Blocks for a product of so many rows and columns, its terms in `parts`."""
        return (n_blocks(n_rows, tile.rows), n_blocks(n_columns, tile.columns), parts)

    def param(self, at: int) -> Any:
        """The network's parameters from an offset of its plan on."""
        return self.net.params[at:]

    def slope(self, i: int) -> str:
        """How the backward pass knows f' of hidden layer `i`: see gemm.backward. What a residual
        layer adds hides the sign of f's value."""
        if self.kind == "predict":
            return ""
        told = output_tells_slope(self.net.spec.activations[i])
        return "by sign" if told and not self.net.spec.residual[i] else "stored"

    @cached_property
    def zeros(self) -> Any:
        """The bias of a layer that adds none to its products: as many as the widest has outputs."""
        widest = max(layer.out_pad for layer in self.net.plan.layers)
        return self.net.gpu.array(np.zeros(widest, self.T))

    def columns_grid(self, ld: int) -> tuple[int, int]:
        """Chunks of rows, which may be many more than a grid's y has, and runs of columns."""
        return (n_blocks(self.batch_size, norms.CHUNK), n_blocks(ld, THREADS))

    def elements_grid(self, ld: int) -> tuple[int, int]:
        """Likewise for kernels that sum nothing."""
        return (n_blocks(self.batch_size, norms.FEW_ROWS), n_blocks(ld, THREADS))

    @cached_property
    def spare_dz(self) -> Any:
        """A place for the last layer's dZ in a job that keeps none."""
        return self.net.gpu.empty(self.batch_size * self._ld, self.T)

    @cached_property
    def muon_squares(self) -> Any:
        """Sums of squares of a matrix, one for each block of its elements."""
        most = max(layer.in_pad * layer.out_pad for layer in self.net.plan.layers)
        return self.net.gpu.empty(n_blocks(most, muon.BLOCK_ELEMS), np.float64)
