"""Whether a derivative is that of its function, by central differences at many points.

A difference quotient over z - h to z + h has an error of the order of h^2 from the curvature and
of eps / h from rounding; at h = 1e-5 both are near 1e-10 for numbers near 1. Points close to zero
are tried with a step of their own size too, for functions that bend there (the root of |z|).

At a kink, such as that of relu at 0, the quotients to the left and to the right stay apart
however small h is. There every slope between the two is right, a subgradient; at a jump the
interval has no end on one side, so that only the other side is held.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

# f(z), f'(z) from points z (n,), with y (n,) of the same points for a loss.
Function = Callable[..., tuple[np.ndarray, np.ndarray]]

REACH = 30.0
RELATIVE, ABSOLUTE = 1e-6, 1e-8
_STEP, _OWN_STEP = 1e-5, 1e-4
# One-sided quotients of a smooth function come twice as near when the step is halved.
_STAYS_APART = 0.75

_MAGNITUDES = (
    1e-6, 1e-4, 0.01, 0.1, 0.25, 0.5, 0.9, 1.0, 1.5, 2.0, 2.5, 3.0, 4.0, 5.0, 6.0, 8.0, 10.0, 15.0,
    20.0, 25.0, REACH,
)  # fmt: skip


@dataclass(frozen=True)
class Finding:
    """A point where the derivative is wrong."""

    index: int
    got: float
    wanted: float


def points() -> np.ndarray:
    """Where activations are checked: 0, both signs of small and large numbers, random ones."""
    grid = np.array(_MAGNITUDES)
    rng = np.random.default_rng(0)
    return np.concatenate(
        ([0.0], grid, -grid, rng.normal(0.0, 2.0, 200), rng.uniform(-REACH, REACH, 60))
    )


def pairs(y_min: float, y_max: float) -> tuple[np.ndarray, np.ndarray]:
    """z and y where losses are checked: y within its limits, some equal to z, some near it."""
    z = points()
    rng = np.random.default_rng(1)
    low = max(y_min, min(-REACH, y_max - REACH))
    high = min(y_max, max(REACH, y_min + REACH))
    some = np.array([0.0, 1.0, -1.0, 0.5, 2.0, 5.0, low, high])
    y = [np.full(len(z), value) for value in some]
    y += [z, z - rng.normal(0.0, 1.0, len(z)), rng.uniform(low, high, len(z))]
    targets = np.concatenate(y)
    inside = (targets >= low) & (targets <= high)
    return np.tile(z, len(y))[inside], targets[inside]


def wrong_slope(function: Function, z: np.ndarray, *y: np.ndarray) -> Finding | None:
    """A point where the derivative is wrong, or None where it fits everywhere.

    `function` is finite at z, in float64.
    """
    _, slope = function(z, *y)
    step = _STEP * np.maximum(1.0, np.abs(z))
    fits, central = _fits(function, slope, step, z, *y)
    own_step = np.where(z == 0.0, step, _OWN_STEP * np.abs(z))
    fits_near, central_near = _fits(function, slope, own_step, z, *y)
    right = fits | fits_near
    if right.all():
        return None
    nearer = np.abs(central_near - slope) < np.abs(central - slope)
    wanted = np.where(nearer, central_near, central)
    size = np.maximum(np.abs(slope), np.abs(wanted))
    error = np.abs(slope - wanted) / np.where(right, 1.0, size)
    # Of the points where it is far off, the one nearest to 0.
    error = np.where(right | ~np.isfinite(error), 0.0, error)
    far_off = error >= 0.5 * error.max()
    index = int(np.argmin(np.where(far_off & ~right, np.abs(z), np.inf)))
    return Finding(index, float(slope[index]), float(wanted[index]))


def _one_sided(
    function: Function, h: np.ndarray, z: np.ndarray, *y: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Difference quotients from z - h to z and from z to z + h."""
    below, above = z - h, z + h
    value, _ = function(z, *y)
    # z - below, not h: that is what is left of h in floating point.
    left = (value - function(below, *y)[0]) / (z - below)
    return left, (function(above, *y)[0] - value) / (above - z)


def _fits(
    function: Function, slope: np.ndarray, h: np.ndarray, z: np.ndarray, *y: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Where `slope` fits the quotients with step h, and the central quotients."""
    with np.errstate(all="ignore"):
        left, right = _one_sided(function, h, z, *y)
        left_half, right_half = _one_sided(function, h / 2, z, *y)
        central = (left_half + right_half) / 2
        tolerance = RELATIVE * np.maximum(np.abs(slope), np.abs(central)) + ABSOLUTE
        # How far the quotient still is from where it goes as h shrinks: of the order of h where
        # the curvature jumps, as that of z / (1 + |z|) does at 0.
        tolerance += 4.0 * np.abs(central - (left + right) / 2)
        # What rounding of large values leaves in a quotient.
        tolerance += 4.0 * np.finfo(np.float64).eps * np.abs(function(z, *y)[0]) / h
        apart = np.abs(right_half - left_half)
        kink = (apart > tolerance) & (apart > _STAYS_APART * np.abs(right - left))
        low, high = np.minimum(left_half, right_half), np.maximum(left_half, right_half)
        between = (slope >= low - tolerance) & (slope <= high + tolerance)
        fits = np.where(kink, between, np.abs(slope - central) <= tolerance)
    return fits, central
