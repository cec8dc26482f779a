"""What is given for many networks: one value for all, or a list with one for each."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from fastmlp.checks import shown
from fastmlp.errors import DataError, DataTypeError, OptionError, OptionTypeError, ShapeError
from fastmlp.model.network import Network
from fastmlp.spec.devices import CPU


def as_networks(given: object) -> list[Network]:
    """Networks, all of them different and on the CPU."""
    if isinstance(given, Network) or not isinstance(given, Sequence) or not given:
        raise OptionTypeError(f"networks must be a list of Networks, got {shown(given)}")
    first: dict[int, int] = {}
    for i, network in enumerate(given):
        if not isinstance(network, Network):
            raise OptionTypeError(f"networks[{i}] must be a Network, got {shown(network)}")
        if id(network) in first:
            raise OptionError(
                f"networks must be different objects, got the same one as networks"
                f"[{first[id(network)]}] and networks[{i}]; copy.deepcopy one of them"
            )
        if network.device != CPU:
            raise OptionError(
                f"networks must be on the cpu to be trained together, got networks[{i}] on "
                f"{network.device!r}; move it with to('cpu'), or call its fit"
            )
        first[id(network)] = i
    return list(given)


def spread(name: str, given: Any, n: int) -> list[Any]:
    """One value for each of `n` networks: the elements of a list, else the value itself."""
    if not isinstance(given, list):
        return [given] * n
    check_length(name, given, n)
    return given


def check_length(name: str, given: Sequence[Any], n: int) -> None:
    """OptionError where a list has another number of values than there are networks."""
    if len(given) != n:
        raise OptionError(
            f"{name} as a list must have one value for each of the {n} networks, got {len(given)}"
        )


def spread_arrays(name: str, given: Any, n: int) -> list[Any]:
    """As `spread` for arrays: a list of plain values is one array, not one value for each."""
    is_list = isinstance(given, list) and any(v is None or np.ndim(v) > 0 for v in given)
    return spread(name, given, n) if is_list else [given] * n


def targets(y: Any, networks: Sequence[Network]) -> list[Any]:
    """The y of each network: of a list its own, of a matrix with a column for each its column.

    A matrix is one y for all where the networks have several targets, or where a loss of classes
    takes it as probabilities.
    """
    n = len(networks)
    if isinstance(y, list) and len(y) == n and all(np.ndim(part) > 0 for part in y):
        return y
    if n == 1 or isinstance(y, list):
        return [y] * n
    array = y.to_numpy() if hasattr(y, "to_numpy") else np.asarray(y)
    if array.ndim != 2 or array.shape[1] != n:
        return [y] * n
    return [
        array[:, i] if _takes_column(network, array) else y for i, network in enumerate(networks)
    ]


def _takes_column(network: Network, y: np.ndarray) -> bool:
    loss, n_outputs = network.loss, network.sizes[-1]
    if network.task == "multiclass":
        are_probabilities = y.dtype.kind == "f" and loss.kind.probabilities is not None
        return not (are_probabilities and y.shape[1] == n_outputs)
    return network.task == "binary" or n_outputs == loss.outputs_per_target


def as_rows(name: str, given: Any, n_rows: int) -> np.ndarray | None:
    """Numbers of rows (m,) int64 from such numbers or from a mask (n_rows,) of bools, or None.

    ShapeError, DataTypeError or DataError names the first wrong one.
    """
    if given is None:
        return None
    rows = np.asarray(given)
    if rows.ndim != 1:
        raise ShapeError(f"{name} must be 1-D, numbers of rows, got shape {rows.shape}")
    if rows.dtype.kind == "b":
        if len(rows) != n_rows:
            raise ShapeError(
                f"{name} as a mask must have a value for each of the {n_rows} rows, got {len(rows)}"
            )
        rows = np.flatnonzero(rows)
    if not len(rows):
        raise DataError(f"{name} must name one row or more, got none")
    if rows.dtype.kind not in "iu":
        raise DataTypeError(
            f"{name} must hold numbers of rows or be a mask of bools, got dtype {rows.dtype}"
        )
    wrong = (rows < 0) | (rows >= n_rows)
    if wrong.any():
        at = int(np.argmax(wrong))
        raise DataError(
            f"{name} must be within 0 and {n_rows - 1}, the rows of X, got {rows[at]} at {at}"
        )
    return np.ascontiguousarray(rows, np.int64)


def others(rows: np.ndarray, n_rows: int) -> np.ndarray:
    """The rows that are not among `rows`, ascending."""
    left = np.ones(n_rows, np.bool_)
    left[rows] = False
    return np.flatnonzero(left)
