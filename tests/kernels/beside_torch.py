"""The same training by an engine and by PyTorch: one start, minibatches in the table's order."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import numpy as np
import torch

from fastmlp.kernels import activations
from fastmlp.optim import UpdateOptions
from fastmlp.spec.loss_table import TABLE
from tests.functions_page import expression, numbers
from tests.reference.optimizers import HYPER, TORCH

from .tools import (
    dataset,
    loss_of,
    make_engine_with,
    make_spec,
    random_inputs,
    random_parameters,
    random_targets,
    randomise_scales,
    relative_error,
    train,
)

N_STEPS = 50
F = torch.nn.functional


def module_of(expression: str) -> torch.nn.Module:
    """The module that a record's `pytorch` names: a class of torch.nn, or a call of one."""
    found = eval(expression, {"nn": torch.nn})
    return found() if inspect.isclass(found) else found


ACTIVATIONS = {
    name: module_of(record.pytorch) for name, record in activations.TABLE.items() if record.pytorch
}


# Between the sums and the activation: (z, scale, bias, running statistics or None).
NORMS = {
    "none": lambda z, scale, bias, running: z + bias,
    "layer": lambda z, scale, bias, running: F.layer_norm(z, z.shape[1:], scale, bias, 1e-5),
    "rms": lambda z, scale, bias, running: F.rms_norm(z, z.shape[1:], scale, 1e-5) + bias,
    "batch": lambda z, scale, bias, running: F.batch_norm(
        z, *running, scale, bias, training=True, momentum=0.1
    ),
}


def quantile_rows(values, y, q):
    return torch.maximum(q * (y - values), (q - 1.0) * (y - values))


def quantiles_rows(z, y, levels):
    """The pinball losses of ever larger values, (rows, targets * quantiles)."""
    steps = z.reshape(len(z), -1, len(levels))
    steps = torch.cat([steps[:, :, :1], F.softplus(steps[:, :, 1:])], dim=2)
    return quantile_rows(steps.cumsum(2), y[:, :, None], torch.tensor(levels)).flatten(1)


def gaussian_rows(z, y):
    mean, log_variance = z.chunk(2, dim=1)
    return F.gaussian_nll_loss(mean, y, log_variance.exp(), eps=1e-12, reduction="none")


def formula_rows(name, z, y, parameters):
    """The loss of every row by the formula of its record, of which PyTorch makes the gradient."""
    n, p = z.shape[1], z.softmax(dim=1)
    labels = y if y.ndim == 1 else torch.zeros(len(y), dtype=torch.int64)
    known = vars(torch) | numbers(parameters) | {
        "z": z, "y": y, "K": n, "S": torch.sigmoid, "p": p, "m": z[:, : n // 2],
        "s": z[:, n // 2 :], "onehot": F.one_hot(labels, n), "pc": p.gather(1, labels[:, None]),
        "mean": lambda a: a.mean(dim=1), "sum": lambda a: a.sum(dim=1),
    }  # fmt: skip
    return eval(expression(TABLE[name].described.formula), known)


def torch_loss(name, z, y, parameters):
    """The loss of every row: by PyTorch's own functions where one is named here, else by its
    formula."""
    if name in ("cross_entropy", "soft_cross_entropy"):
        return F.cross_entropy(z, y, reduction="none", label_smoothing=sum(parameters))
    if name == "focal":
        loss = F.cross_entropy(z, y, reduction="none")
        return (1.0 - (-loss).exp()) ** parameters[0] * loss
    if name not in OWN_LOSSES:
        return formula_rows(name, z, y, parameters)
    return OWN_LOSSES[name](z, y, parameters).mean(dim=1)


# Elementwise.
OWN_LOSSES = {
    "squared_error": lambda z, y, _: 0.5 * F.mse_loss(z, y, reduction="none"),
    "absolute_error": lambda z, y, _: F.l1_loss(z, y, reduction="none"),
    "huber": lambda z, y, delta: F.huber_loss(z, y, reduction="none", delta=delta[0]),
    "poisson": lambda z, y, _: F.poisson_nll_loss(z, y, log_input=True, reduction="none"),
    "quantile": lambda z, y, q: quantile_rows(z, y, q[0]),
    "quantiles": quantiles_rows,
    "gaussian_nll": lambda z, y, _: gaussian_rows(z, y),
    "binary_cross_entropy": lambda z, y, _: F.binary_cross_entropy_with_logits(
        z, y, reduction="none"
    ),
}


def torch_optimizer(rule, groups, lr):
    """PyTorch's own decoupled decay where it has one; the others find theirs in `Case.step`."""
    kind, settings = TORCH[rule]
    return getattr(torch.optim, kind)(groups, lr, **settings)


def decays_itself(rule) -> bool:
    kind, settings = TORCH[rule]
    return kind == "AdamW" or "decoupled_weight_decay" in settings


@contextmanager
def as_precise_as_can_be() -> Iterator[None]:
    """NAdam keeps the product of its momenta in PyTorch's default type.

    One thread: for arrays as small as these, PyTorch's others only wait for one another.
    """
    before = torch.get_default_dtype(), torch.get_num_threads()
    torch.set_default_dtype(torch.float64)
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_default_dtype(before[0])
        torch.set_num_threads(before[1])


@dataclass
class Case:
    """A training that both do."""

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
    options: UpdateOptions = field(default_factory=UpdateOptions)
    around: dict = field(default_factory=dict)  # norm, residual, embeddings

    def prepare(self, dtype):
        rng = np.random.default_rng(12)
        self.spec = make_spec(
            self.sizes, activation=self.activations, loss=self.loss, dtype=dtype, l1=self.l1,
            l2=self.l2, **self.around,
        )  # fmt: skip
        self.engine = make_engine_with(self.spec, *random_parameters(rng, self.spec.layer_sizes))
        randomise_scales(rng, self.engine)
        self.start = self.engine.parameters().named()
        self.X = random_inputs(rng, self.spec, self.n_rows, dtype)
        self.y = random_targets(rng, self.loss, self.n_rows, self.sizes[-1])
        if self.y.ndim == 2:
            self.y = self.y.astype(dtype)
        self.weights = rng.uniform(0.0, 2.0, self.n_rows).astype(dtype) if self.weighted else None

    def run_fastmlp(self, dtype):
        engine = self.engine
        engine.set_optimizer(self.rule, HYPER[self.rule], self.options)
        data = dataset(self.X, self.y, dtype, self.weights)
        n_steps = -(-self.n_rows // self.batch_size)
        assert N_STEPS % n_steps == 0
        result = train(engine, data, batch_size=self.batch_size, n_epochs=N_STEPS // n_steps,
                       lr=self.lr)  # fmt: skip
        assert (result.status, result.n_steps_done) == ("done", N_STEPS)
        running = [array for pair in engine.get_running().values() for array in pair]
        return [*engine.parameters().named().values(), *running], result.loss

    def groups(self, arrays) -> list[dict]:
        """A group of every array, with its learning rate and its decay."""
        options, groups = self.options, []
        for name, array in arrays.items():
            kind, number = name.split(".")
            layer = 0 if kind == "embeddings" else int(number)
            factor = options.layer_lr[layer] if options.layer_lr else 1.0
            decays = kind in ("weights", "embeddings") or options.decay_biases
            groups.append({
                "params": [array], "lr": self.lr * factor,
                "weight_decay": options.weight_decay * decays,
            })  # fmt: skip
        return groups

    def torch_forward(self, arrays, X, running):
        """The last layer's sums, by PyTorch's own functions."""
        columns = [column for column, _, _ in self.spec.embeddings]
        others = [column for column in range(X.shape[1]) if column not in columns]
        tables = [
            F.embedding(X[:, column].long(), arrays[f"embeddings.{i}"])
            for i, column in enumerate(columns)
        ]
        a = torch.cat([*tables, X[:, others]], dim=1)
        for i, activation in enumerate(self.activations):
            z, bias = a @ arrays[f"weights.{i}"], arrays[f"biases.{i}"]
            z = NORMS[self.spec.norms[i]](z, arrays.get(f"scales.{i}"), bias, running.get(i))
            value = ACTIVATIONS[activation](z)
            a = a + value if self.spec.residual[i] else value
        last = len(self.activations)
        return a @ arrays[f"weights.{last}"] + arrays[f"biases.{last}"]

    def step(self, optimizer) -> None:
        """Clip the gradients, decay by hand what PyTorch would decay otherwise, update."""
        arrays = [array for group in optimizer.param_groups for array in group["params"]]
        if self.options.clip_value:
            torch.nn.utils.clip_grad_value_(arrays, self.options.clip_value)
        if self.options.clip_norm:
            torch.nn.utils.clip_grad_norm_(arrays, self.options.clip_norm)
        if not decays_itself(self.rule):
            for group in optimizer.param_groups:
                decay = group.pop("own_decay", None) or group["weight_decay"]
                group["own_decay"], group["weight_decay"] = decay, 0.0
                for array in group["params"]:
                    array.data.mul_(1.0 - group["lr"] * decay)
        optimizer.step()

    def run_torch(self, dtype):
        kind = getattr(torch, dtype)
        arrays = {name: torch.tensor(a, requires_grad=True) for name, a in self.start.items()}
        weights = [array for name, array in arrays.items() if name.startswith("weights")]
        running = {
            i: (torch.zeros(size, dtype=kind), torch.ones(size, dtype=kind))
            for i, (size, norm) in enumerate(zip(self.sizes[1:], self.spec.norms, strict=False))
            if norm == "batch"
        }
        optimizer = torch_optimizer(self.rule, self.groups(arrays), self.lr)
        X, y = torch.tensor(self.X), torch.tensor(self.y)
        share = torch.ones(len(X), dtype=kind)
        if self.weights is not None:
            share = torch.tensor(self.weights)
        n_epochs, losses = N_STEPS // -(-self.n_rows // self.batch_size), []
        parameters = loss_of(self.loss).parameters
        for _ in range(n_epochs):
            total = 0.0
            for start in range(0, self.n_rows, self.batch_size):
                rows = slice(start, start + self.batch_size)
                z = self.torch_forward(arrays, X[rows], running)
                value = (share[rows] * torch_loss(self.loss, z, y[rows], parameters)).sum()
                total += float(value.detach())
                l1, l2 = (sum(f(w).sum() for w in weights) for f in (torch.abs, torch.square))
                penalty = self.l1 * l1 + 0.5 * self.l2 * l2
                optimizer.zero_grad()
                (value / share[rows].sum() + penalty).backward()
                self.step(optimizer)
            losses.append(total / float(share.sum()))
        found = [*arrays.values(), *(each for pair in running.values() for each in pair)]
        return [array.detach().numpy() for array in found], np.array(losses)

    def error(self, dtype) -> float:
        """The largest relative error of any array of parameters and of the epochs' losses."""
        self.prepare(dtype)
        found, loss = self.run_fastmlp(dtype)
        with as_precise_as_can_be():
            wanted, torch_losses = self.run_torch(dtype)
        errors = [relative_error(f, w) for f, w in zip(found, wanted, strict=True)]
        return max([*errors, relative_error(loss, torch_losses)])
