"""Normalised layers against NumPy: tails of rows and units, and parts of the rows."""

from __future__ import annotations

import itertools
import threading

import numpy as np
import pytest

from fastmlp.kernels import codes
from fastmlp.kernels.cpu import norms
from fastmlp.kernels.cpu.width import LANES
from fastmlp.kernels.layer_kinds import LAYER_KINDS
from fastmlp.kernels.structs import Job, Sync
from tests.reference import norms as reference

from .norm_case import Case, normalise, normalise_backward
from .tools import DTYPES, TALLEST, compiled, straddling

each_dtype = pytest.mark.parametrize("dtype", DTYPES)
each_row_kind = pytest.mark.parametrize("kind", ["layer", "rms"])
each_kind = pytest.mark.parametrize("kind", codes.NORMS[1:])


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
            assert not normalise(part, layer, r0, r1, n_rows)
            assert not normalise_backward(part, layer, r0, r1, n_rows)

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
@pytest.mark.parametrize("n_threads", [1, 3])
def test_threads_that_meet_leave_a_step_together(n_threads, dtype):
    """The stop word is read by one of them, whenever it was written."""
    case = Case(dtype, "batch", 2 * TALLEST + 1, 5)
    case.job[Job.N_THREADS], case.sync[Sync.STOP] = n_threads, 1
    for meeting in (normalise, normalise_backward):
        case.sync[Sync.ABORTED], left = 0, []

        def work(r0, r1, meeting=meeting, left=left):
            left.append(meeting(case.part, case.layer, r0, r1, case.n_rows))

        # More threads than chunks: the first one has no rows.
        ends = (0, case.n_rows) if n_threads == 1 else (0, 0, TALLEST, case.n_rows)
        rows = itertools.pairwise(ends)
        threads = [threading.Thread(target=work, args=pair) for pair in rows]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert left == [True] * n_threads
        assert case.sync[Sync.ABORTED] == 1
        np.testing.assert_array_equal(case.work["normed"][:, :5], case.z.astype(dtype))


@each_dtype
def test_update_running_keeps_what_is_finite_and_marks_the_layer(dtype):
    case = Case(dtype, "batch", 5, 7)
    case.forward()
    before = case.running["running"].copy()
    case.of_columns()[0][2, 3] = np.inf
    update_running(case.part, 5)
    changed = case.running["running"] != before
    assert changed[:, :7].sum() == 12
    assert not changed[:, 3].any()
    assert case.sync[Sync.FAULTY_LAYER] == 1


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
@pytest.mark.parametrize("kind", [k.name for k in LAYER_KINDS.values() if not k.keeps_running])
def test_update_running_leaves_other_layers_alone(kind, dtype):
    case = Case(dtype, kind, 5, 7)
    before = case.running.data.copy()
    update_running(case.part, 5)
    np.testing.assert_array_equal(case.running.data, before)
