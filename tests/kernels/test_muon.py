"""Muon beside the NumPy oracle and PyTorch's own, and what its matrices alone can get wrong."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from fastmlp.engine.cpu.workspace import Workspace
from fastmlp.optim import Muon, UpdateOptions
from tests.reference.optimizers import newton_schulz

from .test_training import both, error
from .tools import (
    DTYPES,
    TALLEST,
    dataset,
    make_engine_with,
    make_spec,
    random_parameters,
    relative_error,
    train,
)

each_dtype = pytest.mark.parametrize("dtype", DTYPES)
TOLERANCE = {"float32": 1e-4, "float64": 1e-9}
FIGURE = "50 steps of Muon beside {}, {}, largest relative error"
N_STEPS = 50

SHAPES = {
    "tall": (70, 33, 3),
    "wide": (9, 50, 3),
    "square": (16, 32, 32, 2),
    "one unit": (5, 1, 4, 1),
    "one input": (1, 6, 2),
    "several panels, both ways": (21, 70, 101, 40, 5),
    "around a tile": (TALLEST - 1, TALLEST + 1, TALLEST, 2 * TALLEST + 3, 2),
    "no hidden layer": (7, 3),
}
SETTINGS = {
    "as it is": {},
    "without nesterov": {"nesterov": False},
    "no momentum": {"momentum": 0.0},
    "as large as Adam's": {"adjust_lr": "match_rms_adamw", "lr": 1e-3, "adam_lr": 2e-3},
    "another rate for the rest": {"adam_lr": 3e-3, "beta1": 0.8, "beta2": 0.99, "adam_eps": 1e-6},
    "one iteration": {"ns_steps": 1},
    "least norm": {"eps": 0.5},
}
OPTIONS = {
    "penalty": {"l1": 1e-3, "l2": 0.05},
    "decay": {"weight_decay": 0.5},
    "decay of biases": {"weight_decay": 0.5, "decay_biases": True},
    "clipped norm": {"clip_norm": 0.05},
    "clipped values": {"clip_value": 0.01},
    "max-norm": {"max_norm": 0.9},
    "average": {"ema": 0.9},
    "rates of layers": {"layer_lr": (0.25, 2.0, 0.5)},
    "a frozen layer": {"layer_lr": (0.0, 1.0, 1.0)},
    "all": {
        "weight_decay": 0.1, "decay_biases": True, "clip_norm": 0.05, "clip_value": 0.02,
        "layer_lr": (2.0, 0.5, 1.0), "l2": 0.02, "max_norm": 0.9, "ema": 0.8,
    },
}  # fmt: skip


def fifty_steps(dtype, sizes, optimizer: Muon | None = None, l1=0.0, l2=0.0, **options):
    optimizer = optimizer or Muon(lr=0.02, adam_lr=0.01)
    return error(*both(
        dtype, sizes=sizes, names=("tanh", "gelu", "silu")[: len(sizes) - 2], rule="muon",
        n_rows=93, batch_size=20, n_epochs=10, lr=optimizer.lr, shuffle=False, l1=l1, l2=l2,
        options=UpdateOptions(**options), hyper=optimizer.hyper,
    ))  # fmt: skip


@each_dtype
@pytest.mark.parametrize("shape", SHAPES)
def test_matrices_of_every_shape_take_the_steps_of_the_oracle(shape, dtype, record_property):
    found = fifty_steps(dtype, SHAPES[shape])
    record_property(FIGURE.format("NumPy", dtype), found)
    assert found <= TOLERANCE[dtype]


@each_dtype
@pytest.mark.parametrize("setting", SETTINGS)
def test_every_setting_takes_the_steps_of_the_oracle(setting, dtype, record_property):
    optimizer = Muon(**({"lr": 0.02, "adam_lr": 0.01} | SETTINGS[setting]))
    found = fifty_steps(dtype, (12, 33, 20, 4), optimizer)
    record_property(FIGURE.format("NumPy", dtype), found)
    assert found <= TOLERANCE[dtype]


@each_dtype
@pytest.mark.parametrize("options", OPTIONS)
def test_every_option_takes_the_steps_of_the_oracle(options, dtype, record_property):
    found = fifty_steps(dtype, (12, 33, 20, 4), **OPTIONS[options])
    record_property(FIGURE.format("NumPy", dtype), found)
    assert found <= TOLERANCE[dtype]


@each_dtype
def test_embeddings_and_normalised_layers_take_adam_beside_it(dtype):
    found = error(*both(
        dtype, sizes=(7, 18, 18, 3), names=("gelu", "tanh"), rule="muon", n_rows=93,
        batch_size=31, n_epochs=5, embeddings={2: (11, 4)}, norm=["layer", "batch"],
        residual=True, hyper=Muon(lr=0.02, adam_lr=0.01).hyper,
    ))  # fmt: skip
    assert found <= TOLERANCE[dtype]


# ---- PyTorch -------------------------------------------------------------------------------


def torch_weights(start, data, optimizer: Muon, n_steps: int) -> list[np.ndarray]:
    """What torch.optim.Muon and AdamW make of a network with tanh, by full batches in float64."""
    weights, biases = ([torch.tensor(a, dtype=torch.float64) for a in part] for part in start)
    for tensor in (*weights, *biases):
        tensor.requires_grad_()
    # PyTorch's matrices are (out, in).
    matrices = [weight.detach().T.clone().requires_grad_() for weight in weights[:-1]]
    rules = [
        torch.optim.Muon(
            matrices, lr=optimizer.lr, weight_decay=optimizer.weight_decay,
            momentum=optimizer.momentum, nesterov=optimizer.nesterov, eps=optimizer.eps,
            ns_steps=optimizer.ns_steps, adjust_lr_fn=optimizer.adjust_lr,
        ),
        torch.optim.AdamW(
            [{"params": weights[-1:], "weight_decay": optimizer.weight_decay},
             {"params": biases, "weight_decay": 0.0}],
            lr=optimizer.adam_lr, betas=(optimizer.beta1, optimizer.beta2),
            eps=optimizer.adam_eps,
        ),
    ]  # fmt: skip
    X, y = (torch.tensor(a, dtype=torch.float64) for a in (data.X, data.targets))
    for _ in range(n_steps):
        for rule in rules:
            rule.zero_grad()
        a = X
        for matrix, bias in zip(matrices, biases[:-1], strict=True):
            a = torch.tanh(a @ matrix.T + bias)
        loss = 0.5 * ((a @ weights[-1] + biases[-1] - y) ** 2).mean()
        loss.backward()
        for rule in rules:
            rule.step()
    return [*(m.detach().numpy().T for m in matrices), weights[-1].detach().numpy()]


def beside_torch(optimizer: Muon, n_steps: int) -> tuple[float, float]:
    """The largest error of the weights after some steps, and how far the least of them went."""
    sizes, rng = (12, 33, 20, 4), np.random.default_rng(5)
    engine = make_engine_with(make_spec(sizes, activation="tanh", dtype="float64"),
                              *random_parameters(rng, sizes))  # fmt: skip
    start = engine.get_parameters()
    data = dataset(rng.standard_normal((40, 12)), rng.standard_normal((40, 4)), "float64")
    wanted = torch_weights(start, data, optimizer, n_steps)
    engine.set_optimizer(optimizer.rule, optimizer.hyper, optimizer.options)
    train(engine, data, batch_size=40, n_epochs=n_steps, lr=optimizer.lr)
    found = engine.get_parameters()[0]
    errors = [relative_error(w, target) for w, target in zip(found, wanted, strict=True)]
    went = [relative_error(w, before) for w, before in zip(wanted, start[0], strict=True)]
    return max(errors), min(went)


KINDS = {
    "original": Muon(lr=0.02, adam_lr=0.01),
    "as large as Adam's": Muon(lr=0.01, adam_lr=0.01, adjust_lr="match_rms_adamw"),
    "without nesterov": Muon(lr=0.02, adam_lr=0.01, nesterov=False, momentum=0.8),
    "decay, fewer iterations": Muon(lr=0.02, adam_lr=0.01, weight_decay=2.0, ns_steps=3),
}
each_kind = pytest.mark.parametrize("kind", KINDS)


@each_kind
def test_the_steps_are_those_of_pytorch_where_it_iterates_in_float64(
    kind, monkeypatch, record_property
):
    monkeypatch.setattr(torch.Tensor, "bfloat16", torch.Tensor.clone)
    found, _ = beside_torch(KINDS[kind], N_STEPS)
    record_property(FIGURE.format("PyTorch", "float64"), found)
    assert found <= TOLERANCE["float64"]


@each_kind
def test_the_steps_are_those_of_pytorch_but_for_its_bfloat16(kind, record_property):
    found, went = beside_torch(KINDS[kind], 4)
    record_property("4 steps of Muon beside PyTorch's in bfloat16, relative error", found)
    assert found <= 1e-2
    assert went > 2e-2


# ---- what the iteration promises -------------------------------------------------------------


@each_dtype
@pytest.mark.parametrize("sizes", [(20, 12, 3), (12, 20, 3), (16, 16, 3)])
def test_a_step_has_singular_values_near_one(sizes, dtype):
    rng = np.random.default_rng(1)
    engine = make_engine_with(make_spec(sizes, activation="tanh", dtype=dtype),
                              *random_parameters(rng, sizes))  # fmt: skip
    data = dataset(rng.standard_normal((300, sizes[0])), rng.standard_normal((300, 3)), dtype)
    optimizer = Muon(lr=1.0, adjust_lr="original", weight_decay=0.0)
    engine.set_optimizer("muon", optimizer.hyper)
    gradient = engine.loss_and_gradients(data)[1][0].astype(float)
    before = engine.get_parameters()[0][0].astype(float)
    train(engine, data, batch_size=300, n_epochs=1, lr=1.0)
    move = before - engine.get_parameters()[0][0]
    factor = np.sqrt(max(1.0, sizes[1] / sizes[0]))
    values = np.linalg.svd(move / factor, compute_uv=False)
    # The first step's momentum is proportional to the gradient.
    tolerance = {"float32": 1e-4, "float64": 1e-9}[dtype]
    assert relative_error(move / factor, newton_schulz(gradient, 5, 0.0)) <= tolerance
    large = np.linalg.svd(gradient, compute_uv=False) > 0.01 * np.linalg.norm(gradient)
    assert large.sum() >= 3
    assert (values[large] > 0.5).all()
    assert (values < 1.3).all()


@each_dtype
def test_a_layer_without_gradient_stays_where_it_is(dtype):
    """Output weights of zero: the layers before have none, and there is no norm to divide by."""
    sizes, rng = (6, 9, 9, 2), np.random.default_rng(0)
    weights, biases = random_parameters(rng, sizes)
    weights[-1][...] = 0.0
    engine = make_engine_with(make_spec(sizes, dtype=dtype), weights, biases)
    engine.set_optimizer("muon", Muon().hyper)
    before = engine.get_parameters()[0]
    data = dataset(rng.standard_normal((8, 6)), rng.standard_normal((8, 2)), dtype)
    assert train(engine, data, batch_size=8, n_epochs=1).status == "done"
    same = [np.array_equal(a, b) for a, b in zip(before, engine.get_parameters()[0], strict=True)]
    assert same == [True, True, False]


@each_dtype
@pytest.mark.parametrize("n_threads", [1, 2])
def test_a_gradient_whose_norm_overflows_stops_the_training(n_threads, dtype):
    large = float(np.sqrt(np.finfo(dtype).max)) * 10.0
    weights, biases = [np.zeros((4, 20)), np.full((20, 2), large)], [np.zeros(20), np.zeros(2)]
    spec = make_spec((4, 20, 2), activation="identity", dtype=dtype, n_threads=n_threads)
    engine = make_engine_with(spec, weights, biases)
    engine.set_optimizer("muon", Muon().hyper)
    data = dataset(np.ones((8, 4)), np.ones((8, 2)), dtype)
    result = train(engine, data, batch_size=8, n_epochs=3)
    assert (result.status, result.non_finite.step, result.non_finite.layer) == ("non_finite", 1, 0)
    np.testing.assert_array_equal(engine.get_parameters()[0][0], 0.0)
    assert np.isfinite(engine.params).all()
    assert np.isfinite(engine.state).all()


def test_other_rules_have_no_room_for_it():
    engine = make_engine_with(make_spec((30, 40, 3)), *random_parameters(
        np.random.default_rng(0), (30, 40, 3)))  # fmt: skip
    plain = Workspace(engine, 8, 1).work.nbytes
    assert Workspace(engine, 8, 1, orthogonalises=True).work.nbytes > plain
    data = dataset(np.ones((8, 30)), np.ones((8, 3)), "float32")
    for rule, hyper, more in (("sgd", (), False), ("muon", Muon().hyper, True), ("sgd", (), False)):
        engine.set_optimizer(rule, hyper)
        train(engine, data, batch_size=8, n_epochs=1)
        assert (engine._spare["train"].work.nbytes > plain) is more
