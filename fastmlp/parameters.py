"""Weights and biases as users see them: plain (in, out) and (out,) arrays."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np

from fastmlp.checks import shown
from fastmlp.data import as_numbers, check_finite
from fastmlp.errors import OptionTypeError, ShapeError
from fastmlp.spec import NetworkSpec


def checked_parameters(
    spec: NetworkSpec, weights: Any, biases: Any, prefix: str = ""
) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Lists of arrays of the network's dtype; ShapeError, DataError or DataTypeError otherwise."""
    weight_shapes = list(pairwise(spec.sizes))
    bias_shapes = [(n_out,) for n_out in spec.sizes[1:]]
    return (
        _checked(weights, weight_shapes, spec.dtype, f"{prefix}weights"),
        _checked(biases, bias_shapes, spec.dtype, f"{prefix}biases"),
    )


def _checked(
    arrays: Any, shapes: Sequence[tuple[int, ...]], dtype: str, name: str
) -> list[np.ndarray]:
    if not isinstance(arrays, list | tuple):
        raise OptionTypeError(
            f"{name} must be a list of arrays, one for each layer, got {shown(arrays)}"
        )
    if len(arrays) != len(shapes):
        raise ShapeError(
            f"{name} must have {len(shapes)} arrays, one for each layer, got {len(arrays)}"
        )
    checked = []
    for i, (values, shape) in enumerate(zip(arrays, shapes, strict=True)):
        array = as_numbers(values, f"{name}[{i}]")
        if array.shape != shape:
            raise ShapeError(f"{name}[{i}] must have shape {shape}, got {array.shape}")
        check_finite(array, dtype, f"{name}[{i}]")
        checked.append(np.asarray(array, dtype=dtype))
    return checked


def summary(spec: NetworkSpec) -> str:
    """A table of the layers with their numbers of parameters and bytes."""
    rows = [("layer", "in", "out", "activation", "dropout", "parameters", "bytes")]
    itemsize = np.dtype(spec.dtype).itemsize
    activations = (*spec.activations, "(output)")
    dropout = (*(f"{rate:g}" for rate in spec.dropout), "-")
    for i, (n_in, n_out) in enumerate(pairwise(spec.sizes)):
        n = (n_in + 1) * n_out
        rows.append(
            (
                str(i),
                str(n_in),
                str(n_out),
                activations[i],
                dropout[i],
                f"{n:,}",
                f"{n * itemsize:,}",
            )
        )
    n = spec.n_parameters
    rows.append(("total", "", "", "", "", f"{n:,}", f"{n * itemsize:,}"))
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = [
        "  ".join(text.rjust(width) for text, width in zip(row, widths, strict=True))
        for row in rows
    ]
    rest = f"loss {spec.loss}, l1 {spec.l1:g}, l2 {spec.l2:g}, init {spec.init}, {spec.dtype}"
    return "\n".join([*lines, f"{rest}, seed {spec.seed}"])
