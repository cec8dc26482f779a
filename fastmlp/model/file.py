"""A network in one safetensors file.

Tensors: ``weights.0`` (in, out), ``biases.0`` (out,), ..., ``scales.0`` (out,) of normalised
layers, ``running_mean.0`` and ``running_variance.0`` (out,) of batch-normalised ones,
``embeddings.0`` (categories, width), and the optimizer's state as ``optimizer.slot0.weights.0``.
A fit that is not over has its history too, ``history.loss`` (epochs,), ``history.grad_norm``
(epochs, layers), and arrays ``fit.loop.seen``, ``fit.callback0.weights.0``, ...
Everything else is JSON under the metadata key ``fastmlp``.
Any safetensors reader can open it, and reading one runs no code of the file's.
"""

from __future__ import annotations

import itertools
import json
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from fastmlp import tensor_file
from fastmlp.engine.cpu.cores import n_cores
from fastmlp.errors import FastmlpError, ModelFileError, OptionTypeError
from fastmlp.layout.parameters import Parameters
from fastmlp.model import series
from fastmlp.model.schema import check_content
from fastmlp.paths import as_path, check_target
from fastmlp.spec.layers import kinds_of
from fastmlp.spec.network import NetworkSpec
from fastmlp.training.fit_state import FitState
from fastmlp.whole_files import replaced

# 2: with a digest, which older versions of fastmlp would not look at.
FORMAT_VERSION, _LAST_WITHOUT_DIGEST = 2, 1
_METADATA_KEY = tensor_file.MODEL
# The kinds of class labels: bool, signed, unsigned, float, text.
_CLASS_KINDS = "biufU"
_RUNNING = ("running_mean", "running_variance")
_FIT = "fit."  # names of arrays that belong to a fit


@dataclass
class ModelState:
    """What a file holds: plain values and arrays.

    `values` is JSON that the network fills and reads; the rest are arrays.
    """

    values: dict[str, Any]
    parameters: Parameters
    classes: np.ndarray | None = None
    slots: list[Parameters] = field(default_factory=list)
    running: dict[int, tuple[np.ndarray, np.ndarray]] = field(default_factory=dict)
    fit: FitState | None = None  # where a fit stands that is not over
    arrays: dict[str, np.ndarray] = field(default_factory=dict)  # all of a file but the fit's

    def __setstate__(self, state: dict[str, Any]) -> None:
        # Networks pickled before have neither.
        self.__dict__.update({"fit": None, "arrays": {}} | state)


def write_model(path: str | os.PathLike[str], state: ModelState) -> None:
    """Write `state` to `path`, at once or not at all; it is on the disk when this returns.

    Raises ModelFileNotFoundError where the folder is not there, ModelFileError where the file
    cannot be written, OptionTypeError where `values` cannot be JSON, OptionError where they are
    too many.
    """
    target = check_target(path)
    content, tensors = packed(state)
    write_content(target, _METADATA_KEY, content, tensors)


def write_content(
    target: Path, key: str, content: dict[str, Any], tensors: dict[str, np.ndarray]
) -> None:
    """Write JSON under `key`, and arrays, to a file whose name is checked; as `write_model`."""
    try:
        text = json.dumps(content)
    except (TypeError, ValueError, RecursionError) as error:
        raise OptionTypeError(
            f"extra must hold plain JSON values (dict, list, str, numbers), got: {error}"
        ) from None
    try:
        with replaced(target) as unfinished:
            tensor_file.write(unfinished, tensors, key, text)
    except (OSError, ValueError) as error:
        if isinstance(error, FastmlpError):
            raise
        raise ModelFileError(
            f"a model file must be writable, got {str(target)!r}: {error}; free space there or "
            "save under another name"
        ) from error


def packed(state: ModelState) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """A state as plain values and arrays by name."""
    history = state.values.get("history")
    of_history: dict[str, np.ndarray] = {}
    if history is not None:
        history, of_history = series.packed(history)
    content = {
        **state.values,
        "history": history,
        "format_version": FORMAT_VERSION,
        "classes": classes_to_json(state.classes),
        "n_layers": len(state.parameters.weights),
        "n_slots": len(state.slots),
        "fit": None if state.fit is None else state.fit.values,
    }
    tensors = of_history | _named(state.parameters, "")
    for i, slot in enumerate(state.slots):
        tensors.update(_named(slot, _slot_prefix(i)))
    for i, statistics in state.running.items():
        for kind, values in zip(_RUNNING, statistics, strict=True):
            tensors[f"{kind}.{i}"] = values
    if state.fit is not None:
        tensors.update({f"{_FIT}{name}": array for name, array in state.fit.arrays.items()})
    return content, tensors


def read_model(path: str | os.PathLike[str]) -> ModelState:
    """The state in the file `path`; ModelFileError says what is wrong with a file.

    What it takes of memory is the file's size and its arrays: they are checked against the sizes
    that the text gives, by `checked_arrays`, before a network is made of them.
    """
    source = as_path(path)
    text, tensors, has_digest = tensor_file.read(source, _METADATA_KEY)
    try:
        content = tensor_file.parsed(text, sum(array.nbytes for array in tensors.values()))
        check_version(source, content["format_version"], FORMAT_VERSION)
        if content["format_version"] > _LAST_WITHOUT_DIGEST and not has_digest:
            raise ValueError("it has no digest")
        return unpacked(content, tensors)
    except ModelFileError:
        raise
    except Exception as error:  # whatever a damaged file makes the parsers raise
        raise tensor_file.damaged(source, error) from error


def check_version(source: Path, version: Any, newest: int) -> None:
    """ModelFileError for a format that is newer than this program, ValueError for none at all."""
    if type(version) is not int or version < 1:
        raise ValueError(f"format_version is {version!r}")
    if version > newest:
        raise ModelFileError(
            f"{str(source)!r} must have format {newest} or older, "
            f"got format {version}; upgrade fastmlp to read it"
        )


def unpacked(content: Any, tensors: dict[str, np.ndarray]) -> ModelState:
    """The inverse of `packed`, for what may be damaged: then any exception."""
    check_content(content)
    of_fit = _popped(tensors, _FIT)
    of_history = _popped(tensors, series.PREFIX)
    if content.get("history") is not None:
        content["history"] = series.unpacked(content["history"], of_history)
    elif of_history:
        raise ValueError("arrays of a history that is not there")
    fit = None
    if content.get("fit") is not None:
        named = {name.removeprefix(_FIT): array for name, array in of_fit.items()}
        fit = FitState(content["fit"], named)
    elif of_fit:
        raise ValueError("arrays of a fit that is not there")
    n_layers, n_slots = content["n_layers"], content["n_slots"]
    slots = [_unnamed(tensors, _slot_prefix(i), n_layers) for i in range(n_slots)]
    parameters = _unnamed(tensors, "", n_layers)
    mean, variance = _RUNNING
    running = {
        i: (tensors[f"{mean}.{i}"], tensors[f"{variance}.{i}"])
        for i in range(n_layers)
        if f"{mean}.{i}" in tensors
    }
    classes = classes_from_json(content["classes"])
    threads = content["spec"].get("n_threads")
    if threads is not None:
        # As many as the machine had that wrote it; the numbers are the same for any.
        content["spec"]["n_threads"] = min(threads, n_cores())
    return ModelState(content, parameters, classes, slots, running, fit, tensors)


def check_arrays(state: ModelState, spec: NetworkSpec) -> None:
    """Raise ValueError unless the arrays of a file are those of a network of `spec`, by name, shape
    and type: before a network of that size is made."""
    shapes = _shapes(spec)
    expected = {f"{_slot_prefix(i)}{name}": shape for i in range(len(state.slots))
                for name, shape in shapes.items()}  # fmt: skip
    running = {
        f"{name}.{i}": (spec.sizes[i + 1],)
        for i, kind in enumerate(kinds_of(spec.norms))
        if kind.keeps_running
        for name in _RUNNING
    }
    expected |= shapes | running
    if state.arrays.keys() != expected.keys():
        odd = sorted(state.arrays.keys() ^ expected.keys())[0]
        raise ValueError(f"the array {odd[:60]!r} is there and should not be, or is missing")
    for name, shape in expected.items():
        found = state.arrays[name]
        if found.shape != shape or found.dtype.name != spec.dtype:
            raise ValueError(
                f"{name} must be {shape} of {spec.dtype}, got {found.shape} of {found.dtype}"
            )


def _shapes(spec: NetworkSpec) -> dict[str, tuple[int, ...]]:
    """Of the parameters of a network, by their names in a file."""
    shapes: dict[str, tuple[int, ...]] = {}
    kinds = kinds_of(spec.norms)
    for i, (n_in, n_out) in enumerate(itertools.pairwise(spec.layer_sizes)):
        shapes[f"weights.{i}"], shapes[f"biases.{i}"] = (n_in, n_out), (n_out,)
        shapes.update({f"{vector.name}.{i}": (n_out,) for vector in kinds[i].vectors})
    for i, (_, n_categories, width) in enumerate(spec.embeddings):
        shapes[f"embeddings.{i}"] = (n_categories, width)
    return shapes


def _named(parameters: Parameters, prefix: str) -> dict[str, np.ndarray]:
    return {
        prefix + name: np.ascontiguousarray(array) for name, array in parameters.named().items()
    }


def _popped(tensors: dict[str, np.ndarray], prefix: str) -> dict[str, np.ndarray]:
    return {name: tensors.pop(name) for name in list(tensors) if name.startswith(prefix)}


def _unnamed(tensors: dict[str, np.ndarray], prefix: str, n_layers: int) -> Parameters:
    own = {name.removeprefix(prefix): t for name, t in tensors.items() if name.startswith(prefix)}
    return Parameters.from_named(own, n_layers)


def _slot_prefix(number: int) -> str:
    return f"optimizer.slot{number}."


def classes_to_json(classes: np.ndarray | None) -> dict[str, Any] | None:
    return None if classes is None else {"dtype": classes.dtype.str, "labels": classes.tolist()}


def classes_from_json(content: dict[str, Any] | None) -> np.ndarray | None:
    if content is None:
        return None
    dtype, labels = np.dtype(content["dtype"]), content["labels"]
    if dtype.kind not in _CLASS_KINDS:
        raise ValueError(f"class labels of dtype {dtype}")
    if dtype.kind == "U":
        # An array has room for the longest in each of its elements.
        longest = max(map(len, labels), default=0)
        if dtype.itemsize > 4 * max(longest, 1):
            raise ValueError(f"class labels of dtype {dtype} with at most {longest} characters")
    classes = np.array(labels, dtype=dtype)
    if classes.tolist() != labels or classes.ndim != 1:
        raise ValueError(f"class labels that are none of dtype {dtype}")
    if len(np.unique(classes)) < len(labels):
        raise ValueError("a class label is there twice")
    return classes
