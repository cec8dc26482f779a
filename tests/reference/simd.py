"""The reductions over lanes, in their documented order: halves, quarters, eighths, ..."""

from __future__ import annotations

import numpy as np


def reduce_add(v: np.ndarray) -> np.floating:
    """Lane j + lane j + n/2 for j < n/2, then the same with what remains, to one lane."""
    while len(v) > 1:
        half = len(v) // 2
        v = v[:half] + v[half:]
    return v[0]
