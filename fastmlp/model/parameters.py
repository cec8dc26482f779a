"""Parameters as users see them: plain arrays, (in, out) for weights, (out,) for biases."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

import numpy as np

from fastmlp.checks import shown
from fastmlp.data.inputs import as_numbers, check_finite
from fastmlp.errors import DataError, OptionTypeError, ShapeError
from fastmlp.layout.parameters import Parameters
from fastmlp.spec.layers import kinds_of
from fastmlp.spec.network import NetworkSpec


def checked_layers(
    spec: NetworkSpec, weights: Any, biases: Any, prefix: str = ""
) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Lists of arrays of the network's dtype; ShapeError, DataError or DataTypeError otherwise."""
    weight_shapes = list(pairwise(spec.layer_sizes))
    bias_shapes = [(n_out,) for n_out in spec.sizes[1:]]
    return (
        _checked(weights, weight_shapes, spec.dtype, f"{prefix}weights"),
        _checked(biases, bias_shapes, spec.dtype, f"{prefix}biases"),
    )


def checked_scales(spec: NetworkSpec, scales: Any, prefix: str = "") -> list[np.ndarray | None]:
    """The same of the scales of normalised layers, None for the others."""
    shapes = [
        (n_out,) if "scales" in (vector.name for vector in kind.vectors) else None
        for n_out, kind in zip(spec.sizes[1:], kinds_of(spec.norms), strict=True)
    ]
    return _checked(scales, shapes, spec.dtype, f"{prefix}scales")


def checked_embeddings(spec: NetworkSpec, embeddings: Any, prefix: str = "") -> list[np.ndarray]:
    """The same of the tables of embedded columns."""
    shapes = [(n_categories, width) for _, n_categories, width in spec.embeddings]
    return _checked(embeddings, shapes, spec.dtype, f"{prefix}embeddings")


def checked_parameters(spec: NetworkSpec, plain: Parameters, prefix: str = "") -> Parameters:
    """All of them together."""
    return Parameters(
        *checked_layers(spec, plain.weights, plain.biases, prefix),
        checked_scales(spec, plain.scales, prefix),
        checked_embeddings(spec, plain.embeddings, prefix),
    )


def checked_running(
    spec: NetworkSpec, running: Mapping[int, Sequence[Any]]
) -> dict[int, tuple[np.ndarray, np.ndarray]]:
    """Means and variances of batch-normalised layers."""
    layers = [i for i, kind in enumerate(kinds_of(spec.norms)) if kind.keeps_running]
    checked = {}
    for i in layers:
        shapes = [(spec.sizes[i + 1],)] * 2
        mean, variance = _checked(list(running[i]), shapes, spec.dtype, f"running statistics {i}")
        if (variance < 0.0).any():
            raise DataError(
                f"running statistics {i} must have variances >= 0, got {variance.min()}"
            )
        checked[i] = (mean, variance)
    return checked


def _checked(
    arrays: Any, shapes: Sequence[tuple[int, ...] | None], dtype: str, name: str
) -> list[Any]:
    if not isinstance(arrays, list | tuple):
        raise OptionTypeError(f"{name} must be a list of {len(shapes)} arrays, got {shown(arrays)}")
    if len(arrays) != len(shapes):
        raise ShapeError(f"{name} must have {len(shapes)} arrays, got {len(arrays)}")
    checked: list[Any] = []
    for i, (values, shape) in enumerate(zip(arrays, shapes, strict=True)):
        if shape is None:
            if values is not None:
                raise ShapeError(f"{name}[{i}] must be None, as its layer has none of it")
            checked.append(None)
            continue
        array = as_numbers(values, f"{name}[{i}]")
        if array.shape != shape:
            raise ShapeError(f"{name}[{i}] must have shape {shape}, got {array.shape}")
        check_finite(array, dtype, f"{name}[{i}]")
        checked.append(np.asarray(array, dtype=dtype))
    return checked


def summary(spec: NetworkSpec) -> str:
    """A table of the layers with their numbers of parameters and bytes."""
    rows = [("layer", "in", "out", "activation", "dropout", "parameters", "bytes")]
    activations = (*spec.activations, "(output)")
    dropout = (*(f"{rate:g}" for rate in spec.dropout), "-")
    kinds, residual = kinds_of(spec.norms), (*spec.residual, False)
    for column, n_categories, width in spec.embeddings:
        n = n_categories * width
        size = (str(n_categories), str(width))
        rows.append((f"column {column}", *size, "embedding", "-", f"{n:,}", _bytes(n, spec)))
    for i, (n_in, n_out) in enumerate(pairwise(spec.layer_sizes)):
        n = (n_in + kinds[i].n_sums) * n_out
        rows.append(
            (
                str(i),
                str(n_in),
                str(n_out),
                ("" if kinds[i].is_plain else f"{kinds[i].name} norm, ")
                + activations[i]
                + (" + input" if residual[i] else ""),
                dropout[i],
                f"{n:,}",
                _bytes(n, spec),
            )
        )
    n = spec.n_parameters
    rows.append(("total", "", "", "", "", f"{n:,}", _bytes(n, spec)))
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = [
        "  ".join(text.rjust(width) for text, width in zip(row, widths, strict=True))
        for row in rows
    ]
    rest = f"loss {spec.loss}, l1 {spec.l1:g}, l2 {spec.l2:g}, init {spec.init}, {spec.dtype}"
    if spec.input_dropout:
        rest += f", input dropout {spec.input_dropout:g}"
    return "\n".join([*lines, f"{rest}, seed {spec.seed}"])


def _bytes(n: int, spec: NetworkSpec) -> str:
    return f"{n * np.dtype(spec.dtype).itemsize:,}"
