"""The elementary functions of the kernels, correctly rounded from 40 digits."""

from __future__ import annotations

from collections.abc import Callable

import mpmath
import numpy as np

DIGITS = 40

EXACT: dict[str, Callable] = {
    "exp": mpmath.exp,
    "tanh": mpmath.tanh,
    "sigmoid": lambda x: 1 / (1 + mpmath.exp(-x)),
    "erf": mpmath.erf,
    "log1p_unit": mpmath.log1p,
    "expm1": mpmath.expm1,
    "softplus": lambda x: mpmath.log1p(mpmath.exp(x)),
}


def ulp_errors(name: str, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """|y - f(x)| in units of the last place of f(x), in the precision of y."""
    dtype, errors = y.dtype.type, np.empty(len(x))
    with mpmath.workdps(DIGITS):
        for i, (x_i, y_i) in enumerate(zip(x.tolist(), y.tolist(), strict=True)):
            exact = EXACT[name](mpmath.mpf(x_i))
            ulp = float(np.spacing(np.abs(dtype(exact))))
            errors[i] = float(abs(mpmath.mpf(y_i) - exact) / ulp)
    return errors
