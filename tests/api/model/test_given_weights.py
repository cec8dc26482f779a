"""Weights of one's own as the initialiser."""

from __future__ import annotations

import copy

import numpy as np
import pytest

import fastmlp
from fastmlp.errors import DataError, OptionError, ShapeError

WEIGHTS = [np.arange(8.0).reshape(4, 2), np.ones((2, 3))]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("as_given", [list, tuple, lambda arrays: [a.tolist() for a in arrays]])
def test_a_network_begins_with_the_weights_it_is_given(as_given, dtype, tmp_path):
    net = fastmlp.Network([4, 2, 3], init=as_given(WEIGHTS), dtype=dtype)
    net.save(tmp_path / "m.safetensors")
    for same in (net, copy.deepcopy(net), fastmlp.Network.load(tmp_path / "m.safetensors")):
        for found, wanted in zip(same.weights, WEIGHTS, strict=True):
            np.testing.assert_array_equal(found, wanted.astype(dtype))
        assert all((bias == 0.0).all() for bias in same.biases)
        assert same.spec.init == "arrays"


@pytest.mark.parametrize(
    ("init", "error", "text"),
    [
        (WEIGHTS[:1], ShapeError, "weights must have 2 arrays, got 1"),
        (
            [w.T for w in WEIGHTS],
            ShapeError,
            r"weights\[0\] must have shape \(4, 2\), got \(2, 4\)",
        ),
        ([WEIGHTS[0] * np.nan, WEIGHTS[1]], DataError, r"weights\[0\] must be finite, got nan"),
        ("arrays", OptionError, "init='arrays' is no rule; pass a list of the arrays themselves"),
        ("heuniform", OptionError, "init must be one of .* did you mean 'he_uniform'"),
    ],
)
def test_weights_that_do_not_fit_are_refused(init, error, text):
    with pytest.raises(error, match=text):
        fastmlp.Network([4, 2, 3], init=init)
