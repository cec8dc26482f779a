"""Numbers that CPU and GPU share: what they are, and that no kernel writes one of its own."""

from __future__ import annotations

import ast
import math
from pathlib import Path

import numpy as np
import pytest

from fastmlp.kernels import constants
from fastmlp.kernels.cpu import optimizers
from tests.reference import activations, norms
from tests.reference.optimizers import HYPER

from .tools import compiled

KERNELS = Path(constants.__file__).parent
NUMBERS = {name: value for name, value in vars(constants).items() if isinstance(value, float)}


def test_constants_are_those_of_their_definitions():
    alpha, scale = activations.selu_constants()
    wanted = {
        "SELU_ALPHA": alpha, "SELU_SCALE": scale, "SQRT_HALF": math.sqrt(0.5),
        "INV_SQRT_2PI": 1.0 / math.sqrt(2.0 * math.pi), "SQRT_2_BY_PI": math.sqrt(2.0 / math.pi),
        "NORM_EPS": norms.EPS,
    }  # fmt: skip
    assert {name: NUMBERS[name] for name in wanted} == pytest.approx(wanted, rel=4e-16)


@pytest.mark.parametrize("folder", ["cpu", "cuda"])
def test_kernels_take_them_from_there(folder):
    written = [
        f"{path.name}:{node.lineno} {node.value}"
        for path in sorted((KERNELS / folder).glob("*.py"))
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Constant) and type(node.value) is float
        and node.value in map(abs, NUMBERS.values())
    ]  # fmt: skip
    assert not written


@compiled
def momenta(out, beta1):
    for t in range(1, len(out) + 1):
        out[t - 1] = optimizers.momentum_at(beta1, t)


@pytest.mark.parametrize("beta1", [0.0, HYPER["nadam"][0], 0.999])
def test_the_momentum_of_nadam_is_that_of_python(beta1):
    found, t = np.full(5000, np.nan), np.arange(1, 5001)
    momenta(found, beta1)
    in_python = [constants.nadam_momentum(beta1, int(each)) for each in t]
    np.testing.assert_allclose(found, in_python, rtol=4e-16)
    np.testing.assert_allclose(found, beta1 * (1.0 - 0.96 ** (t / 250.0) / 2.0), rtol=2e-15)
