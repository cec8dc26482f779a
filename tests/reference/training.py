"""Training steps in plain NumPy: minibatches, masks, and what is done around an update rule."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from fastmlp.optim import UpdateOptions

from . import optimizers
from .dropout import keep_mask
from .network import Network
from .random import shuffled


def clipped(gradients: list[np.ndarray], options: UpdateOptions) -> list[np.ndarray]:
    """Each element within clip_value, then all of them together scaled down to clip_norm."""
    if options.clip_value:
        gradients = [np.clip(g, -options.clip_value, options.clip_value) for g in gradients]
    if options.clip_norm:
        norm = np.sqrt(sum((g**2).sum() for g in gradients))
        gradients = [g * min(1.0, options.clip_norm / (norm + 1e-6)) for g in gradients]
    return gradients


def constrained(weight: np.ndarray, max_norm: float) -> np.ndarray:
    """The columns of (in, out), the incoming weights of each unit, scaled down to max_norm."""
    norms = np.linalg.norm(weight, axis=0)
    return weight * np.where(norms > max_norm, max_norm / np.maximum(norms, 1e-300), 1.0)


@dataclass
class Training:
    """How a network is trained: the arguments of the engine, by the same names.

    `average`: the moving average of weights and biases in turn, from the first run on.
    """

    rule: str
    hyper: tuple[float, ...]
    learning_rates: np.ndarray
    batch_size: int
    n_epochs: int
    shuffle: bool = False
    dropout: tuple[float, ...] = ()
    seed: int = 0
    first_epoch: int = 0
    options: UpdateOptions = field(default_factory=UpdateOptions)
    average: list[np.ndarray] | None = None

    def run(self, net: Network, X, y, sample_weight=None) -> list[float]:
        """Train `net` in place; the mean loss of every epoch, each row as it was used."""
        n, t, history = len(X), 0, []
        self.average = [a.copy() for a in (*net.weights, *net.biases)]
        states = [
            [np.zeros_like(a) for _ in range(optimizers.N_STATES[self.rule])] for a in self.average
        ]
        for epoch in range(self.first_epoch, self.first_epoch + self.n_epochs):
            order = [shuffled(i, n, epoch, self.seed) if self.shuffle else i for i in range(n)]
            loss_sum = share_sum = 0.0
            for step, start in enumerate(range(0, n, self.batch_size)):
                rows = order[start : start + self.batch_size]
                share = None if sample_weight is None else sample_weight[rows]
                loss, dweights, dbiases = net.loss_and_gradients(
                    X[rows], y[rows], share, self.masks(net, len(rows), epoch, step)
                )
                lr, t = self.learning_rates[t], t + 1
                total = len(rows) if share is None else share.sum()
                loss_sum, share_sum = loss_sum + loss * total, share_sum + total
                if total > 0.0:
                    self.update(net, [*dweights, *dbiases], states, lr, t)
            history.append(loss_sum / share_sum if share_sum > 0.0 else 0.0)
        return history

    def update(self, net: Network, gradients, states, lr: float, t: int) -> None:
        """One step of all parameters, in the order of `average`."""
        options, n_layers, after = self.options, len(net.weights), []
        for i, (w, g) in enumerate(
            zip([*net.weights, *net.biases], clipped(gradients, options), strict=True)
        ):
            rate = lr * (options.layer_lr[i % n_layers] if options.layer_lr else 1.0)
            is_weight = i < n_layers
            if is_weight or options.decay_biases:
                w = w * (1.0 - rate * options.weight_decay)
            w = optimizers.TABLE[self.rule](w, g, states[i], rate, self.hyper, t)
            after.append(constrained(w, options.max_norm) if is_weight and options.max_norm else w)
        net.weights, net.biases = after[:n_layers], after[n_layers:]
        ema = options.ema
        self.average = [
            ema * mean + (1.0 - ema) * w for mean, w in zip(self.average, after, strict=True)
        ]

    def masks(self, net: Network, n_rows: int, epoch: int, step: int):
        """For each hidden layer None, or kept / (1 - rate)."""
        return [
            keep_mask(
                n_rows, net.weights[layer].shape[1], rate=rate, layer=layer, epoch=epoch,
                step=step, seed=self.seed,
            ) / (1.0 - rate) if rate > 0.0 else None
            for layer, rate in enumerate(self.dropout)
        ] or None  # fmt: skip
