"""The launches of a step, of a prediction, of gradients: a list for a network and a batch size."""

from __future__ import annotations

from typing import Any
from weakref import WeakKeyDictionary

from fastmlp.engine.cuda.muon import orthogonal_step
from fastmlp.engine.cuda.norms import between_backward, between_forward, update_running
from fastmlp.engine.cuda.plan import n_blocks
from fastmlp.engine.cuda.workspace import CudaWorkspace, OnDevice, Tables
from fastmlp.engine.descriptions import keep_threshold
from fastmlp.kernels.cuda import embedding, gather, gemm, losses, steps, updates
from fastmlp.kernels.cuda.jit import THREADS
from fastmlp.kernels.cuda.last import MOST_BLOCKS
from fastmlp.kernels.cuda.launch import Launch, Steps
from fastmlp.kernels.cuda.tile import tile_for
from fastmlp.layout.parameters import LayerPlan, round_up
from fastmlp.names import RULES


class CudaProgram(CudaWorkspace):
    """The lists of launches over the arrays of a workspace, and what they read of a table."""

    def __init__(
        self, net: OnDevice, tables: Tables, batch_size: int, kind: str, rule: str
    ) -> None:
        """`kind`: as for CudaPlan; `rule`: of the updates."""
        super().__init__(net, batch_size, kind)
        self.tables, self.rule = tables, rule
        self.steps: Steps | None = None
        # Of a job that trains nothing, for the tables it had: gone when these are.
        self._of_tables: WeakKeyDictionary[Tables, Steps] = WeakKeyDictionary()

    # ---- pieces of a step --------------------------------------------------------------------

    def gather(self) -> list[Launch]:
        """The minibatch's rows from the table into the first layer's input."""
        net, first, spec = self.net, self.net.plan.layers[0], self.net.spec
        drops = self.trains and spec.input_dropout > 0.0
        group = gather.group_for(first.in_pad, self.lanes)
        kernel = gather.gather(self.T, drops, bool(net.plan.embeddings), group)
        arguments = (
            self.rows, self.act(0), self.tables.X, net.params, self.embeddings,
            self.plain_columns, self.clock, self.job, self.floats, first.in_pad, first.n_in,
            *self.tables.steps, net.plan.n_embedded, keep_threshold(spec.input_dropout),
        )  # fmt: skip
        grid = (n_blocks(self.batch_size, THREADS // group),)
        return [Launch(kernel, grid, THREADS, arguments)]

    def forward(self) -> list[Launch]:
        """All layers; f'(Z) is kept where a backward pass follows."""
        launches: list[Launch] = []
        for i, layer in enumerate(self.net.plan.layers):
            launches += self._forward_layer(i, layer)
        return launches

    def _forward_layer(self, i: int, layer: LayerPlan) -> list[Launch]:
        spec, hidden = self.net.spec, i < self.n_layers - 1
        rate = spec.dropout[i] if hidden and self.trains else 0.0
        normed, adds = not layer.kind.is_plain, hidden and spec.residual[i]
        tile = tile_for(self.batch_size, layer.out_pad, layer.in_pad, self.itemsize)
        plain = hidden and not normed
        keeps = plain and self.slope(i) == "stored"
        kernel = gemm.forward(
            self.T, tile, self.net.activations[i] if plain else None, keeps,
            plain and rate > 0.0, plain and adds,
        )  # fmt: skip
        # The bias of a layer that is not plain is added by what stands behind the product.
        bias = self.zeros if normed else self.param(layer.bias)
        out = self.at(self.plan.normed[i]) if normed else self.act(i + 1)
        arguments = (
            out, self.dz(i), self.act(i), self.param(layer.weight), bias, self.clock, self.job,
            self.floats, layer.in_pad, layer.out_pad, layer.n_out, i, keep_threshold(rate),
        )  # fmt: skip
        grid = self.grid(tile, self.batch_size, layer.out_pad)
        launches = [Launch(kernel, grid, tile.n_threads, arguments)]
        return launches + between_forward(self, i, layer, rate, adds) if normed else launches

    def loss(self) -> list[Launch]:
        """Row losses, dZ of the last layer, and what a step or the caller makes of their sums."""
        tables, last = self.tables, self.net.plan.layers[-1]
        few = self.n_loss_blocks <= MOST_BLOCKS
        finish = "weigh" if self.trains else "add_losses"
        kernel = losses.loss(self.T, self.net.loss, self.loss_lanes, finish if few else "")
        # Evaluating needs no dZ, but a place for it: the kernel keeps numbers there.
        dz = self.dz(self.n_layers - 1) if self.kind != "predict" else self.spare_dz
        arguments: tuple[Any, ...] = (
            dz, self.partial_losses, self.history, self.clock, self.numbers,
            self.act(self.n_layers), self.rows, tables.labels, tables.targets, tables.weights,
            self.net.loss_parameters, self.job, self.floats, self.rates, last.out_pad, last.n_out,
            tables.n_targets, tables.has_labels, tables.has_weights,
        )  # fmt: skip
        launches = [Launch(kernel, (self.n_loss_blocks,), THREADS, arguments)]
        if not few:
            arguments = (
                self.history, self.clock, self.numbers, self.partial_losses, self.job, self.floats,
                self.rates, self.n_loss_blocks,
            )  # fmt: skip
            launches.append(Launch(getattr(steps, finish), (1,), THREADS, arguments))
        return launches

    def backward(self) -> list[Launch]:
        """dZ of every layer, from the last to the first."""
        launches: list[Launch] = []
        layers, plan, spec = self.net.plan.layers, self.plan, self.net.spec
        for i in range(self.n_layers - 1, -1, -1):
            layer = layers[i]
            if not layer.kind.is_plain:
                launches += between_backward(self, i, layer)
            columns = layer.in_pad if i else round_up(self.net.plan.n_embedded, self.lanes)
            if not columns:
                continue
            keeps, adds = plan.da[i] >= 0, i < self.n_layers - 1 and spec.residual[i]
            tile = tile_for(self.batch_size, columns, layer.out_pad, self.itemsize)
            kernel = gemm.backward(self.T, tile, keeps, adds, self.slope(i - 1) if i else "")
            rate = spec.dropout[i - 1] if i and self.trains else 0.0
            arguments = (
                self.dz(i - 1) if i else self.work, self.at(plan.da[i]),
                self.at(plan.da[i + 1] if adds else 0), self.act(i), self.dz(i),
                self.param(layer.weight), self.clock, 1.0 / (1.0 - rate), layer.out_pad,
                layer.in_pad, columns,
            )  # fmt: skip
            grid = self.grid(tile, self.batch_size, columns)
            launches.append(Launch(kernel, grid, tile.n_threads, arguments))
        return launches

    def gradients(self) -> list[Launch]:
        """Partial gradients of all parameters."""
        launches, net = [], self.net
        arguments: tuple[Any, ...]
        for i, (layer, g) in enumerate(zip(net.plan.layers, self.plan.gradients, strict=True)):
            kernel = gemm.gradient(self.T, g.tile, layer.kind.is_plain)
            n_weights = layer.in_pad * layer.out_pad
            arguments = (
                self.at(g.at), self.at(g.at + n_weights), self.act(i), self.dz(i), self.clock,
                layer.in_pad, layer.out_pad, g.run, g.stride,
            )  # fmt: skip
            grid = self.grid(g.tile, layer.in_pad, layer.out_pad, g.n_parts)
            launches.append(Launch(kernel, grid, g.tile.n_threads, arguments))
        drops = self.trains and net.spec.input_dropout > 0.0
        threshold, ld = keep_threshold(net.spec.input_dropout), net.plan.layers[0].in_pad
        for table, at in zip(net.plan.embeddings, self.plan.tables, strict=True):
            n = table.n_categories * table.width
            arguments = (
                self.work, self.at(self.plan.da[0]), self.tables.X, self.rows, self.clock,
                self.job, self.floats, at, n, table.width, table.position, table.column, ld,
                *self.tables.steps, threshold,
            )  # fmt: skip
            kernel = embedding.embedding_gradient(self.T, drops)
            launches.append(Launch(kernel, (n_blocks(n, THREADS),), THREADS, arguments))
        return launches

    def updates(self, *, stores: bool, max_norm: bool) -> list[Launch]:
        """New parameters, and the end of the step; `stores`: the gradient first, as clipping by
        the global norm needs."""
        net, grid, launches = self.net, (self.n_segments,), []
        arguments: tuple[Any, ...]
        if stores:
            arguments = (
                self.grads, self.squares, net.params, self.work, self.segments, self.clock,
                self.numbers, self.floats,
            )  # fmt: skip
            launches.append(Launch(updates.store_gradients(self.T), grid, THREADS, arguments))
            clip = (self.numbers, self.squares, self.clock, self.floats, self.n_segments)
            launches.append(Launch(updates.clip_by_norm, (1,), THREADS, clip))
        # Orthogonal steps move what `update` leaves alone, and running statistics wait for nothing
        # of it: before it, as it ends the step.
        if RULES[self.rule].orthogonalises:
            for i, layer in enumerate(net.plan.layers[:-1]):
                launches += orthogonal_step(self, i, layer)
        launches += update_running(self)
        source = self.grads if stores else self.work
        arguments = (
            net.params, net.state, net.average, self.squares, self.history, self.clock,
            self.numbers, source, self.segments, self.ranges, self.floats, self.job, stores,
        )  # fmt: skip
        ends = not max_norm and self.n_segments <= MOST_BLOCKS
        launches.append(Launch(updates.update(self.T, self.rule, ends), grid, THREADS, arguments))
        if ends:
            return launches
        kernel = updates.constrain_columns(self.T)
        for i, layer in enumerate(net.plan.layers if max_norm else ()):
            arguments = (
                self.param(layer.weight), net.average[layer.weight :], self.clock, self.floats,
                self.job, layer.n_in, layer.out_pad, i,
            )  # fmt: skip
            columns = (n_blocks(layer.out_pad, THREADS),)
            launches.append(Launch(kernel, columns, THREADS, arguments))
        arguments = (
            self.history, self.clock, self.numbers, self.squares, self.ranges, self.job,
            self.floats, self.n_segments,
        )  # fmt: skip
        return [*launches, Launch(steps.advance, (1,), THREADS, arguments)]

    # ---- whole steps -------------------------------------------------------------------------

    def train_steps(self, *, stores: bool, max_norm: bool) -> Steps:
        """The launches of a training step, for jobs that give their arrays to `prepare` first."""
        launches = [
            *self.gather(), *self.forward(), *self.loss(), *self.backward(), *self.gradients(),
            *self.updates(stores=stores, max_norm=max_norm),
        ]  # fmt: skip
        return Steps(self.net.gpu, launches)

    def begin(self) -> Launch:
        return Launch(steps.begin, (1,), 1, (self.clock, self.numbers, self.job, self.floats))

    def record_now(self) -> Launch:
        """The record of an epoch that is left between two steps."""
        return Launch(steps.record_now, (1,), 1, (self.history, self.clock, self.numbers))

    def block(self) -> Steps:
        """The launches of the next block of rows, of a job that trains nothing."""
        if self.tables not in self._of_tables:
            launches = [Launch(steps.next_rows, (1,), 1, (self.clock, self.job))]
            launches += [*self.gather(), *self.forward()]
            if self.net.loss is not None:
                launches += self.loss()
            if self.kind == "gradients":
                launches += [*self.backward(), *self.gradients(), self.add_gradients()]
            self._of_tables[self.tables] = Steps(self.net.gpu, launches)
        return self._of_tables[self.tables]

    def add_gradients(self) -> Launch:
        kernel = updates.add_gradients(self.T)
        return Launch(kernel, (self.n_segments,), THREADS, (self.grads, self.work, self.segments))
