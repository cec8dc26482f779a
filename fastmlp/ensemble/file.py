"""An ensemble in one safetensors file.

Tensors: those of a model file for each member, as ``members.0.weights.0``. Everything else is JSON
under the metadata key ``fastmlp.ensemble``: of each member what a model file has, its labels apart,
which stand there once.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any

import numpy as np

from fastmlp import tensor_file
from fastmlp.errors import ModelFileError, NotRegisteredError
from fastmlp.json_kinds import (
    a_dict,
    a_list,
    boolean,
    count,
    list_of,
    mapping,
    number,
    optional,
    positive,
    text,
)
from fastmlp.model.file import (
    ModelState,
    check_version,
    classes_from_json,
    classes_to_json,
    packed,
    unpacked,
    write_content,
)
from fastmlp.model.network import Network
from fastmlp.paths import as_path, check_target
from fastmlp.spec.devices import CPU

FORMAT_VERSION = 1
_METADATA_KEY = tensor_file.ENSEMBLE
_MEMBER = "members."

_CONTENT = mapping(
    {
        "format_version": count,
        "members": list_of(a_dict),  # `unpacked` checks each
        "knows_classes": list_of(boolean),
        "classes": optional(mapping({"dtype": text, "labels": a_list})),
        "weights": list_of(number),
        "n_folds": optional(count),
        "bagging": optional(positive),
        "extra": a_dict,
    }
)


@dataclass
class EnsembleState:
    """What a file holds of an ensemble."""

    members: list[Network]
    weights: list[float]
    n_folds: int | None
    bagging: float | None
    extra: dict[str, Any]


def write_ensemble(path: str | os.PathLike[str], state: EnsembleState) -> None:
    """Write `state` to `path`, at once or not at all; raises as `write_model`."""
    target = check_target(path)
    contents, tensors, knows_classes = [], {}, []
    classes: np.ndarray | None = None
    for i, member in enumerate(state.members):
        own: ModelState = member.__getstate__()["model"]
        knows_classes.append(own.classes is not None)
        classes = own.classes if classes is None else classes
        own.classes = None
        content, arrays = packed(own)
        contents.append(content)
        tensors.update({f"{_MEMBER}{i}.{name}": array for name, array in arrays.items()})
    values = {
        "format_version": FORMAT_VERSION,
        "members": contents,
        "knows_classes": knows_classes,
        "classes": classes_to_json(classes),
        "weights": state.weights,
        "n_folds": state.n_folds,
        "bagging": state.bagging,
        "extra": state.extra,
    }
    write_content(target, _METADATA_KEY, values, tensors)


def read_ensemble(path: str | os.PathLike[str]) -> EnsembleState:
    """The state in the file `path`; ModelFileError says what is wrong with a file.

    The arrays of each member are compared with its description before it is made.
    """
    source = as_path(path)
    text, tensors, has_digest = tensor_file.read(source, _METADATA_KEY)
    try:
        content = tensor_file.parsed(text, sum(array.nbytes for array in tensors.values()))
        check_version(source, content["format_version"], FORMAT_VERSION)
        if not has_digest:
            raise ValueError("it has no digest")
        _CONTENT(content, "it")
        return _state(content, tensors)
    except (ModelFileError, NotRegisteredError):
        raise
    except Exception as error:  # whatever a damaged file makes the parsers raise
        raise tensor_file.damaged(source, error) from error


def _state(content: dict[str, Any], tensors: dict[str, np.ndarray]) -> EnsembleState:
    n = len(content["members"])
    if not n or {len(content["weights"]), len(content["knows_classes"])} != {n}:
        raise ValueError(f"{n} members with other numbers of weights and flags")
    arrays: dict[str, dict[str, np.ndarray]] = {str(i): {} for i in range(n)}
    for name, array in tensors.items():
        number, _, rest = name.removeprefix(_MEMBER).partition(".")
        if not name.startswith(_MEMBER) or number not in arrays:
            raise ValueError(f"the array {name[:60]!r} of no member")
        arrays[number][rest] = array
    classes = classes_from_json(content["classes"])
    members = []
    for values, own, knows in zip(
        content["members"], arrays.values(), content["knows_classes"], strict=True
    ):
        state = unpacked(values, own)
        if state.classes is not None:
            raise ValueError("labels of a member of its own")
        state.classes = classes if knows else None
        state.values["spec"]["device"] = CPU
        member = Network.__new__(Network)
        member.__setstate__({"model": state, "history": None})
        members.append(member)
    return EnsembleState(
        members, content["weights"], content["n_folds"], content["bagging"], content["extra"]
    )
