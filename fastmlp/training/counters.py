"""How far a network has been trained."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass
class Counters:
    """How far a network has been trained, over all fits; the random numbers count on from here.

    An epoch that was cut short counts: its shuffle and its dropout masks have been used.
    """

    n_epochs: int = 0
    n_steps: int = 0

    def set(self, n_epochs: int, n_steps: int) -> None:
        """Stand where another training does."""
        self.n_epochs, self.n_steps = n_epochs, n_steps
