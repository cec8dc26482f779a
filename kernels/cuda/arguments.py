"""Arguments of a kernel: the types that it is compiled for, and the words that a launch hands over.

A kernel takes arrays of one dimension, integers of 64 bits, float64 and booleans.
"""

from __future__ import annotations

import ctypes
from typing import Any

import numpy as np
from numba.cuda import types
from numba.cuda.np import numpy_support


def signature_of(arguments: tuple[Any, ...]) -> Any:
    """The types with which numba compiles the kernel."""
    return types.void(*map(_type_of, arguments))


def _type_of(argument: Any) -> Any:
    if isinstance(argument, bool | np.bool_):
        return types.boolean
    if isinstance(argument, int | np.integer):
        return types.int64
    if isinstance(argument, float):
        return types.float64
    return types.Array(numpy_support.from_dtype(np.dtype(argument.dtype)), 1, "C")


def kinds_of(arguments: tuple[Any, ...]) -> tuple[Any, ...]:
    """What decides the signature, in a fraction of the time that it takes to make one."""
    return tuple(getattr(argument, "dtype", type(argument)) for argument in arguments)


def words_of(arguments: tuple[Any, ...]) -> list[Any]:
    """What `cuda.core.launch` takes for them, in the layout that numba gives a kernel's parameters.

    An array is seven words: where its memory is managed and by which object, which no kernel of
    ours asks; its elements, the bytes of one, the address of the first; its shape and its stride.
    """
    words: list[Any] = []
    for argument in arguments:
        if isinstance(argument, bool | np.bool_):
            words.append(bool(argument))
        elif isinstance(argument, int | np.integer):
            words.append(ctypes.c_int64(int(argument)))
        elif isinstance(argument, float):
            words.append(ctypes.c_double(argument))
        else:
            n, n_bytes = int(argument.size), int(argument.dtype.itemsize)
            words += [0, 0, n, n_bytes, _address_of(argument), n, n_bytes]
    return words


def _address_of(array: Any) -> int:
    return int(array.__cuda_array_interface__["data"][0])
