"""Functions that users registered: scalar Python functions, part of the kernels that call them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numba.cuda.np import numpy_support

from .jit import SIMULATED, device, user_function


def pair(value: Callable, derivative: Callable, dtype: str, n_args: int) -> Any:
    """(value, derivative) of an element in T: of z, or of z and y and a parameter that is left."""
    T = np.dtype(dtype).type
    f, slope = user_function(value), user_function(derivative)
    if n_args == 1:

        @device
        def activation(z):
            return T(f(z)), T(slope(z))

        return _compiled(activation, T, 1)

    @device
    def terms(z, y, parameter):
        return T(f(z, y)), T(slope(z, y))

    return _compiled(terms, T, 3)


def _compiled(function: Any, T: Any, n_args: int) -> Any:
    """The function, compiled here and now, where its author can be told what is wrong with it."""
    if not SIMULATED:
        function.compile_device((numpy_support.from_dtype(np.dtype(T)),) * n_args)
    return function
