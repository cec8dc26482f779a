"""Many small networks at once: `fit_many` beside one fit after another, and beside other libraries.

    python -m benchmarks.many [--networks 64] [--threads 2] [--repeats 5] [--with all]

The same networks, first weights, data, rates and number of steps for each, in turn in one run:

- in_turn: `fit` of one after another, one thread
- fit_many: all in one call
- joblib_processes, joblib_threads: `fit` in processes and in threads that are started before
- torch_vmap: stacked modules, `torch.func.vmap` of the gradient, Adam by hand on the stacks
- torch_bmm: the same networks as batched products, written by hand
- jax: `vmap` of a scanned step, compiled

Each reaches its mean loss of the last epoch, which must be within 5 % of the first one's before
its time counts: shuffles differ, the problem does not.
"""

from __future__ import annotations

import functools
import json
import os
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

os.environ.pop("OPENBLAS_CORETYPE", None)

import click
import numpy as np

import fastmlp
from fastmlp import Network, optim

from .command import Names, run
from .failed import Failed

SIZES = (8, 64, 64, 1)
N_ROWS, BATCH_ROWS, N_EPOCHS = 10_000, 128, 10
BETA1, BETA2, EPS = 0.9, 0.999, 1e-8
TOLERANCE = 0.05


@dataclass(eq=False)
class Problem:
    """Networks that differ in seed and learning rate, and their table."""

    n: int
    n_threads: int
    X: np.ndarray = field(init=False)
    y: np.ndarray = field(init=False)

    def __post_init__(self) -> None:
        rng = np.random.default_rng(0)
        self.X = rng.standard_normal((N_ROWS, SIZES[0])).astype(np.float32)
        self.y = np.sin(2 * self.X[:, 0]) + self.X[:, 1] * self.X[:, 2]
        self.rates = np.float32(1e-3) * (1 + np.arange(self.n, dtype=np.float32) % 7)

    def networks(self, n_threads: int | None) -> list[Network]:
        return [
            Network(list(SIZES), loss="squared_error", seed=i, n_threads=n_threads)
            for i in range(self.n)
        ]

    def settings(self, i: int) -> dict[str, Any]:
        rule = optim.Adam(lr=float(self.rates[i]), beta1=BETA1, beta2=BETA2, eps=EPS)
        return {"optimizer": rule, "epochs": N_EPOCHS, "batch_size": BATCH_ROWS, "verbose": False}

    def stacks(self) -> tuple[list[np.ndarray], list[np.ndarray]]:
        """The first weights (n, in, out) and biases (n, 1, out) of all networks."""
        nets = self.networks(1)
        layers = range(len(SIZES) - 1)
        weights = [np.stack([net.weights[i] for net in nets]) for i in layers]
        biases = [np.stack([net.biases[i] for net in nets])[:, None] for i in layers]
        return weights, biases

    def shuffles(self, epoch: int) -> np.ndarray:
        """(n, whole minibatches, batch) rows of an epoch, an order of its own for each network."""
        rng = np.random.default_rng(epoch)
        n_whole = N_ROWS // BATCH_ROWS
        orders = [rng.permutation(N_ROWS)[: n_whole * BATCH_ROWS] for _ in range(self.n)]
        return np.stack(orders).reshape(self.n, n_whole, BATCH_ROWS)


def in_turn(problem: Problem) -> list[float]:
    return [
        net.fit(problem.X, problem.y, **problem.settings(i)).loss[-1]
        for i, net in enumerate(problem.networks(1))
    ]


def many(problem: Problem) -> list[float]:
    rules = [problem.settings(i)["optimizer"] for i in range(problem.n)]
    histories = fastmlp.fit_many(
        problem.networks(None), problem.X, problem.y, optimizer=rules, epochs=N_EPOCHS,
        batch_size=BATCH_ROWS, n_threads=problem.n_threads, verbose=False,
    )  # fmt: skip
    return [history.loss[-1] for history in histories]


def _one(net: Network, X: np.ndarray, y: np.ndarray, settings: dict[str, Any]) -> float:
    return net.fit(X, y, **settings).loss[-1]


def _joblib(problem: Problem, backend: str) -> list[float]:
    from joblib import Parallel, delayed  # type: ignore[import-untyped]

    found = Parallel(n_jobs=problem.n_threads, backend=backend)(
        delayed(_one)(net, problem.X, problem.y, problem.settings(i))
        for i, net in enumerate(problem.networks(1))
    )
    return [float(loss) for loss in found]


def processes(problem: Problem) -> list[float]:
    return _joblib(problem, "loky")


def threads(problem: Problem) -> list[float]:
    return _joblib(problem, "threading")


def _torch_adam(problem: Problem, gradient: Callable[..., tuple[Any, list[Any]]]) -> list[float]:
    """Adam on stacks of all networks; `gradient(parameters, x, y)`: losses (n,) and gradients."""
    import torch

    torch.set_num_threads(problem.n_threads)
    weights, biases = problem.stacks()
    parameters = [
        torch.from_numpy(a.copy()) for pair in zip(weights, biases, strict=True) for a in pair
    ]
    means = [torch.zeros_like(p) for p in parameters]
    squares = [torch.zeros_like(p) for p in parameters]
    X, y = torch.from_numpy(problem.X), torch.from_numpy(problem.y)
    rates = torch.from_numpy(problem.rates)[:, None, None]
    step = 0
    losses: list[Any] = []
    for epoch in range(N_EPOCHS):
        losses = []
        for rows in torch.from_numpy(problem.shuffles(epoch)).unbind(1):
            step += 1
            loss, grads = gradient(parameters, X[rows], y[rows])
            losses.append(loss)
            with torch.no_grad():
                torch._foreach_lerp_(means, grads, 1 - BETA1)
                torch._foreach_mul_(squares, BETA2)
                torch._foreach_addcmul_(squares, grads, grads, 1 - BETA2)
                for p, m, v in zip(parameters, means, squares, strict=True):
                    root = (v / (1 - BETA2**step)).sqrt_().add_(EPS)
                    p -= rates * (m / (1 - BETA1**step)) / root
    return torch.stack(losses).mean(0).tolist()


def torch_vmap(problem: Problem) -> list[float]:
    import torch
    from torch.func import grad_and_value, vmap

    def loss_of(parameters: list[Any], x: Any, y: Any) -> Any:
        a = x
        for i in range(0, len(parameters), 2):
            a = a @ parameters[i] + parameters[i + 1]
            a = torch.relu(a) if i + 2 < len(parameters) else a
        return 0.5 * ((a[:, 0] - y) ** 2).mean()

    both = vmap(grad_and_value(loss_of))

    def gradient(parameters: list[Any], x: Any, y: Any) -> tuple[Any, list[Any]]:
        grads, losses = both(parameters, x, y)
        return losses, list(grads)

    return _torch_adam(problem, gradient)


def torch_bmm(problem: Problem) -> list[float]:
    import torch

    def gradient(parameters: list[Any], x: Any, y: Any) -> tuple[Any, list[Any]]:
        with torch.no_grad():
            activations = [x]
            for i in range(0, len(parameters), 2):
                z = torch.baddbmm(parameters[i + 1], activations[-1], parameters[i])
                activations.append(z.relu_() if i + 2 < len(parameters) else z)
            off = activations[-1][..., 0] - y
            dz = (off / off.shape[1])[..., None]
            grads: list[Any] = [None] * len(parameters)
            for i in range(len(parameters) - 2, -1, -2):
                a = activations[i // 2]
                grads[i], grads[i + 1] = a.transpose(1, 2) @ dz, dz.sum(1, keepdim=True)
                if i:
                    dz = (dz @ parameters[i].transpose(1, 2)) * (a > 0)
            return 0.5 * (off**2).mean(1), grads

    return _torch_adam(problem, gradient)


@functools.cache
def _jax_epoch(problem: Problem) -> Callable[..., Any]:
    """The compiled epoch of all networks: (states, rows) -> (states, losses)."""
    import jax
    import jax.numpy as jnp

    X, y = jnp.asarray(problem.X), jnp.asarray(problem.y)

    def loss_of(parameters: Any, x: Any, t: Any) -> Any:
        a = x
        for i, (w, b) in enumerate(parameters):
            a = a @ w + b
            a = jax.nn.relu(a) if i + 1 < len(parameters) else a
        return 0.5 * ((a[:, 0] - t) ** 2).mean()

    def step(state: Any, rows: Any) -> tuple[Any, Any]:
        parameters, mean, square, count, rate = state
        loss, grads = jax.value_and_grad(loss_of)(parameters, X[rows], y[rows])
        count = count + 1
        mean = jax.tree.map(lambda m, g: BETA1 * m + (1 - BETA1) * g, mean, grads)
        square = jax.tree.map(lambda v, g: BETA2 * v + (1 - BETA2) * g * g, square, grads)
        c1, c2 = 1 - BETA1**count, 1 - BETA2**count
        parameters = jax.tree.map(
            lambda p, m, v: p - rate * (m / c1) / (jnp.sqrt(v / c2) + EPS), parameters, mean, square
        )
        return (parameters, mean, square, count, rate), loss

    compiled: Callable[..., Any] = jax.jit(
        jax.vmap(lambda state, rows: jax.lax.scan(step, state, rows))
    )
    return compiled


def jax_vmap(problem: Problem) -> list[float]:
    import jax
    import jax.numpy as jnp

    weights, biases = problem.stacks()
    parameters = [(jnp.asarray(w), jnp.asarray(b)) for w, b in zip(weights, biases, strict=True)]
    zeros = jax.tree.map(jnp.zeros_like, parameters)
    state = (parameters, zeros, zeros, jnp.zeros(problem.n), jnp.asarray(problem.rates))
    losses = jnp.zeros((problem.n, 1))
    for epoch in range(N_EPOCHS):
        state, losses = _jax_epoch(problem)(state, jnp.asarray(problem.shuffles(epoch)))
    return [float(loss) for loss in losses.mean(axis=1)]


PEERS: dict[str, Callable[[Problem], list[float]]] = {
    "in_turn": in_turn,
    "fit_many": many,
    "joblib_processes": processes,
    "joblib_threads": threads,
    "torch_vmap": torch_vmap,
    "torch_bmm": torch_bmm,
    "jax": jax_vmap,
}


@click.command("benchmarks.many")
@click.option("--networks", "n", type=click.IntRange(1), default=64, show_default=True)
@click.option("--threads", "n_threads", type=click.IntRange(1), default=2, show_default=True)
@click.option("--repeats", type=click.IntRange(1), default=5, show_default=True)
@click.option("--with", "names", type=Names(list(PEERS)), default="all", show_default=True)
def many_networks(n: int, n_threads: int, repeats: int, names: tuple[str, ...]) -> None:
    """Seconds for many small networks, a JSON record for each way to train them."""
    problem = Problem(n, n_threads)
    wanted = float(np.mean(in_turn(problem)))
    for name in names:
        found = float(np.mean(PEERS[name](problem)))  # compiles and starts what it needs
        if abs(found - wanted) > TOLERANCE * wanted:
            raise Failed(f"{name} ends at a mean loss of {found:.4g}, not {wanted:.4g}")
    seconds: dict[str, list[float]] = {name: [] for name in names}
    for _ in range(repeats):
        for name in names:
            start_s = time.perf_counter()
            PEERS[name](problem)
            seconds[name].append(time.perf_counter() - start_s)
    for name, times in seconds.items():
        record = {
            "way": name, "networks": n, "sizes": list(SIZES), "rows": N_ROWS, "batch": BATCH_ROWS,
            "epochs": N_EPOCHS, "threads": n_threads, "s_best": round(min(times), 4),
            "s_median": round(statistics.median(times), 4),
        }  # fmt: skip
        click.echo(json.dumps(record))


if __name__ == "__main__":
    run(many_networks)
