"""Shuffling in blocks: every row once, as written down, mixed well, and the same in any parts."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from fastmlp.data.inputs import Dataset
from fastmlp.data.shuffle import Blocks
from fastmlp.engine.block_order import BlockOrder
from fastmlp.engine.cpu.read_ahead import Windows
from fastmlp.engine.train_job import TrainJob
from fastmlp.kernels.cpu import random, shuffle
from tests.reference import random as reference

from .tools import compiled, dataset, make_engine_with, make_spec, random_parameters, train

PROBABILITY = 1e-6  # of a fair shuffle to fail a test here, once and for all: seeds are fixed
SEEDS = ((0, 0), (3, 2**63 + 5), (2**35 + 1, 99))
# Rows, bits of a block, rows of a window: whole and broken blocks and windows, one block, one
# window, blocks of one row, windows that cut blocks.
GEOMETRIES = [
    (1, 0, 16), (1, 3, 16), (7, 3, 16), (8, 3, 16), (9, 3, 16), (64, 2, 16), (65, 2, 16),
    (100, 3, 20), (100, 0, 30), (333, 4, 70), (1000, 3, 128), (1000, 5, 5000), (257, 1, 33),
]  # fmt: skip


@compiled
def window_order(out, n, block_bits, window_rows, key0, key1):
    room = np.zeros(2 * random.SHUFFLE_LANES, np.int64)
    i = 0
    while i < n:
        found = shuffle.rows_of_window(room, 0, i, n, block_bits, window_rows, key0, key1)
        for j in range(found):
            out[i + j] = room[j]
        i += found


def order(n, epoch, seed, block_bits, window_rows) -> np.ndarray:
    out = np.full(n, -1, np.int64)
    window_order(out, n, block_bits, window_rows, *reference.epoch_keys(epoch, seed))
    return out


@pytest.mark.parametrize(("n", "bits", "window"), GEOMETRIES)
@pytest.mark.parametrize(("epoch", "seed"), SEEDS)
def test_the_order_is_the_one_written_down(n, bits, window, epoch, seed):
    wanted = reference.block_shuffled(n, epoch, seed, bits, window)
    assert sorted(wanted) == list(range(n))
    assert order(n, epoch, seed, bits, window).tolist() == wanted


@pytest.mark.parametrize(("n", "bits", "window"), GEOMETRIES)
@pytest.mark.parametrize(("epoch", "seed"), SEEDS)
def test_rows_to_read_ahead_are_those_of_the_window(n, bits, window, epoch, seed):
    """What read-ahead computes by itself is what the kernel takes, block by block."""
    rows = order(n, epoch, seed, bits, window)
    found = BlockOrder(n, Blocks(bits, window), seed, epoch)
    for number, first in enumerate(range(0, n, window)):
        ranges = found.rows_of(number)
        wanted = sorted(rows[first : first + window].tolist())
        assert [row for start, stop in ranges for row in range(start, stop)] == wanted
        assert len(ranges) <= window // 2**bits + 3


def test_a_large_table_is_a_permutation_too():
    n = 1_000_003
    rows = order(n, 5, 11, 10, 65536)
    np.testing.assert_array_equal(np.sort(rows), np.arange(n))
    # Rows of a window come from as many blocks as it holds, up to the ends.
    assert len(np.unique(rows[:65536] >> 10)) in (64, 65)


@pytest.mark.parametrize("n_threads", [1, 2, 3])
@pytest.mark.parametrize(("n", "batch_size"), [(23, 1), (23, 5)])
def test_the_engine_takes_rows_in_this_order(n, batch_size, n_threads):
    """The sum of targets 2^row of a minibatch tells which rows were in it."""
    blocks, seed, epoch = Blocks(1, 7), 2**63 + 11, 2**33 + 4
    wanted = reference.block_shuffled(n, epoch, seed, 1, 7)
    spec = make_spec([1, 1], dtype="float64", seed=seed, n_threads=n_threads)
    data = Dataset(np.zeros((n, 1)), targets=2.0 ** np.arange(n)[:, None])
    for step, first in enumerate(range(0, n, batch_size)):
        engine = make_engine_with(spec, [np.zeros((1, 1))], [np.zeros(1)])
        engine.set_optimizer("sgd", ())
        rates = np.zeros(-(-n // batch_size))
        rates[step] = 1.0
        engine.train(TrainJob(
            data, batch_size=batch_size, n_epochs=1, first_epoch=epoch, first_step=0,
            learning_rates=rates, shuffle=blocks,
        ))  # fmt: skip
        rows = wanted[first : first + batch_size]
        bias = engine.get_parameters()[1][0][0] * len(rows)
        assert round(bias) == sum(2**row for row in rows)


def trained(n_threads, pieces, block_bits=3):
    """Parameters after an epoch of ten steps, made in pieces that end at these steps."""
    spec = make_spec([6, 40, 3], loss="cross_entropy", seed=4, n_threads=n_threads, dropout=0.2)
    rng = np.random.default_rng(0)
    engine = make_engine_with(spec, *random_parameters(rng, spec.layer_sizes))
    engine.set_optimizer("adam", (0.9, 0.999, 1e-8))
    data = dataset(rng.standard_normal((401, 6)).astype("float32"), rng.integers(0, 3, 401),
                   "float32", rng.uniform(0.5, 1.0, 401))  # fmt: skip
    done, seen = 0, None
    for end in pieces:
        result = engine.train(TrainJob(
            data, batch_size=41, n_epochs=1, first_epoch=7, first_step=done,
            n_steps_left=10 - end, seen=seen, learning_rates=np.full(end - done, 0.01),
            shuffle=Blocks(block_bits, 150),
        ))  # fmt: skip
        done, seen = end, result.seen
    return engine.params, result.loss[0]


def test_bits_do_not_depend_on_threads_nor_on_pieces():
    wanted, loss = trained(1, [10])
    for n_threads, pieces in ((2, [10]), (3, [10]), (1, [3, 4, 9, 10]), (3, [5, 10])):
        found, loss_found = trained(n_threads, pieces)
        np.testing.assert_array_equal(found, wanted)
        assert loss_found == loss
    assert (trained(1, [10], block_bits=2)[0] != wanted).any()


def test_orders_differ_by_epoch_seed_and_window():
    orders = {
        tuple(order(96, epoch, seed, 2, 24))
        for epoch in range(50) for seed in (0, 1, 2, 2**32, 2**63)
    }  # fmt: skip
    assert len(orders) == 250
    # Two windows of one epoch are shuffled apart: places among the blocks, of which all are whole.
    rows = order(4096, 0, 0, 4, 1024).reshape(4, 1024)
    ranks = [tuple(np.argsort(window)) for window in rows]
    assert len(set(ranks)) == 4


@pytest.mark.parametrize(("n", "bits", "window"), [(24, 1, 8), (23, 0, 9), (28, 2, 40)])
def test_every_row_comes_to_every_position_equally_often(n, bits, window):
    """Over epochs; rows of one block are near one another, but a position has any of them.

    Not so a last block of fewer rows, which begins where others do: one of many in a large table.
    """
    n_epochs = 400 * n
    counts = np.zeros((n, n))
    for epoch in range(n_epochs):
        counts[np.arange(n), order(n, epoch, 6, bits, window)] += 1
    # Positions of an epoch depend on one another, epochs do not: each position is a fair draw.
    p_values = [stats.chisquare(row).pvalue for row in counts]
    assert min(p_values) > PROBABILITY


def test_a_window_is_mixed_throughout():
    """Blocks of a window spread over all of its minibatches, and pairs of blocks meet by chance."""
    bits, window, batch = 4, 512, 64
    counts = np.zeros((window // batch, window // 2**bits))
    for epoch in range(60):
        rows = order(4096, epoch, 3, bits, window)[:window] >> bits
        blocks = {block: i for i, block in enumerate(dict.fromkeys(sorted(rows)))}
        for i, block in enumerate(rows):
            counts[i // batch, blocks[block]] += 1
    # Sums of rows and columns are fixed.
    expected = counts.sum() / counts.size
    chi_square = ((counts - expected) ** 2 / expected).sum() * window / (window - 1)
    freedom = (counts.shape[0] - 1) * (counts.shape[1] - 1)
    assert stats.chi2.sf(chi_square, freedom) > PROBABILITY
    assert stats.chi2.cdf(chi_square, freedom) > PROBABILITY


def test_windows_of_a_training_follow_its_steps():
    X = np.zeros((100, 2), np.float32)
    windows = Windows(X, 15, Blocks(2, 24), seed=3, first_epoch=5, n_epochs=2)
    assert windows.number == 10
    assert [windows.at(step) for step in range(15)] == [
        0, 0, 1, 1, 2, 3, 3, 5, 5, 6, 6, 7, 8, 8, 10,
    ]  # fmt: skip
    for epoch in (0, 1):
        rows = order(100, 5 + epoch, 3, 2, 24)
        for window in range(5):
            ranges = windows[5 * epoch + window]
            found = [row for start, stop in ranges for row in range(start, stop)]
            assert found == sorted(rows[24 * window : 24 * window + 24].tolist())


def test_training_in_blocks_learns_as_a_full_shuffle_does():
    """Of a table that is sorted by class, which training in order does not learn."""
    rng = np.random.default_rng(1)
    y = np.repeat(np.arange(4), 1024)
    X = (rng.standard_normal((4096, 5)) + np.eye(4, 5)[y] * 2.5).astype("float32")
    losses = {}
    for name, way in (("order", False), ("rows", True), ("blocks", Blocks(4, 512))):
        spec = make_spec([5, 16, 4], loss="cross_entropy", seed=2)
        weights = random_parameters(np.random.default_rng(3), spec.layer_sizes)
        engine = make_engine_with(spec, *weights)
        engine.set_optimizer("sgd", ())
        data = dataset(X, y, "float32")
        train(engine, data, batch_size=32, n_epochs=3, lr=0.3, shuffle=way)
        losses[name] = engine.evaluate(data)
    assert losses["blocks"] < 1.1 * losses["rows"] < 0.5 * losses["order"]
