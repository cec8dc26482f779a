"""What a fit takes beside the data: the arena, and little more, whatever is large."""

from __future__ import annotations

import itertools
import tracemalloc

import numpy as np
import pytest

import fastmlp
from fastmlp.engine.cpu import program

# Python objects, blocks of rows, tables of a few thousand numbers.
SLACK_BYTES = 4 * 1024**2


def arena_bytes(net) -> int:
    """Parameters, optimizer state, and room to work in, of training and of evaluating."""
    engine = net.engine
    return engine.params.nbytes + engine.state.nbytes + sum(WORKSPACES)


WORKSPACES: list[int] = []


@pytest.fixture(autouse=True)
def workspaces(monkeypatch):
    """Notes the size of every workspace: large ones are given back when a fit ends."""
    WORKSPACES.clear()
    make = program.Workspace.__init__

    def noted(self, *args, **kwargs):
        make(self, *args, **kwargs)
        WORKSPACES.append(self.n_bytes)

    monkeypatch.setattr(program.Workspace, "__init__", noted)


def peak_of(work) -> int:
    """Bytes that NumPy and Python had allocated at most while `work` ran."""
    tracemalloc.start()
    try:
        work()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.fixture(scope="module", autouse=True)
def compiled():
    """The kernels, of which no memory is counted."""
    fastmlp.Network([2, 2]).fit(np.eye(2), np.eye(2), epochs=1)


@pytest.mark.parametrize("element_type", ["float32", "uint8", "float64", "float16"])
@pytest.mark.parametrize("order", ["C", "F"])
def test_the_table_is_not_copied(element_type, order):
    n = 200_000
    X = np.ones((n, 100), element_type, order=order)
    y = (np.arange(n) % 3).astype(np.int64)
    net = fastmlp.Network([100, 16, 3], loss="cross_entropy")
    peak = peak_of(lambda: net.fit(X, y, epochs=1, batch_size=1000))
    assert peak <= 4 * n + 1.1 * arena_bytes(net) + SLACK_BYTES
    assert X.nbytes / 4 > SLACK_BYTES  # or a copy would go unnoticed


@pytest.mark.parametrize(
    "labels",
    [
        lambda n: np.arange(n) % 2,
        lambda n: np.arange(n) % 2 * 7 + 3,
        lambda n: np.arange(n) % 2 * 0.0 + 5.0 * (np.arange(n) % 2),
        lambda n: np.arange(n) % 2 > 0,
    ],
    ids=["indices", "integers", "floats", "bools"],
)
def test_of_labels_there_is_one_small_copy(labels):
    """Four bytes a row: what the kernels read."""
    n = 3_000_000
    X, y = np.ones((n, 2), np.uint8), labels(n)
    net = fastmlp.Network([2, 2], loss="cross_entropy")
    peak = peak_of(lambda: net.fit(X, y, epochs=1, batch_size=10_000))
    assert peak <= 4 * n + 1.1 * arena_bytes(net) + SLACK_BYTES


@pytest.mark.parametrize(("element_type", "copied"), [("float32", 0), ("float64", 4)])
def test_targets_are_copied_only_into_the_type_of_the_network(element_type, copied):
    n = 3_000_000
    X, y = np.ones((n, 2), np.uint8), np.ones(n, element_type)
    net = fastmlp.Network([2, 1])
    peak = peak_of(lambda: net.fit(X, y, epochs=1, batch_size=10_000))
    assert peak <= copied * n + 1.1 * arena_bytes(net) + SLACK_BYTES


@pytest.mark.parametrize("init", ["auto", "he_normal"])
def test_a_large_network_takes_its_arena(init):
    sizes = [700, 1500, 1500, 700]
    made = []
    n_params = 4 * sum(a * b for a, b in itertools.pairwise(sizes))
    peak = peak_of(lambda: made.append(fastmlp.Network(sizes, init=init)))
    assert peak <= 1.1 * n_params + SLACK_BYTES
    X, y = np.ones((64, 700), np.float32), np.ones((64, 700), np.float32)
    net = made[0]
    peak = peak_of(lambda: net.fit(X, y, epochs=2, eval_set=[(X, y)]))
    assert peak <= 1.1 * (arena_bytes(net) - n_params) + SLACK_BYTES
    assert n_params / 4 > SLACK_BYTES


def test_learning_rates_are_laid_out_a_part_at_a_time():
    X, y = np.ones((2000, 2), np.float32), np.ones(2000, np.float32)
    net = fastmlp.Network([2, 1])
    decay = fastmlp.schedules.Exponential(0.999999)
    peak = peak_of(lambda: net.fit(X, y, epochs=1000, batch_size=1, schedule=decay))
    assert peak <= 2 * SLACK_BYTES
    assert 8 * net.n_steps_ > 2 * SLACK_BYTES


def test_predictions_take_the_outputs_alone():
    n = 300_000
    X = np.ones((n, 30), np.float32)
    net = fastmlp.Network([30, 8, 5], loss="cross_entropy")
    assert peak_of(lambda: net.predict_proba(X)) <= 4 * 5 * n * 1.3 + SLACK_BYTES
    y = np.arange(n) % 5
    assert peak_of(lambda: net.evaluate(X, y)) <= 4 * n + 2 * SLACK_BYTES
