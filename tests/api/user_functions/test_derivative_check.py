"""What the check of a derivative lets pass, and what it finds."""

from __future__ import annotations

import math

import numpy as np
import pytest

from fastmlp.user_functions import derivative_check

Z = derivative_check.points()


def checked(f, derivative, points=Z):
    def function(z):
        pairs = [(f(float(x)), derivative(float(x))) for x in z]
        return tuple(np.array(values, float) for values in zip(*pairs, strict=True))

    return derivative_check.wrong_slope(function, points)


def sigmoid(z):
    return 1 / (1 + math.exp(-z))


def relu(z):
    return max(z, 0.0)


RIGHT = {
    "constant": (lambda z: 2.0, lambda z: 0.0),
    "cube": (lambda z: z**3, lambda z: 3 * z**2),
    "exp": (math.exp, math.exp),
    "fast sine": (lambda z: math.sin(30 * z), lambda z: 30 * math.cos(30 * z)),
    "bell": (lambda z: math.exp(-z * z), lambda z: -2 * z * math.exp(-z * z)),
    "log that drowns": (lambda z: math.log(1 + math.exp(z)), sigmoid),
    "curvature jumps": (lambda z: z / (1 + abs(z)), lambda z: (1 + abs(z)) ** -2),
    "relu": (relu, lambda z: 1.0 if z > 0 else 0.0),
    "relu, 1 at 0": (relu, lambda z: 1.0 if z >= 0 else 0.0),
    "relu, 1/2 at 0": (relu, lambda z: 0.5 if z == 0 else float(z > 0)),
    "leaky": (lambda z: max(z, 0.01 * z), lambda z: 1.0 if z > 0 else 0.01),
    "two kinks": (
        lambda z: z * min(max(z + 3, 0), 6) / 6,
        lambda z: 0.0 if z < -3 else 1.0 if z > 3 else z / 3 + 0.5,
    ),
    "jump": (lambda z: z if z > 0.5 else 0.0, lambda z: 1.0 if z > 0.5 else 0.0),
    "root": (
        lambda z: math.copysign(math.sqrt(abs(z) + 1e-8), z) if z else 0.0,
        lambda z: 0.5 / math.sqrt(abs(z) + 1e-8) if z else 0.0,
    ),
    "threshold": (lambda z: z if z > 20 else math.log1p(math.exp(z)), sigmoid),
}

WRONG = {
    "zero": (math.tanh, lambda z: 0.0),
    "a factor": (math.tanh, lambda z: 1.0001 * (1 - math.tanh(z) ** 2)),
    "the sign": (math.sin, lambda z: -math.cos(z)),
    "of another": (math.tanh, lambda z: sigmoid(z) * (1 - sigmoid(z))),
    "beyond the kink at 0": (relu, lambda z: 2.0 if z == 0 else float(z > 0)),
    "one side of a kink": (lambda z: max(z, 0.01 * z), lambda z: float(z > 0)),
    "large z alone": (lambda z: min(z, 12.0), lambda z: 1.0),
    "small z alone": (lambda z: z, lambda z: 0.9 if abs(z) < 1e-3 else 1.0),
}


@pytest.mark.parametrize(("f", "derivative"), RIGHT.values(), ids=RIGHT)
def test_right_ones_pass(f, derivative):
    assert checked(f, derivative) is None


@pytest.mark.parametrize(("f", "derivative"), WRONG.values(), ids=WRONG)
def test_wrong_ones_are_found_where_they_are_wrong(f, derivative):
    finding = checked(f, derivative)
    z = float(Z[finding.index])
    assert finding.got == derivative(z)
    h = 1e-6 * max(abs(z), 1e-3)
    if z != 0:
        assert finding.wanted == pytest.approx((f(z + h) - f(z - h)) / (2 * h), rel=1e-3)
    assert abs(finding.wanted - finding.got) > 1e-5


def test_points_are_of_all_magnitudes_and_both_signs():
    assert 0.0 in Z
    for size in (1e-6, 1e-3, 0.1, 1.0, 10.0):
        for sign in (1, -1):
            assert ((sign * Z >= size) & (sign * Z <= 40 * size)).any()
    assert np.abs(Z).max() == derivative_check.REACH
    np.testing.assert_array_equal(Z, derivative_check.points())


@pytest.mark.parametrize(
    ("limits", "within"),
    [
        ((-math.inf, math.inf), (-30, 30)), ((0.0, math.inf), (0, 30)), ((0.0, 1.0), (0, 1)),
        ((-math.inf, -1.0), (-31, -1)), ((1000.0, math.inf), (1000, 1030)),
        ((-math.inf, -1000.0), (-1030, -1000)), ((-1e9, 1e9), (-30, 30)),
    ],
)  # fmt: skip
def test_targets_are_within_their_limits_and_meet_both(limits, within):
    z, y = derivative_check.pairs(*limits)
    assert z.shape == y.shape
    assert (y.min(), y.max()) == within
    assert len(z) > 500
    assert (np.abs(z) <= derivative_check.REACH).all()
