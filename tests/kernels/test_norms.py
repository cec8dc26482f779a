"""Normalised layers against NumPy: tails of rows and units, parts of the rows, odd values."""

from __future__ import annotations

import threading
from typing import Any, NamedTuple

import numpy as np
import pytest

from fastmlp.kernels import codes
from fastmlp.kernels.cpu import norms
from fastmlp.kernels.cpu.width import LANES
from fastmlp.kernels.structs import Job, Layer, Sync
from tests.reference import norms as reference
from tests.reference.products import padded, padded_rows

from .tools import DTYPES, TALLEST, Memory, compiled, nans, straddling

each_dtype = pytest.mark.parametrize("dtype", DTYPES)
each_row_kind = pytest.mark.parametrize("kind", ["layer", "rms"])
each_kind = pytest.mark.parametrize("kind", ["layer", "rms", "batch"])


class Part(NamedTuple):
    """What these kernels use of a program."""

    params: Any
    work: Any
    running: Any
    layers: Any
    job: Any
    sync: Any


@compiled
def normalise(p, layer, r0, r1, n_rows):
    norms.normalise(p, layer, r0, r1, n_rows)


@compiled
def normalise_backward(p, layer, r0, r1, n_rows):
    norms.normalise_backward(p, layer, r0, r1, n_rows)


@compiled
def normalise_rows(params, work, layer, r0, r1):
    norms.normalise_rows(params, work, layer, r0, r1)


@compiled
def rows_backward(params, work, layer, r0, r1):
    norms.rows_backward(params, work, layer, r0, r1)


@compiled
def chunk_moments(work, layer, r0, r1):
    norms.chunk_moments(work, layer, r0, r1)


@compiled
def moments_at(layer, row):
    return norms.moments_at(layer, row)


@compiled
def normalise_columns(params, work, layer, r0, r1, n_rows):
    norms.normalise_columns(params, work, layer, r0, r1, n_rows)


@compiled
def chunk_sums(work, layer, r0, r1):
    norms.chunk_sums(work, layer, r0, r1)


@compiled
def columns_backward(params, work, layer, r0, r1, n_rows):
    norms.columns_backward(params, work, layer, r0, r1, n_rows)


@compiled
def update_running(p, n_rows):
    norms.update_running(p, n_rows)


class Case:
    """A normalised layer in guarded memory: NaN where outputs go and between the rows."""

    def __init__(self, dtype, kind, n_rows, n_units, *, z=None, seed=0):
        rng, lanes = np.random.default_rng(seed), LANES[dtype]
        self.dtype, self.kind, self.n_rows, self.n_units = dtype, kind, n_rows, n_units
        self.out_pad = padded(n_units, lanes)
        self.ld, self.n_chunks = self.out_pad + lanes, -(-n_rows // TALLEST)
        self.z = 2.0 * rng.standard_normal((n_rows, n_units)) + 0.5 if z is None else z
        self.z = self.z.astype(dtype).astype(float)
        self.scale, self.bias = rng.uniform(0.5, 1.5, n_units), rng.standard_normal(n_units)
        self.dn = rng.standard_normal((n_rows, n_units))
        n_statistics = (3 + 2 * self.n_chunks) * self.out_pad if kind == "batch" else n_rows
        self.params = Memory(dtype, scale=self.vector(self.scale), bias=self.vector(self.bias))
        self.work = Memory(
            dtype, normed=self.rows(self.z), act_out=nans(n_rows, self.ld), dz=self.rows(self.dn),
            statistics=nans(n_statistics), sums=nans(self.n_chunks, 2, self.out_pad),
        )  # fmt: skip
        self.running = Memory(
            dtype, running=np.stack([self.vector(self.bias), self.vector(self.scale)])
        )
        # What the kernels really read, rounded.
        self.scale, self.bias = (self.params[name][:n_units].astype(float)
                                 for name in ("scale", "bias"))  # fmt: skip
        self.dn = self.work["dz"][:, :n_units].astype(float)
        self.job, self.sync = np.zeros(Job.N_FIELDS, np.int64), np.zeros(Sync.N_FIELDS, np.int64)
        self.job[Job.N_THREADS], self.job[Job.N_LAYERS], self.sync[Sync.SPINS] = 1, 1, 1

    def vector(self, values):
        return padded_rows(np.asarray(values)[None], self.out_pad)[0]

    def rows(self, values):
        """Zeros up to whole vectors, as products leave them, and NaN beyond."""
        full = nans(len(values), self.ld)
        full[:, : self.out_pad] = padded_rows(values, self.out_pad)
        return full

    @property
    def layer(self):
        work, params = self.work.at, self.params.at
        fields = dict.fromkeys(Layer._fields, 0) | {
            "n_out": self.n_units, "out_pad": self.out_pad, "ld_out": self.ld,
            "norm": codes.NORMS.index(self.kind), "scale": params["scale"], "bias": params["bias"],
            "normed": work["normed"], "act_out": work["act_out"], "dz": work["dz"],
            "statistics": work["statistics"], "sums": work["sums"],
            "running": self.running.at["running"],
        }  # fmt: skip
        return Layer(**fields)

    @property
    def part(self):
        layers = np.array(self.layer, np.int64)
        return Part(
            self.params.data, self.work.data, self.running.data, layers, self.job, self.sync
        )

    def of_columns(self):
        """(3, out_pad) mean, 1 / deviation, variance, and (chunks, 2, out_pad) the moments."""
        statistics = self.work["statistics"].reshape(-1, self.out_pad)
        return statistics[:3], statistics[3:].reshape(self.n_chunks, 2, self.out_pad)

    def check_guards(self):
        for memory in (self.params, self.work, self.running):
            memory.check_guards()

    def check(self, name, wanted, r0=0, r1=None, tolerance=60.0):
        """Rows r0 to r1 of a buffer, padding and the rest of it; the error in units of eps."""
        r1 = self.n_rows if r1 is None else r1
        found, limit = self.work[name], tolerance * np.finfo(self.dtype).eps
        error = np.abs(found[r0:r1, : self.n_units] - wanted[r0:r1])
        assert (error <= limit * (1.0 + np.abs(wanted[r0:r1]))).all()
        assert (found[r0:r1, self.n_units : self.out_pad] == 0.0).all()
        assert np.isnan(found[:, self.out_pad :]).all()
        self.check_guards()

    def forward(self):
        normalise(self.part, self.layer, 0, self.n_rows, self.n_rows)
        self.check_guards()

    def wanted(self):
        """Z^, 1 / deviation and N."""
        normed, inverse = reference.normalise(self.kind, self.z)
        return normed, inverse, normed * self.scale + self.bias

    def wanted_dz(self):
        normed, inverse, _ = self.wanted()
        return reference.normalise_backward(self.kind, self.dn * self.scale, normed, inverse)


def sizes(dtype):
    """Rows around the tallest tile, with units around one vector and two."""
    lanes = LANES[dtype]
    units = sorted({*straddling(lanes), *straddling(2 * lanes)})
    return [(n_rows, n_units) for n_rows in straddling(TALLEST) for n_units in units]


def parts_of(n_rows):
    """All rows, and for a thread its own: whole chunks, a part that begins and ends inside."""
    n_chunks = -(-n_rows // TALLEST)
    first, last = n_chunks // 3 * TALLEST, n_chunks // 2 * TALLEST
    return sorted({(0, n_rows), (first, last), (last, n_rows)})


@each_dtype
@each_row_kind
def test_normalise_rows_covers_its_rows_and_no_other(kind, dtype):
    for n_rows, n_units in sizes(dtype):
        for r0, r1 in [(0, n_rows), (n_rows // 3, n_rows - n_rows // 4)]:
            case = Case(dtype, kind, n_rows, n_units)
            normalise_rows(case.params.data, case.work.data, case.layer, r0, r1)
            normed, inverse, n = case.wanted()
            case.check("normed", normed, r0, r1)
            case.check("act_out", n, r0, r1)
            others = ~np.isin(np.arange(n_rows), np.arange(r0, r1))
            np.testing.assert_array_equal(
                case.work["normed"][others, :n_units], case.z[others].astype(dtype)
            )
            assert np.isnan(case.work["act_out"][others]).all()
            found = case.work["statistics"]
            np.testing.assert_allclose(
                found[r0:r1], inverse[r0:r1, 0], rtol=60 * np.finfo(dtype).eps
            )
            assert np.isnan(found[others]).all()


@each_dtype
@each_row_kind
def test_rows_backward_is_the_derivative_of_its_rows_and_no_other(kind, dtype):
    for n_rows, n_units in sizes(dtype):
        for r0, r1 in [(0, n_rows), (n_rows // 3, n_rows - n_rows // 4)]:
            case = Case(dtype, kind, n_rows, n_units)
            normalise_rows(case.params.data, case.work.data, case.layer, 0, n_rows)
            rows_backward(case.params.data, case.work.data, case.layer, r0, r1)
            case.check("dz", case.wanted_dz(), r0, r1, tolerance=400.0)
            others = ~np.isin(np.arange(n_rows), np.arange(r0, r1))
            np.testing.assert_array_equal(
                case.work["dz"][others, :n_units], case.dn[others].astype(dtype)
            )


@each_dtype
def test_chunk_moments_are_those_of_each_chunk_of_rows(dtype):
    limit = 60 * np.finfo(dtype).eps
    for n_rows, n_units in sizes(dtype):
        for r0, r1 in parts_of(n_rows):
            case = Case(dtype, "batch", n_rows, n_units)
            chunk_moments(case.work.data, case.layer, r0, r1)
            statistics, found = case.of_columns()
            wanted = reference.chunk_moments(case.z, TALLEST)
            mine = slice(r0 // TALLEST, -(-r1 // TALLEST))
            np.testing.assert_allclose(
                found[mine, :, :n_units], wanted[mine], rtol=limit, atol=limit
            )
            assert (found[mine, :, n_units:] == 0.0).all()
            assert np.isnan(np.delete(found, mine, axis=0)).all()
            assert np.isnan(statistics).all()
            case.check_guards()
            for row in range(n_rows):
                at = case.work.at["statistics"] + (3 + 2 * (row // TALLEST)) * case.out_pad
                assert moments_at(case.layer, row) == at


@each_dtype
def test_normalise_columns_merges_the_chunks_and_covers_its_rows_and_no_other(dtype):
    limit = 60 * np.finfo(dtype).eps
    for n_rows, n_units in sizes(dtype):
        for r0, r1 in parts_of(n_rows):
            case = Case(dtype, "batch", n_rows, n_units)
            chunk_moments(case.work.data, case.layer, 0, n_rows)
            normalise_columns(case.params.data, case.work.data, case.layer, r0, r1, n_rows)
            normed, inverse, n = case.wanted()
            case.check("normed", normed if r1 > r0 else case.z, r0, r1)
            case.check("act_out", n, r0, r1)
            others = ~np.isin(np.arange(n_rows), np.arange(r0, r1))
            np.testing.assert_array_equal(
                case.work["normed"][others, :n_units], case.z[others].astype(dtype)
            )
            assert np.isnan(case.work["act_out"][others]).all()
            statistics, _ = case.of_columns()
            if r0 == 0 and r1 > 0:
                # One row is its own mean: the deviation is that of eps.
                wanted = np.stack([case.z.mean(axis=0), inverse[0], case.z.var(axis=0)])
                np.testing.assert_allclose(statistics[:, :n_units], wanted, rtol=limit, atol=limit)
            else:
                assert np.isnan(statistics).all()


@each_dtype
@each_kind
def test_chunk_sums_are_those_of_each_chunk_of_rows(kind, dtype):
    for n_rows, n_units in sizes(dtype):
        for r0, r1 in parts_of(n_rows):
            case = Case(dtype, kind, n_rows, n_units)
            chunk_sums(case.work.data, case.layer, r0, r1)
            # Called before the normalisation: what lies in `normed` is taken as it is.
            wanted = reference.chunk_sums(case.dn, case.z, TALLEST)
            found, mine = case.work["sums"], slice(r0 // TALLEST, -(-r1 // TALLEST))
            limit = 60 * np.finfo(dtype).eps
            np.testing.assert_allclose(
                found[mine, :, :n_units], wanted[mine], rtol=limit, atol=10 * limit
            )
            assert (found[mine, :, n_units:] == 0.0).all()
            assert np.isnan(np.delete(found, mine, axis=0)).all()
            case.check_guards()


@each_dtype
def test_columns_backward_is_the_derivative_of_its_rows_and_no_other(dtype):
    for n_rows, n_units in sizes(dtype):
        for r0, r1 in parts_of(n_rows):
            case = Case(dtype, "batch", n_rows, n_units)
            case.forward()
            chunk_sums(case.work.data, case.layer, 0, n_rows)
            columns_backward(case.params.data, case.work.data, case.layer, r0, r1, n_rows)
            wanted = case.wanted_dz()
            # Of one row and of two nothing is left but the rounding, times 1 / deviation.
            size = np.abs(case.dn * case.scale * case.wanted()[1]).max(initial=1.0)
            case.check("dz", wanted, r0, r1, tolerance=60.0 * size)
            others = ~np.isin(np.arange(n_rows), np.arange(r0, r1))
            np.testing.assert_array_equal(
                case.work["dz"][others, :n_units], case.dn[others].astype(dtype)
            )


@each_dtype
@each_kind
@pytest.mark.parametrize("n_threads", [1, 2, 3])
def test_normalise_and_its_way_back_have_the_same_bits_on_any_number_of_threads(
    n_threads, kind, dtype
):
    for n_rows, n_units in [(1, 1), (TALLEST + 1, 5), (5 * TALLEST - 2, 2 * LANES[dtype] + 1)]:
        alone, case = (Case(dtype, kind, n_rows, n_units) for _ in range(2))
        alone.forward()
        normalise_backward(alone.part, alone.layer, 0, n_rows, n_rows)
        case.job[Job.N_THREADS] = n_threads
        part, layer, n_chunks = case.part, case.layer, case.n_chunks

        def work(thread, part=part, layer=layer, n_chunks=n_chunks, n_rows=n_rows):
            r0, r1 = (
                min(n_chunks * number // n_threads * TALLEST, n_rows)
                for number in (thread, thread + 1)
            )
            normalise(part, layer, r0, r1, n_rows)
            normalise_backward(part, layer, r0, r1, n_rows)

        threads = [threading.Thread(target=work, args=(i,)) for i in range(n_threads)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        np.testing.assert_array_equal(case.work.data, alone.work.data)
        normed, inverse, n = case.wanted()
        size = np.abs(case.dn * case.scale * inverse).max(initial=1.0)
        case.check("normed", normed)
        case.check("act_out", n)
        case.check("dz", case.wanted_dz(), tolerance=400.0 * size)
        wanted = reference.chunk_sums(case.dn, normed, TALLEST)
        found = case.work["sums"]
        np.testing.assert_allclose(
            found[:, :, :n_units], wanted, rtol=0, atol=2000 * np.finfo(dtype).eps
        )


@each_dtype
def test_update_running_moves_a_tenth_of_the_way_to_mean_and_unbiased_variance(dtype):
    limit = 60 * np.finfo(dtype).eps
    for n_rows, n_units in sizes(dtype):
        case = Case(dtype, "batch", n_rows, n_units)
        case.forward()
        before = case.running["running"].copy()
        update_running(case.part, n_rows)
        found = case.running["running"]
        wanted = reference.update_running(*before[:, :n_units].astype(float), case.z)
        np.testing.assert_allclose(found[:, :n_units], np.stack(wanted), rtol=limit, atol=limit)
        if n_rows == 1:
            np.testing.assert_array_equal(found, before)
        assert np.isfinite(found).all()
        case.check_guards()


@each_dtype
@pytest.mark.parametrize("kind", ["layer", "rms", "none"])
def test_update_running_leaves_other_layers_alone(kind, dtype):
    case = Case(dtype, kind, 5, 7)
    before = case.running.data.copy()
    update_running(case.part, 5)
    np.testing.assert_array_equal(case.running.data, before)


@each_dtype
@pytest.mark.parametrize("kind", ["layer", "batch"])
def test_equal_values_are_normalised_to_zero_but_for_the_rounding_of_their_mean(kind, dtype):
    """The deviation is then sqrt(eps), so an error of the mean is multiplied by 316 at most."""
    for value in (0.0, 1.0, -3.0, 0.1):
        for n_rows, n_units in [(1, 7), (5, 1), (TALLEST - 1, 7), (2 * TALLEST + 3, 33)]:
            case = Case(dtype, kind, n_rows, n_units, z=np.full((n_rows, n_units), value))
            case.forward()
            normed = np.abs(case.work["normed"][:, :n_units])
            assert normed.max() <= 4 * np.finfo(dtype).eps * abs(value) / np.sqrt(1e-5)
            if value == 0.0:
                np.testing.assert_array_equal(
                    case.work["act_out"][:, :n_units], np.tile(case.bias, (n_rows, 1))
                )


@each_dtype
@each_kind
def test_one_value_alone_gives_the_bias_and_no_gradient(kind, dtype):
    """A row of one unit, or a unit of one row, is its own mean; rms leaves its sign."""
    n_rows, n_units = (1, 5) if kind == "batch" else (5, 1)
    case = Case(dtype, kind, n_rows, n_units)
    case.forward()
    if kind == "rms":
        np.testing.assert_allclose(case.work["normed"][:, 0], np.sign(case.z[:, 0]), atol=1e-3)
        return
    assert (case.work["normed"][:, :n_units] == 0.0).all()
    normalise_backward(case.part, case.layer, 0, n_rows, n_rows)
    assert (case.work["dz"][:, :n_units] == 0.0).all()


@each_dtype
@each_kind
@pytest.mark.parametrize("size", [1e-18, 1e-6, 1e6, 1e18])
def test_large_and_tiny_values_are_those_of_the_oracle(kind, size, dtype):
    """Squares of 1e18 are within float32; those of 1e-18 vanish beside eps."""
    z = size * np.random.default_rng(1).standard_normal((2 * TALLEST + 3, 33))
    case = Case(dtype, kind, *z.shape, z=z)
    case.forward()
    normed, inverse, n = case.wanted()
    found = case.work["normed"][:, :33]
    np.testing.assert_allclose(
        found, normed, rtol=100 * np.finfo(dtype).eps,
        atol=100 * np.finfo(dtype).eps * np.abs(normed).max(),
    )  # fmt: skip
    case.check("act_out", n)
    normalise_backward(case.part, case.layer, 0, case.n_rows, case.n_rows)
    scaled = np.abs(case.dn * case.scale).max() * inverse.max()
    error = np.abs(case.work["dz"][:, :33] - case.wanted_dz())
    assert error.max() <= 400 * np.finfo(dtype).eps * scaled


@each_kind
def test_squares_beyond_float32_make_every_normalised_value_zero(kind):
    """Deviations of 1e20: the sum of squares is infinite and 1 / deviation is 0, not NaN."""
    z = 1e20 * np.random.default_rng(2).standard_normal((TALLEST + 3, 17))
    case = Case("float32", kind, *z.shape, z=z)
    case.forward()
    assert (case.work["normed"][:, :17] == 0.0).all()
    np.testing.assert_array_equal(
        case.work["act_out"][:, :17], np.tile(case.bias, (TALLEST + 3, 1)).astype(np.float32)
    )
    normalise_backward(case.part, case.layer, 0, case.n_rows, case.n_rows)
    assert (case.work["dz"][:, :17] == 0.0).all()


@each_dtype
@each_kind
def test_a_nan_stays_within_what_it_is_normalised_with(kind, dtype):
    z = np.random.default_rng(3).standard_normal((TALLEST + 3, 17))
    z[2, 5] = np.nan
    case = Case(dtype, kind, *z.shape, z=z)
    case.forward()
    lost = np.isnan(case.work["act_out"][:, :17])
    wanted = np.zeros_like(lost)
    wanted[:, 5] = kind == "batch"
    wanted[2, :] |= kind != "batch"
    np.testing.assert_array_equal(lost, wanted)
