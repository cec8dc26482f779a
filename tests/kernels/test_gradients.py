"""Gradients of the engine, for every activation, loss and element type."""

from __future__ import annotations

import numpy as np
import pytest

from fastmlp.kernels import codes

from .differences import Findings, compare
from .tools import (
    DTYPES,
    dataset,
    loss_of,
    make_engine_with,
    make_spec,
    oracle_of,
    outputs_for,
    random_inputs,
    random_parameters,
    random_targets,
    randomise_scales,
    relative_error,
)

# How far a gradient may be from the oracle's, relative to the largest of its array.
TOLERANCE = {"float32": 2e-5, "float64": 1e-12}


class Problem:
    """A network with fixed weights, data for it, and its engine."""

    def __init__(self, activation, loss, dtype, sizes=(5, 9, 4, 3), n_rows=11, *, seed=0,
                 weighted=False, l1=0.0, l2=0.0, n_threads=1, parameters=None,
                 **around):  # fmt: skip
        rng, made = np.random.default_rng(seed), loss_of(loss, parameters)
        sizes = (*sizes[:-1], outputs_for(loss, sizes[-1], parameters))
        n_hidden = len(sizes) - 2
        names = (activation,) * n_hidden if isinstance(activation, str) else activation
        spec = make_spec(
            sizes, activation=names, loss=made, dtype=dtype, l1=l1, l2=l2,
            n_threads=n_threads, **around,
        )  # fmt: skip
        self.engine = make_engine_with(spec, *random_parameters(rng, spec.layer_sizes))
        randomise_scales(rng, self.engine)
        self.X = random_inputs(rng, spec, n_rows, dtype)
        self.y = random_targets(rng, loss, n_rows, sizes[-1], parameters)
        self.sample_weight = None
        if weighted:
            self.sample_weight = rng.uniform(0.0, 3.0, n_rows).astype(dtype)
        self.data = dataset(self.X, self.y, dtype, self.sample_weight)
        if self.y.ndim == 2:
            self.y = self.data.targets.astype(np.float64)
        self.net = oracle_of(self.engine, loss)

    def error_against_oracle(self, smallest: float = 0.0) -> float:
        """The largest relative error of the loss and of any gradient array.

        Of arrays below `smallest` times the largest one, relative to that: a normalised layer
        cancels what is before it, and leaves the rounding.
        """
        X = self.X.astype(np.float64)
        share = None if self.sample_weight is None else self.sample_weight.astype(np.float64)
        loss, found = self.engine.loss_and_all_gradients(self.data)
        wanted, gradients = self.net.loss_and_gradients(X, self.y, share)
        wanted += self.net.penalty()
        errors = [abs(loss - wanted) / max(abs(wanted), 1.0)]
        assert list(found.named()) == list(gradients)
        least = smallest * max(np.abs(gradient).max() for gradient in gradients.values())
        errors += [
            relative_error(found.named()[name], gradients[name], least) for name in gradients
        ]
        return max(errors)


# What stands around the layers; hidden layers are equally wide, for residual connections.
KINDS = {
    "plain": {},
    **{norm: {"norm": norm} for norm in codes.NORMS[1:]},
    "residual": {"residual": True},
    "residual batch": {"residual": True, "norm": "batch"},
    "embeddings": {"embeddings": {1: (4, 3), 4: (2, 5)}},
}
CONNECTED = (5, 7, 7, 3)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("loss", codes.LOSSES)
@pytest.mark.parametrize("activation", codes.ACTIVATIONS)
def test_gradients_are_those_of_the_oracle(activation, loss, dtype):
    for weighted, penalty in ((False, 0.0), (True, 0.02)):
        problem = Problem(activation, loss, dtype, weighted=weighted, l1=penalty, l2=3 * penalty)
        assert problem.error_against_oracle() <= TOLERANCE[dtype]
    for kind, around in KINDS.items():
        problem = Problem(activation, loss, dtype, CONNECTED, weighted=True, l2=0.1, **around)
        smallest = 0.1 if "norm" in around else 0.0
        assert problem.error_against_oracle(smallest) <= TOLERANCE[dtype], kind


@pytest.mark.parametrize("loss", codes.LOSSES)
@pytest.mark.parametrize("activation", codes.ACTIVATIONS)
def test_gradients_are_central_differences_of_the_loss(activation, loss):
    findings, rng = Findings(), np.random.default_rng(1)
    for weighted, penalty in ((False, 0.0), (True, 0.02)):
        p = Problem(activation, loss, "float64", weighted=weighted, l1=penalty, l2=3 * penalty)
        compare(p.engine, p.data, p.net, p.X, p.y, rng=rng, limit=60, findings=findings)
    for around in KINDS.values():
        p = Problem(activation, loss, "float64", CONNECTED, weighted=True, l2=0.1, **around)
        compare(p.engine, p.data, p.net, p.X, p.y, rng=rng, limit=8, findings=findings)
    assert findings.largest <= 1e-6, str(findings)
    assert findings.checked >= 10 * (findings.at_kinks + findings.too_small), str(findings)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("norm", codes.NORMS[1:])
def test_gradients_through_a_kind_of_layer_are_those_of_the_oracle(norm, dtype):
    problem = Problem("tanh", "squared_error", dtype, CONNECTED, weighted=True, norm=norm)
    assert problem.error_against_oracle(0.1) <= TOLERANCE[dtype]


@pytest.mark.parametrize("norm", codes.NORMS[1:])
def test_gradients_through_a_kind_of_layer_are_central_differences_of_the_loss(norm):
    p = Problem("tanh", "squared_error", "float64", CONNECTED, weighted=True, norm=norm)
    findings, rng = Findings(), np.random.default_rng(1)
    compare(p.engine, p.data, p.net, p.X, p.y, rng=rng, limit=60, findings=findings)
    assert findings.largest <= 1e-6, str(findings)
    assert findings.checked >= 10 * (findings.at_kinks + findings.too_small), str(findings)


@pytest.mark.parametrize("loss", codes.LOSSES)
@pytest.mark.parametrize("activation", codes.ACTIVATIONS)
def test_float32_gradients_are_central_differences_in_float64(activation, loss):
    """The same weights and data in a float64 engine, whose differences the figures are."""
    single = Problem(activation, loss, "float32", weighted=True)
    double = Problem(activation, loss, "float64", weighted=True)
    double.engine.set_all_parameters(single.engine.parameters())
    double.data = dataset(
        single.X, single.y if single.y.ndim == 2 else single.data.labels, "float64",
        single.sample_weight,
    )  # fmt: skip

    class Single:
        """float64's losses with float32's gradients."""

        parameters, set_all_parameters = double.engine.parameters, double.engine.set_all_parameters
        evaluate = double.engine.evaluate

        @staticmethod
        def loss_and_all_gradients(data):
            return single.engine.loss_and_all_gradients(single.data)

    findings, rng = Findings(), np.random.default_rng(1)
    compare(Single, double.data, double.net, single.X.astype(np.float64), single.y, rng=rng,
            limit=60, findings=findings)  # fmt: skip
    assert findings.largest <= TOLERANCE["float32"], str(findings)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("n_threads", [1, 2, 5])
def test_rows_beyond_a_chunk_are_summed_too(n_threads, dtype):
    """More rows than loss_and_gradients takes at a time, the last chunk not full."""
    problem = Problem("tanh", "cross_entropy", dtype, n_rows=1300, weighted=True,
                      n_threads=n_threads)  # fmt: skip
    assert problem.error_against_oracle() <= 4 * TOLERANCE[dtype]


@pytest.mark.parametrize("dtype", DTYPES)
def test_every_layer_may_have_an_activation_of_its_own(dtype):
    widths = [3 + number % 7 for number in range(len(codes.ACTIVATIONS))]
    problem = Problem(codes.ACTIVATIONS, "huber", dtype, sizes=(4, *widths, 2))
    assert problem.error_against_oracle() <= TOLERANCE[dtype]


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_linear_model_has_gradients_too(dtype):
    problem = Problem((), "binary_cross_entropy", dtype, sizes=(17, 1))
    assert problem.error_against_oracle() <= TOLERANCE[dtype]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(
    ("loss", "parameters"),
    [("cross_entropy", (0.0,)), ("focal", (0.0,)), ("focal", (1.0,)), ("focal", (5.0,)),
     ("quantiles", (0.5,)), ("quantiles", (0.01, 0.2, 0.4, 0.5, 0.99))],
)  # fmt: skip
def test_gradients_at_other_parameters_of_the_loss(loss, parameters, dtype):
    outputs = 2 * len(parameters) if loss == "quantiles" else 5
    problem = Problem("tanh", loss, dtype, (5, 9, outputs), parameters=parameters, weighted=True)
    assert problem.error_against_oracle() <= TOLERANCE[dtype]
