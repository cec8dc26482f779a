"""Normalised and embedded networks under stress: interrupts, divergence, threads, odd sizes."""

from __future__ import annotations

import copy
import os
import signal
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

import fastmlp
from fastmlp import errors, optim
from fastmlp.engine import store
from fastmlp.names import NORMS
from tests.api.layer_kinds.networks import (
    KINDS,
    TABLES,
    assert_same,
    everything,
    make,
    table,
    trained,
)

each_number_of_threads = pytest.mark.parametrize("n_threads", [1, 2, 4])


def assert_usable(net):
    """Finite, and predicting as a copy does that knows the parameters alone."""
    X, _ = table(50)
    assert all(np.isfinite(values).all() for values in everything(net).values())
    p = net.predict_proba(X)
    assert np.isfinite(p).all()
    np.testing.assert_array_equal(copy.deepcopy(net).predict_proba(X), p)


@each_number_of_threads
@pytest.mark.parametrize("kind", ["batch", "all"])
def test_max_time_ends_a_fit_whose_threads_meet(kind, n_threads):
    net, (X, y) = make(kind, n_threads=n_threads), table(200)
    history = net.fit(X, y, epochs=10**9, batch_size=20, max_time_s=0.2)
    assert history.stopped_by == "max_time"
    assert_usable(net)
    # The steps made are those of an uninterrupted training.
    net, other = (make(kind, n_threads=n) for n in (n_threads, 1))
    net.fit(X, y, epochs=10**9, batch_size=200, max_time_s=0.2)
    other.fit(X, y, epochs=net.n_epochs_, batch_size=200)
    if net.n_steps_ == net.n_epochs_:  # none was cut short
        assert_same(net, other)


@each_number_of_threads
@pytest.mark.parametrize("kind", ["batch", "all"])
def test_ctrl_c_ends_a_fit_whose_threads_meet(kind, n_threads):
    net, (X, y) = make(kind, n_threads=n_threads), table(200)
    timer = threading.Timer(0.2, os.kill, (os.getpid(), signal.SIGINT))
    timer.start()
    try:
        with pytest.warns(errors.TrainingInterruptedWarning, match="another fit goes on"):
            history = net.fit(X, y, epochs=10**9, batch_size=20)
    finally:
        timer.cancel()
    assert history.stopped_by == "interrupt"
    assert_usable(net)
    net.fit(X, y, epochs=1)


@pytest.mark.parametrize("kind", KINDS)
def test_a_training_that_diverges_leaves_everything_finite(kind):
    rng, around = np.random.default_rng(0), KINDS[kind]
    X, _ = table(100)
    net = fastmlp.Network([5, 20, 20, 20, 1], **around)
    with pytest.raises(errors.TrainingDivergedError, match="must stay finite, but diverged at"):
        net.fit(X, 1e3 * rng.standard_normal(100), epochs=200, optimizer=optim.SGD(lr=1e8))
    assert all(np.isfinite(values).all() for values in everything(net).values())
    copy.deepcopy(net)


@pytest.mark.parametrize("kind", KINDS)
def test_missing_values_are_refused_and_change_nothing(kind, state_of):
    net, (X, y) = trained(kind), table(40)
    before = state_of(net), net.running_statistics
    X[3, 0] = np.nan
    with pytest.raises(errors.DataError, match="got nan at row 3, column 0"):
        net.fit(X, y)
    assert state_of(net) == before[0]
    np.testing.assert_equal(net.running_statistics, before[1])


def test_sums_whose_squares_overflow_leave_a_network_that_can_be_kept():
    """Z of 1e20 in float32: said as any divergence is, and no statistic is NaN."""
    X, _ = table(60)
    net = fastmlp.Network([5, 8, 1], norm="batch")
    with pytest.raises(
        errors.TrainingDivergedError, match=r"no finite update for layer 0 \(5 to 8\)"
    ):
        net.fit(X * np.float32(1e21), X[:, 0], epochs=3, batch_size=20)
    assert all(np.isfinite(values).all() for values in everything(net).values())
    assert np.isfinite(net.predict(X)).all()
    copy.deepcopy(net)


@pytest.mark.parametrize("kind", ["batch", "all"])
def test_threads_that_predict_at_the_same_time_get_what_one_gets(kind):
    net, parts = trained(kind, n_threads=2), [table(700, seed=i)[0] for i in range(12)]
    wanted = [net.predict_proba(part) for part in parts]
    for _ in range(5):
        net.biases = net.biases  # whatever is kept between predictions has to be made again
        with ThreadPoolExecutor(4) as executor:
            for found, want in zip(executor.map(net.predict_proba, parts), wanted, strict=True):
                np.testing.assert_array_equal(found, want)


def test_predictions_of_other_threads_do_not_disturb_a_training():
    (X, y), alone, net = table(200), make("all"), make("all")
    alone.fit(X, y, epochs=60, batch_size=20)
    with ThreadPoolExecutor(2) as executor:
        training = executor.submit(net.fit, X, y, epochs=60, batch_size=20)
        while not training.done():
            assert net.predict_proba(X).shape == (200, 3)
    assert_same(net, alone)


def test_a_prediction_beside_a_training_leaves_no_old_weights_behind(monkeypatch):
    net, (X, y) = trained("batch"), table(100)
    fold, begun, trained_on = store._fold_layer, threading.Event(), threading.Event()

    def slow(*arguments):
        fold(*arguments)
        if not begun.is_set():
            begun.set()
            trained_on.wait(60)

    monkeypatch.setattr(store, "_fold_layer", slow)
    net.biases = net.biases  # the weights must be folded anew
    thread = threading.Thread(target=net.predict, args=(X,))
    thread.start()
    begun.wait(60)
    net.fit(X, y, epochs=3)
    trained_on.set()
    thread.join()
    assert_usable(net)


@pytest.mark.parametrize("norm", NORMS[1:])
def test_very_wide_layers(norm):
    (X, y), nets = table(64), []
    for n_threads in (1, 3):
        net = fastmlp.Network([5, 3001, 3], loss="cross_entropy", norm=norm, n_threads=n_threads)
        net.fit(X, y, epochs=2, batch_size=32)
        nets.append(net)
    assert_same(*nets)
    assert_usable(nets[0])


@pytest.mark.parametrize("norm", NORMS[1:])
def test_both_element_types_learn_alike(norm):
    nets = [
        trained("all", norm=norm, dtype=dtype, activation="tanh")
        for dtype in ("float32", "float64")
    ]
    first, second = (net.predict_proba(table(70)[0]) for net in nets)
    np.testing.assert_allclose(first, second, rtol=0, atol=1e-3)


def test_a_hundred_thousand_categories():
    rng = np.random.default_rng(0)
    X = np.column_stack([rng.integers(0, 100_000, 400), rng.standard_normal(400)])
    X[:2, 0] = 0, 99_999
    nets = [fastmlp.Network([2, 8, 1], embeddings={0: (100_000, 5)}, n_threads=n) for n in (1, 3)]
    before = nets[0].embeddings[0]
    for net in nets:
        net.fit(X, X[:, 1], epochs=2, batch_size=100)
    assert_same(*nets)
    moved = (nets[0].embeddings[0] != before).any(axis=1)
    np.testing.assert_array_equal(np.flatnonzero(moved), np.unique(X[:, 0].astype(int)))


@pytest.mark.parametrize(
    "optimizer",
    [name for name, kind in optim.BY_NAME.items() if name != "lbfgs" and not kind().weight_decay],
)
def test_categories_that_never_come_keep_their_rows(optimizer):
    X, y = table(100)
    X[:, 1] = np.minimum(X[:, 1], 2)
    net = make("embedded")
    before = net.embeddings
    net.fit(X, y, epochs=3, optimizer=optimizer)
    np.testing.assert_array_equal(net.embeddings[0][3:], before[0][3:])
    assert (net.embeddings[0][:3] != before[0][:3]).any(axis=1).all()


def test_an_embedded_column_under_input_dropout_predicts_without_it():
    X, y = table(100)
    with_rate, without = make("embedded", input_dropout=0.5), make("embedded")
    np.testing.assert_array_equal(with_rate.predict_proba(X), without.predict_proba(X))
    np.testing.assert_equal(
        with_rate.loss_and_all_gradients(X, y)[1].named(),
        without.loss_and_all_gradients(X, y)[1].named(),
    )
    for net in (with_rate, without):
        net.fit(X, y, epochs=1)
    assert (with_rate.embeddings[0] != without.embeddings[0]).any()
    assert len(TABLES) == len(with_rate.embeddings)


def test_all_weights_of_a_minibatch_zero_leave_the_running_statistics():
    X, y = table(40)
    net, before = make("batch"), make("batch").running_statistics
    weights = np.zeros(40)
    weights[:20] = 1.0
    net.fit(X, y, epochs=1, batch_size=20, shuffle=False, sample_weight=weights)
    once = net.running_statistics
    assert (once[0][0] != before[0][0]).any()
    half = make("batch")
    half.fit(X[:20], y[:20], epochs=1, batch_size=20, shuffle=False)
    np.testing.assert_equal(half.running_statistics, once)
