"""Kernels and functions of the GPU against the oracles that the CPU's have: plain NumPy."""

from __future__ import annotations

import math

import numpy as np
import pytest
from numba import cuda

from fastmlp.engine.block_order import rows_at
from fastmlp.kernels import codes
from fastmlp.kernels.constants import nadam_momentum
from fastmlp.kernels.cuda import activations, gemm, losses, optimizers, shuffle, steps, updates
from fastmlp.kernels.cuda.gemm import ACROSS, ALONG
from fastmlp.kernels.cuda.jit import THREADS
from fastmlp.kernels.cuda.random import dropout_mask
from fastmlp.kernels.cuda.structs import N_HYPER, Clock, Hyper, Number
from fastmlp.kernels.cuda.tile import OF_GPUS, BlockTile
from fastmlp.kernels.rules import RULES, number_at
from fastmlp.kernels.structs import SHUFFLE_BLOCKS, SHUFFLE_ROWS, STATUS_RUNNING, Float, Job
from fastmlp.layout.parameters import round_up
from tests.kernels.tools import CLASS_LOSSES, loss_of, outputs_for, random_targets
from tests.reference import activations as reference_activations
from tests.reference import losses as reference_losses
from tests.reference import optimizers as reference_optimizers
from tests.reference.dropout import keep_mask
from tests.reference.random import block_shuffled, shuffled

from .scheduler import races_found

DTYPES = ("float32", "float64")
EPS = {dtype: float(np.finfo(dtype).eps) for dtype in DTYPES}
each_dtype = pytest.mark.parametrize("dtype", DTYPES)


def clock_of(n_rows: int) -> np.ndarray:
    clock = np.zeros(Clock.FAULTY_LAYER + 8, np.int64)
    clock[Clock.STATUS], clock[Clock.N_ROWS] = STATUS_RUNNING, n_rows
    return clock


def padded(matrix: np.ndarray, dtype: str, lanes: int) -> np.ndarray:
    """Rows of whole vectors, zeros behind them."""
    made = np.zeros((len(matrix), round_up(matrix.shape[1], lanes)), dtype)
    made[:, : matrix.shape[1]] = matrix
    return made


# ---- products ------------------------------------------------------------------------------------

TILES = (BlockTile(8, 8, 4, 4, 4), BlockTile(8, 16, 8, 4, 8), BlockTile(16, 8, 4, 8, 4))


SIZES = ((1, 1, 1), (8, 8, 4), (9, 17, 5), (16, 7, 12), (3, 33, 13))
ORDERS = ((ALONG, ACROSS), (ALONG, ALONG), (ACROSS, ACROSS))


@each_dtype
@pytest.mark.parametrize("tile", TILES, ids=str)
@pytest.mark.parametrize("order", ORDERS, ids=str)
def test_products_of_every_order_and_tail(order, tile, dtype):
    check_products(order, tile, dtype, SIZES)


@pytest.mark.parametrize("order", ORDERS, ids=str)
@pytest.mark.parametrize(
    ("dtype", "tile"),
    [("float32", tile) for tile in OF_GPUS[4]] + [("float64", tile) for tile in OF_GPUS[8]],
    ids=str,
)
def test_products_by_the_tiles_of_gpus(order, dtype, tile):
    # Four blocks, of which three have rests, and two slices.
    check_products(order, tile, dtype, [(tile.rows + 4, tile.columns + 4, tile.depth + 4)])


def check_products(order, tile, dtype, sizes):
    rng, lanes = np.random.default_rng(0), 16 // np.dtype(dtype).itemsize
    T = np.dtype(dtype).type
    for m, n, k in sizes:
        m, n, k = (round_up(size, lanes) for size in (m, n, k))
        a, b = rng.standard_normal((m, k)).astype(T), rng.standard_normal((k, n)).astype(T)
        as_read = [np.ascontiguousarray(a if order[0] == ALONG else a.T),
                   np.ascontiguousarray(b.T if order[1] == ALONG else b)]  # fmt: skip
        out = cuda.to_device(np.full(m * n, np.nan, T))
        kernel = gemm.product(T, tile, *order)
        grid = (-(-m // tile.rows), -(-n // tile.columns))
        with races_found():
            kernel[grid, tile.n_threads](
                out, as_read[0].reshape(-1), as_read[1].reshape(-1), clock_of(m), m, n, k, n,
                as_read[0].shape[1], as_read[1].shape[1],
            )  # fmt: skip
        wanted = a.astype(float) @ b.astype(float)
        sizes = np.abs(a.astype(float)) @ np.abs(b.astype(float))
        found = out.copy_to_host().reshape(m, n)
        assert np.all(np.abs(found - wanted) <= EPS[dtype] * (k + 2) * sizes)


@each_dtype
@pytest.mark.parametrize("n_rows", [1, 5, 16, 23])
def test_parts_of_gradients_add_up_over_tails_of_rows(n_rows, dtype):
    rng, T, lanes = np.random.default_rng(1), np.dtype(dtype).type, 16 // np.dtype(dtype).itemsize
    tile, run = BlockTile(8, 8, 4, 4, 4), 8
    n_in, n_out = round_up(9, lanes), round_up(5, lanes)
    x, dz = rng.standard_normal((n_rows, n_in)), rng.standard_normal((n_rows, n_out))
    x, dz = x.astype(T), dz.astype(T)
    n_parts, stride = -(-n_rows // run), n_in * n_out + n_out
    parts = cuda.to_device(np.full(n_parts * stride, np.nan, T))
    kernel = gemm.gradient(T, tile, True)
    grid = (-(-n_in // tile.rows), -(-n_out // tile.columns), n_parts)
    with races_found():
        kernel[grid, tile.n_threads](
            parts, parts[n_in * n_out :], x.reshape(-1), dz.reshape(-1), clock_of(n_rows), n_in,
            n_out, run, stride,
        )  # fmt: skip
    summed = parts.copy_to_host().reshape(n_parts, stride).astype(float).sum(axis=0)
    wanted = np.concatenate([(x.T.astype(float) @ dz).reshape(-1), dz.astype(float).sum(axis=0)])
    assert np.abs(summed - wanted).max() <= 4 * n_rows * EPS[dtype]


@each_dtype
@pytest.mark.parametrize("rate", [0.0, 0.4])
def test_the_sign_of_what_relu_gave_tells_its_slope(rate, dtype):
    """dz of the backward pass has the same bits whether f'(Z) was stored or is told by A."""
    rng, T, lanes = np.random.default_rng(5), np.dtype(dtype).type, 16 // np.dtype(dtype).itemsize
    tile, n_rows, n, k, unit = TILES[0], 11, round_up(9, lanes), round_up(5, lanes), 1 / (1 - rate)
    z = rng.standard_normal((n_rows, n)).astype(T)
    tiny = np.finfo(T).smallest_subnormal
    z[0, :8] = [0.0, -0.0, np.nan, np.inf, -np.inf, tiny, np.finfo(T).max, -tiny]
    z[1, :8], z[:, 9:] = z[0, :8], 0.0
    kept = np.where(rng.random((n_rows, n)) < rate, T(0), T(unit))
    kept[0], kept[1] = T(unit), T(0) if rate else T(unit)
    relu = activations.activations(T)["relu"]
    value, slope = (np.array([relu(x)[i] for x in z.reshape(-1)], T) for i in (0, 1))
    dy, w = rng.standard_normal((n_rows, k)).astype(T), rng.standard_normal((n, k)).astype(T)
    with np.errstate(all="ignore"):
        act, stored = value * kept.reshape(-1), slope * kept.reshape(-1)
    told, nothing = [], np.zeros(1, T)
    for how, dz in (("stored", stored), ("by sign", np.full(n_rows * n, np.nan, T))):
        out = cuda.to_device(dz)
        kernel = gemm.backward(T, tile, False, False, how)
        with races_found():
            kernel[(-(-n_rows // tile.rows), -(-n // tile.columns)), tile.n_threads](
                out, nothing, nothing, act, dy.reshape(-1), w.reshape(-1), clock_of(n_rows), unit,
                k, n, n,
            )  # fmt: skip
        told.append(out.copy_to_host())
    assert told[0].tobytes() == told[1].tobytes()
    wanted = (dy.astype(float) @ w.T.astype(float)) * stored.reshape(n_rows, n)
    assert np.abs(told[1].reshape(n_rows, n) - wanted).max() <= 64 * EPS[dtype]


# ---- elements ------------------------------------------------------------------------------------


@each_dtype
@pytest.mark.parametrize("name", codes.ACTIVATIONS)
def test_activations_are_those_of_their_definitions(name, dtype):
    T, rng = np.dtype(dtype).type, np.random.default_rng(2)
    z = np.concatenate([rng.normal(0, 3, 300), [-80.0, -3.0, -0.0, 0.0, 3.0, 80.0]]).astype(T)
    function, definition = activations.activations(T)[name], reference_activations.TABLE[name]
    found = np.array([function(value) for value in z], float).T
    for f, w in zip(found, definition(z.astype(float)), strict=True):
        assert np.all(np.abs(f - w) <= 8 * EPS[dtype] * (1.0 + np.abs(z)))
    value, slope = function(T(np.nan))
    assert math.isnan(value)
    # A slope that is chosen by comparisons is a number, as in the definition.
    assert math.isnan(slope) or np.isfinite(definition(np.full(1, np.nan))[1])


@each_dtype
@pytest.mark.parametrize("name", codes.LOSSES)
@pytest.mark.parametrize(("n", "n_rows"), [(1, 11), (2, 40), (3, 11), (4, 11), (5, 11), (9, 29)])
def test_losses_are_those_of_their_definitions(name, n, n_rows, dtype):
    T, lanes = np.dtype(dtype).type, 16 // np.dtype(dtype).itemsize
    rng, of = np.random.default_rng(3), loss_of(name)
    n = outputs_for(name, n)
    ld, lanes_of_row = round_up(n, lanes), losses.lanes_for(name, n)
    z = padded(rng.normal(0, 2, (n_rows, n)), dtype, lanes)
    y = np.asarray(random_targets(rng, name, n_rows, n))
    rows = rng.permutation(n_rows).astype(np.int64)
    weights = rng.uniform(0.0, 2.0, n_rows).astype(T)
    classes = name in CLASS_LOSSES
    labels = y.astype(np.int32) if classes else np.zeros(1, np.int32)
    targets = np.zeros((1, 1), T) if classes else np.ascontiguousarray(y, T)
    n_blocks = -(-n_rows // losses.rows_of_block(lanes_of_row))
    numbers, clock = cuda.to_device(np.zeros(Number.PER_LAYER)), cuda.to_device(clock_of(n_rows))
    unused = np.zeros(1)
    dz = cuda.to_device(np.full(n_rows * ld, np.nan, T))
    partial = cuda.to_device(np.full(2 * n_blocks, np.nan))
    with races_found():
        losses.loss(T, name, lanes_of_row, "add_losses")[n_blocks, THREADS](
            dz, partial, unused, clock, numbers, z.reshape(-1), rows, labels, targets.reshape(-1),
            weights, np.array(of.kernel_parameters, float), unused, unused, unused, ld, n,
            targets.shape[1], classes, True,
        )  # fmt: skip
    chosen = y[rows] if classes else targets.astype(float)[rows]
    values, wanted = reference_losses.TABLE[name](z[:, :n].astype(float), chosen, of.parameters)
    w = weights[rows].astype(float)
    sums = partial.copy_to_host().reshape(-1, 2).sum(axis=0)
    size = 1.0 + np.abs(values).max() + np.abs(wanted).max()
    assert abs(sums[0] - w @ values) <= 64 * EPS[dtype] * size * n_rows
    assert abs(sums[1] - w.sum()) <= 1e-6
    np.testing.assert_allclose(numbers.copy_to_host()[: Number.WEIGHT + 1], sums, rtol=1e-14)
    assert clock.copy_to_host()[Clock.ARRIVED] == 0
    found = dz.copy_to_host().reshape(n_rows, ld)
    assert np.abs(found[:, :n] - wanted * w[:, None]).max() <= 32 * EPS[dtype] * size
    np.testing.assert_array_equal(found[:, n:], 0.0)


@each_dtype
@pytest.mark.parametrize("rule", codes.OPTIMIZERS)
def test_update_rules_are_those_of_the_formulas(rule, dtype):
    T, rng = np.dtype(dtype).type, np.random.default_rng(4)
    apply, lr = optimizers.rules(T)[rule], 0.01
    w, wanted = T(0.7), np.array([0.7])
    found, states = [T(0)] * 3, [np.zeros(1) for _ in range(3)]
    for t in range(1, 31):
        g = T(rng.normal())
        w, *found = apply(w, g, *found, *map(T, scalars(rule, lr, t)))
        wanted = reference_optimizers.TABLE[rule](
            wanted, np.array([float(g)]), states, lr, reference_optimizers.HYPER[rule], t
        )
    assert abs(float(w) - wanted[0]) <= 200 * EPS[dtype]


def scalars(rule: str, lr: float, t: int) -> np.ndarray:
    """What `describe_update` gives the update of a rule in step t, from LR to CARRY."""
    job, n_hyper = np.zeros(Job.N_FIELDS, np.int64), Hyper.CARRY + 1
    job[Job.RULE], floats = codes.OPTIMIZERS.index(rule), np.zeros(Float.PER_LAYER + 2)
    floats[Float.PER_LAYER + 1] = floats[Float.ADAM_RATE] = 1.0
    numbers, rates = np.zeros(Number.PER_LAYER + N_HYPER), np.full(t, lr)
    named = RULES[rule].by_name(reference_optimizers.HYPER[rule])
    for name, value in named.items():
        floats[number_at(rule, name)] = value
    numbers[Number.PRODUCT] = np.prod(
        [nadam_momentum(floats[Float.HYPER], i + 1) for i in range(t)]
    )
    steps.describe_update(numbers, job, floats, rates, t - 1, 0)
    return numbers[Number.PER_LAYER : Number.PER_LAYER + n_hyper]


@each_dtype
def test_parts_are_added_in_their_order(dtype):
    T, rng = np.dtype(dtype).type, np.random.default_rng(8)
    summed, _ = updates.helpers(T)
    for n_parts in (1, 2, 7, 8, 9, 16, 23):
        parts = rng.normal(size=3 * n_parts).astype(T)
        total = T(0)
        for part in parts[1::3]:
            total = total + part
        assert summed(parts, 1, n_parts, 3) == total


# ---- random numbers ------------------------------------------------------------------------------


def test_masks_are_those_of_the_counters():
    mask, rate, seed = dropout_mask(np.float32), 0.4, 2**40 + 5
    threshold = round((1.0 - rate) * 2**32)
    for layer in (1, -1, 254, 255, 257, 513):
        found = [[mask(row, column, layer, 3, 7, np.int64(seed), threshold, np.float32(2.0)) > 0
                  for column in range(150)] for row in range(4)]  # fmt: skip
        wanted = keep_mask(4, 150, rate=rate, layer=layer, epoch=3, step=7, seed=seed)
        np.testing.assert_array_equal(found, wanted)


@pytest.mark.parametrize("n", [1, 2, 3, 17, 100])
def test_shuffles_are_those_of_the_oracle(n):
    job, seed = np.zeros(Job.N_FIELDS, np.int64), 2**63 + 11
    job[Job.SHUFFLE], job[Job.N_ROWS] = SHUFFLE_ROWS, n
    job[Job.SEED] = np.uint64(seed).astype(np.int64)
    found = [int(shuffle.row_at(job, np.int64(5), np.int64(i))) for i in range(n)]
    assert found == [shuffled(i, n, 5, seed) for i in range(n)]


@pytest.mark.parametrize("n", [9, 64, 101])
def test_block_shuffles_are_those_of_the_oracle(n):
    job, seed = np.zeros(Job.N_FIELDS, np.int64), 21
    job[Job.SHUFFLE], job[Job.N_ROWS], job[Job.SEED] = SHUFFLE_BLOCKS, n, seed
    job[Job.BLOCK_BITS], job[Job.WINDOW_ROWS] = 3, 40
    found = [int(shuffle.row_at(job, np.int64(2), np.int64(i))) for i in range(n)]
    assert found == block_shuffled(n, 2, seed, 3, 40)
    assert sorted(found) == list(range(n))


def test_the_order_in_which_parts_are_sent_is_that_of_the_kernels():
    from fastmlp.data.shuffle import Blocks
    from fastmlp.engine.descriptions import describe_shuffle

    for how in (False, True, Blocks(4, 30)):
        job = np.zeros(Job.N_FIELDS, np.int64)
        job[Job.N_ROWS], job[Job.SEED] = 67, 8
        describe_shuffle(how, job)
        found = [int(shuffle.row_at(job, np.int64(1), np.int64(i))) for i in range(67)]
        sent = rows_at(np.arange(67), 67, how, 8, 1)
        np.testing.assert_array_equal(np.arange(67)[sent], found)


# ---- gradients -----------------------------------------------------------------------------------

CASES = {
    "plain": {"sizes": [4, 6, 5, 3], "activation": ["tanh", "gelu"], "l1": 0.01, "l2": 0.02},
    "layer norm": {"sizes": [4, 6, 6, 3], "norm": "layer", "activation": "silu"},
    "batch norm": {"sizes": [4, 6, 6, 3], "norm": "batch", "activation": "tanh"},
    "residual": {"sizes": [5, 5, 5, 2], "residual": True, "activation": "softplus"},
    "embedding": {"sizes": [3, 5, 2], "embeddings": {1: (4, 2)}, "activation": "mish"},
}


@pytest.mark.parametrize("case", CASES)
def test_gradients_are_central_differences_of_the_loss(case):
    from fastmlp.engine.cuda.engine import CudaEngine
    from fastmlp.spec.network import NetworkSpec

    from .tools import dataset

    spec = NetworkSpec.make(**CASES[case], dtype="float64", loss="squared_error", seed=1)
    rng = np.random.default_rng(6)
    X = rng.normal(size=(7, spec.sizes[0]))
    X[:, 1] = np.arange(7) % 4 if case == "embedding" else X[:, 1]
    data, engine, step = dataset(spec, 7, X=X, weights=True), CudaEngine(spec), 1e-5
    gradients = engine.loss_and_all_gradients(data)[1].named()
    start = engine.parameters()
    for name, wanted in gradients.items():
        for place in np.ndindex(*wanted.shape):
            told = []
            for sign in (step, -step):
                engine.set_all_parameters(start)
                moved = engine.parameters()
                moved.named()[name][place] += sign
                engine.set_all_parameters(moved)
                told.append(engine.loss_and_all_gradients(data)[0])
            slope = (told[0] - told[1]) / (2 * step)
            assert abs(slope - wanted[place]) <= 1e-7 * (1 + abs(slope)), (name, place)
