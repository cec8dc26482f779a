"""Central differences of the engine's own loss, away from kinks, next to its gradients."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from fastmlp.kernels.layer_kinds import LAYER_KINDS
from tests.reference.network import ReferenceNetwork

STEP = 2.0**-16
# Where that is not near enough: the rounding grows as they shrink, but less than the rest falls.
RATIO = 8.0
SHORTER_STEPS = (STEP / RATIO, STEP / RATIO**2)
# An array whose largest gradient is below this, relative to the loss, drowns in the rounding of
# the differences (2^-53 / STEP = 1e-11 of the loss); the NumPy oracle still checks it.
SMALLEST = 1e-4


# A difference that is nearer than this, relative to the array's largest gradient, needs no other.
NEAR = 1e-7


@dataclass
class Findings:
    """What comparisons found: the largest relative error, and how many were made or left out."""

    largest: float = 0.0
    checked: int = 0
    at_kinks: int = 0
    too_small: int = 0

    def add(self, other: Findings) -> None:
        """Take in what another comparison found."""
        self.largest = max(self.largest, other.largest)
        self.checked += other.checked
        self.at_kinks += other.at_kinks
        self.too_small += other.too_small

    def __str__(self) -> str:
        return (
            f"{self.largest:.1e} ({self.checked} coordinates; left out: {self.at_kinks} at kinks, "
            f"{self.too_small} of arrays with gradients too small for differences)"
        )


def coordinates(rng: np.random.Generator, shape: tuple[int, ...], limit: int) -> list[tuple]:
    """All positions where there are few, else the corners and random ones."""
    size = int(np.prod(shape))
    flat = np.arange(size)
    if size > limit:
        flat = np.unique(np.concatenate([[0, size - 1], rng.integers(0, size, limit - 2)]))
    return [tuple(int(i) for i in np.unravel_index(index, shape)) for index in flat]


def compare(
    engine,
    data,
    net: ReferenceNetwork,
    X,
    y,
    *,
    rng,
    limit: int,
    findings: Findings,
    smallest=SMALLEST,
) -> None:
    """Differences of the loss with penalty, relative to each array's largest gradient.

    With batch normalisation the loss is that of these rows as one minibatch, as the gradient's.
    Two-sided, in float64, the nearest of several steps where the first is not near enough, and of
    what two of them extrapolate to (Richardson: the error falls with the square of the step): one
    value alone, z / sqrt(z^2 + eps), bends within |z| = 3e-3. A coordinate is left out where a kink
    of the network or the loss lies between the points: where some unit or error is on another side
    of it (by the oracle); an array, where its largest gradient is below `smallest` of the loss.
    """
    plain, (loss, gradients) = engine.parameters(), engine.loss_and_all_gradients(data)
    arrays, gradients = plain.named(), gradients.named()

    def at(array, position, value):
        array[position] = value
        engine.set_all_parameters(plain)
        net.set_named(arrays)
        if any(LAYER_KINDS[norm].meets for norm in net.norms):
            return engine.loss_and_all_gradients(data)[0], net.kink_sides(X, y)
        return engine.evaluate(data) + net.penalty(), net.kink_sides(X, y)

    def slope(array, position, step):
        """The difference over `step` to both sides; None where a kink lies between."""
        here = array[position]
        high, sides_high = at(array, position, here + step)
        low, sides_low = at(array, position, here - step)
        array[position] = here
        if any((a != b).any() for a, b in zip(sides_high, sides_low, strict=True)):
            return None
        return (high - low) / (2.0 * step)

    for name, array in arrays.items():
        gradient = gradients[name]
        positions = coordinates(rng, array.shape, limit)
        size = np.abs(gradient).max()
        if size < smallest * max(loss, 1.0):
            findings.too_small += len(positions)
            continue
        for position in positions:
            here = array[position]
            if net.l1 and name.startswith("weights") and abs(here) <= STEP:
                findings.at_kinks += 1
                continue
            found = slope(array, position, STEP)
            if found is None:
                findings.at_kinks += 1
                continue
            error = abs(found - gradient[position]) / size
            for step in SHORTER_STEPS:
                if error > NEAR:
                    nearer = slope(array, position, step)
                    assert nearer is not None  # no kink lies within the longer step
                    limit_of_both = nearer + (nearer - found) / (RATIO**2 - 1.0)
                    for each in (nearer, limit_of_both):
                        error = min(error, abs(each - gradient[position]) / size)
                    found = nearer
            findings.largest, findings.checked = max(findings.largest, error), findings.checked + 1
    engine.set_all_parameters(plain)
