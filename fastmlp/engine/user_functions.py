"""Functions of users as machine code: compiled, called for a check, and why one cannot be."""

from __future__ import annotations

import ctypes
import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from inspect import isbuiltin
from types import CellType, CodeType, FunctionType
from typing import Any

import numpy as np
from numba.core import types
from numba.core.errors import NumbaError

from fastmlp.errors import OptionError
from fastmlp.kernels.cpu import user_math
from fastmlp.kernels.cpu.user_functions import compile_activation, compile_loss, scalar
from fastmlp.kernels.jit import user_function

DTYPES = ("float32", "float64")
_LONGEST_CAUSE = 160


@dataclass
class MachineCode:
    """A pair of functions, value and derivative, for both element types.

    Attributes
    ----------
    compiled : dict of str to object
        What `kernels/cpu/user_functions.py` makes, for each element type; `.address` is its C
        address.
    n_args : int
        1 for an activation, of z; 2 for a loss, of z and y.
    """

    compiled: dict[str, Any]
    n_args: int

    @property
    def addresses(self) -> dict[str, int]:
        return {dtype: code.address for dtype, code in self.compiled.items()}

    def __call__(self, dtype: str, z: np.ndarray, *y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Values and derivatives (n,) at z (n,) and, for a loss, y (n,), as the loop has them."""
        values, slopes = np.array(z, dtype), np.empty(len(z), dtype)
        if self.n_args == 1:
            call = ctypes.CFUNCTYPE(None, *[ctypes.c_void_p] * 2, *[ctypes.c_int64] * 3)
            activate = call(self.addresses[dtype])
            activate(values.ctypes.data, slopes.ctypes.data, len(z), 1, len(z))
            return values, slopes
        points, targets = values, np.array(y[0], dtype)
        values = np.empty(len(z))
        size = points.itemsize
        row = ctypes.CFUNCTYPE(ctypes.c_double, *[ctypes.c_void_p] * 3, ctypes.c_int64)(
            self.addresses[dtype]
        )
        for i in range(len(z)):
            at = (array.ctypes.data + i * size for array in (points, slopes, targets))
            values[i] = row(*at, 1)
        return values, slopes


def compile_pair(functions: dict[str, Callable], of: str, n_args: int) -> MachineCode:
    """Value and derivative, by their names for messages, compiled together.

    Raises OptionError where numba cannot compile one of them, or it returns no number.
    """
    compiled = {}
    for dtype in DTYPES:
        value, derivative = (
            _scalar(what, of, function, n_args, dtype) for what, function in functions.items()
        )
        make = compile_activation if n_args == 1 else compile_loss
        compiled[dtype] = make(value, derivative, dtype)
    return MachineCode(compiled, n_args)


def prepared(function: Callable) -> Callable:
    """A copy of a function for numba: with math that vectorises, and with the plain functions
    that it calls compiled as well, which numba leaves to their author."""
    return prepared_for(function, user_function, user_math.module, user_math.STAND_INS)


def prepared_for(
    function: Callable,
    compiled: Callable,
    user_module: Any = math,
    stand_ins: Mapping[Any, Any] | None = None,
    seen: dict[Callable, Any] | None = None,
) -> Callable:
    """A copy of a function whose plain functions are `compiled`, and in which `user_module` stands
    for math and others for functions of it."""
    seen, stand_ins = {} if seen is None else seen, stand_ins or {}
    seen[function] = function  # one that calls itself

    def instead(value: Any) -> Any:
        value = getattr(value, "py_func", value)
        if value is math:
            return user_module
        if isinstance(value, np.ndarray):
            return value.copy()
        if isinstance(value, FunctionType):
            if value not in seen:
                part = prepared_for(value, compiled, user_module, stand_ins, seen)
                seen[value] = compiled(part)
            return seen[value]
        return stand_ins.get(value, value) if isbuiltin(value) else value

    called = {
        name: function.__globals__[name]
        for name in _names(function.__code__)
        if name in function.__globals__
    }
    names = function.__globals__ | {name: instead(value) for name, value in called.items()}
    cells = tuple(CellType(instead(cell.cell_contents)) for cell in function.__closure__ or ())
    copy = FunctionType(
        function.__code__, names, function.__name__, function.__defaults__, cells or None
    )
    copy.__kwdefaults__ = function.__kwdefaults__
    return copy


def _names(code: CodeType) -> set[str]:
    """Global names in a function's code and in that of functions within it."""
    inner = [_names(part) for part in code.co_consts if isinstance(part, CodeType)]
    return set(code.co_names).union(*inner)


def _scalar(what: str, of: str, function: Callable, n_args: int, dtype: str) -> Any:
    try:
        compiled, returned = scalar(prepared(function), n_args, dtype)
    # Numba lets errors of other kinds through too, such as those of Python's own parts.
    except Exception as error:
        raise OptionError(
            f"{what} of {of} must be a function that numba can compile, which has numbers, "
            f"branches, loops and the module math, got: {cause(error)}"
        ) from error
    if not isinstance(returned, types.Float | types.Integer):
        raise OptionError(
            f"{what} of {of} must return a number in every case, got {returned} from it; "
            "end each of its branches with return and a number"
        )
    return compiled


def cause(error: Exception) -> str:
    """What numba found, in a line: the first that names a thing, of its page of text."""
    text = re.sub(r"\x1b\[[0-9;]*m", "", str(error))
    if not isinstance(error, NumbaError):
        text = f"{type(error).__name__}: {text}"
    lines = [line.strip() for line in text.splitlines()]
    told = [line for line in lines if line and not line.startswith("Failed in nopython mode")]
    line = (told or [type(error).__name__])[0].rstrip(".")
    if line.endswith("signature:") and len(told) > 1:
        line = f"no {told[1].removeprefix('>>>').strip()} in numba"
    return line if len(line) <= _LONGEST_CAUSE else line[: _LONGEST_CAUSE - 3] + "..."
