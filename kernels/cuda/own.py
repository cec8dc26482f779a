"""Functions that users registered: scalar Python functions, part of the kernels that call them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from .jit import device, foreign


def pair(value: Callable, derivative: Callable, dtype: str, n_args: int) -> Any:
    """(value, derivative) of an element in T: of z, or of z and y and a parameter that is left."""
    T = np.dtype(dtype).type
    f, slope = foreign(value), foreign(derivative)
    if n_args == 1:

        @device
        def activation(z):
            return T(f(z)), T(slope(z))

        return activation

    @device
    def terms(z, y, parameter):
        return T(f(z, y)), T(slope(z, y))

    return terms
