"""Rows, weights and classes at the limits of what is taken."""

from __future__ import annotations

import numpy as np
import pytest

from fastmlp import errors
from fastmlp.data import memory
from fastmlp.data.inputs import as_inputs, as_weights
from fastmlp.data.targets import (
    _BLOCK_ROWS,
    _distinct,
    as_probabilities,
    make_dataset,
    task_of,
)
from fastmlp.spec.network import NetworkSpec


def test_more_rows_than_their_numbers_have_bits():
    """2**32 rows of nothing, which take no memory."""
    most = np.broadcast_to(np.zeros(1, np.uint8), (2**32 - 1, 1))
    assert as_inputs(most, 1, "float32").shape == most.shape
    with pytest.raises(errors.ShapeError, match=r"fewer than 2\*\*32 rows, got 4294967296"):
        as_inputs(np.broadcast_to(np.zeros(1, np.uint8), (2**32, 1)), 1, "float32")


@pytest.mark.parametrize("shape", [(0, 3), (3, 0)])
def test_nothing_is_no_table(shape):
    with pytest.raises(errors.ShapeError, match="must have at least one"):
        as_inputs(np.zeros(shape), shape[1], "float32")


def test_weights_whose_sum_is_too_large():
    assert as_weights([1e38, 2e38], 2, "float32").tolist() == [np.float32(1e38), np.float32(2e38)]
    with pytest.raises(errors.DataError, match=r"finite in float32, got 6e\+38; divide"):
        as_weights([3e38, 3e38], 2, "float32")
    as_weights([3e38, 3e38], 2, "float64")


def test_weights_that_are_too_small():
    least = float(np.sqrt(np.finfo("float32").tiny))
    as_weights([0.0, least * 1.001], 2, "float32")
    with pytest.raises(errors.DataError, match="a largest weight of at least 1e-19 in float32"):
        as_weights([0.0, least * 0.999], 2, "float32")
    with pytest.raises(errors.DataError, match="a weight above 0, got only zeros in float32"):
        as_weights([0.0, 1e-60], 2, "float32")
    with pytest.raises(errors.DataError, match=r">= 0, got -1\.0 at row 1"):
        as_weights([2.0, -1.0], 2, "float32")


@pytest.mark.parametrize("n", [7, _BLOCK_ROWS + 1, 2 * _BLOCK_ROWS + 5])
def test_distinct_values_of_many_rows(n):
    y = np.random.default_rng(0).permutation(n)
    np.testing.assert_array_equal(_distinct(y), np.arange(n))
    np.testing.assert_array_equal(_distinct(y % 5), np.arange(min(n, 5)))


@pytest.mark.parametrize(
    ("files", "wanted"),
    [
        ({}, 4096 * 1000),
        ({"/proc/meminfo": "MemFree: 5 kB\nMemAvailable:     3000 kB\n"}, 3000 * 1024),
        ({"/sys/fs/cgroup/memory.max": "900\n", "/sys/fs/cgroup/memory.current": "300\n"}, 600),
        ({"/sys/fs/cgroup/memory.max": "900\n", "/sys/fs/cgroup/memory.current": "901\n"}, 0),
        ({"/sys/fs/cgroup/memory.max": "max\n", "/sys/fs/cgroup/memory.current": "3"}, 4096 * 1000),
    ],
)
def test_memory_that_is_free(monkeypatch, files, wanted):
    monkeypatch.setattr(memory, "_text", lambda path: files.get(path, ""))
    amounts = {"SC_PHYS_PAGES": 1000, "SC_PAGE_SIZE": 4096}
    monkeypatch.setattr(memory.os, "sysconf", amounts.__getitem__)
    assert memory.available_bytes() == wanted


def test_a_file_of_another_system_is_empty(tmp_path):
    assert memory._text(str(tmp_path / "none")) == ""
    (tmp_path / "some").write_text("12")
    assert memory._text(str(tmp_path / "some")) == "12"


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        ([[1.0, 0.0], [0.0, 1.0]], None),
        ([[1.0, 0.0], [0.5, 0.5009]], None),
        ([[1.0, 0.0], [0.5, 0.5011]], r"sum to 1 in each row, got 1\.0011 at row 1"),
        ([[1.0, 0.0], [0.5, 0.4989]], r"sum to 1 in each row, got 0\.9989 at row 1"),
        ([[1.0, 0.0], [1.5, -0.5]], r"within 0 and 1, got 1\.5 at row 1, column 0"),
        ([[1.0, 0.0], [1.5, 0.0]], r"within 0 and 1, got 1\.5 at row 1, column 0"),
        ([[0.0, 1.0], [0.0, -0.1]], r"within 0 and 1, got -0\.1 at row 1, column 1"),
        ([[1.0, 0.0, 0.0]] * 2, r"probabilities \(rows, 2\), got shape \(2, 3\)"),
    ],
)
def test_probabilities_of_classes(rows, words):
    if words is None:
        found = as_probabilities(np.array(rows), 2, 2, "float32", "y")
        np.testing.assert_array_equal(found, np.float32(rows))
        return
    with pytest.raises(errors.FastmlpError, match=words):
        as_probabilities(np.array(rows), 2, 2, "float32", "y")


@pytest.mark.parametrize("sample_weight", [None, [1.0, 2.0, 4.0, 8.0]])
def test_weights_of_classes_are_those_of_their_rows(sample_weight):
    spec = NetworkSpec.make(sizes=[1, 3], loss="cross_entropy")
    data, classes = make_dataset(
        spec, task_of(spec.loss, 3), np.zeros((4, 1)), np.array([7, 9, 8, 9]), sample_weight, None,
        class_weight={7: 3.0, 9: 0.5},
    )  # fmt: skip
    assert classes.tolist() == [7, 8, 9]
    wanted = np.array([3.0, 0.5, 1.0, 0.5]) * (sample_weight or 1.0)
    assert data.weights.tolist() == wanted.tolist()
