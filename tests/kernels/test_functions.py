"""The elementary functions: their error in units of the last place, NaN, infinities."""

from __future__ import annotations

import functools

import numpy as np
import pytest

from fastmlp.kernels.cpu import functions
from fastmlp.kernels.cpu.simd import lanes_of, load, store
from tests.reference.functions import EXACT, ulp_errors

from .tools import DTYPES, compiled

# Where a function is specified, and how many units of the last place it may be off there, on a
# processor without fused multiply-add too.
RANGES = {
    ("exp", "float32"): (-86.0, 88.0, 1.5),
    ("exp", "float64"): (-707.0, 708.5, 1.5),
    ("tanh", "float32"): (-10.0, 10.0, 6.0),
    ("tanh", "float64"): (-20.0, 20.0, 2.5),
    ("sigmoid", "float32"): (-80.0, 80.0, 3.0),
    ("sigmoid", "float64"): (-700.0, 700.0, 3.0),
    ("erf", "float32"): (-6.0, 6.0, 4.0),
    ("erf", "float64"): (-8.0, 8.0, 3.0),
    ("log1p_unit", "float32"): (0.0, 1.0, 3.0),
    ("log1p_unit", "float64"): (0.0, 1.0, 3.0),
    ("expm1", "float32"): (-20.0, 0.0, 6.0),
    ("expm1", "float64"): (-40.0, 0.0, 6.0),
    ("softplus", "float32"): (-80.0, 80.0, 4.0),
    ("softplus", "float64"): (-700.0, 700.0, 4.0),
}


@functools.cache
def kernel(name):
    """f over an array whose length is a multiple of the lanes."""
    function = getattr(functions, name)

    @compiled
    def apply(y, x):
        for i in range(0, len(x), lanes_of(x)):
            store(y, i, function(load(x, i)))

    return apply


def evaluate(name: str, x: np.ndarray) -> np.ndarray:
    padded = np.concatenate([x, np.full(-len(x) % 64, 0.5, x.dtype)])
    y = np.full_like(padded, np.nan)
    kernel(name)(y, padded)
    return y[: len(x)]


def points(name: str, dtype: str) -> np.ndarray:
    """Evenly spread, random, and down to the smallest numbers of either sign."""
    low, high, _ = RANGES[name, dtype]
    rng = np.random.default_rng(7)
    tiny = np.logspace(-30, 0, 200) * min(high, 1.0)
    x = np.concatenate(
        [np.linspace(low, high, 1500), rng.uniform(low, high, 1500), rng.uniform(-1, 1, 800),
         tiny, -tiny, [low, high, 0.0]]
    )  # fmt: skip
    x = x.astype(dtype)
    return x[(x >= low) & (x <= high)]


@pytest.mark.parametrize(("name", "dtype"), RANGES)
def test_error_in_units_of_the_last_place(name, dtype, record_property):
    x = points(name, dtype)
    errors = ulp_errors(name, x, evaluate(name, x))
    worst = float(errors.max())
    record_property(f"{name} {dtype}, largest error in units of the last place", worst)
    at = x[errors.argmax()]
    assert worst <= RANGES[name, dtype][2], f"{worst:.2f} ulp at {at!r}"


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", EXACT)
def test_nan_stays_nan_in_its_lane_only(name, dtype):
    x = np.full(64, 0.25, dtype)
    x[::3] = np.nan
    y = evaluate(name, x)
    assert np.array_equal(np.isnan(y), np.isnan(x))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(
    ("name", "at_minus_infinity"), [("tanh", -1.0), ("sigmoid", 0.0), ("erf", -1.0)]
)
def test_infinities_saturate(name, at_minus_infinity, dtype):
    huge = float(np.finfo(dtype).max)
    y = evaluate(name, np.array([-np.inf, -huge, -1e4, 1e4, huge, np.inf], dtype))
    ulps = 4 * np.finfo(dtype).eps
    assert np.abs(y[:3] - at_minus_infinity).max() <= ulps
    assert np.abs(y[3:] - 1.0).max() <= ulps
    assert np.abs(y).max() <= 1.0


@pytest.mark.parametrize("dtype", DTYPES)
def test_exp_saturates_between_the_smallest_and_the_largest_numbers(dtype):
    info = np.finfo(dtype)
    x = np.array([-np.inf, info.min, -1e5, 1e5, info.max, np.inf], dtype)
    y = evaluate("exp", x)
    assert np.isfinite(y).all()
    assert (y[:3] >= 0.0).all()
    assert (y[:3] <= 10.0 * float(info.tiny)).all()
    assert (y[3:] >= 0.1 * float(info.max)).all()


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", ["tanh", "erf"])
def test_odd_functions_are_odd_to_the_bit(name, dtype):
    x = np.linspace(0.0, 12.0, 640).astype(dtype)
    np.testing.assert_array_equal(evaluate(name, -x), -evaluate(name, x))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", EXACT)
def test_the_lane_does_not_matter(name, dtype):
    x = np.linspace(0.0, 1.0, 37).astype(dtype)
    together = evaluate(name, x)
    alone = np.array([evaluate(name, np.full(64, value, dtype))[17] for value in x])
    np.testing.assert_array_equal(together, alone)
