"""Whether the kinds of layers serve what they are for; fixed seeds, limits with margin."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.datasets import load_digits

import fastmlp
from fastmlp.errors import GradientFlowWarning

SEED = 4


@pytest.fixture(scope="module")
def digits():
    """Rows to train on and to test with."""
    X, y = load_digits(return_X_y=True)
    order = np.random.default_rng(0).permutation(len(X))
    train, test = order[:1300], order[1300:]
    return (X[train] / 16, y[train]), (X[test] / 16, y[test])


def accuracy(digits, hidden, *, lr=1e-3, **settings):
    """On the rows that were left out, after 20 epochs."""
    train, test = digits
    net = fastmlp.Network([64, *hidden, 10], loss="cross_entropy", seed=SEED, **settings)
    net.fit(*train, epochs=20, batch_size=64, optimizer=fastmlp.optim.Adam(lr=lr))
    return net.evaluate(*test)["accuracy"]


@pytest.mark.parametrize("norm", ["layer", "rms", "batch"])
@pytest.mark.parametrize("residual", [False, True])
def test_normalised_networks_reach_on_digits_what_plain_ones_reach(norm, residual, digits):
    plain = accuracy(digits, [64, 64])
    assert plain > 0.95
    assert accuracy(digits, [64, 64], norm=norm, residual=residual) > plain - 0.015


def test_batch_normalisation_trains_a_deep_network_that_learns_nothing_without(digits):
    settings = {"activation": "sigmoid", "lr": 3e-3}
    with pytest.warns(GradientFlowWarning, match="vanishing gradients"):
        assert accuracy(digits, [32] * 12, **settings) < 0.2
    assert accuracy(digits, [32] * 12, norm="batch", **settings) > 0.9


def test_a_normalised_network_does_not_mind_columns_of_very_different_size(digits):
    """Batch normalisation divides by what a large column makes of every unit."""
    (X, y), (X_test, y_test) = digits
    size = 10.0 ** np.random.default_rng(1).integers(0, 3)
    scaled = (X * 300 * size, y), (X_test * 300 * size, y_test)
    assert accuracy(scaled, [64, 64], norm="batch") > 0.95


def test_embeddings_learn_effects_without_an_order_that_codes_do_not_show():
    rng, n_rows, n_train = np.random.default_rng(SEED), 2000, 1500
    slopes, shifts = rng.standard_normal(30), rng.standard_normal(12)
    codes = np.column_stack([rng.integers(0, 30, n_rows), rng.integers(0, 12, n_rows)])
    x = rng.standard_normal(n_rows)
    y = slopes[codes[:, 0]] * x + shifts[codes[:, 1]] + 0.1 * rng.standard_normal(n_rows)

    def r2(first_columns, embeddings=None):
        X = np.column_stack([first_columns, x])
        net = fastmlp.Network([3, 32, 32, 1], seed=SEED, embeddings=embeddings)
        net.fit(
            X[:n_train], y[:n_train], epochs=40, batch_size=64,
            optimizer=fastmlp.optim.Adam(lr=3e-3),
        )  # fmt: skip
        return net.evaluate(X[n_train:], y[n_train:])["r2"]

    as_numbers = r2((codes - codes.mean(axis=0)) / codes.std(axis=0))
    embedded = r2(codes, {0: (30, 4), 1: (12, 3)})
    assert embedded > 0.93
    assert as_numbers < 0.6
