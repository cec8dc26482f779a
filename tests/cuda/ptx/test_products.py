"""Matrix products from their PTX, by the tiles of GPUs, beside float64."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from fastmlp.kernels.cuda import gemm
from fastmlp.kernels.cuda.gemm import ACROSS, ALONG
from fastmlp.kernels.cuda.launch import Launch
from fastmlp.kernels.cuda.structs import Clock
from fastmlp.kernels.cuda.tile import OF_GPUS
from fastmlp.kernels.structs import STATUS_DONE, STATUS_RUNNING, Float, Job
from fastmlp.layout.parameters import round_up
from tests.conftest import LONG
from tests.reference import activations as reference_activations
from tests.reference.dropout import keep_mask

from .gpu import PtxGpu

EPS = {4: float(np.finfo("f4").eps), 8: float(np.finfo("f8").eps)}
SEEDS = (None, 1, 2) if LONG else (None, 1)
TILES = [(itemsize, tile) for itemsize, tiles in OF_GPUS.items() for tile in tiles]
each_tile = pytest.mark.parametrize(("itemsize", "tile"), TILES, ids=str)
# What a size is beyond one tile: the smallest rest, an odd one, less than a tile, two tiles.
REACHES = (1, 4, 7, -5, 33) if LONG else (5,)


def sizes_of(tile: Any, reach: int, lanes: int) -> tuple[int, int, int]:
    """Rows, columns, terms: beyond one tile and one slice."""
    sizes = (tile.rows + reach, tile.columns + reach + lanes, tile.depth + reach)
    return tuple(max(1, size) for size in sizes)  # type: ignore[return-value]


def clock_of(n_rows: int, status: int = STATUS_RUNNING) -> np.ndarray:
    clock = np.zeros(Clock.FAULTY_LAYER + 8, np.int64)
    clock[Clock.STATUS], clock[Clock.N_ROWS] = status, n_rows
    clock[Clock.EPOCH], clock[Clock.STEP] = 2, 5
    return clock


def padded(matrix: np.ndarray, lanes: int) -> np.ndarray:
    """Rows of whole vectors, zeros behind them."""
    made = np.zeros((len(matrix), round_up(matrix.shape[1], lanes)), matrix.dtype)
    made[:, : matrix.shape[1]] = matrix
    return made


def ran(
    kernel: Any, tile: Any, shape: tuple[int, ...], arguments: tuple[Any, ...], n_outputs: int
) -> list[np.ndarray]:
    """Run a kernel, in several orders of blocks and warps that must give the same bits; the first
    of the arguments, `n_outputs` of them, as they are after. An int there is a size, of an array
    that nobody has written."""
    told: list[list[np.ndarray]] = []
    for seed in SEEDS:
        gpu = PtxGpu(seed=seed)
        T = next(a.dtype for a in arguments if isinstance(a, np.ndarray) and a.dtype.kind == "f")
        given = [gpu.empty(a, T) if i < n_outputs and isinstance(a, int)
                 else gpu.array(a.reshape(-1)) if isinstance(a, np.ndarray) else a
                 for i, a in enumerate(arguments)]  # fmt: skip
        gpu.launch([Launch(kernel, shape, tile.n_threads, tuple(given))])
        told.append([array.get() for array in given[:n_outputs]])
    for others in told[1:]:
        for first, other in zip(told[0], others, strict=True):
            np.testing.assert_array_equal(first.view(np.uint8), other.view(np.uint8))
    return told[0]


def random(rng, *shape: int, itemsize: int) -> np.ndarray:
    return rng.standard_normal(shape).astype(f"f{itemsize}")


@each_tile
@pytest.mark.parametrize("order", [(ALONG, ACROSS), (ALONG, ALONG), (ACROSS, ACROSS)], ids=str)
@pytest.mark.parametrize("reach", REACHES)
def test_products_of_every_order(order, itemsize, tile, reach):
    rng, lanes = np.random.default_rng(0), 16 // itemsize
    m, n, k = (round_up(size, lanes) for size in sizes_of(tile, reach, lanes))
    a, b = random(rng, m, k, itemsize=itemsize), random(rng, k, n, itemsize=itemsize)
    left = np.ascontiguousarray(a if order[0] == ALONG else a.T)
    right = np.ascontiguousarray(b.T if order[1] == ALONG else b)
    kernel = gemm.product(a.dtype.type, tile, *order)
    shape = (-(-m // tile.rows), -(-n // tile.columns))
    arguments = (m * n, left, right, clock_of(m), m, n, k, n, left.shape[1], right.shape[1])
    (found,) = ran(kernel, tile, shape, arguments, 1)
    wanted = a.astype(float) @ b.astype(float)
    sizes = np.abs(a).astype(float) @ np.abs(b).astype(float)
    assert np.all(np.abs(found.reshape(m, n) - wanted) <= EPS[itemsize] * (k + 2) * sizes)


def test_a_product_of_a_training_that_ended_is_left_alone():
    tile = OF_GPUS[4][-1]
    kernel, a = gemm.product(np.float32, tile, ALONG, ACROSS), np.ones((4, 4), np.float32)
    before = np.full(16, 7, np.float32)
    arguments = (before, a, a, clock_of(4, STATUS_DONE), 4, 4, 4, 4, 4, 4)
    (found,) = ran(kernel, tile, (1, 1), arguments, 1)
    np.testing.assert_array_equal(found, before)


# Activation, keeps the slope, drops, adds the input.
FORWARD = [("tanh", True, True, True)]
if LONG:
    FORWARD += [(None, False, False, False), ("relu", True, False, False),
                ("identity", False, True, False), ("sigmoid", False, False, True)]  # fmt: skip


@each_tile
@pytest.mark.parametrize("variant", FORWARD, ids=str)
@pytest.mark.parametrize("reach", REACHES)
def test_forward_is_that_of_its_layer(variant, itemsize, tile, reach):
    activation, keeps, drops, adds = variant
    rng, lanes = np.random.default_rng(1), 16 // itemsize
    n_rows, n_out, n_in = sizes_of(tile, reach, lanes)
    n_in = n_out if adds else n_in
    x = padded(random(rng, n_rows, n_in, itemsize=itemsize), lanes)
    w = np.zeros((x.shape[1], round_up(n_out, lanes)), x.dtype)
    w[:n_in, :n_out] = random(rng, n_in, n_out, itemsize=itemsize) / np.sqrt(n_in)
    bias = padded(random(rng, 1, n_out, itemsize=itemsize), lanes)
    job, floats, rate = np.zeros(Job.N_FIELDS, np.int64), np.zeros(Float.PER_LAYER + 16), 0.3
    layer, seed = 3, 2**40 + 5
    job[Job.SEED], job[Job.FIRST_EPOCH] = seed, 4
    floats[Float.PER_LAYER + 2 * layer] = 1.0 / (1.0 - rate)
    ld, T = w.shape[1], x.dtype.type
    kernel = gemm.forward(T, tile, activation, keeps, drops, adds)
    shape = (-(-(n_rows + 9) // tile.rows), -(-ld // tile.columns))  # a batch has room for more
    arguments = (
        n_rows * ld, n_rows * ld, x, w, bias, clock_of(n_rows), job, floats, x.shape[1], ld, n_out,
        layer, round((1.0 - rate) * 2**32),
    )  # fmt: skip
    found, slope = (a.reshape(n_rows, ld) for a in ran(kernel, tile, shape, arguments, 2))
    z = x.astype(float) @ w.astype(float) + bias.astype(float)
    sizes = np.abs(x).astype(float) @ np.abs(w).astype(float) + np.abs(bias) + 1.0
    wanted, wanted_slope = z, np.ones_like(z)
    if activation is not None:
        wanted, wanted_slope = reference_activations.TABLE[activation](z)
    wanted, wanted_slope = wanted.copy(), wanted_slope.copy()
    wanted[:, n_out:], wanted_slope[:, n_out:] = 0.0, 0.0
    if drops:
        kept = keep_mask(n_rows, ld, rate=rate, layer=layer, epoch=4 + 2, step=5, seed=seed)
        wanted, wanted_slope = wanted * kept / (1 - rate), wanted_slope * kept / (1 - rate)
    if adds:
        wanted = wanted + x
    bound = EPS[itemsize] * (n_in + 16) * sizes
    assert np.all(np.abs(found - wanted) <= bound)
    if keeps:
        near_zero = np.abs(z) <= bound if activation == "relu" else np.zeros_like(z, bool)
        assert np.all((np.abs(slope - wanted_slope) <= bound) | near_zero)


# Keeps dx, adds da, where f'(Z) comes from.
BACKWARD = [(True, True, "stored")]
if LONG:
    BACKWARD += [
        (False, False, "by sign"),
        (True, False, ""),
        (True, False, "by sign"),
        (False, True, "stored"),
    ]


@each_tile
@pytest.mark.parametrize("variant", BACKWARD, ids=str)
@pytest.mark.parametrize("reach", REACHES)
def test_backward_is_the_product_with_the_transpose(variant, itemsize, tile, reach):
    keeps, adds, slope = variant
    rng, lanes, unit = np.random.default_rng(2), 16 // itemsize, 1.25
    n_rows, n_in, n_out = sizes_of(tile, reach, lanes)
    dy = padded(random(rng, n_rows, n_out, itemsize=itemsize), lanes)
    w = padded(random(rng, n_in, n_out, itemsize=itemsize), lanes)
    w = np.concatenate([w, np.zeros((round_up(n_in, lanes) - n_in, w.shape[1]), w.dtype)])
    ld, size = len(w), n_rows * len(w)
    dz, da, act = (random(rng, n_rows, ld, itemsize=itemsize) for _ in range(3))
    kernel = gemm.backward(dy.dtype.type, tile, keeps, adds, slope)
    shape = (-(-n_rows // tile.rows), -(-ld // tile.columns))
    arguments = (
        size if slope == "by sign" else dz, size, da, act, dy, w, clock_of(n_rows), unit,
        w.shape[1], ld, ld,
    )  # fmt: skip
    scaled, dx = (a.reshape(n_rows, ld) for a in ran(kernel, tile, shape, arguments, 2))
    wanted = dy.astype(float) @ w.astype(float).T + (da if adds else 0.0)
    sizes = np.abs(dy).astype(float) @ np.abs(w).astype(float).T + np.abs(da)
    bound = EPS[itemsize] * (n_out + 4) * sizes
    factor = np.where(act > 0, unit, 0.0) if slope == "by sign" else dz
    if keeps:
        assert np.all(np.abs(dx - wanted) <= bound)
    if slope:
        error = np.abs(scaled - wanted * factor)
        assert np.all(error <= bound * (np.abs(factor) + EPS[itemsize]))
    else:
        np.testing.assert_array_equal(scaled, dz)


@each_tile
@pytest.mark.parametrize("sums_bias", [True, False] if LONG else [True])
@pytest.mark.parametrize("reach", REACHES)
def test_parts_of_gradients_add_up(sums_bias, itemsize, tile, reach):
    rng, lanes = np.random.default_rng(3), 16 // itemsize
    n_in, n_out, _ = sizes_of(tile, reach, lanes)
    run = 2 * tile.depth
    n_rows = 2 * run + tile.depth + 3
    x = padded(random(rng, n_rows, n_in, itemsize=itemsize), lanes)
    dz = padded(random(rng, n_rows, n_out, itemsize=itemsize), lanes)
    ld_m, ld_n, n_parts = x.shape[1], dz.shape[1], -(-n_rows // run)
    stride = ld_m * ld_n + ld_n
    kernel = gemm.gradient(x.dtype.type, tile, sums_bias)
    shape = (-(-ld_m // tile.rows), -(-ld_n // tile.columns), n_parts)
    size = n_parts * stride
    # The bias lies behind the weights of a part, as in the plan: an array of its own here.
    arguments = (size, size, x, dz, clock_of(n_rows), ld_m, ld_n, run, stride)
    weights, bias = (a.reshape(n_parts, stride) for a in ran(kernel, tile, shape, arguments, 2))
    for part in range(n_parts):
        rows = slice(part * run, (part + 1) * run)
        left, right = x[rows].astype(float), dz[rows].astype(float)
        bound = EPS[itemsize] * (run + 2)
        found = weights[part, : ld_m * ld_n].reshape(ld_m, ld_n)
        assert np.all(np.abs(found - left.T @ right) <= bound * (np.abs(left).T @ np.abs(right)))
        if sums_bias:
            error = np.abs(bias[part, :ld_n] - right.sum(axis=0))
            assert np.all(error <= bound * np.abs(right).sum(axis=0))
