"""A list of programs in one call: each runs as it does alone, and no other one."""

import numpy as np
import pytest
from numba import types

import fastmlp
from fastmlp.engine.cpu.program import ensure_entry, loop_address
from fastmlp.engine.cpu.together import ProgramList, groups_of
from fastmlp.kernels.cpu.many_programs import N_WORDS, PROGRAM, run_each

N_ROWS, N_COLUMNS = 70, 5
X = np.random.default_rng(0).normal(size=(N_ROWS, N_COLUMNS))


@pytest.fixture
def engines():
    kinds = [
        ([8, 1], "float32"), ([8, 1], "float64"), ([33, 7, 3], "float32"), ([8, 1], "float32"),
        ([8, 1], "float64"),
    ]  # fmt: skip
    nets = [
        fastmlp.Network([N_COLUMNS, *sizes], dtype=dtype, seed=seed)
        for seed, (sizes, dtype) in enumerate(kinds)
    ]
    for net in nets:
        net.engine.compile()
    ensure_entry(run_each, (types.int64, types.int64))
    return [net.engine for net in nets]


@pytest.fixture
def programs(engines):
    found = ProgramList(engines, groups_of(engines), N_ROWS)
    for outputs in found._outputs:
        outputs[...] = np.nan
    return found


def outputs_of(programs, engines):
    """Those of each network, in order."""
    found = [None] * len(engines)
    for numbers, outputs in zip(groups_of(engines), programs._outputs, strict=True):
        for number, own in zip(numbers, outputs, strict=True):
            found[number] = own
    return found


def test_networks_that_differ_in_their_parameters_alone_are_a_group(engines):
    assert [numbers.tolist() for numbers in groups_of(engines)] == [[0, 3], [1, 4], [2]]


@pytest.mark.parametrize("n_rows", [1, 2, 13, N_ROWS])
def test_every_program_writes_its_own_outputs(programs, engines, n_rows):
    params = [engine.folded() for engine in engines]
    found = programs.predict(params, X[:n_rows])
    for numbers, outputs in zip(groups_of(engines), found, strict=True):
        assert outputs.shape[:2] == (len(numbers), n_rows)
        for number, own in zip(numbers, outputs, strict=True):
            np.testing.assert_array_equal(own, engines[number].predict(X[:n_rows]))
    for outputs in programs._outputs:
        assert np.isnan(outputs[:, n_rows:]).all()


@pytest.mark.parametrize("n", range(6))
def test_as_many_run_as_are_wanted(programs, engines, n):
    programs.predict([engine.folded() for engine in engines], X)
    for outputs in programs._outputs:
        outputs[...] = np.nan
    run_each(programs._address, n)
    for number, own in enumerate(outputs_of(programs, engines)):
        assert np.isfinite(own).all() if number < n else np.isnan(own).all()


def test_the_order_of_the_list_is_that_of_the_runs(programs, engines):
    """Two rows of the list that write to one place: the later one stays."""
    params = [engine.folded() for engine in engines]
    programs.predict(params, X)
    first, later = programs._tables[0], programs._tables[3]
    later[...] = np.where(np.arange(len(first)) == 0, later, first)  # params of its own alone
    programs.predict(params, X)
    np.testing.assert_array_equal(outputs_of(programs, engines)[0], engines[3].predict(X))


def test_addresses_are_those_of_the_loop_that_is_loaded(programs, engines):
    assert loop_address(np.dtype("float32")) != loop_address(np.dtype("float64"))
    assert programs._list.shape == (len(engines), N_WORDS)
    assert (np.diff(programs._list[:, PROGRAM]) == programs._tables.strides[0]).all()


def test_a_stopped_list_leaves_its_runs(programs, engines):
    programs.stop()
    params = [engine.folded() for engine in engines]
    programs.predict(params, X)
    for outputs in outputs_of(programs, engines):
        assert not np.isfinite(outputs).all()
