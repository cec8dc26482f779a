"""Register tiles: every shape, mode and length of the inner loop, against plain products."""

from __future__ import annotations

import functools

import numpy as np
import pytest

from fastmlp.kernels.cpu.tile import PLAIN, RELU, SCALE, make_nn, make_tn, transpose_square
from fastmlp.kernels.cpu.width import LANES, TILE
from tests.reference import products

from .tools import DTYPES, Memory, compiled, integers, nans

SHAPES = [(rows, vectors) for rows in TILE.rows for vectors in (1, 2)]
# Around the unrolled turns of the loop: nn takes 4 steps at a time, tn takes 2.
INNER = (1, 2, 3, 4, 5, 7, 8, 9, 33)

each_tile = pytest.mark.parametrize("shape", SHAPES, ids=lambda s: f"{s[0]}x{s[1]}")
each_dtype = pytest.mark.parametrize("dtype", DTYPES)


@functools.cache
def nn_kernel(rows, vectors):
    tile = make_nn(rows, vectors)

    @compiled
    def call(a, a_at, lda, b, b_at, n_inner, bias, bias_at, c, c_at, d_at, ldc, mode):
        tile(a, a_at, lda, b, b_at, n_inner, bias, bias_at, c, c_at, d_at, ldc, mode)

    return call


@functools.cache
def tn_kernel(rows, vectors):
    tile = make_tn(rows, vectors)

    @compiled
    def call(a, a_at, lda, b, b_at, ldb, n_inner, c, c_at):
        tile(a, a_at, lda, b, b_at, ldb, n_inner, c, c_at)

    return call


@compiled
def transpose(source, source_at, source_ld, target, target_at, target_ld):
    transpose_square(source, source_at, source_ld, target, target_at, target_ld)


class Nn:
    """Operands of an nn tile of small whole numbers; lda and ldc leave room between rows."""

    def __init__(self, shape, dtype, inner, seed=0):
        (self.rows, vectors), rng = shape, np.random.default_rng(seed)
        self.shape, self.inner, self.width = shape, inner, vectors * LANES[dtype]
        self.lda, self.ldc = inner + 3, self.width + 5
        a = np.full((self.rows, self.lda), np.nan)
        a[:, :inner] = integers(rng, self.rows, inner)
        self.derivative = integers(rng, self.rows, self.width)
        self.memory = Memory(
            dtype, a=a, b=integers(rng, inner, self.width), bias=integers(rng, self.width),
            c=nans(self.rows, self.ldc), d=nans(self.rows, self.ldc),
        )  # fmt: skip
        self.z = products.nn(a[:, :inner], self.memory["b"], self.memory["bias"])

    def run(self, mode):
        m, at = self.memory.data, self.memory.at
        nn_kernel(*self.shape)(
            m, at["a"], self.lda, m, at["b"], self.inner, m, at["bias"], m, at["c"], at["d"],
            self.ldc, mode,
        )  # fmt: skip
        self.memory.check_guards()

    def check(self, name, wanted):
        """The output is `wanted`, and NaN still where no output belongs."""
        found = self.memory[name]
        np.testing.assert_array_equal(found[:, : self.width], wanted)
        assert np.isnan(found[:, self.width :]).all()


@each_dtype
@each_tile
def test_plain_tile_is_the_product_plus_the_bias(shape, dtype):
    for inner in INNER:
        case = Nn(shape, dtype, inner)
        case.run(PLAIN)
        case.check("c", case.z)
        assert np.isnan(case.memory["d"]).all()


@each_dtype
@each_tile
def test_relu_tile_gives_activation_and_derivative(shape, dtype):
    for inner in INNER:
        case = Nn(shape, dtype, inner, seed=inner)
        # A first column of zeros: the derivative there is 0.
        case.memory["b"][:, 0] = case.memory["bias"][0] = case.z[:, 0] = 0.0
        case.run(RELU)
        case.check("c", np.maximum(case.z, 0.0))
        case.check("d", case.z > 0.0)


@each_dtype
@each_tile
def test_relu_tile_keeps_a_nan(shape, dtype):
    case = Nn(shape, dtype, 5)
    case.memory["b"][2, -1] = np.nan
    case.run(RELU)
    assert np.isnan(case.memory["c"][:, case.width - 1]).all()
    case.check("c", np.where(np.arange(case.width) < case.width - 1, np.maximum(case.z, 0), np.nan))


@each_dtype
@each_tile
def test_scale_tile_multiplies_what_stood_in_d(shape, dtype):
    for inner in INNER:
        case = Nn(shape, dtype, inner)
        case.memory["d"][:, : case.width] = case.derivative
        case.run(SCALE)
        case.check("d", case.derivative * case.z)
        assert np.isnan(case.memory["c"]).all()


@each_dtype
@each_tile
def test_tn_tile_is_the_product_of_the_transpose(shape, dtype):
    rows, width = shape[0], shape[1] * LANES[dtype]
    for inner in INNER:
        rng = np.random.default_rng(inner)
        lda, ldb = rows + 3, width + 5
        a, b = np.full((inner, lda), np.nan), np.full((inner, ldb), np.nan)
        a[:, :rows], b[:, :width] = integers(rng, inner, rows), integers(rng, inner, width)
        memory = Memory(dtype, a=a, b=b, c=nans(rows, width))
        m, at = memory.data, memory.at
        tn_kernel(*shape)(m, at["a"], lda, m, at["b"], ldb, inner, m, at["c"])
        np.testing.assert_array_equal(memory["c"], products.tn(a[:, :rows], b[:, :width]))
        memory.check_guards()


@each_dtype
def test_an_element_has_the_same_bits_in_every_tile(dtype):
    lanes, inner, rng = LANES[dtype], 133, np.random.default_rng(3)
    a = rng.standard_normal((max(TILE.rows), inner)).astype(dtype)
    b = rng.standard_normal((inner, 2 * lanes)).astype(dtype)
    bias, results = rng.standard_normal(2 * lanes).astype(dtype), []
    for rows, vectors in SHAPES:
        width = vectors * lanes
        c = np.full((rows, width), np.nan, dtype)
        panel = np.ascontiguousarray(b[:, :width]).ravel()
        nn_kernel(rows, vectors)(
            a.ravel(), 0, inner, panel, 0, inner, bias, 0, c.ravel(), 0, 0, width, PLAIN
        )
        results.append(c)
    whole = results[1]
    assert whole.shape == (max(TILE.rows), 2 * lanes)
    for c in results:
        np.testing.assert_array_equal(c, whole[: c.shape[0], : c.shape[1]])
    wanted = products.nn(a, b, bias)
    limit = 4 * np.finfo(dtype).eps * (np.abs(a) @ np.abs(b) + np.abs(bias)) * np.sqrt(inner)
    assert (np.abs(whole - wanted) <= limit).all()


@each_dtype
def test_an_element_of_the_weight_gradient_has_the_same_bits_in_every_tile(dtype):
    lanes, inner, rng = LANES[dtype], 133, np.random.default_rng(4)
    a = rng.standard_normal((inner, max(TILE.rows))).astype(dtype)
    b = rng.standard_normal((inner, 2 * lanes)).astype(dtype)
    results = []
    for rows, vectors in SHAPES:
        c = np.full((rows, vectors * lanes), np.nan, dtype)
        tn_kernel(rows, vectors)(
            a.ravel(), 0, a.shape[1], b.ravel(), 0, 2 * lanes, inner, c.ravel(), 0
        )
        results.append(c)
    for c in results:
        np.testing.assert_array_equal(c, results[1][: c.shape[0], : c.shape[1]])


@each_dtype
def test_transpose_square_moves_every_element_to_its_place(dtype):
    lanes = LANES[dtype]
    source = np.full((lanes, lanes + 3), np.nan)
    source[:, :lanes] = np.arange(lanes * lanes).reshape(lanes, lanes)
    memory = Memory(dtype, source=source, target=nans(lanes, lanes + 7))
    m, at = memory.data, memory.at
    transpose(m, at["source"], lanes + 3, m, at["target"], lanes + 7)
    np.testing.assert_array_equal(memory["target"][:, :lanes], source[:, :lanes].T)
    assert np.isnan(memory["target"][:, lanes:]).all()
    memory.check_guards()
