"""A whole network: forward, backward and training steps in plain NumPy."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from . import activations, losses, optimizers
from .dropout import keep_mask
from .random import shuffled


@dataclass
class Network:
    """Weights (in, out), biases (out,), and what is needed to differentiate and train them."""

    weights: list[np.ndarray]
    biases: list[np.ndarray]
    activations: Sequence[str]
    loss: str
    parameter: float = 0.0
    l1: float = 0.0
    l2: float = 0.0

    def forward(self, X, masks=None):
        """Activations of every layer, input first, and f'(z) of the hidden ones.

        masks: for each hidden layer, None or an array that both are multiplied by.
        """
        a, slopes = [X], []
        for i, (weight, bias) in enumerate(zip(self.weights, self.biases, strict=True)):
            z = a[-1] @ weight + bias
            if i < len(self.activations):
                z, slope = activations.TABLE[self.activations[i]](z)
                if masks is not None and masks[i] is not None:
                    z, slope = z * masks[i], slope * masks[i]
                slopes.append(slope)
            a.append(z)
        return a, slopes

    def data_loss(self, X, y, sample_weight=None) -> float:
        """Weighted mean of the row losses."""
        rows, _ = losses.TABLE[self.loss](self.forward(X)[0][-1], y, self.parameter)
        return float(np.average(rows, weights=sample_weight))

    def penalty(self) -> float:
        l1 = sum(np.abs(weight).sum() for weight in self.weights)
        l2 = sum((weight**2).sum() for weight in self.weights)
        return float(self.l1 * l1 + 0.5 * self.l2 * l2)

    def loss_and_gradients(self, X, y, sample_weight=None, masks=None):
        """Mean loss without the penalty; gradients of loss and penalty."""
        a, slopes = self.forward(X, masks)
        rows, dz = losses.TABLE[self.loss](a[-1], y, self.parameter)
        share = np.ones(len(X)) if sample_weight is None else np.asarray(sample_weight, float)
        if share.sum() == 0.0:
            return 0.0, [0.0 * w for w in self.weights], [0.0 * b for b in self.biases]
        share = share / share.sum()
        dz = dz * share[:, None]
        dweights, dbiases = [], []
        for i in reversed(range(len(self.weights))):
            weight = self.weights[i]
            dweights.insert(0, a[i].T @ dz + self.l2 * weight + self.l1 * np.sign(weight))
            dbiases.insert(0, dz.sum(axis=0))
            if i > 0:
                dz = (dz @ weight.T) * slopes[i - 1]
        return float(rows @ share), dweights, dbiases

    def kink_sides(self, X, y) -> list[np.ndarray]:
        """On which side of every kink of the loss this network lies."""
        sides, a = [], X
        for i, (weight, bias) in enumerate(zip(self.weights, self.biases, strict=True)):
            z = a @ weight + bias
            if i < len(self.activations):
                name = self.activations[i]
                if name in activations.KINK_SIDES:
                    sides.append(activations.KINK_SIDES[name](z))
                a = activations.TABLE[name](z)[0]
        if self.loss in losses.KINK_SIDES:
            sides.append(losses.KINK_SIDES[self.loss](z, y, self.parameter))
        return sides


@dataclass
class Training:
    """How a network is trained: the arguments of the engine, by the same names."""

    rule: str
    hyper: tuple[float, ...]
    learning_rates: np.ndarray
    batch_size: int
    n_epochs: int
    shuffle: bool = False
    dropout: tuple[float, ...] = ()
    seed: int = 0
    first_epoch: int = 0

    def run(self, net: Network, X, y, sample_weight=None) -> list[float]:
        """Train `net` in place; the mean loss of every epoch, each row as it was used."""
        n, t, history = len(X), 0, []
        slots = range(optimizers.N_STATES[self.rule])
        states_w = [[np.zeros_like(w) for _ in slots] for w in net.weights]
        states_b = [[np.zeros_like(b) for _ in slots] for b in net.biases]
        update, bias_hyper = optimizers.TABLE[self.rule], optimizers.for_biases(self.hyper)
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
                if total == 0.0:
                    continue
                for i in range(len(net.weights)):
                    net.weights[i] = update(
                        net.weights[i], dweights[i], states_w[i], lr, self.hyper, t
                    )
                    net.biases[i] = update(
                        net.biases[i], dbiases[i], states_b[i], lr, bias_hyper, t
                    )
            history.append(loss_sum / share_sum if share_sum > 0.0 else 0.0)
        return history

    def masks(self, net: Network, n_rows: int, epoch: int, step: int):
        """For each hidden layer None, or kept / (1 - rate)."""
        return [
            keep_mask(
                n_rows, net.weights[layer].shape[1], rate=rate, layer=layer, epoch=epoch,
                step=step, seed=self.seed,
            ) / (1.0 - rate) if rate > 0.0 else None
            for layer, rate in enumerate(self.dropout)
        ] or None  # fmt: skip
