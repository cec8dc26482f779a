"""Training steps in plain NumPy: minibatches, masks, and what is done around an update rule."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from fastmlp.names import RULES
from fastmlp.optim import UpdateOptions

from . import norms, optimizers
from .dropout import INPUT, keep_mask
from .network import ReferenceNetwork
from .random import shuffled


def clipped(gradients: dict[str, np.ndarray], options: UpdateOptions) -> dict[str, np.ndarray]:
    """Each element within clip_value, then all of them together scaled down to clip_norm."""
    if options.clip_value:
        limit = options.clip_value
        gradients = {name: np.clip(g, -limit, limit) for name, g in gradients.items()}
    if options.clip_norm:
        norm = np.sqrt(sum((g**2).sum() for g in gradients.values()))
        factor = min(1.0, options.clip_norm / (norm + 1e-6))
        gradients = {name: g * factor for name, g in gradients.items()}
    return gradients


def constrained(weight: np.ndarray, max_norm: float) -> np.ndarray:
    """The columns of (in, out), the incoming weights of each unit, scaled down to max_norm."""
    norms = np.linalg.norm(weight, axis=0)
    return weight * np.where(norms > max_norm, max_norm / np.maximum(norms, 1e-300), 1.0)


@dataclass
class Training:
    """How a network is trained: the arguments of the engine, by the same names.

    `average`: the moving average of every parameter by its name, from the first run on.
    `running`: means and variances of each batch-normalised layer, by its number.
    """

    rule: str
    hyper: tuple[float, ...]
    learning_rates: np.ndarray
    batch_size: int
    n_epochs: int
    shuffle: bool = False
    dropout: tuple[float, ...] = ()
    input_dropout: float = 0.0
    seed: int = 0
    first_epoch: int = 0
    options: UpdateOptions = field(default_factory=UpdateOptions)
    average: dict[str, np.ndarray] = field(default_factory=dict)
    running: dict[int, tuple[np.ndarray, np.ndarray]] = field(default_factory=dict)

    def run(self, net: ReferenceNetwork, X, y, sample_weight=None) -> list[float]:
        """Train `net` in place; the mean loss of every epoch, each row as it was used."""
        n, t, history = len(X), 0, []
        self.average = {name: a.copy() for name, a in net.named().items()}
        states = {
            name: [np.zeros_like(a) for _ in range(optimizers.N_STATES[self.rule])]
            for name, a in self.average.items()
        }
        for i, kind in enumerate(net.norms):
            if kind == "batch":
                n_units = net.weights[i].shape[1]
                self.running[i] = (np.zeros(n_units), np.ones(n_units))
        for epoch in range(self.first_epoch, self.first_epoch + self.n_epochs):
            order = [shuffled(i, n, epoch, self.seed) if self.shuffle else i for i in range(n)]
            loss_sum = share_sum = 0.0
            for step, start in enumerate(range(0, n, self.batch_size)):
                rows = order[start : start + self.batch_size]
                share = None if sample_weight is None else sample_weight[rows]
                masks = self.masks(net, len(rows), epoch, step)
                input_mask = self.mask(
                    len(rows), net.weights[0].shape[0], self.input_dropout, INPUT, epoch, step
                )
                loss, gradients = net.loss_and_gradients(X[rows], y[rows], share, masks, input_mask)
                lr, t = self.learning_rates[t], t + 1
                total = len(rows) if share is None else share.sum()
                loss_sum, share_sum = loss_sum + loss * total, share_sum + total
                if total > 0.0:
                    layers = net.forward(X[rows], masks, input_mask)[1]
                    for i, statistics in self.running.items():
                        self.running[i] = norms.update_running(*statistics, layers[i].z)
                    self.update(net, gradients, states, lr, t)
            history.append(loss_sum / share_sum if share_sum > 0.0 else 0.0)
        return history

    def update(self, net: ReferenceNetwork, gradients, states, lr: float, t: int) -> None:
        """One step of all parameters."""
        options, after = self.options, {}
        for name, g in clipped(gradients, options).items():
            kind, number = name.split(".")
            w, layer = net.named()[name], 0 if kind == "embeddings" else int(number)
            rate = lr * (options.layer_lr[layer] if options.layer_lr else 1.0)
            rule = optimizers.TABLE[self.rule]
            if self.rule in optimizers.MATRIX_TABLE:
                if kind == "weights" and layer < len(net.weights) - 1:
                    rule = optimizers.MATRIX_TABLE[self.rule]
                else:
                    rate = rate * RULES[self.rule].by_name(self.hyper)["adam_rate"]
            if kind in ("weights", "embeddings") or options.decay_biases:
                w = w * (1.0 - rate * options.weight_decay)
            w = rule(w, g, states[name], rate, self.hyper, t)
            bounded = kind == "weights" and options.max_norm
            after[name] = constrained(w, options.max_norm) if bounded else w
        net.set_named(after)
        ema = options.ema
        self.average = {
            name: ema * mean + (1.0 - ema) * after[name] for name, mean in self.average.items()
        }

    def masks(self, net: ReferenceNetwork, n_rows: int, epoch: int, step: int):
        """For each hidden layer None, or kept / (1 - rate)."""
        return [
            self.mask(n_rows, net.weights[layer].shape[1], rate, layer, epoch, step)
            for layer, rate in enumerate(self.dropout)
        ] or None

    def mask(self, n_rows: int, n_columns: int, rate: float, layer: int, epoch: int, step: int):
        """None, or kept / (1 - rate)."""
        if rate == 0.0:
            return None
        kept = keep_mask(
            n_rows, n_columns, rate=rate, layer=layer, epoch=epoch, step=step, seed=self.seed
        )
        return kept / (1.0 - rate)
