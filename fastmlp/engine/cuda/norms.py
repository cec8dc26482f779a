"""Launches of what stands between a layer's sums and its activation, both ways, for each kind of
kernels/layer_kinds.py: the kernels of kernels/cuda/norms.py."""

from __future__ import annotations

from functools import partial
from typing import Any

from fastmlp.engine.cuda.plan import n_blocks
from fastmlp.engine.cuda.workspace import CudaWorkspace
from fastmlp.engine.descriptions import keep_threshold
from fastmlp.kernels.codes import NORMS, check_names
from fastmlp.kernels.cuda import losses, norms
from fastmlp.kernels.cuda.jit import THREADS
from fastmlp.kernels.cuda.launch import Launch
from fastmlp.layout.parameters import LayerPlan


def between_forward(
    workspace: CudaWorkspace, i: int, layer: LayerPlan, rate: float, adds: bool
) -> list[Launch]:
    """From Z of layer `i`, which is not plain, to its output; `rate`: of its dropout, `adds`:
    whether it is residual."""
    keeps = workspace.slope(i) == "stored"
    how = (workspace.T, workspace.net.activations[i], keeps, rate > 0.0, adds)
    before = (
        workspace.act(i + 1), workspace.dz(i), workspace.at(workspace.plan.normed[i]),
        workspace.at(workspace.plan.statistics[i]),
    )  # fmt: skip
    after = (
        workspace.act(i), workspace.param(layer.scale), workspace.param(layer.bias),
        workspace.clock, workspace.job, workspace.floats, layer.out_pad, layer.n_out, i,
        keep_threshold(rate),
    )  # fmt: skip
    return TABLE[layer.norm][0](workspace, i, layer, how, before + after)


def between_backward(workspace: CudaWorkspace, i: int, layer: LayerPlan) -> list[Launch]:
    """From dN of layer `i` to dZ, and the sums that its vectors take."""
    return TABLE[layer.norm][1](workspace, i, layer)


def _each_row(
    workspace: CudaWorkspace, i: int, layer: LayerPlan, how: Any, arguments: Any, *, centres: bool
) -> list[Launch]:
    lanes = losses.lanes_for("", layer.n_out)
    kernel = norms.normalise_rows(*how, centres, lanes)
    grid = (n_blocks(workspace.batch_size, THREADS // lanes),)
    return [Launch(kernel, grid, THREADS, arguments)]


def _all_rows(
    workspace: CudaWorkspace, i: int, layer: LayerPlan, how: Any, arguments: Any
) -> list[Launch]:
    T, ld, net, plan = workspace.T, layer.out_pad, workspace.net, workspace.plan
    statistics, moments = (workspace.at(plan.statistics[i] + rows * ld) for rows in (0, 3))
    columns, launches = (n_blocks(ld, THREADS),), []
    if workspace.kind == "predict":
        running = net.running[net.running_offsets[i] :]
        kernel = norms.running_statistics(T)
        launches.append(Launch(kernel, columns, THREADS, (statistics, running, ld)))
    else:
        z, by_chunk = workspace.at(plan.normed[i]), workspace.columns_grid(ld)
        chunks = (moments, z, workspace.clock, ld)
        launches.append(Launch(norms.column_moments(T), by_chunk, THREADS, chunks))
        merged = (statistics, moments, workspace.clock, ld)
        launches.append(Launch(norms.merge_moments(T), columns, THREADS, merged))
    kernel = norms.normalise_columns(*how)
    return [*launches, Launch(kernel, workspace.elements_grid(ld), THREADS, arguments)]


def scale_sums(workspace: CudaWorkspace, i: int, layer: LayerPlan) -> Launch:
    """Sums over chunks of rows of dN, and of dN times what the scale is multiplied by."""
    plan, ld = workspace.plan, layer.out_pad
    arguments = (
        workspace.at(plan.sums[i]), workspace.dz(i), workspace.at(plan.normed[i]), workspace.clock,
        ld,
    )  # fmt: skip
    kernel = norms.column_sums(workspace.T)
    return Launch(kernel, workspace.columns_grid(ld), THREADS, arguments)


def _each_row_backward(
    workspace: CudaWorkspace, i: int, layer: LayerPlan, *, centres: bool
) -> list[Launch]:
    lanes = losses.lanes_for("", layer.n_out)
    kernel = norms.rows_backward(workspace.T, centres, lanes)
    arguments = (
        workspace.dz(i), workspace.at(workspace.plan.normed[i]),
        workspace.at(workspace.plan.statistics[i]), workspace.param(layer.scale), workspace.clock,
        layer.out_pad, layer.n_out,
    )  # fmt: skip
    grid = (n_blocks(workspace.batch_size, THREADS // lanes), 1)
    return [scale_sums(workspace, i, layer), Launch(kernel, grid, THREADS, arguments)]


def _all_rows_backward(workspace: CudaWorkspace, i: int, layer: LayerPlan) -> list[Launch]:
    T, ld, plan, clock = workspace.T, layer.out_pad, workspace.plan, workspace.clock
    means, columns = workspace.at(plan.means[i]), (n_blocks(ld, THREADS),)
    merged = (means, workspace.at(plan.sums[i]), clock, ld)
    back = (
        workspace.dz(i), workspace.at(plan.normed[i]), workspace.at(plan.statistics[i]), means,
        workspace.param(layer.scale), clock, ld,
    )  # fmt: skip
    return [
        scale_sums(workspace, i, layer),
        Launch(norms.merge_sums(T), columns, THREADS, merged),
        Launch(norms.columns_backward(T), workspace.elements_grid(ld), THREADS, back),
    ]


# Forward and backward of each kind that is not plain.
TABLE: dict[str, tuple[Any, Any]] = {
    "layer": (partial(_each_row, centres=True), partial(_each_row_backward, centres=True)),
    "rms": (partial(_each_row, centres=False), partial(_each_row_backward, centres=False)),
    "batch": (_all_rows, _all_rows_backward),
}
check_names("launches of kinds of layers", TABLE, NORMS[1:])


def update_running(workspace: CudaWorkspace) -> list[Launch]:
    """Of layers with running statistics: those of a step into them."""
    net, kernel, launches = workspace.net, norms.update_running(workspace.T), []
    for i, layer in enumerate(net.plan.layers):
        if layer.kind.keeps_running:
            running = net.running[net.running_offsets[i] :]
            statistics = workspace.at(workspace.plan.statistics[i])
            arguments = (running, statistics, workspace.clock, layer.out_pad, i)
            grid = (n_blocks(layer.out_pad, THREADS),)
            launches.append(Launch(kernel, grid, THREADS, arguments))
    return launches
