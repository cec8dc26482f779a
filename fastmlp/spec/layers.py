"""Settings of what stands around the layers: normalisation, residual connections, embeddings."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fastmlp.checks import flag, integer, is_sequence, name_among, shown
from fastmlp.errors import OptionError, OptionTypeError
from fastmlp.names import LAYER_KINDS, NORMS, PLAIN, LayerKind

# A category is read from the table in the network's dtype: float32 has all integers below 2^24.
MAX_CATEGORIES = 2**24


def norms(norm: Any, n_hidden: int) -> tuple[str, ...]:
    """The normalisation of each hidden layer, from one for all or a list."""
    if not is_sequence(norm):
        name = name_among("norm", PLAIN if norm is None else norm, NORMS)
        if name != PLAIN and n_hidden == 0:
            raise OptionError(
                f"norm acts on hidden layers and sizes has none, got {name!r}; use norm={PLAIN!r}"
            )
        return (name,) * n_hidden
    if len(norm) != n_hidden:
        raise OptionError(
            f"norm must be a name or one name for each of the {n_hidden} hidden layers, "
            f"got {len(norm)} names; the output layer has none"
        )
    return tuple(name_among(f"norm[{i}]", name, NORMS) for i, name in enumerate(norm))


def kinds_of(norms: tuple[str, ...]) -> tuple[LayerKind, ...]:
    """The records of every layer's kind, the output layer's last."""
    return tuple(LAYER_KINDS[name] for name in (*norms, PLAIN))


def of_any_rows() -> str:
    """The first kind that normalises minibatches of any number of rows."""
    return next(k.name for k in LAYER_KINDS.values() if k.least_rows == 1 and not k.is_plain)


def residual_connections(residual: Any, sizes: tuple[int, ...], n_inputs: int) -> tuple[bool, ...]:
    """Whether each hidden layer's input is added to its output.

    True connects every hidden layer to the hidden layer before it where both are equally wide; a
    list says it for each, the first one included, whose input are the `n_inputs` values that the
    data become: more than sizes[0] where an embedded column has several.
    """
    n_hidden = len(sizes) - 2
    if not is_sequence(residual):
        if not flag("residual", residual):
            return (False,) * n_hidden
        fits = tuple(i > 0 and sizes[i] == sizes[i + 1] for i in range(n_hidden))
        if not any(fits):
            raise OptionError(
                "residual connects hidden layers of equal width that follow one another, got "
                f"sizes={list(sizes)} without any; make two of them equal, or use residual=False"
            )
        return fits
    if len(residual) != n_hidden:
        raise OptionError(
            f"residual must be True, False or one of these for each of the {n_hidden} hidden "
            f"layers, got {len(residual)} values"
        )
    chosen = tuple(flag(f"residual[{i}]", value) for i, value in enumerate(residual))
    for i, wanted in enumerate(chosen):
        n_in = sizes[i] if i else n_inputs
        if wanted and n_in != sizes[i + 1]:
            raise OptionError(
                f"residual[{i}] adds the input of hidden layer {i} to its output, so both must be "
                f"equally wide, got {n_in} and {sizes[i + 1]}; make them equal, or use False"
            )
    return chosen


def first_inputs(n_columns: int, embeddings: tuple[tuple[int, int, int], ...]) -> int:
    """Inputs of the first layer: an embedded column has as many as its width."""
    return n_columns + sum(width - 1 for _, _, width in embeddings)


def embedded_columns(embeddings: Any, n_columns: int) -> tuple[tuple[int, int, int], ...]:
    """(column, number of categories, width) of each embedded column, columns ascending."""
    if embeddings is None:
        return ()
    if not isinstance(embeddings, Mapping):
        raise OptionTypeError(
            "embeddings must map columns to (number of categories, width) such as {3: (20, 8)}, "
            f"got {shown(embeddings)}"
        )
    found = []
    for column, pair in embeddings.items():
        number = integer("a column of embeddings", column, 0, n_columns - 1)
        name = f"embeddings[{number}]"
        if not is_sequence(pair) or len(pair) != 2:
            raise OptionTypeError(
                f"{name} must be (number of categories, width), got {shown(pair)}"
            )
        n_categories = integer(f"the number of categories of {name}", pair[0], 1, MAX_CATEGORIES)
        found.append((number, n_categories, integer(f"the width of {name}", pair[1], 1, 4096)))
    return tuple(sorted(found))
