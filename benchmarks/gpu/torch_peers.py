"""PyTorch's training on a GPU: eager, compiled, and a whole step captured as a CUDA graph.

Data, order of the rows, network and Adam's state lie on the GPU; float32 products are float32.
"""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np

from benchmarks.cases import Case

LR, BETAS, EPS = 1e-3, (0.9, 0.999), 1e-8


class Eager:
    """The loop of PyTorch's tutorials, with the fused Adam."""

    name = "torch eager"
    captures = False

    def __init__(
        self, case: Case, X: np.ndarray, y: np.ndarray, weights: Any, biases: Any, number: int
    ) -> None:
        import torch

        self.torch, self.case = torch, case
        self.on_gpu = torch.cuda.is_available()
        torch.backends.cuda.matmul.allow_tf32 = False
        self.device = torch.device(f"cuda:{number}" if self.on_gpu else "cpu")
        self.X, self.y = (torch.from_numpy(part).to(self.device) for part in (X, y))
        layers: list[Any] = []
        for weight, bias in zip(weights, biases, strict=True):
            linear = torch.nn.Linear(*weight.shape)
            with torch.no_grad():
                linear.weight.copy_(torch.from_numpy(np.ascontiguousarray(weight.T)))
                linear.bias.copy_(torch.from_numpy(bias))
            layers += [linear, torch.nn.ReLU()]
        self.net = torch.nn.Sequential(*layers[:-1]).to(self.device)
        self.optimizer = torch.optim.Adam(
            self.net.parameters(), lr=LR, betas=BETAS, eps=EPS, fused=True, capturable=self.captures
        )
        self.forward = self.loss_of
        self.prepare()

    def prepare(self) -> None:
        """What is done once."""

    def loss_of(self, X: Any, y: Any) -> Any:
        z = self.net(X)
        if self.case.loss == "cross_entropy":
            return self.torch.nn.functional.cross_entropy(z, y)
        return 0.5 * self.torch.nn.functional.mse_loss(z[:, 0], y)

    def step(self, rows: Any) -> Any:
        loss = self.forward(self.X[rows], self.y[rows])
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        return loss.detach()

    def train(self, n_steps: int, shuffle: bool) -> float:
        """n steps, epoch after epoch; the mean loss of the last epoch that was begun."""
        n_rows, batch, done = len(self.X), self.case.batch_size, 0
        while done < n_steps:
            order = self.torch.randperm if shuffle else self.torch.arange
            rows = order(n_rows, device=self.device).split(batch)
            losses = [self.step(part) for part in itertools.islice(rows, n_steps - done)]
            done += len(losses)
        return float(self.torch.stack(losses).mean())


def compiled(torch: Any, function: Any) -> Any:
    """For the sizes of this case alone: what another left would make them symbols."""
    torch._dynamo.reset()
    return torch.compile(function, dynamic=False)


class Compiled(Eager):
    """The loss as torch.compile makes it; the update is the fused Adam's one kernel already."""

    name = "torch compile"

    def prepare(self) -> None:
        self.forward = compiled(self.torch, self.loss_of)


class Captured(Eager):
    """Gather, forward, backward and update as one CUDA graph, replayed for every minibatch."""

    name = "torch graph"
    captures = True

    def prepare(self) -> None:
        torch, batch = self.torch, self.case.batch_size
        self.rows = torch.arange(batch, device=self.device)
        kept = [p.detach().clone() for p in self.net.parameters()]
        stream = torch.cuda.Stream(self.device)
        stream.wait_stream(torch.cuda.current_stream(self.device))
        with torch.cuda.stream(stream):
            for _ in range(3):  # before a capture, everything must have been allocated
                super().step(self.rows)
        torch.cuda.current_stream(self.device).wait_stream(stream)
        self.graph = torch.cuda.CUDAGraph()
        self.optimizer.zero_grad(set_to_none=True)
        self.total = torch.zeros((), device=self.device)
        with torch.cuda.graph(self.graph):
            self.total += super().step(self.rows)
        with torch.no_grad():  # as at the beginning
            for p, value in zip(self.net.parameters(), kept, strict=True):
                p.copy_(value)
            for state in self.optimizer.state.values():
                for value in state.values():
                    value.zero_()

    def train(self, n_steps: int, shuffle: bool) -> float:
        n_rows, done, n = len(self.X), 0, 0
        while done < n_steps:
            order = self.torch.randperm if shuffle else self.torch.arange
            rows = order(n_rows, device=self.device).split(self.case.batch_size)
            self.total.zero_()
            n = min(len(rows), n_steps - done)
            for part in rows[:n]:
                self.rows.copy_(part)
                self.graph.replay()
            done += n
        return float(self.total) / n


class CompiledCaptured(Captured):
    """The compiled loss within the captured step: the fastest that PyTorch has."""

    name = "torch compile, graph"

    def prepare(self) -> None:
        self.forward = compiled(self.torch, self.loss_of)
        super().prepare()


PEERS = (Eager, Captured, Compiled, CompiledCaptured)
