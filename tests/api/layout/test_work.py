"""Where a step keeps its arrays: each in lines of its own, and none where nothing needs it."""

from __future__ import annotations

import itertools

import pytest

from fastmlp.layout.parameters import CACHE_LINE_BYTES, ParameterPlan
from fastmlp.layout.work import WorkPlan
from fastmlp.spec.network import NetworkSpec

ITEMSIZE, LANES, TILE_ROWS = 4, 16, 6
SETTINGS = {
    "plain": {},
    "batch": {"norm": "batch"},
    "layer": {"norm": ["layer", "none"], "residual": [False, True]},
    "embedded": {"embeddings": {0: (5, 3)}, "input_dropout": 0.1},
}


def planned(batch_size, *, orthogonalises=False, forward=False, **settings) -> WorkPlan:
    spec = NetworkSpec.make(sizes=[9, 33, 33, 2], loss="squared_error", **settings)
    parameters = ParameterPlan.make(spec.layer_sizes, LANES, spec.norms, spec.embeddings)
    return WorkPlan.make(
        parameters, ITEMSIZE, batch_size, 2, TILE_ROWS, tuple(spec.residual),
        spec.input_dropout > 0, orthogonalises, forward,
    )  # fmt: skip


def arrays_of(plan: WorkPlan) -> list[tuple[int, int]]:
    """(offset, elements) of the arrays whose size follows from the plan alone."""
    n = plan.batch_size
    arrays = [(at, n * ld) for at, ld in zip(plan.activations, plan.leading, strict=True)]
    arrays += [(at, n * ld) for at, ld in zip(plan.dz, plan.leading[1:], strict=True)]
    arrays += [(at, n * ld) for at, ld in zip(plan.normed, plan.leading[1:], strict=True) if at]
    arrays += [(at, n * ld) for at, ld in zip(plan.da, plan.leading, strict=True) if at]
    arrays += [(plan.columns, n * plan.columns_ld)] if plan.columns_ld else []
    arrays += [(plan.input_mask, n * plan.leading[0])] if plan.input_mask else []
    arrays += [(plan.target, n * plan.target_ld), (plan.row_loss, n), (plan.row_weight, n)]
    arrays += [(plan.scratch, plan.n_threads * plan.scratch_elems), (plan.n_elems, 0)]
    return sorted(arrays)


@pytest.mark.parametrize("batch_size", [1, 7, 64, 5000])
@pytest.mark.parametrize("orthogonalises", [False, True])
@pytest.mark.parametrize("settings", SETTINGS)
def test_arrays_have_lines_of_their_own(settings, orthogonalises, batch_size):
    plan = planned(batch_size, orthogonalises=orthogonalises, **SETTINGS[settings])
    arrays = arrays_of(plan)
    for (at, n_elems), (after, _) in itertools.pairwise(arrays):
        assert at + n_elems <= after
    assert not any(at * ITEMSIZE % CACHE_LINE_BYTES for at, _ in arrays)


def test_there_is_room_only_for_what_is_asked():
    plain = planned(64)
    assert not any((*plain.normed, *plain.statistics, *plain.sums, *plain.da, plain.columns_ld))
    assert plain.band_rows == plain.group_rows == plain.packed_elems == 0
    assert planned(64, forward=True).n_elems < plain.n_elems
    assert planned(64, orthogonalises=True).n_elems > plain.n_elems
    assert [at > 0 for at in planned(64, norm=["none", "rms"]).normed] == [False, True, False]
    residual = planned(64, residual=[False, True])
    assert [at > 0 for at in residual.da] == [False, True, True, False]


@pytest.mark.parametrize(("settings", "is_banded"), [({}, True), ({"norm": "batch"}, False)])
def test_many_rows_go_in_whole_groups_of_bands(settings, is_banded):
    plan = planned(5000, **settings)
    assert (plan.band_rows > 0) == is_banded
    if is_banded:
        assert plan.band_rows % TILE_ROWS == plan.group_rows % plan.band_rows == 0
