"""Fifty steps beside PyTorch: every update rule and option, and networks of several shapes."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from fastmlp.kernels import codes
from fastmlp.kernels.layer_kinds import PLAIN
from fastmlp.optim import UpdateOptions
from tests.reference.optimizers import TORCH

from .beside_torch import ACTIVATIONS, N_STEPS, NORMS, Case, formula_rows, torch_loss
from .tools import DTYPES, loss_of, outputs_for, random_targets

TOLERANCE = {"float32": 1e-4, "float64": 1e-9}
FIGURE = f"{N_STEPS} steps beside PyTorch, {{}}, largest relative error"

each_dtype = pytest.mark.parametrize("dtype", DTYPES)
# PyTorch has no Lion, and its Muon is one of bfloat16: see test_update_options and test_muon.
each_rule = pytest.mark.parametrize("rule", TORCH)

SHAPES = {
    "one hidden layer, relu, classes": Case((12, 33, 5), ("relu",), "cross_entropy"),
    "three hidden layers, mixed": Case(
        (9, 31, 17, 40, 4), ("tanh", "gelu", "sigmoid"), "squared_error", "nesterov", lr=0.05),
    "linear, one output": Case((20, 1), (), "binary_cross_entropy", "momentum", lr=0.05),
    "multilabel, gelu, weighted": Case(
        (7, 24, 6), ("gelu",), "binary_cross_entropy", weighted=True,
        options=UpdateOptions(weight_decay=0.05)),
    "counts": Case((5, 16, 2), ("tanh",), "poisson", "sgd", lr=0.05),
    "robust, penalised": Case((6, 35, 3), ("tanh",), "huber", l1=1e-3, l2=1e-2),
    "absolute error": Case((6, 18, 2), ("sigmoid",), "absolute_error", "sgd", lr=0.02),
    "quantile, weighted": Case((4, 10, 1), ("tanh",), "quantile", "sgd", weighted=True),
    "one unit everywhere": Case((1, 1, 1, 1), ("tanh", "identity"), "squared_error"),
    "one row a batch": Case((3, 5, 2), ("relu",), "squared_error", n_rows=50, batch_size=1),
    "wide": Case((100, 129, 70), ("relu",), "cross_entropy", "adam", lr=1e-3),
    "several quantiles": Case((6, 18, 6), ("silu",), "quantiles", "sgd", lr=0.02),
    "means and variances": Case((6, 18, 4), ("softplus",), "gaussian_nll", lr=2e-3),
    "focal, weighted": Case((6, 18, 4), ("mish",), "focal", weighted=True),
    "class probabilities": Case((6, 18, 4), ("elu",), "soft_cross_entropy", "radam"),
    "smoothed labels, self-normalised": Case((6, 18, 12, 4), ("selu", "selu"), "cross_entropy"),
    "gates": Case((6, 18, 12, 9, 2), ("gelu_tanh", "hard_swish", "leaky_relu"), "squared_error"),
    "normalised rows": Case(
        (6, 18, 20, 4), ("relu", "gelu"), "cross_entropy", around={"norm": ["layer", "rms"]}),
    "normalised minibatches, connected": Case(
        (6, 18, 18, 18, 3), ("silu", "relu", "tanh"), "squared_error", "nesterov", lr=0.02,
        around={"norm": "batch", "residual": True}),
    "categories": Case(
        (7, 18, 3), ("mish",), "cross_entropy", "radam", l2=0.01,
        options=UpdateOptions(weight_decay=0.1, layer_lr=(0.5, 2.0)),
        around={"embeddings": {2: (11, 4), 5: (40, 3)}}),
}  # fmt: skip

# Losses that no shape above has: their gradients are PyTorch's, of the formulas of their records.
SHAPES |= {
    f"loss {name}": Case((6, 18, outputs_for(name, 4)), ("tanh",), name, weighted=True)
    for name in sorted(set(codes.LOSSES) - {case.loss for case in SHAPES.values()})
}


LR = {"sgd": 0.05, "momentum": 0.05, "nesterov": 0.05, "rmsprop": 1e-3}
OPTIONS = {
    "alone": {},
    "penalty": {"l2": 0.05},
    "decay": {"weight_decay": 0.5},
    "decay of biases": {"weight_decay": 0.5, "decay_biases": True},
    "clipped norm": {"clip_norm": 0.05},
    "norm below the limit": {"clip_norm": 100.0},
    "clipped values": {"clip_value": 0.01},
    "rates of layers": {"layer_lr": (0.25, 2.0)},
    "a frozen layer": {"layer_lr": (0.0, 1.0)},
    "all": {
        "weight_decay": 0.1, "decay_biases": True, "clip_norm": 0.05, "clip_value": 0.02,
        "layer_lr": (2.0, 0.5), "l2": 0.02,
    },
}  # fmt: skip


@each_dtype
@pytest.mark.parametrize("options", OPTIONS)
@each_rule
def test_every_rule_takes_the_steps_of_pytorch(rule, options, dtype, record_property):
    around = dict(OPTIONS[options])
    case = Case(
        (8, 21, 4), ("tanh",), "squared_error", rule, LR.get(rule, 0.01),
        l2=around.pop("l2", 0.0), options=UpdateOptions(**around),
    )  # fmt: skip
    error = case.error(dtype)
    record_property(FIGURE.format(dtype), error)
    assert error <= TOLERANCE[dtype]


@each_dtype
@pytest.mark.parametrize("norm", [name for name in NORMS if name != PLAIN])
@pytest.mark.parametrize("options", ["alone", "all"])
@each_rule
def test_every_rule_takes_the_steps_of_pytorch_through_normalised_layers(
    rule, options, norm, dtype, record_property
):
    around = dict(OPTIONS[options])
    case = Case(
        (8, 21, 21, 4), ("tanh", "gelu"), "squared_error", rule, LR.get(rule, 0.01),
        l2=around.pop("l2", 0.0),
        options=UpdateOptions(**around | ({"layer_lr": (2.0, 1.0, 0.5)} if around else {})),
        around={"norm": norm, "residual": [False, True], "embeddings": {3: (6, 2)}},
    )  # fmt: skip
    error = case.error(dtype)
    record_property(FIGURE.format(dtype), error)
    assert error <= TOLERANCE[dtype]


@each_dtype
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_every_activation_that_pytorch_has_trains_as_there(activation, dtype, record_property):
    error = Case((6, 18, 12, 4), (activation, activation), "squared_error", "sgd").error(dtype)
    record_property(FIGURE.format(dtype), error)
    assert error <= TOLERANCE[dtype]


@each_dtype
@pytest.mark.parametrize("shape", SHAPES)
def test_networks_train_as_in_pytorch(shape, dtype, record_property):
    error = SHAPES[shape].error(dtype)
    record_property(FIGURE.format(dtype), error)
    assert error <= TOLERANCE[dtype]


@pytest.mark.parametrize(
    "name", ["squared_error", "huber", "gaussian_nll", "poisson", "cross_entropy", "focal"]
)
def test_formulas_of_records_are_losses_of_pytorch(name):
    """So that those which have no loss of PyTorch's can be compared by their formulas."""
    rng, n = np.random.default_rng(0), outputs_for(name, 4)
    z = torch.tensor(rng.normal(size=(9, n)))
    y, parameters = torch.tensor(random_targets(rng, name, 9, n)), loss_of(name).parameters
    found = formula_rows(name, z, y, parameters)
    torch.testing.assert_close(found, torch_loss(name, z, y, parameters))
