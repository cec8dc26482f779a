"""Predictions for few rows, whose job is kept between calls: bitwise those of many rows at once."""

from __future__ import annotations

import itertools
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

import fastmlp
from fastmlp.engine.cpu.few_rows import MAX_ELEMS, MAX_ROWS
from fastmlp.spec.layers import MAX_CATEGORIES

MANY = 600  # more rows than a job for few takes


@pytest.fixture
def X():
    """(600, 20) float32"""
    return np.random.default_rng(0).normal(size=(MANY, 20)).astype(np.float32)


@pytest.fixture
def network():
    return fastmlp.Network([20, 33, 3], activation="tanh", loss="cross_entropy", seed=1)


def probabilities(net, X, n):
    """Of n rows at a time."""
    return np.concatenate([net.predict_proba(X[i : i + n]) for i in range(0, len(X), n)])


@pytest.mark.parametrize("n", [1, 2, 7, 8, 32, 255, MAX_ROWS, MAX_ROWS + 1])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_any_number_of_rows_gives_the_same_bits(X, n, dtype):
    net = fastmlp.Network([20, 33, 3], loss="cross_entropy", dtype=dtype, norm="layer")
    np.testing.assert_array_equal(probabilities(net, X, n), net.predict_proba(X))


@pytest.mark.parametrize("kind", ["batch", "rms"])
def test_with_normalisation_that_was_trained(X, kind):
    net = fastmlp.Network([20, 16, 3], loss="cross_entropy", norm=kind)
    labels = np.arange(MANY) % 3
    for _ in range(2):
        net.fit(X * 3 + 1, labels, epochs=1)
        np.testing.assert_array_equal(probabilities(net, X, 1), net.predict_proba(X))


@pytest.mark.parametrize(
    "element_type",
    ["float16", "float32", "float64", "int8", "uint8", "int16", "int32", "uint32", "int64",
     "uint64", "bool", ">f4", ">i8", "longdouble"],
)  # fmt: skip
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_every_element_type_is_read_as_of_many_rows(element_type, dtype):
    rng = np.random.default_rng(0)
    X = rng.uniform(-1, 1, size=(MANY, 5)) * 1.7e9
    if element_type in ("int64", "uint64", ">i8"):
        X *= 4e9  # more digits than either dtype has
    if np.dtype(element_type).kind in "ub":
        X = np.abs(X)
    if np.dtype(element_type).itemsize < 4:
        X /= 1.7e9 / 100
    X = X.astype(element_type)
    net = fastmlp.Network([5, 8, 2], dtype=dtype)
    few = np.concatenate([net.predict(X[i : i + 3]) for i in range(0, MANY, 3)])
    np.testing.assert_array_equal(few, net.predict(X))


def test_any_memory_order(X, network):
    wanted = network.predict_proba(X)[:4]
    rows = X[:4]
    for view in (
        np.asfortranarray(rows),
        np.repeat(rows, 2, axis=1)[:, ::2],
        np.repeat(rows, 3, axis=0)[::3],
        rows[::-1][::-1],
        rows.tolist(),
    ):
        np.testing.assert_array_equal(network.predict_proba(view), wanted)
    read_only = rows.copy()
    read_only.flags.writeable = False
    np.testing.assert_array_equal(network.predict_proba(read_only), wanted)
    unaligned = np.frombuffer(b"." + rows.tobytes(), np.uint8)[1:].view(np.float32).reshape(4, 20)
    assert not unaligned.flags.aligned
    np.testing.assert_array_equal(network.predict_proba(unaligned), wanted)


def test_what_was_returned_stays_as_it_is(X, network):
    first = network.predict_proba(X[:1])
    kept = first.copy()
    second = network.predict_proba(X[1:2])
    np.testing.assert_array_equal(first, kept)
    assert (first != second).any()
    regression = fastmlp.Network([20, 1])
    first = regression.predict(X[:1])
    kept = first.copy()
    regression.predict(X[1:2])
    np.testing.assert_array_equal(first, kept)


def test_new_weights_are_seen(X, network):
    labels = np.array(["a", "b", "c"])[np.arange(MANY) % 3]
    network.predict(X[:1])

    def same():
        np.testing.assert_array_equal(probabilities(network, X, 1), network.predict_proba(X))
        return network.predict_proba(X[:1])

    seen = [same()]
    network.weights = [2 * weight for weight in network.weights]
    seen.append(same())
    network.fit(X, labels, epochs=1)
    seen.append(same())
    assert network.predict(X[:1])[0] in ("a", "b", "c")
    # With a moving average, another array predicts; without it, the first one again.
    network.fit(X, labels, epochs=1, optimizer=fastmlp.optim.Adam(lr=0.1, ema=0.9))
    seen.append(same())
    network.fit(X, labels, epochs=1, optimizer=fastmlp.optim.SGD(lr=0.1))
    seen.append(same())
    for before, after in itertools.pairwise(seen):
        assert (before != after).any()


def test_the_last_of_the_most_categories_is_a_number_of_float32():
    net = fastmlp.Network([1, 1], embeddings={0: (MAX_CATEGORIES, 1)}, init="zeros")
    net.set_parameters([np.ones((1, 1))], [np.zeros(1)])
    table = np.zeros((MAX_CATEGORIES, 1), np.float32)
    table[-1] = 7
    net.embeddings = [table]
    for element_type in ("int64", "float64", "float32"):
        last = np.array([[MAX_CATEGORIES - 1]], element_type)
        assert net.predict(last) == [7]
        assert net.predict(last - 1) == [0]


def test_rows_with_more_columns_than_a_kept_job_takes():
    net = fastmlp.Network([MAX_ELEMS + 1, 1])
    X = np.ones((1, MAX_ELEMS + 1), np.float32)
    assert net.predict(X) == pytest.approx(net.weights[0].sum(), rel=1e-3, abs=1e-3)
    assert net.engine._spare_few == []


def test_threads_that_predict_rows_during_a_fit(X, network):
    """Each call sees weights of some step; the others' rows are never mixed in."""
    constant = fastmlp.Network([20, 33, 3], activation="tanh", loss="cross_entropy", seed=1)
    wanted = constant.predict_proba(X)
    ended = threading.Event()

    def of_one_row_after_another(first):
        n_rounds = 0
        while not ended.is_set() or n_rounds < 2:
            for i in range(first, MANY, 4):
                assert np.isfinite(network.predict_proba(X[i : i + 1])).all()
                np.testing.assert_array_equal(constant.predict_proba(X[i : i + 1])[0], wanted[i])
            n_rounds += 1
        return n_rounds

    with ThreadPoolExecutor(4) as pool:
        jobs = [pool.submit(of_one_row_after_another, first) for first in range(4)]
        try:
            network.fit(X, np.arange(MANY) % 3, epochs=20)
        finally:
            ended.set()
        assert min(job.result() for job in jobs) >= 2
    np.testing.assert_array_equal(probabilities(network, X, 1), network.predict_proba(X))


def test_nothing_is_allocated_anew_for_a_further_row(X, network):
    network.predict(X[:1])
    kept = list(network.engine._spare_few)
    for n in (1, 5, 1):
        network.predict(X[:n])
    assert network.engine._spare_few == kept
    assert len(kept) == 1


def test_large_workspaces_are_given_back():
    net = fastmlp.Network([4, 40_000, 2])
    net.predict(np.zeros((1, 4)))
    assert len(net.engine._spare_few) == 1
    net.engine.release()
    assert sum(few.n_bytes for few in net.engine._spare_few) <= 64 * 1024**2


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("element_type", ["float16", "float32", "float64"])
def test_a_row_that_is_not_finite_is_refused(X, network, bad, element_type):
    row = X[:1].astype(element_type)
    row[0, 7] = bad
    with pytest.raises(fastmlp.errors.DataError, match=r"row 0, column 7"):
        network.predict(row)


def test_a_row_whose_squares_overflow_is_taken(network):
    row = np.zeros((1, 20), np.float32)
    row[0, 3] = -3e38
    assert np.isfinite(network.predict_proba(row)).all()
    with pytest.raises(fastmlp.errors.DataError, match="finite in float32, got 1e\\+39"):
        network.predict(np.full((1, 20), 1e39))
    double = fastmlp.Network([20, 1], dtype="float64", init="zeros")
    assert double.predict(np.full((1, 20), 1e300)) == [0]
