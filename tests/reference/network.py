"""A whole network: forward and backward pass in plain NumPy."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from . import activations, embedding, losses, norms


@dataclass
class Layer:
    """What the forward pass of a hidden layer leaves for the backward pass."""

    z: np.ndarray  # X W, with the bias unless it is normalised next
    inner: np.ndarray  # what the activation gets
    slope: np.ndarray  # f'(inner), times the mask
    normed: np.ndarray | None = None
    inverse: np.ndarray | None = None


@dataclass
class ReferenceNetwork:
    """Parameters in plain shapes, and what is needed to differentiate and train them.

    `columns`: those of the data that are embedded, in ascending order; `running`: means and
    variances of batch-normalised layers after a training, by their numbers.
    """

    weights: list[np.ndarray]
    biases: list[np.ndarray]
    activations: Sequence[str]
    loss: str
    parameters: tuple[float, ...] = ()
    l1: float = 0.0
    l2: float = 0.0
    norms: Sequence[str] = ()
    residual: Sequence[bool] = ()
    scales: list[np.ndarray | None] = field(default_factory=list)
    columns: Sequence[int] = ()
    embeddings: list[np.ndarray] = field(default_factory=list)
    running: dict[int, tuple[np.ndarray, np.ndarray]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        n_hidden = len(self.activations)
        self.norms = tuple(self.norms) or ("none",) * n_hidden
        self.residual = tuple(self.residual) or (False,) * n_hidden
        self.scales = list(self.scales) or [None] * (n_hidden + 1)

    def inputs(self, X) -> np.ndarray:
        """What the first layer gets: rows of the tables, then the other columns."""
        return embedding.embed_rows(X, self.columns, self.embeddings)

    def forward(self, X, masks=None, input_mask=None) -> tuple[list[np.ndarray], list[Layer]]:
        """Activations of every layer, input first, and what the hidden ones leave.

        masks: for each hidden layer, None or an array that f and f' are multiplied by.
        """
        a, layers = [self.inputs(X) * (1.0 if input_mask is None else input_mask)], []
        for i, (weight, bias) in enumerate(zip(self.weights, self.biases, strict=True)):
            z = a[-1] @ weight
            if i == len(self.activations):
                a.append(z + bias)
                break
            layer = Layer(z, z + bias, z)
            if self.norms[i] != "none":
                layer.normed, layer.inverse = norms.normalise(self.norms[i], z)
                layer.inner = layer.normed * self.scales[i] + bias
            value, layer.slope = activations.TABLE[self.activations[i]](layer.inner)
            if masks is not None and masks[i] is not None:
                value, layer.slope = value * masks[i], layer.slope * masks[i]
            a.append(a[-1] + value if self.residual[i] else value)
            layers.append(layer)
        return a, layers

    def data_loss(self, X, y, sample_weight=None) -> float:
        """Weighted mean of the row losses."""
        rows, _ = losses.TABLE[self.loss](self.forward(X)[0][-1], y, self.parameters)
        return float(np.average(rows, weights=sample_weight))

    def penalty(self) -> float:
        l1 = sum(np.abs(weight).sum() for weight in self.weights)
        l2 = sum((weight**2).sum() for weight in self.weights)
        return float(self.l1 * l1 + 0.5 * self.l2 * l2)

    def loss_and_gradients(self, X, y, sample_weight=None, masks=None, input_mask=None):
        """Mean loss without the penalty; gradients of loss and penalty, named as parameters are."""
        a, layers = self.forward(X, masks, input_mask)
        rows, dz = losses.TABLE[self.loss](a[-1], y, self.parameters)
        share = np.ones(len(X)) if sample_weight is None else np.asarray(sample_weight, float)
        if share.sum() == 0.0:
            return 0.0, {name: 0.0 * array for name, array in self.named().items()}
        share = share / share.sum()
        dz, da, gradients = dz * share[:, None], None, {}
        for i in reversed(range(len(self.weights))):
            weight = self.weights[i]
            if i < len(layers):
                inner = da * layers[i].slope
                gradients[f"biases.{i}"] = inner.sum(axis=0)
                dz = inner
                if self.norms[i] != "none":
                    normed, inverse = layers[i].normed, layers[i].inverse
                    gradients[f"scales.{i}"] = (inner * normed).sum(axis=0)
                    d = inner * self.scales[i]
                    dz = norms.normalise_backward(self.norms[i], d, normed, inverse)
            else:
                gradients[f"biases.{i}"] = dz.sum(axis=0)
            penalty = self.l2 * weight + self.l1 * np.sign(weight)
            gradients[f"weights.{i}"] = a[i].T @ dz + penalty
            straight = da if i < len(layers) and self.residual[i] else 0.0
            da = dz @ weight.T + straight
        da = da * (1.0 if input_mask is None else input_mask)
        first = 0
        for i, (column, table) in enumerate(zip(self.columns, self.embeddings, strict=True)):
            n_categories, width = table.shape
            part = da[:, first : first + width]
            gradients[f"embeddings.{i}"] = embedding.embedding_gradient(
                X[:, column], part, n_categories
            )
            first += width
        return float(rows @ share), {name: gradients[name] for name in self.named()}

    def named(self) -> dict[str, np.ndarray]:
        """Every parameter under its name: weights first, biases, scales, embeddings."""
        return {
            f"{kind}.{i}": array
            for kind in ("weights", "biases", "scales", "embeddings")
            for i, array in enumerate(getattr(self, kind))
            if array is not None
        }

    def set_named(self, arrays: dict[str, np.ndarray]) -> None:
        """Take parameters by the names of `named`."""
        for name, array in arrays.items():
            kind, number = name.split(".")
            getattr(self, kind)[int(number)] = array

    def kink_sides(self, X, y) -> list[np.ndarray]:
        """On which side of every kink of the loss this network lies."""
        a, layers = self.forward(X)
        sides = [
            of_layer
            for name, layer in zip(self.activations, layers, strict=True)
            if (of_layer := activations.kink_sides(name, layer.inner)) is not None
        ]
        if self.loss in losses.KINK_SIDES:
            sides.append(losses.KINK_SIDES[self.loss](a[-1], y, self.parameters))
        return sides
