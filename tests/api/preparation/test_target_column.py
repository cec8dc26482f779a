"""The target of a table, classes or values, and the split into parts."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastmlp.errors import TableError
from fastmlp.preparation import TablePreparation, Target, read_target, split_rows
from fastmlp.preparation.target import read_like
from fastmlp.sources import open_source


def target_of(cells, task="auto"):
    return read_target(open_source(pd.DataFrame({"y": cells})), "y", task)


# --- classes or values -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("cells", "task"),
    [
        (["red", "blue"] * 5, "classification"),
        ([0, 1] * 3, "classification"),
        ([1.0, 2.0, 3.0] * 5, "classification"),
        ([1, 2, 3] * 4, "regression"),  # fewer than 5 rows a class
        ([i % 21 for i in range(1000)], "regression"),  # more than 20 whole numbers
        ([i % 20 for i in range(100)], "classification"),
        ([0.5, 1.5] * 10, "regression"),
        (list(range(30)), "regression"),
        (["1", "2"] * 5, "classification"),
        ([True, False] * 5, "classification"),
    ],
)
def test_task_is_recognised(cells, task):
    assert target_of(cells).task == task


def test_whole_numbers_are_labels_whatever_their_spelling():
    found = target_of(["1", "2.0", "2", "1.0"], "classification")
    assert found.values.tolist() == [1, 2, 2, 1]
    assert found.is_whole
    assert target_of([3.0, 4.0] * 3, "classification").values.dtype == np.int64


def test_other_labels_stay_text():
    found = target_of(["0.5", "x", "x", "0.5"], "classification")
    assert found.values.tolist() == ["0.5", "x", "x", "0.5"]
    assert not found.is_whole
    assert target_of([0.5, 1.5] * 5, "classification").values.tolist()[:2] == ["0.5", "1.5"]
    assert target_of(["inf", "1e400"] * 2).values.tolist()[0] == "inf"


def test_said_task_wins():
    assert target_of([0, 1] * 5, "regression").values.dtype == np.float64
    assert target_of(["0", "1.5"] * 5, "regression").values.tolist()[:2] == [0.0, 1.5]


@pytest.mark.parametrize(
    ("cells", "task", "words"),
    [
        (["a"] * 5, "auto", ["two classes", "'a'", "5 rows"]),
        ([1] * 5, "auto", ["two classes"]),
        ([2.5] * 5, "auto", ["must vary", "2.5"]),
        (["a", "b"], "regression", ["'a'", "row 1", "--task classification"]),
        (["1", "inf"], "regression", ["'inf'", "row 2"]),
        (["a", "b", "c", "d", "d"], "auto", ["more than once", "4 different"]),
        (["a", "a", "b", "b", "c", "a"], "auto", ["two rows of each class", "'c' in row 5"]),
        ([1.5, None, 2.5, None], "auto", ["every row", "2 of 4 rows", "row 2"]),
        (["a", None, "b"], "auto", ["every row", "1 of 3 rows", "row 2", "leave these rows out"]),
    ],
)
def test_faults_of_a_target_are_named(cells, task, words):
    with pytest.raises(TableError) as raised:
        target_of(cells, task)
    for word in ["'y'", *words]:
        assert word in str(raised.value)
    assert "\n" not in str(raised.value)


def test_labels_of_another_table_are_of_the_kind_learnt():
    """A test part may hold labels that all look like numbers, or one class alone."""
    source = open_source(pd.DataFrame({"y": ["1", "1"]}))
    assert read_like(source, "y", "classification", whole=False).tolist() == ["1", "1"]
    assert read_like(source, "y", "classification", whole=True).tolist() == [1, 1]
    assert read_like(source, "y", "regression", whole=False).tolist() == [1.0, 1.0]


@pytest.mark.parametrize("truth", [[True, False], ["True", "false"]], ids=["truth", "text"])
def test_a_target_of_truth_is_read_again(truth):
    """A frame has it as truth, which is 1 and 0; a CSV file as text."""
    frame = pd.DataFrame({"a": np.arange(20.0), "y": [True, False] * 10})
    table = TablePreparation.learn(frame, "y")
    _, y = table.arrays(frame.assign(y=truth * 10))
    assert y.tolist() == [1, 0] * 10
    table = TablePreparation.learn(frame, "y", task="regression", scale_target=False)
    _, y = table.arrays(frame.assign(y=truth * 10))
    assert y.tolist() == [1.0, 0.0] * 10


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


@pytest.mark.usefixtures("in_own_folder")
def test_dates_as_classes_and_as_categories(run, tmp_path):
    rows = [f"{i % 7},2020-01-0{1 + i % 3},{i % 2}" for i in range(90)]
    (tmp_path / "t.csv").write_text("\n".join(["x,day,y", *rows]))
    code, _, err = run("train", "t.csv", "--target", "day")
    assert (code, err) == (
        2,
        "fastmlp: row 1 (line 2), column 'day' of t.csv must be a number or a label, got the date "
        "'2020-01-01'; make numbers of it (such as days, or year and month), or take dates as "
        "classes with --task classification\n",
    )
    words = ("train", "t.csv", "--epochs", "1", "--out", "m", "--target")
    assert run(*words, "day", "--task", "classification")[0] == 0
    assert run(*words, "y", "--categorical", "day")[0] == 0
    code, out, err = run("predict", "m/model.safetensors", "t.csv")
    assert (code, err) == (0, "")
    assert len(out.splitlines()) == 91
