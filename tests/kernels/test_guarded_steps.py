"""Whole trainings with guard values around every array that a step uses."""

from __future__ import annotations

import numpy as np
import pytest

from .fingerprint import TRAININGS, fingerprint
from .spaces import space_out
from .tools import DTYPES


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("number", range(len(TRAININGS)))
def test_steps_touch_nothing_beside_their_arrays(number, dtype, monkeypatch):
    """A guard that is read changes the bits, as NaN does every number; one that is written shows.
    Training, evaluating, predicting and gradients, on two threads."""
    plain = fingerprint(TRAININGS[number], dtype, 2)
    spaces: list[np.ndarray] = []

    def fill(space: np.ndarray) -> None:
        space[:] = 0xFF  # NaN in either type, -1 in whole numbers
        spaces.append(space)

    space_out(monkeypatch.setattr, fill)
    assert fingerprint(TRAININGS[number], dtype, 2) == plain
    assert len(spaces) > 50
    assert all((space == 0xFF).all() for space in spaces)
