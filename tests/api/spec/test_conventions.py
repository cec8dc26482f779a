"""How other libraries define a step and the end of a training."""

import math

import pytest

from fastmlp.spec.conventions import FASTMLP, Conventions, LossPlateau, scikit_learn


@pytest.mark.parametrize(
    ("losses", "best", "n_bad"),
    [
        ([], math.inf, 0),
        ([4.0], 4.0, 0),
        ([4.0, 3.5], 3.5, 0),  # just as much better as is asked for
        ([4.0, 3.75], 3.75, 1),
        ([4.0, 3.75, 3.5], 3.5, 2),  # the best one counts, though it was no good epoch
        ([4.0, 5.0, 6.0, 3.0], 3.0, 0),
        ([4.0, 3.0, 3.0], 3.0, 1),
    ],
)
def test_where_a_plateau_stands(losses, best, n_bad):
    found = LossPlateau(0.5, 3).after(losses)
    assert found == LossPlateau(0.5, 3, best, n_bad)
    # In pieces as at once.
    for n in range(len(losses)):
        assert LossPlateau(0.5, 3).after(losses[:n]).after(losses[n:]) == found


@pytest.mark.parametrize(
    ("loss", "gradients", "losses"),
    [
        ("squared_error", 4.0, 1.0),
        ("binary_cross_entropy", 4.0, 4.0),
        ("cross_entropy", 1.0, 1.0),
        ("huber", 1.0, 1.0),
    ],
)
def test_scikit_learn_sums_over_outputs(loss, gradients, losses):
    assert scikit_learn(loss, 4) == Conventions(True, True, True, gradients, losses)


def test_without_others_nothing_is_scaled():
    assert Conventions(False, False, False, 1.0, 1.0) == FASTMLP
