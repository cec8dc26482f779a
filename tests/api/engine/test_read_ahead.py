"""Reading ahead: the right parts of the right files, in time, and nothing where there is none."""

from __future__ import annotations

import itertools
import mmap
import threading
import time

import numpy as np
import pytest

from fastmlp.data import mapped
from fastmlp.data.inputs import Dataset
from fastmlp.data.shuffle import Blocks
from fastmlp.engine import make_engine
from fastmlp.engine.cpu import read_ahead
from fastmlp.engine.cpu.read_ahead import WINDOWS_AHEAD, Windows, reading_ahead
from fastmlp.engine.train_job import TrainJob
from fastmlp.spec.network import NetworkSpec

PAGE = mmap.PAGESIZE
BLOCKS = Blocks(1, 8)


@pytest.fixture
def table(tmp_path):
    """40 rows of a page each, mapped."""
    values = np.random.default_rng(0).integers(0, 9, (40, PAGE), "uint8")
    values.tofile(tmp_path / "table.dat")
    return np.memmap(tmp_path / "table.dat", "uint8", "r", shape=values.shape)


class Advice:
    """What the system was told, in rows of the table: (advice, first row, row after the last)."""

    def __init__(self, table):
        self._start, self.given = table.ctypes.data, []

    def __call__(self, address, n_bytes, advice):
        first, end = address - self._start, address - self._start + n_bytes
        assert first % PAGE == end % PAGE == 0
        self.given.append((advice, first // PAGE, end // PAGE))
        return 0

    def rows(self, advice, since=0):
        return [r for a, start, stop in self.given[since:] if a == advice
                for r in range(start, stop)]  # fmt: skip


@pytest.fixture
def advice(table, monkeypatch):
    found = Advice(table)
    monkeypatch.setattr(mapped, "_madvise", lambda: found)
    return found


def joined(rows):
    return list(itertools.chain(*rows))


def wait_for(condition):
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.001)


@pytest.mark.parametrize("shuffle", [BLOCKS, False])
def test_windows_are_asked_for_before_they_are_used_and_let_go_after(
    table, advice, monkeypatch, shuffle
):
    monkeypatch.setattr(Blocks, "of", lambda X: BLOCKS)
    windows = Windows(table, 4, shuffle, seed=1, first_epoch=0, n_epochs=2)
    assert windows.number == 10
    rows = [[r for a, b in windows[w] for r in range(a, b)] for w in range(10)]
    assert sorted(joined(rows[:5])) == sorted(joined(rows[5:])) == list(range(40))
    step = [0]
    with reading_ahead([table, None, np.zeros(40)], windows, lambda: step[0]):
        for now in range(10):
            step[0] = 2 * now  # two steps of four rows a window
            asked = joined(rows[: min(now + WINDOWS_AHEAD + 1, 10)])
            wait_for(lambda: len(advice.rows(mapped._WILL_NEED)) >= len(asked))  # noqa: B023
            assert advice.rows(mapped._WILL_NEED) == asked
            wait_for(lambda: len(advice.rows(mapped._COLD)) >= 8 * now)  # noqa: B023
            assert advice.rows(mapped._COLD) == joined(rows[:now])
    assert [t for t in threading.enumerate() if t.name == "fastmlp-reader"] == []
    n_whole = len(advice.rows(mapped._RANDOM))
    assert n_whole == len(advice.rows(mapped._NORMAL)) == (40 if shuffle else 0)


def test_a_loop_that_is_faster_is_not_followed_through_what_it_left(table, advice):
    windows = Windows(table, 4, BLOCKS, seed=1, first_epoch=0, n_epochs=1)
    step = [0]
    with reading_ahead([table], windows, lambda: step[0]):
        wait_for(lambda: len(advice.rows(mapped._WILL_NEED)) >= 24)
        step[0] = 8
        wait_for(lambda: len(advice.rows(mapped._WILL_NEED)) >= 32)
    last = [r for a, b in windows[4] for r in range(a, b)]
    assert advice.rows(mapped._WILL_NEED)[24:] == last


def test_a_training_that_goes_on_in_mid_epoch_asks_from_there(table, advice):
    windows = Windows(table, 4, BLOCKS, seed=1, first_epoch=3, n_epochs=1)
    with reading_ahead([table], windows, lambda: 7):
        wait_for(lambda: len(advice.rows(mapped._WILL_NEED)) >= 16)
    asked = [r for w in (3, 4) for a, b in windows[w] for r in range(a, b)]
    assert advice.rows(mapped._WILL_NEED) == asked
    assert advice.rows(mapped._COLD) == []


@pytest.mark.parametrize(
    ("array", "shuffle"), [("memory", BLOCKS), ("memory", False), ("mapped", True)]
)
def test_nothing_is_asked_for_in_memory_nor_where_rows_come_from_anywhere(
    table, advice, array, shuffle
):
    X = table if array == "mapped" else np.array(table)
    windows = Windows(X, 4, shuffle, seed=1, first_epoch=0, n_epochs=1)
    with reading_ahead([X], windows, lambda: 0):
        assert not any(t.name == "fastmlp-reader" for t in threading.enumerate())
    assert advice.given == []


def trained(X, shuffle):
    spec = NetworkSpec.make(sizes=[PAGE, 8, 3], loss="cross_entropy", seed=3)
    engine = make_engine(spec)
    engine.set_optimizer("adam", (0.9, 0.999, 1e-8))
    data = Dataset(X, labels=np.arange(40, dtype=np.int32) % 3)
    engine.train(TrainJob(
        data, batch_size=4, n_epochs=3, first_epoch=0, first_step=0,
        learning_rates=np.full(30, 0.001), shuffle=shuffle,
    ))  # fmt: skip
    return engine.params


@pytest.mark.parametrize("shuffle", [BLOCKS, False, True])
def test_training_from_a_file_has_the_bits_of_training_in_memory(table, shuffle):
    np.testing.assert_array_equal(trained(table, shuffle), trained(np.array(table), shuffle))
    assert not any(t.name == "fastmlp-reader" for t in threading.enumerate())


@pytest.mark.parametrize("call", [None, lambda *arguments: -1])
def test_a_system_that_takes_no_advice_does_no_harm(table, monkeypatch, call):
    wanted = trained(np.array(table), BLOCKS)
    monkeypatch.setattr(mapped, "_madvise", lambda: call)
    np.testing.assert_array_equal(trained(table, BLOCKS), wanted)


def test_the_thread_ends_where_the_training_raises(table):
    windows = Windows(table, 4, BLOCKS, seed=1, first_epoch=0, n_epochs=1)
    running = []

    def train():
        with reading_ahead([table], windows, lambda: 0):
            running.extend(t.name for t in threading.enumerate())
            raise KeyError

    with pytest.raises(KeyError):
        train()
    assert "fastmlp-reader" in running
    assert not any(t.name == "fastmlp-reader" for t in threading.enumerate())


def test_rows_are_pages_of_the_file_in_every_layout(table, advice):
    """Whole pages around the rows; none for rows whose values lie far apart or backwards."""
    narrow = table[:, 10:30]
    half = table.reshape(80, PAGE // 2)
    for array, wanted in (
        (table[5:], (7, 9)), (narrow, (2, 4)), (table[::2], (4, 7)), (half, (1, 2)),
        (np.asarray(table), (2, 4)), (half[:, None, :][1:], (1, 3)),
    ):  # fmt: skip
        advice.given.clear()
        mapped.will_need(array, 2, 4)
        assert advice.given == [(mapped._WILL_NEED, *wanted)]
    advice.given.clear()
    for array in (table[::-1], table[:, ::-1], table.T, np.asfortranarray(table)):
        mapped.will_need(array, 2, 4)
    mapped.will_need(table, 3, 3)
    assert advice.given == []


def test_large_parts_are_asked_for_in_pieces(table, advice):
    """The system takes no more than a piece for one call."""
    mapped.will_need(table, 1, 40)
    piece = mapped._PIECE_BYTES // PAGE
    assert advice.given == [
        (mapped._WILL_NEED, start, min(start + piece, 40)) for start in range(1, 40, piece)
    ]


def test_what_is_mapped(table, tmp_path):
    assert all(map(mapped.is_mapped, (table, table[3:, ::2], np.asarray(table).T)))
    assert not any(map(mapped.is_mapped, (np.zeros(3), np.array(table), None)))
    assert mapped.is_mapped(np.frombuffer(mmap.mmap(-1, PAGE), np.uint8))


@pytest.mark.parametrize("ahead_rows", [1, 10, 1000])
def test_a_pass_in_order_asks_once_for_each_row_before_it_is_used(
    table, advice, monkeypatch, ahead_rows
):
    monkeypatch.setattr(mapped, "_AHEAD_BYTES", ahead_rows * PAGE)
    for start in mapped.in_order([table, None, np.zeros(40)], 40, 3):
        asked = advice.rows(mapped._WILL_NEED)
        assert asked == list(range(len(asked)))
        assert len(asked) >= min(start + 3, 40)
        assert len(asked) <= start + 3 + max(ahead_rows, 3)
        assert advice.rows(mapped._COLD) == list(range(start))
    assert advice.rows(mapped._WILL_NEED) == advice.rows(mapped._COLD) == list(range(40))


def test_passes_over_arrays_in_memory_ask_for_nothing(advice):
    assert list(mapped.in_order([np.zeros((10, 2)), None], 10, 4)) == [0, 4, 8]
    assert list(mapped.in_order([], 0, 4)) == []
    assert advice.given == []


def test_the_systems_own_call_is_taken(table):
    """With the real one: an advice that it does not know would return -1."""
    call = mapped._madvise()
    if call is None:
        pytest.skip("not Linux")
    for known in (mapped._WILL_NEED, mapped._RANDOM, mapped._NORMAL):
        assert call(table.ctypes.data, table.nbytes, known) == 0
    assert call(table.ctypes.data, table.nbytes, 9999) == -1
    assert read_ahead.WINDOWS_AHEAD >= 1
