"""Philox against its published vectors, and the shuffle: a permutation, and a fair one."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from fastmlp.data.inputs import Dataset
from fastmlp.engine.initial import philox as engine_philox
from fastmlp.engine.train_job import TrainJob
from fastmlp.kernels.cpu import random
from fastmlp.kernels.cpu.simd import like, load, store
from fastmlp.kernels.cpu.width import LANES
from tests.reference import random as reference

from .tools import DTYPES, compiled, make_engine_with, make_spec

FULL = 0xFFFFFFFF
# Salmon et al., SC 2011, as published with Random123 (kat_vectors).
PUBLISHED = [
    ((0, 0, 0, 0), (0, 0), (0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8)),
    ((FULL,) * 4, (FULL,) * 2, (0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD)),
    (
        (0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344),
        (0xA4093822, 0x299F31D0),
        (0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1),
    ),
]
PROBABILITY = 1e-6  # of a fair shuffle to fail a test here, once and for all: seeds are fixed


@compiled
def below(out, zero, threshold, c0, c1, c2, c3, k0, k1):
    """out[w * lanes + lane] = 1 where that word is below the threshold, else 0."""
    kept = like(load(zero, 0), 1.0)
    at = 0
    for word in random.philox_lanes(zero, c0, c1, c2, c3, k0, k1):
        store(out, at, random.keep_or_zero(word, threshold, kept))
        at += len(zero)


@compiled
def order(out, n, n_bits, key0, key1):
    for i in range(0, n, random.SHUFFLE_LANES):
        random.shuffled_rows(out, i, i, n, n_bits, key0, key1)


def lanes_words(dtype, counter, key) -> np.ndarray:
    """The kernel's words (4, lanes), found by comparing them with thresholds, bit by bit."""
    lanes = LANES[dtype]
    zero, out = np.zeros(lanes, dtype), np.full(4 * lanes, np.nan, dtype)
    words = np.zeros(4 * lanes, np.uint64)
    for bit in reversed(range(32)):
        # `words` holds the highest bits; a threshold cannot differ by lane, so take them in turn.
        for prefix in np.unique(words):
            below(out, zero, int(prefix) + 2**bit, *counter, *key)
            words[(words == prefix) & (out == 0.0)] += np.uint64(2**bit)
    return words.reshape(4, lanes)


def permutation(n, epoch, seed) -> np.ndarray:
    out = np.full(n + random.SHUFFLE_LANES, -1, np.int64)
    order(out, n, reference.domain_bits(n), *reference.epoch_keys(epoch, seed))
    return out[:n]


@pytest.mark.parametrize(("counter", "key", "wanted"), PUBLISHED)
def test_philox_gives_the_published_numbers(counter, key, wanted):
    assert reference.philox(counter, key) == wanted
    engine_words = engine_philox(np.array([counter], np.uint64), key[0] + (key[1] << 32))
    assert tuple(engine_words[0].tolist()) == wanted


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("counter", "key", "wanted"), PUBLISHED)
def test_philox_of_the_kernel_counts_on_with_the_lane(counter, key, wanted, dtype):
    words = lanes_words(dtype, counter, key)
    assert tuple(words[:, 0].tolist()) == wanted
    for lane in range(LANES[dtype]):
        moved = ((counter[0] + lane) & FULL, *counter[1:])
        assert tuple(words[:, lane].tolist()) == reference.philox(moved, key)


@pytest.mark.parametrize("n", [1, 2, 3, 4, 5, 16, 17, 64, 65, 1000, 65537])
def test_shuffle_is_a_permutation(n):
    for epoch, seed in ((0, 0), (1, 0), (7, 2**64 - 1), (2**40, 12345678901234567890)):
        np.testing.assert_array_equal(np.sort(permutation(n, epoch, seed)), np.arange(n))


@pytest.mark.parametrize("n", [1, 2, 3, 17, 300])
def test_shuffle_is_the_one_written_down(n):
    for epoch, seed in ((0, 0), (3, 2**63 + 5), (2**35 + 1, 99)):
        wanted = [reference.shuffled(i, n, epoch, seed) for i in range(n)]
        np.testing.assert_array_equal(permutation(n, epoch, seed), wanted)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("n_threads", [1, 3])
def test_the_engine_takes_rows_in_the_order_of_epoch_and_seed(n_threads, dtype):
    """Found out by training on one row at a time, which a gradient of its own tells apart."""
    n, seed, epoch = 23, 2**63 + 11, 2**33 + 4
    spec = make_spec([1, 1], dtype=dtype, seed=seed, n_threads=n_threads)
    data = Dataset(np.zeros((n, 1)), targets=(2.0 ** np.arange(n)[:, None]).astype(dtype))
    orders = []
    for steps in range(1, n + 1):
        engine = make_engine_with(spec, [np.zeros((1, 1))], [np.zeros(1)])
        engine.set_optimizer("sgd", ())
        rates = np.zeros(n)
        rates[steps - 1] = 1.0
        engine.train(TrainJob(
            data, batch_size=1, n_epochs=1, first_epoch=epoch, first_step=0,
            learning_rates=rates, shuffle=True,
        ))  # fmt: skip
        orders.append(int(np.log2(engine.get_parameters()[1][0][0])))
    assert orders == [reference.shuffled(i, n, epoch, seed) for i in range(n)]


def test_shuffles_differ_by_epoch_and_by_seed():
    shuffles = {
        tuple(permutation(100, epoch, seed))
        for epoch in range(50) for seed in (0, 1, 2, 2**32, 2**63)
    }  # fmt: skip
    assert len(shuffles) == 250


@pytest.mark.parametrize("seed", [0, 2**40 + 3])
@pytest.mark.parametrize("n", [2, 3, 4, 5, 16, 17, 40])
def test_every_row_comes_to_every_position_equally_often(n, seed):
    n_epochs = 200 * n
    counts = np.zeros((n, n))
    for epoch in range(n_epochs):
        counts[np.arange(n), permutation(n, epoch, seed)] += 1
    expected = n_epochs / n
    # Rows and columns of the table have fixed sums: (n - 1)^2 degrees of freedom.
    chi_square = ((counts - expected) ** 2 / expected).sum() * (n - 1) / n
    assert stats.chi2.sf(chi_square, (n - 1) ** 2) > PROBABILITY


@pytest.mark.parametrize("n", [3, 4])
def test_every_order_of_a_few_rows_comes_equally_often(n):
    n_epochs = 6000
    orders: dict[tuple, int] = {}
    for epoch in range(n_epochs):
        key = tuple(permutation(n, epoch, 5))
        orders[key] = orders.get(key, 0) + 1
    n_orders = int(np.prod(np.arange(1, n + 1)))
    assert len(orders) == n_orders
    assert stats.chisquare(list(orders.values())).pvalue > PROBABILITY


def test_neighbours_of_the_table_are_not_neighbours_of_the_minibatch():
    """Differences between rows that follow one another are those of a random order."""
    n, counts = 1000, np.zeros(20)
    for epoch in range(40):
        gaps = np.diff(permutation(n, epoch, 3)) % n
        counts += np.histogram(gaps, bins=20, range=(1, n))[0]
    assert stats.chisquare(counts).pvalue > PROBABILITY
