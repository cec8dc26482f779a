"""Launches of Muon's update of a matrix: kernels/cuda/muon.py."""

from __future__ import annotations

from functools import partial

from fastmlp.engine.cuda.plan import n_blocks
from fastmlp.engine.cuda.workspace import CudaWorkspace
from fastmlp.kernels.cuda import gemm, muon
from fastmlp.kernels.cuda.gemm import ACROSS, ALONG
from fastmlp.kernels.cuda.jit import THREADS
from fastmlp.kernels.cuda.launch import Launch
from fastmlp.kernels.cuda.tile import tile_for
from fastmlp.kernels.structs import Float
from fastmlp.layout.parameters import LayerPlan

# What the launches of a step hold of the rule's numbers; kernels read the others from memory.
NUMBERS_HELD = ("n_iterations", "matches_adam")


def orthogonal_step(workspace: CudaWorkspace, i: int, layer: LayerPlan) -> list[Launch]:
    """Muon's update of a matrix, from its stored gradient."""
    T, net, n = workspace.T, workspace.net, layer.in_pad * layer.out_pad
    rows, columns = layer.in_pad, layer.out_pad
    y, after, gram, polynomial = (workspace.at(at) for at in workspace.plan.muon)
    grid = (n_blocks(n, muon.BLOCK_ELEMS),)
    squares = workspace.muon_squares
    at = layer.weight
    begin = (
        net.state[at:],
        workspace.grads[at:],
        squares,
        workspace.clock,
        workspace.numbers,
        workspace.floats,
        n,
        i,
    )
    launches = [Launch(muon.momentum(T), grid, THREADS, begin)]
    scaled = (y, workspace.grads[at:], squares, workspace.clock, workspace.floats, n, grid[0])
    launches.append(Launch(muon.scale_to_norm(T), grid, THREADS, scaled))
    on_right = layer.n_out <= layer.n_in  # the smaller side is that of the columns
    k, k_true = (columns, layer.n_out) if on_right else (rows, layer.n_in)
    small = tile_for(k, k, max(rows, columns), workspace.itemsize)
    large = tile_for(rows, columns, k, workspace.itemsize)

    def product(out, a, b, m, n, inner, lds, order, tile):
        arguments = (out, a, b, workspace.clock, m, n, inner, *lds)
        kernel = gemm.product(T, tile, *order)
        return Launch(kernel, workspace.grid(tile, m, n), tile.n_threads, arguments)

    of_gram = partial(product, gram, tile=small)
    for _ in range(int(workspace.floats_host[Float.N_ITERATIONS])):
        if on_right:
            launches.append(of_gram(y, y, k, k, rows, (k, k, k), (ACROSS, ACROSS)))
        else:
            lds = (k, columns, columns)
            launches.append(of_gram(y, y, k, k, columns, lds, (ALONG, ALONG)))
        square = (polynomial, gram, gram, k, k, k, (k, k, k), (ALONG, ACROSS), small)
        launches.append(product(*square))
        blocks = (n_blocks(k * k, muon.BLOCK_ELEMS),)
        combined = (polynomial, gram, workspace.clock, k, k, k_true)
        launches.append(Launch(muon.combine(T), blocks, THREADS, combined))
        first, second = (y, polynomial) if on_right else (polynomial, y)
        lds = (columns, columns, k) if on_right else (columns, k, columns)
        order = (ALONG, ACROSS)
        launches.append(product(after, first, second, rows, columns, k, lds, order, large))
        y, after = after, y
    factor = max(1.0, layer.n_out / layer.n_in) ** 0.5
    if workspace.floats_host[Float.MATCHES_ADAM] != 0.0:
        factor = 0.2 * float(max(layer.n_in, layer.n_out)) ** 0.5
    moved = (
        workspace.param(at),
        net.average[at:],
        y,
        workspace.clock,
        workspace.numbers,
        workspace.floats,
        workspace.job,
        n,
        i,
        factor,
    )
    return [*launches, Launch(muon.step(T), grid, THREADS, moved)]
