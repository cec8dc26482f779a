"""JAX: an epoch is one call, the `jit` of a `lax.scan` over the minibatches."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from .names import BETA1, BETA2, MOMENTUM
from .problem import Problem

ACTIVATIONS = {
    "relu": jax.nn.relu,
    "tanh": jnp.tanh,
    "sigmoid": jax.nn.sigmoid,
    "gelu": lambda z: jax.nn.gelu(z, approximate=False),
    "silu": jax.nn.silu,
}


class JaxPeer:
    def __init__(self, problem: Problem, n_threads: int) -> None:
        # The number of threads is that of NPROC, which worker_environment has set.
        jax.config.update("jax_enable_x64", problem.dtype == "float64")
        self.problem = problem
        X, y = problem.data()
        self.X = jnp.asarray(X)
        self.y = jnp.asarray(y.astype("int32") if problem.is_classes else y)
        parameters = [
            tuple(map(jnp.asarray, layer)) for layer in zip(*problem.parameters(), strict=True)
        ]
        zeros = [jax.tree.map(jnp.zeros_like, parameters) for _ in range(2)]
        self.carry: Any = (parameters, *zeros, jnp.zeros((), problem.dtype))
        self.epoch = jax.jit(self._epoch, donate_argnums=0)
        self.rng = np.random.default_rng(0)

    def _loss(self, parameters: Any, X: Any, y: Any) -> Any:
        *hidden, (weight, bias) = parameters
        for hidden_weight, hidden_bias in hidden:
            X = ACTIVATIONS[self.problem.activation](X @ hidden_weight + hidden_bias)
        z = X @ weight + bias
        if not self.problem.is_classes:
            return 0.5 * jnp.mean((z[:, 0] - y) ** 2)
        return jnp.mean(jax.nn.logsumexp(z, 1) - jnp.take_along_axis(z, y[:, None], 1)[:, 0])

    def _adam(self, parameters: Any, first: Any, second: Any, step: Any, gradient: Any) -> Any:
        first = jax.tree.map(lambda m, g: BETA1 * m + (1 - BETA1) * g, first, gradient)
        second = jax.tree.map(lambda v, g: BETA2 * v + (1 - BETA2) * g * g, second, gradient)
        rate = self.problem.lr / (1 - BETA1**step)
        scale = 1 / jnp.sqrt(1 - BETA2**step)
        parameters = jax.tree.map(
            lambda w, m, v: w - rate * m / (jnp.sqrt(v) * scale + self.problem.eps),
            parameters,
            first,
            second,
        )
        return parameters, first, second

    def _sgd(self, parameters: Any, first: Any, second: Any, step: Any, gradient: Any) -> Any:
        lr = self.problem.lr
        if self.problem.optimizer == "momentum":
            first = gradient = jax.tree.map(lambda v, g: MOMENTUM * v + g, first, gradient)
        return jax.tree.map(lambda w, g: w - lr * g, parameters, gradient), first, second

    def _epoch(self, carry: Any, X: Any, y: Any, rows: Any) -> Any:
        update = self._adam if self.problem.optimizer == "adam" else self._sgd

        def step(carry: Any, chosen: Any) -> Any:
            parameters, first, second, n_steps = carry
            batch = jnp.take(X, chosen, axis=0, mode="clip"), y[chosen]
            loss, gradient = jax.value_and_grad(self._loss)(parameters, *batch)
            n_steps = n_steps + 1
            return (*update(parameters, first, second, n_steps, gradient), n_steps), loss

        carry, losses = lax.scan(step, carry, rows)
        return carry, losses.mean()

    def train(self, n_epochs: int, shuffle: bool) -> list[float]:
        n_rows, losses = len(self.X), []
        for _ in range(n_epochs):
            # NumPy's permutation is faster than JAX's, which sorts.
            rows = self.rng.permutation(n_rows) if shuffle else np.arange(n_rows)
            batches = jnp.asarray(rows.astype("int32").reshape(-1, self.problem.case.batch_size))
            self.carry, loss = self.epoch(self.carry, self.X, self.y, batches)
            losses.append(loss)
        return [float(loss) for loss in losses]


make = JaxPeer
versions = {"jax": jax.__version__}
