"""The functions of `math` that users' functions get, against the C library's and at their ends."""

from __future__ import annotations

import math

import numpy as np
import pytest

from fastmlp.engine.user_functions import compile_pair
from fastmlp.kernels.cpu import user_math

from .tools import compiled

NAMES = [function.__name__ for function in user_math.STAND_INS]
# How far they may be from the C library's, in units of the last place.
ULPS = {"exp": 4, "expm1": 8, "log": 2, "log1p": 4, "tanh": 4, "erf": 8}
ENDS = np.array([0.0, math.inf, -math.inf, math.nan, -1.0, 1.0, 5e-324, 1e-310, 1e300, -1e300])


def evaluate(name, x):
    function = getattr(user_math, name)

    @compiled
    def kernel(x, out):
        for i in range(len(x)):
            out[i] = function(x[i])

    out = np.empty(len(x))
    kernel(x, out)
    return out


def wanted(name, x):
    pole = {"log": 0.0, "log1p": -1.0}.get(name)

    def one(value):
        try:
            return -math.inf if value == pole else getattr(math, name)(value)
        except OverflowError:
            return math.inf
        except ValueError:
            return math.nan

    return np.array([one(float(value)) for value in x])


@pytest.mark.parametrize("name", NAMES)
def test_values_are_those_of_the_c_library(name):
    rng = np.random.default_rng(0)
    x = np.concatenate(
        [rng.normal(0, 1, 4000), rng.uniform(-40, 40, 4000), 10.0 ** rng.uniform(-300, 2.8, 4000),
         -(10.0 ** rng.uniform(-300, 2.8, 4000)), 1 + rng.normal(0, 1e-6, 1000)]
    )  # fmt: skip
    if name == "log":
        x = np.abs(x)
    if name == "log1p":
        x = x[x > -1]
    right = wanted(name, x)
    assert np.isfinite(right).all()
    error = np.abs(evaluate(name, x) - right) / np.spacing(np.abs(right) + 1e-290)
    assert error.max() <= ULPS[name]


@pytest.mark.parametrize("name", NAMES)
def test_ends(name):
    found, right = evaluate(name, ENDS), wanted(name, ENDS)
    np.testing.assert_allclose(found, right, rtol=1e-15, atol=1e-300)


def test_the_module_has_the_rest_of_math():
    assert set(vars(math)) <= set(vars(user_math.module))
    assert user_math.module.pi == math.pi
    assert user_math.module.sqrt is math.sqrt


def everything(z):
    return (
        math.exp(-abs(z)) + math.expm1(z / 9) + math.log(1 + z * z) + math.log1p(abs(z))
        + math.tanh(z) + math.erf(z)
    )  # fmt: skip


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_bits_do_not_depend_on_the_place_in_a_row(dtype):
    """In a vector or in what is left of a row: all the same."""
    code = compile_pair({"forward": everything, "derivative": everything}, "'everything'", 1)
    z = np.random.default_rng(0).normal(0, 3, 203).astype(dtype)
    whole, _ = code(dtype, z)
    one_by_one = np.concatenate([code(dtype, z[i : i + 1])[0] for i in range(len(z))])
    np.testing.assert_array_equal(whole, one_by_one)
    double = np.array([everything(float(value)) for value in z])
    np.testing.assert_allclose(whole, double, rtol=0, atol=32 * np.finfo(dtype).eps)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_rows_are_vectorised(dtype):
    """Nothing of the C library is called, which would keep LLVM from making vectors."""
    code = compile_pair({"forward": everything, "derivative": everything}, "'everything'", 1)
    llvm = code.compiled[dtype].inspect_llvm()
    assert "llvm.fmuladd.v" in llvm
