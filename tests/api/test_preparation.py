"""From a table to what is learnt: classes or values, the split, the standardisation."""

from __future__ import annotations

import numpy as np
import pytest
from fastmlp.tables import Table
from hypothesis import given
from hypothesis import strategies as st

from fastmlp.csv_file import TableError
from fastmlp.errors import ModelFileError
from fastmlp.preparation import Preparation, Target, read_target, split_rows


def target_of(cells, task="auto"):
    return read_target(Table("t", ["a"], np.zeros((len(cells), 1)), list(cells)), "y", task)


# --- classes or values -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("cells", "task"),
    [
        (["red", "blue"] * 5, "classification"),
        (["0", "1"] * 3, "classification"),
        (["1.0", "2.0", "3.0"] * 5, "classification"),
        (["1", "2", "3"] * 4, "regression"),  # fewer than 5 rows a class
        ([str(i % 21) for i in range(1000)], "regression"),  # more than 20 whole numbers
        ([str(i % 20) for i in range(100)], "classification"),
        (["0.5", "1.5"] * 10, "regression"),
        ([str(i) for i in range(30)], "regression"),
    ],
)
def test_task_is_recognised(cells, task):
    assert target_of(cells).task == task


def test_labels_keep_their_kind():
    assert target_of(["1", "2.0", "2", "1.0"], "classification").values.tolist() == [1, 2, 2, 1]
    assert target_of(["0.5", "x", "x", "0.5"], "classification").values.tolist()[1] == "x"


def test_said_task_wins():
    assert target_of(["0", "1"] * 5, "regression").values.dtype == np.float64
    assert target_of(["0.5", "1.5"] * 5, "classification").n_classes == 2


@pytest.mark.parametrize(
    ("cells", "task", "words"),
    [
        (["a"] * 5, "auto", ["two classes", "'a'"]),
        (["1"] * 5, "auto", ["two classes"]),
        (["2.5"] * 5, "auto", ["must vary", "2.5"]),
        (["1.5", "2.5", "oops", "3.5"], "auto", ["'oops'", "row 3", "--task classification"]),
        (["1.5", "nan", "3.5"], "auto", ["'nan'", "row 2"]),
        (["a", "b"], "regression", ["'a'", "row 1"]),
        (["a", "b", "c", "d", "d"], "auto", ["more than once", "4 different"]),
    ],
)
def test_faults_of_a_target_are_named(cells, task, words):
    with pytest.raises(TableError) as raised:
        target_of(cells, task)
    for word in ["'y'", *words]:
        assert word in str(raised.value)


# --- split -----------------------------------------------------------------------------------


@given(
    st.lists(st.integers(0, 4), min_size=30, max_size=200),
    st.floats(0, 0.3),
    st.floats(0, 0.3),
    st.integers(0, 2**64 - 1),
)
def test_split_is_a_stratified_partition(labels, val, test, seed):
    y = np.array(labels)
    split = split_rows(Target("y", "classification", y), val, test, seed)
    together = np.concatenate([split.train, split.validation, split.test])
    np.testing.assert_array_equal(np.sort(together), np.arange(len(y)))
    assert set(y[split.train]) == set(y)
    for rows, fraction in ((split.validation, val), (split.test, test)):
        assert (len(rows) > 0) == (fraction > 0)
        for label in set(labels):
            share = (y[rows] == label).sum()
            assert abs(share - len(rows) * (y == label).mean()) <= 2


def test_split_depends_on_the_seed_alone():
    target = Target("y", "regression", np.arange(50.0))
    first, again, other = (split_rows(target, 0.2, 0.2, seed) for seed in (3, 3, 4))
    np.testing.assert_array_equal(first.test, again.test)
    assert not np.array_equal(first.test, other.test)


@pytest.mark.parametrize(
    ("n_rows", "task"), [(3, "classification"), (5, "regression"), (4, "classification")]
)
def test_too_few_rows(n_rows, task):
    values = np.arange(n_rows) % 3 if task == "classification" else np.arange(float(n_rows))
    with pytest.raises(TableError, match="too few rows"):
        split_rows(Target("y", task, values), 0.15, 0.2, 0)


def test_fractions_that_leave_nothing():
    with pytest.raises(TableError, match="leave 0 to train on"):
        split_rows(Target("y", "regression", np.arange(100.0)), 0.9, 0.5, 0)


# --- standardisation -------------------------------------------------------------------------


@pytest.fixture
def learnt():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(100, 3)) * [1, 1e6, 0] + [5, -1e6, 0.1]
    target = Target("y", "regression", rng.normal(size=100) * 50 + 300)
    rows = np.arange(0, 100, 2)
    return X, target, rows, Preparation.learn(X, ["a", "b", "c"], target, rows, scale_target=True)


def test_standardised_on_the_training_rows_alone(learnt):
    X, target, rows, preparation = learnt
    inputs = preparation.inputs(X[rows], "float64")
    np.testing.assert_allclose(inputs.mean(axis=0), 0, atol=1e-12)
    np.testing.assert_allclose(inputs.std(axis=0), [1, 1, 0], atol=1e-12)
    y = preparation.outputs(target.values)
    np.testing.assert_allclose([y[rows].mean(), y[rows].std()], [0, 1], atol=1e-12)
    np.testing.assert_allclose(preparation.values(y), target.values)


def test_constant_column_stays_finite_for_new_values(learnt):
    *_, preparation = learnt
    assert np.isfinite(preparation.inputs(np.array([[0.0, 0.0, 7.0]]), "float32")).all()


def test_extra_holds_all_of_it(learnt):
    *_, preparation = learnt
    assert Preparation.from_extra(preparation.to_extra(), "m") == preparation


def test_model_of_the_python_api_is_refused():
    with pytest.raises(ModelFileError, match="without a preparation"):
        Preparation.from_extra({}, "m.safetensors")


def test_newer_preparation_is_refused(learnt):
    *_, preparation = learnt
    extra = preparation.to_extra()
    extra["preparation"]["version"] = 2
    with pytest.raises(ModelFileError, match="version 1, got 2"):
        Preparation.from_extra(extra, "m.safetensors")


def test_overflowing_column_is_named():
    X = np.array([[1e300], [-1e300]] * 5)
    target = Target("y", "regression", np.arange(10.0))
    with pytest.raises(TableError, match="column 'big'"):
        Preparation.learn(X, ["big"], target, np.arange(10), scale_target=True)
