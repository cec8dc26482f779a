"""Do all peers train the same network? Their losses from the same start tell."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from benchmarks.command import Failed

# Relative. float32 sums of another order, and scikit-learn's Adam, which adds eps before the
# correction of its second moment, differ by some 1e-5 over these few steps; a loss that is scaled
# otherwise, a bias left out or an update of another rule differs by 1e-2 and more.
TOLERANCE = 1e-3


def check(losses: Mapping[str, Sequence[float]], where: str) -> float:
    """The largest relative difference from the first peer's losses, epoch by epoch.

    Raises Failed where it is more than TOLERANCE, or a loss is not a number.
    """
    names = list(losses)
    first = losses[names[0]]
    largest = 0.0
    for name in names:
        for epoch, (own, loss) in enumerate(zip(losses[name], first, strict=True), 1):
            difference = abs(own - loss) / abs(loss)
            if not difference <= TOLERANCE:
                raise Failed(
                    f"the peers must reach the same loss from the same start on {where}, got "
                    f"{loss:.6g} by {names[0]} and {own:.6g} by {name} in epoch {epoch}"
                )
            largest = max(largest, difference)
    return largest
