"""Launches of normalised layers, both ways: kernels/cuda/norms.py."""

from __future__ import annotations

from fastmlp.engine.cuda.plan import n_blocks
from fastmlp.engine.cuda.workspace import CudaWorkspace
from fastmlp.engine.descriptions import keep_threshold
from fastmlp.kernels.cuda import losses, norms
from fastmlp.kernels.cuda.jit import THREADS
from fastmlp.kernels.cuda.launch import Launch
from fastmlp.layout.parameters import LayerPlan


def normalise(
    workspace: CudaWorkspace, i: int, layer: LayerPlan, rate: float, adds: bool
) -> list[Launch]:
    """From Z of layer `i` to its output; `rate`: of its dropout, `adds`: whether it is residual."""
    T, ld, net = workspace.T, layer.out_pad, workspace.net
    keeps = workspace.slope(i) == "stored"
    how = (T, net.activations[i], keeps, rate > 0.0, adds)
    statistics = workspace.at(workspace.plan.statistics[i])
    before = (
        workspace.act(i + 1),
        workspace.dz(i),
        workspace.at(workspace.plan.normed[i]),
        statistics,
    )
    after = (
        workspace.act(i),
        workspace.param(layer.scale),
        workspace.param(layer.bias),
        workspace.clock,
        workspace.job,
        workspace.floats,
        ld,
        layer.n_out,
        i,
        keep_threshold(rate),
    )
    if layer.norm != "batch":
        lanes = losses.lanes_for("", layer.n_out)
        kernel = norms.normalise_rows(*how, layer.norm == "layer", lanes)
        grid = (n_blocks(workspace.batch_size, THREADS // lanes),)
        return [Launch(kernel, grid, THREADS, before + after)]
    columns, moments = (n_blocks(ld, THREADS),), workspace.at(workspace.plan.statistics[i] + 3 * ld)
    launches = []
    if workspace.kind == "predict":
        running = net.running[net.running_offsets[i] :]
        kernel = norms.running_statistics(T)
        launches.append(Launch(kernel, columns, THREADS, (statistics, running, ld)))
    else:
        z, by_chunk = workspace.at(workspace.plan.normed[i]), workspace.columns_grid(ld)
        arguments = (moments, z, workspace.clock, ld)
        launches.append(Launch(norms.column_moments(T), by_chunk, THREADS, arguments))
        merged = (statistics, moments, workspace.clock, ld)
        launches.append(Launch(norms.merge_moments(T), columns, THREADS, merged))
    kernel = norms.normalise_columns(*how)
    return [*launches, Launch(kernel, workspace.elements_grid(ld), THREADS, before + after)]


def normalise_backward(workspace: CudaWorkspace, i: int, layer: LayerPlan) -> list[Launch]:
    """From dN of layer `i` to dZ, and the sums that its scale and bias take."""
    T, ld, plan = workspace.T, layer.out_pad, workspace.plan
    dz, normed = workspace.dz(i), workspace.at(plan.normed[i])
    sums, statistics = workspace.at(plan.sums[i]), workspace.at(plan.statistics[i])
    scale, grid, columns = (
        workspace.param(layer.scale),
        workspace.columns_grid(ld),
        (n_blocks(ld, THREADS),),
    )
    launches = [
        Launch(norms.column_sums(T), grid, THREADS, (sums, dz, normed, workspace.clock, ld))
    ]
    if layer.norm != "batch":
        lanes = losses.lanes_for("", layer.n_out)
        kernel = norms.rows_backward(T, layer.norm == "layer", lanes)
        arguments = (dz, normed, statistics, scale, workspace.clock, ld, layer.n_out)
        grid = (n_blocks(workspace.batch_size, THREADS // lanes), 1)
        return [*launches, Launch(kernel, grid, THREADS, arguments)]
    means = workspace.at(plan.means[i])
    merged = (means, sums, workspace.clock, ld)
    launches.append(Launch(norms.merge_sums(T), columns, THREADS, merged))
    back = (dz, normed, statistics, means, scale, workspace.clock, ld)
    return [
        *launches,
        Launch(norms.columns_backward(T), workspace.elements_grid(ld), THREADS, back),
    ]


def update_running(workspace: CudaWorkspace) -> list[Launch]:
    """Of layers with batch normalisation: a step's statistics into the running ones."""
    net, kernel, launches = workspace.net, norms.update_running(workspace.T), []
    for i, layer in enumerate(net.plan.layers):
        if layer.norm == "batch":
            running = net.running[net.running_offsets[i] :]
            statistics = workspace.at(workspace.plan.statistics[i])
            arguments = (running, statistics, workspace.clock, layer.out_pad, i)
            grid = (n_blocks(layer.out_pad, THREADS),)
            launches.append(Launch(kernel, grid, THREADS, arguments))
    return launches
