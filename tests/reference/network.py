"""A whole network: forward and backward pass in plain NumPy."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from . import activations, losses


@dataclass
class Network:
    """Weights (in, out), biases (out,), and what is needed to differentiate and train them."""

    weights: list[np.ndarray]
    biases: list[np.ndarray]
    activations: Sequence[str]
    loss: str
    parameters: tuple[float, ...] = ()
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
        rows, _ = losses.TABLE[self.loss](self.forward(X)[0][-1], y, self.parameters)
        return float(np.average(rows, weights=sample_weight))

    def penalty(self) -> float:
        l1 = sum(np.abs(weight).sum() for weight in self.weights)
        l2 = sum((weight**2).sum() for weight in self.weights)
        return float(self.l1 * l1 + 0.5 * self.l2 * l2)

    def loss_and_gradients(self, X, y, sample_weight=None, masks=None):
        """Mean loss without the penalty; gradients of loss and penalty."""
        a, slopes = self.forward(X, masks)
        rows, dz = losses.TABLE[self.loss](a[-1], y, self.parameters)
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
                if name in activations.KINKS:
                    sides.append(activations.kink_sides(name, z))
                a = activations.TABLE[name](z)[0]
        if self.loss in losses.KINK_SIDES:
            sides.append(losses.KINK_SIDES[self.loss](z, y, self.parameters))
        return sides
