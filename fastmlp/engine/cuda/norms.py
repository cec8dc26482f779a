"""Launches of normalised layers, both ways: kernels/cuda/norms.py."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fastmlp.engine.cuda.plan import n_blocks
from fastmlp.engine.descriptions import keep_threshold
from fastmlp.kernels.cuda import losses, norms
from fastmlp.kernels.cuda.jit import THREADS
from fastmlp.kernels.cuda.launch import Launch
from fastmlp.layout.parameters import LayerPlan

if TYPE_CHECKING:
    from fastmlp.engine.cuda.program import CudaProgram


def normalise(
    program: CudaProgram, i: int, layer: LayerPlan, rate: float, adds: bool
) -> list[Launch]:
    """From Z of layer `i` to its output; `rate`: of its dropout, `adds`: whether it is residual."""
    T, ld, net = program.T, layer.out_pad, program.net
    keeps = program.slope(i) == "stored"
    how = (T, net.activations[i], keeps, rate > 0.0, adds)
    statistics = program.at(program.plan.statistics[i])
    before = (program.act(i + 1), program.dz(i), program.at(program.plan.normed[i]), statistics)
    after = (
        program.act(i),
        program.param(layer.scale),
        program.param(layer.bias),
        program.clock,
        program.job,
        program.floats,
        ld,
        layer.n_out,
        i,
        keep_threshold(rate),
    )
    if layer.norm != "batch":
        lanes = losses.lanes_for("", layer.n_out)
        kernel = norms.normalise_rows(*how, layer.norm == "layer", lanes)
        grid = (n_blocks(program.batch_size, THREADS // lanes),)
        return [Launch(kernel, grid, THREADS, before + after)]
    columns, moments = (n_blocks(ld, THREADS),), program.at(program.plan.statistics[i] + 3 * ld)
    launches = []
    if program.kind == "predict":
        running = net.running[net.running_offsets[i] :]
        kernel = norms.running_statistics(T)
        launches.append(Launch(kernel, columns, THREADS, (statistics, running, ld)))
    else:
        z, by_chunk = program.at(program.plan.normed[i]), program.columns_grid(ld)
        arguments = (moments, z, program.clock, ld)
        launches.append(Launch(norms.column_moments(T), by_chunk, THREADS, arguments))
        merged = (statistics, moments, program.clock, ld)
        launches.append(Launch(norms.merge_moments(T), columns, THREADS, merged))
    kernel = norms.normalise_columns(*how)
    return [*launches, Launch(kernel, program.elements_grid(ld), THREADS, before + after)]


def normalise_backward(program: CudaProgram, i: int, layer: LayerPlan) -> list[Launch]:
    """From dN of layer `i` to dZ, and the sums that its scale and bias take."""
    T, ld, plan = program.T, layer.out_pad, program.plan
    dz, normed = program.dz(i), program.at(plan.normed[i])
    sums, statistics = program.at(plan.sums[i]), program.at(plan.statistics[i])
    scale, grid, columns = (
        program.param(layer.scale),
        program.columns_grid(ld),
        (n_blocks(ld, THREADS),),
    )
    launches = [Launch(norms.column_sums(T), grid, THREADS, (sums, dz, normed, program.clock, ld))]
    if layer.norm != "batch":
        lanes = losses.lanes_for("", layer.n_out)
        kernel = norms.rows_backward(T, layer.norm == "layer", lanes)
        arguments = (dz, normed, statistics, scale, program.clock, ld, layer.n_out)
        grid = (n_blocks(program.batch_size, THREADS // lanes), 1)
        return [*launches, Launch(kernel, grid, THREADS, arguments)]
    means = program.at(plan.means[i])
    merged = (means, sums, program.clock, ld)
    launches.append(Launch(norms.merge_sums(T), columns, THREADS, merged))
    back = (dz, normed, statistics, means, scale, program.clock, ld)
    return [*launches, Launch(norms.columns_backward(T), program.elements_grid(ld), THREADS, back)]


def update_running(program: CudaProgram) -> list[Launch]:
    """Of layers with batch normalisation: a step's statistics into the running ones."""
    net, kernel, launches = program.net, norms.update_running(program.T), []
    for i, layer in enumerate(net.plan.layers):
        if layer.norm == "batch":
            running = net.running[net.running_offsets[i] :]
            statistics = program.at(program.plan.statistics[i])
            arguments = (running, statistics, program.clock, layer.out_pad, i)
            grid = (n_blocks(layer.out_pad, THREADS),)
            launches.append(Launch(kernel, grid, THREADS, arguments))
    return launches
