"""Activations and losses of users as functions of a GPU; built-in ones are known by name."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from fastmlp import registered
from fastmlp.engine.user_functions import cause, prepared_for
from fastmlp.errors import DeviceError
from fastmlp.kernels.cuda.jit import user_function
from fastmlp.kernels.cuda.user_functions import pair


def activation_of(name: str, dtype: str) -> Any:
    """A name, or f(z) and f'(z) of a user's as a device function."""
    return _function(registered.activations, name, dtype, 1)


def loss_of(name: str, dtype: str) -> Any:
    """A name, or value and derivative with respect to z as a device function."""
    return _function(registered.losses, name, dtype, 2)


def _function(registry: registered.Registry, name: str, dtype: str, n_args: int) -> Any:
    function = registry.get(name)
    if function is None:
        return name
    return _device_function(function.value, function.derivative, name, dtype, n_args)


@functools.lru_cache(maxsize=64)
def _device_function(
    value: Callable, derivative: Callable, name: str, dtype: str, n_args: int
) -> Any:
    try:
        f, slope = (prepared_for(function, user_function) for function in (value, derivative))
        return pair(f, slope, dtype, n_args)
    except Exception as error:
        raise DeviceError(
            f"{name!r} must be a function that numba-cuda can compile to train on a GPU, got: "
            f"{cause(error)}; use device='cpu'"
        ) from error
