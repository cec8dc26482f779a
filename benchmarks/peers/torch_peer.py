"""PyTorch, eager: the loop of its tutorials, with the fused optimizer, its fastest on the CPU."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch.nn import functional

from .names import BETA1, BETA2, MOMENTUM
from .problem import Problem

ACTIVATIONS = {
    "relu": torch.nn.ReLU,
    "tanh": torch.nn.Tanh,
    "sigmoid": torch.nn.Sigmoid,
    "gelu": torch.nn.GELU,
    "silu": torch.nn.SiLU,
}


class TorchPeer:
    def __init__(self, problem: Problem, n_threads: int) -> None:
        torch.set_num_threads(n_threads)
        X, y = problem.data()
        self.X, self.y = torch.from_numpy(X), torch.from_numpy(y)
        self.batch_size = problem.case.batch_size
        layers: list[Any] = []
        for weight, bias in zip(*problem.parameters(), strict=True):
            n_in, n_out = weight.shape
            linear = torch.nn.Linear(n_in, n_out, dtype=getattr(torch, problem.dtype))
            with torch.no_grad():
                linear.weight.copy_(torch.from_numpy(np.ascontiguousarray(weight.T)))
                linear.bias.copy_(torch.from_numpy(bias))
            layers += [linear, ACTIVATIONS[problem.activation]()]
        self.net = torch.nn.Sequential(*layers[:-1])
        parameters, lr = self.net.parameters(), problem.lr
        if problem.optimizer == "adam":
            self.optimizer: Any = torch.optim.Adam(
                parameters, lr=lr, betas=(BETA1, BETA2), eps=problem.eps, fused=True
            )
        else:
            momentum = MOMENTUM if problem.optimizer == "momentum" else 0.0
            self.optimizer = torch.optim.SGD(parameters, lr=lr, momentum=momentum, fused=True)
        self.loss: Callable[..., Any] = self._entropy if problem.is_classes else self._half_square

    def _entropy(self, X: Any, y: Any) -> Any:
        return functional.cross_entropy(self.net(X), y)

    def _half_square(self, X: Any, y: Any) -> Any:
        return 0.5 * functional.mse_loss(self.net(X)[:, 0], y)

    def train(self, n_epochs: int, shuffle: bool) -> list[float]:
        return [self._epoch(shuffle) for _ in range(n_epochs)]

    def _epoch(self, shuffle: bool) -> float:
        n_rows = len(self.X)
        rows = torch.randperm(n_rows) if shuffle else torch.arange(n_rows)
        losses = []
        for chosen in rows.split(self.batch_size):
            loss = self.loss(self.X[chosen], self.y[chosen])
            self.optimizer.zero_grad()
            loss.backward()
            self.optimizer.step()
            losses.append(loss.detach())
        return float(torch.stack(losses).mean())


make = TorchPeer
versions = {"torch": torch.__version__}
