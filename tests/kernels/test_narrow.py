"""Layers with so few outputs that dW is summed with vectors of inputs: the oracle's numbers."""

from __future__ import annotations

import pytest

from fastmlp.kernels.cpu.width import LANES

from .test_training import TOLERANCE, both, error
from .tools import DTYPES

each_dtype = pytest.mark.parametrize("dtype", DTYPES)


@each_dtype
@pytest.mark.parametrize("hidden", [1, 7, 8, 15, 16, 17, 33, 48, 70])
@pytest.mark.parametrize("n_outputs", [1, 2, 3, 4])
def test_a_training_is_the_oracles(dtype, hidden, n_outputs):
    run = both(
        dtype, sizes=(3, hidden, n_outputs), names="tanh", rule="adam", n_rows=45, batch_size=20,
        l2=0.01, n_threads=2,
    )  # fmt: skip
    assert error(*run) < TOLERANCE[dtype]
    engine = run[0]
    # Padding, of outputs as well as of inputs, is zero after updates too.
    layer = engine.plan.layers[-1]
    lanes = LANES[dtype]
    panel = engine.params[layer.weight : layer.weight + layer.in_pad * layer.out_pad]
    if layer.out_pad == lanes:
        rows = panel.reshape(layer.in_pad, lanes)
        assert not rows[:, n_outputs:].any()
        assert not rows[layer.n_in :].any()
        assert rows[: layer.n_in, :n_outputs].all()


@each_dtype
def test_a_linear_network_and_many_rows(dtype):
    for sizes, n_rows in (((40, 1), 50), ((40, 32, 1), 2500), ((64, 64, 2, 3), 50)):
        run = both(
            dtype, sizes=sizes, names="relu", rule="adam", n_rows=n_rows, batch_size=n_rows,
            n_threads=3,
        )  # fmt: skip
        assert error(*run) < TOLERANCE[dtype]
