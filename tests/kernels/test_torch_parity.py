"""Fifty steps beside PyTorch: every update rule, and networks of several shapes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
import torch

from fastmlp.losses import Loss
from tests.reference.optimizers import HYPER

from .tools import (
    DTYPES,
    LOSSES_WITH_PARAMETER,
    dataset,
    make_engine_with,
    make_spec,
    random_parameters,
    random_targets,
    relative_error,
    train,
)

N_STEPS = 50
TOLERANCE = {"float32": 1e-4, "float64": 1e-9}
FIGURE = f"{N_STEPS} steps beside PyTorch, {{}}, largest relative error"

ACTIVATIONS = {
    "identity": lambda z: z, "relu": torch.relu, "tanh": torch.tanh, "sigmoid": torch.sigmoid,
    "gelu": torch.nn.functional.gelu,
}  # fmt: skip


@pytest.fixture(autouse=True)
def one_torch_thread():
    """Products this small are slower on several threads, and much slower beside other work."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def torch_loss(name, z, y, parameter):
    """The loss of every row, by PyTorch's own functions where it has them."""
    f = torch.nn.functional
    if name == "cross_entropy":
        return f.cross_entropy(z, y, reduction="none")
    rows = {
        "squared_error": lambda: 0.5 * f.mse_loss(z, y, reduction="none"),
        "absolute_error": lambda: f.l1_loss(z, y, reduction="none"),
        "huber": lambda: f.huber_loss(z, y, reduction="none", delta=parameter),
        "poisson": lambda: f.poisson_nll_loss(z, y, log_input=True, reduction="none"),
        "quantile": lambda: torch.maximum(parameter * (y - z), (parameter - 1.0) * (y - z)),
        "binary_cross_entropy": lambda: f.binary_cross_entropy_with_logits(z, y, reduction="none"),
    }[name]()
    return rows.mean(dim=1)


def torch_optimizer(rule, weights, biases, lr):
    if rule == "sgd":
        return torch.optim.SGD([*weights, *biases], lr=lr)
    if rule in ("momentum", "nesterov"):
        nesterov = rule == "nesterov"
        return torch.optim.SGD([*weights, *biases], lr, momentum=HYPER[rule][0], nesterov=nesterov)
    beta1, beta2, eps, decay = (*HYPER[rule], 0.0)[:4]
    settings = {"lr": lr, "betas": (beta1, beta2), "eps": eps}
    if rule == "adam":
        return torch.optim.Adam([*weights, *biases], **settings)
    groups = [{"params": weights, "weight_decay": decay}, {"params": biases, "weight_decay": 0.0}]
    return torch.optim.AdamW(groups, **settings)


@dataclass
class Case:
    """A training that both do: the same start, minibatches in the order of the table."""

    sizes: tuple[int, ...]
    activations: tuple[str, ...]
    loss: str
    rule: str = "adam"
    lr: float = 0.01
    n_rows: int = 93
    batch_size: int = 20  # the last of the 5 minibatches has 13 rows
    l1: float = 0.0
    l2: float = 0.0
    weighted: bool = False

    def prepare(self, dtype):
        rng, self.parameter = np.random.default_rng(12), LOSSES_WITH_PARAMETER.get(self.loss, 0.0)
        self.start = random_parameters(rng, self.sizes)
        self.X = rng.standard_normal((self.n_rows, self.sizes[0])).astype(dtype)
        self.y = random_targets(rng, self.loss, self.n_rows, self.sizes[-1])
        if self.y.ndim == 2:
            self.y = self.y.astype(dtype)
        self.weights = rng.uniform(0.0, 2.0, self.n_rows).astype(dtype) if self.weighted else None

    def run_fastmlp(self, dtype):
        spec = make_spec(
            self.sizes, activation=self.activations, loss=Loss(self.loss, self.parameter),
            dtype=dtype, l1=self.l1, l2=self.l2,
        )  # fmt: skip
        engine = make_engine_with(spec, *self.start)
        engine.set_optimizer(self.rule, HYPER[self.rule])
        data = dataset(self.X, self.y, dtype, self.weights)
        n_steps = -(-self.n_rows // self.batch_size)
        assert N_STEPS % n_steps == 0
        result = train(engine, data, batch_size=self.batch_size, n_epochs=N_STEPS // n_steps,
                       lr=self.lr)  # fmt: skip
        assert (result.status, result.n_steps_done) == ("done", N_STEPS)
        weights, biases = engine.get_parameters()
        return [*weights, *biases], result.loss

    def run_torch(self, dtype):
        kind = getattr(torch, dtype)
        weights, biases = (
            [torch.tensor(a, dtype=kind, requires_grad=True) for a in arrays]
            for arrays in self.start
        )
        optimizer = torch_optimizer(self.rule, weights, biases, self.lr)
        X, y = torch.tensor(self.X), torch.tensor(self.y)
        share = torch.ones(len(X), dtype=kind)
        if self.weights is not None:
            share = torch.tensor(self.weights)
        n_epochs, losses = N_STEPS // -(-self.n_rows // self.batch_size), []
        for _ in range(n_epochs):
            total = 0.0
            for start in range(0, self.n_rows, self.batch_size):
                rows = slice(start, start + self.batch_size)
                a = X[rows]
                for i, (weight, bias) in enumerate(zip(weights, biases, strict=True)):
                    a = a @ weight + bias
                    if i < len(self.activations):
                        a = ACTIVATIONS[self.activations[i]](a)
                value = (share[rows] * torch_loss(self.loss, a, y[rows], self.parameter)).sum()
                total += float(value.detach())
                l1, l2 = (sum(f(w).sum() for w in weights) for f in (torch.abs, torch.square))
                penalty = self.l1 * l1 + 0.5 * self.l2 * l2
                optimizer.zero_grad()
                (value / share[rows].sum() + penalty).backward()
                optimizer.step()
            losses.append(total / float(share.sum()))
        return [p.detach().numpy() for p in (*weights, *biases)], np.array(losses)

    def error(self, dtype) -> float:
        """The largest relative error of any array of parameters and of the epochs' losses."""
        self.prepare(dtype)
        (found, loss), (wanted, torch_losses) = self.run_fastmlp(dtype), self.run_torch(dtype)
        errors = [relative_error(f, w) for f, w in zip(found, wanted, strict=True)]
        return max([*errors, relative_error(loss, torch_losses)])


SHAPES = {
    "one hidden layer, relu, classes": Case((12, 33, 5), ("relu",), "cross_entropy"),
    "three hidden layers, mixed": Case(
        (9, 31, 17, 40, 4), ("tanh", "gelu", "sigmoid"), "squared_error", "nesterov", lr=0.05),
    "linear, one output": Case((20, 1), (), "binary_cross_entropy", "momentum", lr=0.05),
    "multilabel, gelu, weighted": Case(
        (7, 24, 6), ("gelu",), "binary_cross_entropy", "adamw", weighted=True),
    "counts": Case((5, 16, 2), ("tanh",), "poisson", "sgd", lr=0.05),
    "robust, penalised": Case((6, 35, 3), ("tanh",), "huber", l1=1e-3, l2=1e-2),
    "absolute error": Case((6, 18, 2), ("sigmoid",), "absolute_error", "sgd", lr=0.02),
    "quantile, weighted": Case((4, 10, 1), ("tanh",), "quantile", "sgd", weighted=True),
    "one unit everywhere": Case((1, 1, 1, 1), ("tanh", "identity"), "squared_error"),
    "one row a batch": Case((3, 5, 2), ("relu",), "squared_error", n_rows=50, batch_size=1),
    "wide": Case((100, 129, 70), ("relu",), "cross_entropy", "adam", lr=1e-3),
}  # fmt: skip


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("l2", [0.0, 0.05])
@pytest.mark.parametrize("rule", HYPER)
def test_every_rule_takes_the_steps_of_pytorch(rule, l2, dtype, record_property):
    lr = 0.01 if rule.startswith("adam") else 0.05
    error = Case((8, 21, 4), ("tanh",), "squared_error", rule, lr=lr, l2=l2).error(dtype)
    record_property(FIGURE.format(dtype), error)
    assert error <= TOLERANCE[dtype]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", SHAPES)
def test_networks_train_as_in_pytorch(shape, dtype, record_property):
    error = SHAPES[shape].error(dtype)
    record_property(FIGURE.format(dtype), error)
    assert error <= TOLERANCE[dtype]
