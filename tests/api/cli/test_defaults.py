"""What the command line reaches with its defaults on the bundled data."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.defaults import held_out_score
from fastmlp.cli.defaults import default_batch_size, default_l2, start_at_constant
from fastmlp.model.network import Network


# A single split decides much (its R2 on diabetes varies by 0.07): ten of them are averaged.
@pytest.mark.parametrize(
    ("data", "least"), [("digits", 0.97), ("breast_cancer", 0.96), ("diabetes", 0.45)]
)
def test_score_of_the_defaults(data, least, tmp_path, record_property):
    scores = [held_out_score(data, seed, tmp_path, [])[1] for seed in range(10)]
    for n_seeds in (5, 10):
        name = f"test score of the defaults on {data}, mean of {n_seeds} seeds"
        record_property(name, f"{np.mean(scores[:n_seeds]):.4f}")
    assert np.mean(scores) >= least


@pytest.mark.parametrize(
    ("n_rows", "size"), [(1, 32), (1_600, 32), (3_200, 64), (12_800, 256), (10**7, 256)]
)
def test_batch_size_grows_with_the_rows(n_rows, size):
    assert default_batch_size(n_rows) == size


def test_l2_is_a_prior_whose_share_falls_with_the_rows():
    assert default_l2(300) == pytest.approx(10 * default_l2(3000))


@pytest.mark.parametrize(
    ("loss", "y", "n_outputs", "predicted"),
    [
        ("squared_error", [1.0, 2.0, 6.0], 1, 3.0),
        ("absolute_error", [1.0, 2.0, 6.0], 1, 2.0),
        ("poisson", [1.0, 2.0, 6.0], 1, 3.0),
        ("cross_entropy", ["b", "a", "b", "b"], 2, [0.25, 0.75]),
        ("binary_cross_entropy", ["b", "a", "b", "b"], 1, [0.25, 0.75]),
    ],
)
def test_training_starts_at_the_best_constant(loss, y, n_outputs, predicted):
    network = Network([2, 8, n_outputs], loss=loss)
    start_at_constant(network, np.array(y))
    X = np.random.default_rng(0).normal(size=(5, 2))
    is_classes = loss.endswith("entropy")
    got = network.predict_proba(X) if is_classes else network.predict(X)
    np.testing.assert_allclose(got, np.broadcast_to(predicted, got.shape), rtol=1e-6)


@pytest.mark.parametrize(("loss", "n_outputs"), [("cross_entropy", 2), ("binary_cross_entropy", 1)])
@pytest.mark.parametrize(
    ("class_weight", "predicted"),
    [
        ("balanced", [0.5, 0.5]),
        ({"a": 6.0}, [2 / 3, 1 / 3]),
        ({"a": 0.001, "b": 0.001}, [0.25, 0.75]),
        ({"a": 0.0}, [0.0, 1.0]),
    ],
)
def test_the_constant_is_that_of_weighted_classes(loss, n_outputs, class_weight, predicted):
    network = Network([2, 8, n_outputs], loss=loss)
    start_at_constant(network, np.array(["b", "a", "b", "b"]), class_weight)
    got = network.predict_proba(np.zeros((1, 2)))
    np.testing.assert_allclose(got, [predicted], rtol=1e-6, atol=2e-6)
