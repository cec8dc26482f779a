"""Predictions of many rows: block by block, into memory of the user's, with little beside."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest

import fastmlp
from fastmlp import errors
from fastmlp.model import outputs

LOSSES = {
    "cross_entropy": (3, lambda rng, n: rng.integers(0, 3, n)),
    "text": (2, lambda rng, n: rng.choice(["no", "certainly"], n)),
    "binary_cross_entropy": (1, lambda rng, n: rng.integers(0, 2, n)),
    "several": (4, lambda rng, n: rng.integers(0, 2, (n, 4))),
    "squared_error": (1, lambda rng, n: rng.normal(size=n)),
    "poisson": (2, lambda rng, n: rng.poisson(2.0, (n, 2))),
    "quantiles": (3, lambda rng, n: rng.normal(size=n)),
    "gaussian_nll": (4, lambda rng, n: rng.normal(size=(n, 2))),
}
NAMES = {"text": "cross_entropy", "several": "binary_cross_entropy"}


@pytest.fixture
def blocks_of(monkeypatch):
    """A function that sets how many rows of five float32 a block has."""

    def set_rows(n_rows):
        monkeypatch.setattr(outputs, "_MIN_ROWS", 1)
        monkeypatch.setattr(outputs, "_BLOCK_BYTES", n_rows * 20)

    return set_rows


def trained(kind):
    n_outputs, make = LOSSES[kind]
    rng = np.random.default_rng(3)
    X = rng.normal(size=(70, 5)).astype("float32")
    net = fastmlp.Network([5, 9, n_outputs], loss=NAMES.get(kind, kind), norm="batch", seed=1)
    net.fit(X, make(rng, 70), epochs=3, verbose=False)
    uses = [net.predict]
    if net.task != "regression":
        uses.append(net.predict_proba)
    if kind == "gaussian_nll":
        uses.append(net.predict_std)
    return uses, X


@pytest.mark.parametrize("kind", LOSSES)
@pytest.mark.parametrize("n_rows", [1, 7, 70])
def test_blocks_give_the_bits_of_all_rows_at_once(blocks_of, tmp_path, kind, n_rows):
    uses, X = trained(kind)
    X.tofile(tmp_path / "x.dat")
    mapped = np.memmap(tmp_path / "x.dat", "float32", "r", shape=X.shape)
    wanted = [use(X) for use in uses]
    blocks_of(n_rows)
    for use, want in zip(uses, wanted, strict=True):
        for got in (use(X), use(mapped)):
            assert got.dtype == want.dtype
            np.testing.assert_array_equal(got, want)
        out = np.zeros_like(want)
        assert use(X, out=out) is out
        np.testing.assert_array_equal(out, want)


def test_out_may_be_wider_and_lie_in_a_file(tmp_path):
    (_, predict_proba), X = trained("cross_entropy")
    out = np.memmap(tmp_path / "p.dat", "float64", "w+", shape=(70, 5))[:, ::2]
    predict_proba(X, out=out)
    np.testing.assert_array_equal(out, predict_proba(X))


@pytest.mark.parametrize(
    ("make", "error", "wanted"),
    [
        (lambda: [0.0] * 70, errors.OptionTypeError, "an array or a memory map, got [0.0"),
        (lambda: np.zeros((70, 2)), errors.ShapeError, "shape (70, 3), as the result has, got (70"),
        (lambda: np.zeros((70, 3), int), errors.OptionError, "dtype float32, got dtype int64"),
        (lambda: np.broadcast_to(np.zeros(3), (70, 3)), errors.OptionError, "writeable"),
    ],
)
def test_an_out_that_does_not_fit_is_refused(make, error, wanted):
    (_, predict_proba), X = trained("cross_entropy")
    with pytest.raises(error) as caught:
        predict_proba(X, out=make())
    assert str(caught.value).startswith("out must ")
    assert wanted in str(caught.value)


def test_a_bad_value_is_named_by_its_row_in_the_table(blocks_of):
    (predict, _), X = trained("cross_entropy")
    X[58, 3] = np.nan
    blocks_of(7)
    out = np.full(70, -1)
    with pytest.raises(errors.DataError, match="got nan at row 58, column 3;"):
        predict(X, out=out)
    assert (out[:56] >= 0).all()
    assert (out[56:] == -1).all()


def test_a_bad_category_is_named_by_its_row_in_the_table(blocks_of):
    rng = np.random.default_rng(0)
    X = rng.integers(0, 6, (50, 2)).astype("float32")
    net = fastmlp.Network([2, 4, 1], embeddings={1: (6, 2)})
    X[41, 1] = 6
    blocks_of(3)
    with pytest.raises(errors.DataError, match=r"got 6\.0 at row 41;"):
        net.predict(X)


def test_memory_does_not_grow_with_the_rows(blocks_of, tmp_path):
    (_, predict_proba), X = trained("cross_entropy")
    n_rows = 200_000
    table = np.memmap(tmp_path / "x.dat", "float32", "w+", shape=(n_rows, 5))
    out = np.memmap(tmp_path / "p.dat", "float32", "w+", shape=(n_rows, 3))
    blocks_of(4096)
    predict_proba(X, out=np.zeros((70, 3)))  # what is made once
    tracemalloc.start()
    predict_proba(table, out=out)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 1_000_000 < out.nbytes
