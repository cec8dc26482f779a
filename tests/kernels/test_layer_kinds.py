"""The table of kinds of layers: each has kernels and an oracle, and facts that agree with both."""

from __future__ import annotations

from dataclasses import fields

import numpy as np
import pytest

from fastmlp.engine.cuda import norms as launches
from fastmlp.kernels import codes
from fastmlp.kernels.cpu import layer_kinds
from fastmlp.kernels.cpu.width import LANES
from fastmlp.kernels.layer_kinds import LAYER_KINDS, PLAIN, of_columns
from fastmlp.layout.parameters import ParameterPlan, Parameters
from tests.reference import norms as reference

from .norm_case import Case, normalise, normalise_backward
from .tools import (
    DTYPES,
    TALLEST,
    make_engine_with,
    make_spec,
    random_parameters,
    straddling,
)

KINDS = [kind for kind in LAYER_KINDS.values() if not kind.is_plain]
each_kind = pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
SIZES = (5, 9, 3)


def engine_of(norm: str, dtype: str = "float64"):
    spec = make_spec(SIZES, norm=norm, dtype=dtype, n_threads=1)
    return make_engine_with(spec, *random_parameters(np.random.default_rng(0), SIZES))


def test_every_kind_has_its_kernels_and_its_oracle():
    names = tuple(kind.name for kind in KINDS)
    assert (PLAIN, *names) == codes.NORMS
    assert tuple(layer_kinds.TABLE) == tuple(launches.TABLE) == names
    assert set(reference.TABLE) == set(names)


@each_kind
def test_vectors_lie_behind_the_bias_and_begin_at_their_values(kind):
    plan = ParameterPlan.make(SIZES, 4, (kind.name,))
    first, last = plan.layers
    assert [where.start for _, where in first.vectors()] == [
        first.bias + (1 + i) * first.out_pad for i in range(len(kind.vectors))
    ]
    assert last.weight == first.end == first.bias + kind.n_sums * first.out_pad
    assert not list(last.vectors())
    plain = engine_of(kind.name).parameters()
    for vector in kind.vectors:
        assert vector.name in {field.name for field in fields(Parameters)}
        of_first, of_last = getattr(plain, vector.name)
        np.testing.assert_array_equal(of_first, np.full(SIZES[1], vector.initial))
        assert of_last is None


@each_kind
def test_a_kind_has_no_vector_that_others_do_not_provide_for(kind):
    """The limits that `LayerKind` states."""
    assert [vector.name for vector in kind.vectors] in ([], ["scales"])
    assert not kind.keeps_running or kind.statistics_elems is of_columns


@each_kind
def test_the_least_rows_have_a_reason(kind):
    assert (kind.least_rows > 1) == bool(kind.needs_rows)


@each_kind
def test_only_kinds_that_keep_running_statistics_have_some(kind):
    engine = engine_of(kind.name)
    assert list(engine.get_running()) == ([0] if kind.keeps_running else [])
    # What folds, folds them; without them there is nothing to fold.
    assert (engine.folded() is not engine.params) == kind.folds
    assert kind.keeps_running or not kind.folds


@pytest.mark.parametrize("dtype", DTYPES)
@each_kind
def test_both_ways_are_those_of_the_oracle_around_a_vector_and_a_tile(kind, dtype):
    for n_rows in straddling(TALLEST):
        for n_units in straddling(LANES[dtype]):
            case = Case(dtype, kind.name, n_rows, n_units)
            assert not normalise(case.part, case.layer, 0, n_rows, n_rows)
            _, _, n = case.wanted()
            case.check("act_out", n)
            assert not normalise_backward(case.part, case.layer, 0, n_rows, n_rows)
            case.check("dz", case.wanted_dz(), tolerance=400.0)
            case.check_guards()


@pytest.mark.parametrize("dtype", DTYPES)
@each_kind
def test_rows_depend_on_each_other_in_kinds_that_meet_and_in_no_other(kind, dtype):
    """An element of the last row is another: the rows before it, and their way back, too or not."""
    n_rows, change = TALLEST + 3, np.zeros((TALLEST + 3, 5))
    change[-1, 0], z = 1.0, np.random.default_rng(1).standard_normal(change.shape)
    one, other = (Case(dtype, kind.name, n_rows, 5, z=values) for values in (z, z + change))
    for case in (one, other):
        assert not normalise(case.part, case.layer, 0, n_rows, n_rows)
        assert not normalise_backward(case.part, case.layer, 0, n_rows, n_rows)
    for name in ("act_out", "dz"):
        same = (one.work[name][:-1, :5] == other.work[name][:-1, :5]).all()
        assert same != kind.meets, name


@each_kind
def test_the_least_minibatch_has_a_way_back(kind):
    """One row less leaves nothing of dZ, or there is no such minibatch."""
    for n_rows in {kind.least_rows, max(kind.least_rows - 1, 1)}:
        case = Case("float64", kind.name, n_rows, 5)
        normalise(case.part, case.layer, 0, n_rows, n_rows)
        normalise_backward(case.part, case.layer, 0, n_rows, n_rows)
        assert (case.work["dz"][:, :5] != 0.0).any() == (n_rows >= kind.least_rows)
