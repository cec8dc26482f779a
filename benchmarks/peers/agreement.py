"""Do all peers train the same network? Their losses from the same start tell."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from benchmarks.failed import Failed

# Relative. Sums of another order differ by some 1e-6 (float32) and 1e-11 (float64) over these few
# steps; a loss that is scaled otherwise, a bias left out or another update by 1e-3 and more.
TOLERANCE = {"float32": 1e-4, "float64": 1e-8}


def check(losses: Mapping[str, Sequence[float]], dtype: str, where: str) -> float:
    """The largest relative difference from the first peer's losses, epoch by epoch.

    Raises Failed where it is more than TOLERANCE of the dtype, or a loss is not a number.
    """
    names = list(losses)
    first = losses[names[0]]
    largest = 0.0
    for name in names:
        for epoch, (own, loss) in enumerate(zip(losses[name], first, strict=True), 1):
            difference = abs(own - loss) / abs(loss)
            if not difference <= TOLERANCE[dtype]:
                raise Failed(
                    f"the peers must reach the same loss from the same start on {where}, got "
                    f"{loss:.6g} by {names[0]} and {own:.6g} by {name} in epoch {epoch}"
                )
            largest = max(largest, difference)
    return largest
