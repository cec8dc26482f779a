"""What stands between the sums Z (rows, units) of a layer and its activation, N = scale Z^ + bias:
Z^ and 1 / deviation, the way back, and what batch normalisation makes of them."""

from __future__ import annotations

import numpy as np

EPS = 1e-5
MOMENTUM = 0.1


class Normalisation:
    """Z^ = (z - mean) / deviation: axis 1, of a row over its units; 0, of a unit over the rows."""

    def __init__(self, axis: int, centres: bool = True) -> None:
        self.axis, self.centres = axis, centres

    def mean(self, values: np.ndarray):
        return values.mean(axis=self.axis, keepdims=True)

    def forward(self, z: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        mean = self.mean(z) if self.centres else 0.0
        inverse = 1.0 / np.sqrt(self.mean((z - mean) ** 2) + EPS)
        return (z - mean) * inverse, inverse

    def backward(self, d: np.ndarray, normed: np.ndarray, inverse: np.ndarray) -> np.ndarray:
        mean = self.mean(d) if self.centres else 0.0
        return (d - mean - normed * self.mean(d * normed)) * inverse


TABLE = {
    "layer": Normalisation(1),
    "rms": Normalisation(1, centres=False),
    "batch": Normalisation(0),
}


def normalise(kind: str, z: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Z^, and 1 / deviation: what the derivative of Z^ is a multiple of, for limits of errors."""
    return TABLE[kind].forward(z)


def normalise_backward(kind: str, d: np.ndarray, normed: np.ndarray, inverse: np.ndarray):
    """dZ from d = dZ^."""
    return TABLE[kind].backward(d, normed, inverse)


def chunks(array: np.ndarray, n_rows: int) -> list[np.ndarray]:
    """The rows in parts of n_rows, the last one shorter."""
    return [array[first : first + n_rows] for first in range(0, len(array), n_rows)]


def chunk_moments(z: np.ndarray, n_rows: int) -> np.ndarray:
    """(chunks, 2, units): mean, and sum of squared deviations from it, of each chunk of rows."""
    return np.array(
        [(part.mean(axis=0), part.var(axis=0) * len(part)) for part in chunks(z, n_rows)]
    )


def chunk_sums(dn: np.ndarray, normed: np.ndarray, n_rows: int) -> np.ndarray:
    """(chunks, 2, units): sums of dN and of dN Z^ of each chunk of rows."""
    pairs = zip(chunks(dn, n_rows), chunks(dn * normed, n_rows), strict=True)
    return np.array([(d.sum(axis=0), product.sum(axis=0)) for d, product in pairs])


def update_running(mean: np.ndarray, variance: np.ndarray, z: np.ndarray):
    """Running means and variances after a minibatch with the sums z; one row changes nothing."""
    if len(z) < 2:
        return mean, variance
    return (
        mean + MOMENTUM * (z.mean(axis=0) - mean),
        variance + MOMENTUM * (z.var(axis=0, ddof=1) - variance),
    )


def fold(weight: np.ndarray, bias: np.ndarray, scale: np.ndarray, mean, variance):
    """Weight and bias of the plain layer that does what a batch-normalised one predicts."""
    factor = scale / np.sqrt(variance + EPS)
    return weight * factor, bias - mean * factor
