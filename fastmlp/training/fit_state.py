"""Where a fit stands, as plain values and arrays: what another process needs to go on exactly."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from fastmlp.checks import shown
from fastmlp.data.gpu_arrays import GpuArray
from fastmlp.data.inputs import Dataset
from fastmlp.errors import OptionTypeError
from fastmlp.tensor_file import TYPES

# Arrays up to this size are looked at whole; of larger ones blocks of rows from end to end.
_WHOLE_BYTES, _N_BLOCKS, _BLOCK_BYTES = 64 * 2**20, 256, 64 * 1024


@dataclass
class Told:
    """Who has been told of the steps made last: a resumed fit tells only the others.

    n_of_steps, n_of_epoch: how many callbacks, in their order, had `on_steps` and `on_epoch_end`.
    is_evaluated: whether the eval sets were measured; is_scheduled: whether the schedule has looked
    at the epoch. stopped_by: what ends the fit, as the history says it.
    """

    n_of_steps: int = 0
    is_evaluated: bool = False
    is_scheduled: bool = False
    n_of_epoch: int = 0
    stopped_by: str | None = None

    def to_dict(self, under_way: str | None) -> dict[str, Any]:
        """Plain values, with a call that is under way as made; `under_way` is its counter."""
        values = dataclasses.asdict(self)
        if under_way is not None:
            values[under_way] += 1
        return values

    @classmethod
    def from_dict(cls, values: Mapping[str, Any], n_callbacks: int) -> Told:
        """ValueError, KeyError or TypeError where `to_dict` did not give it.

        A fit may be gone on with without its checkpoints, which come last.
        """
        told = cls(**values)
        if told.stopped_by not in (None, "callback", "early_stopping"):
            raise ValueError(f"a fit stopped by {told.stopped_by!r}")
        told.n_of_steps = min(told.n_of_steps, n_callbacks)
        told.n_of_epoch = min(told.n_of_epoch, n_callbacks)
        return told


@dataclass
class FitState:
    """values: plain JSON; arrays: by name, any number of dimensions."""

    values: dict[str, Any]
    arrays: dict[str, np.ndarray] = field(default_factory=dict)

    def put(self, prefix: str, state: Mapping[str, Any], what: str = "it") -> None:
        """Add the state of a part, whose values may be arrays.

        Raises OptionTypeError, with `what` as its subject, where another process could not be
        given it.
        """
        if not isinstance(state, Mapping) or not all(isinstance(name, str) for name in state):
            raise OptionTypeError(f"{what} must give a dict by names, got {shown(state)}")
        plain = {name: value for name, value in state.items() if not isinstance(value, np.ndarray)}
        arrays = {name: value for name, value in state.items() if isinstance(value, np.ndarray)}
        for name, array in arrays.items():
            if array.dtype.name not in TYPES:
                raise OptionTypeError(
                    f"{what} must give arrays of {', '.join(TYPES)}, got {array.dtype} for {name!r}"
                )
        try:
            json.dumps(plain)
        except (TypeError, ValueError, RecursionError) as error:
            raise OptionTypeError(
                f"{what} must give arrays and plain JSON values (dict, list, str, numbers), got "
                f"{shown(plain)}: {error}"
            ) from None
        self.values[prefix] = plain
        self.arrays.update({f"{prefix}.{name}": array for name, array in arrays.items()})

    def get(self, prefix: str) -> dict[str, Any]:
        """What `put` was given."""
        arrays = {
            name.removeprefix(f"{prefix}."): array
            for name, array in self.arrays.items()
            if name.startswith(f"{prefix}.")
        }
        return {**self.values.get(prefix, {}), **arrays}


def fingerprint(array: Any) -> str | None:
    """Of the shape, type and elements of an array: of some of its rows where it is large."""
    import hashlib  # loads OpenSSL: see fastmlp.tensor_file

    if array is None:
        return None
    found = hashlib.sha256(f"{np.dtype(array.dtype).str} {tuple(array.shape)}".encode())
    if isinstance(array, GpuArray):
        return found.hexdigest()  # to look at it would take a copy
    n_rows = array.shape[0] if array.ndim else 0
    if array.nbytes <= _WHOLE_BYTES:
        found.update(np.ascontiguousarray(array).tobytes())
        return found.hexdigest()
    # Of few long rows, parts: one after the other, so that every column comes in turn.
    table = array[:, None] if array.ndim == 1 else array
    n_columns = max(1, min(table.shape[1], _BLOCK_BYTES // table.itemsize))
    n_each = max(1, _BLOCK_BYTES // (n_columns * table.itemsize))
    for i, start in enumerate(np.linspace(0, n_rows - n_each, _N_BLOCKS).astype(int).tolist()):
        first = i * n_columns % max(1, table.shape[1] - n_columns + 1)
        block = table[start : start + n_each, first : first + n_columns]
        found.update(np.ascontiguousarray(block).tobytes())
    return found.hexdigest()


def of_data(data: Dataset) -> dict[str, Any]:
    """Fingerprints of all that is trained on."""
    parts = {"X": data.X, "labels": data.labels, "y": data.targets, "sample_weight": data.weights}
    if data.chosen is not None:
        parts["chosen"] = data.chosen
    return {"rows": data.n_rows} | {name: fingerprint(array) for name, array in parts.items()}


def described(setting: Any) -> Any:
    """Plain values that are another's for another setting: names of classes and functions, and
    the fields of data classes."""
    if dataclasses.is_dataclass(setting) and not isinstance(setting, type):
        values = {f.name: described(getattr(setting, f.name)) for f in dataclasses.fields(setting)}
        return {"name": type(setting).__name__, **values}
    if isinstance(setting, Mapping):
        return {str(name): described(value) for name, value in setting.items()}
    if isinstance(setting, list | tuple):
        return [described(value) for value in setting]
    if setting is None or isinstance(setting, bool | int | str):
        return setting
    if isinstance(setting, float):
        return setting if math.isfinite(setting) else repr(setting)
    name = getattr(setting, "__qualname__", None)
    return name if name is not None else type(setting).__name__
