"""A network in one safetensors file.

Tensors: ``weights.0`` (in, out), ``biases.0`` (out,), ..., ``scales.0`` (out,) of normalised
layers, ``running_mean.0`` and ``running_variance.0`` (out,) of batch-normalised ones,
``embeddings.0`` (categories, width), and the optimizer's state as ``optimizer.slot0.weights.0``.
Everything else is JSON under the metadata key ``fastmlp``.
Any safetensors reader can open it, and reading one runs no code of the file's.
"""

from __future__ import annotations

import contextlib
import json
import os
import stat
import uuid
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from fastmlp.errors import ModelFileError, ModelFileNotFoundError, OptionTypeError
from fastmlp.layout.parameters import Parameters
from fastmlp.paths import as_path, check_target

FORMAT_VERSION = 1
_METADATA_KEY = "fastmlp"
# The format's own limit: a larger number is the beginning of a file of another kind.
_MAX_HEADER_BYTES = 100_000_000
# The kinds of class labels: bool, signed, unsigned, float, text.
_CLASS_KINDS = "biufU"
_RUNNING = ("running_mean", "running_variance")


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


def write_model(path: str | os.PathLike[str], state: ModelState) -> None:
    """Write `state` to `path`, at once or not at all.

    Raises ModelFileNotFoundError where the folder is not there, ModelFileError where the file
    cannot be written, OptionTypeError where `values` cannot be JSON.
    """
    from safetensors import SafetensorError
    from safetensors.numpy import save_file

    target = check_target(path)
    content = {
        **state.values,
        "format_version": FORMAT_VERSION,
        "classes": _classes_to_json(state.classes),
        "n_layers": len(state.parameters.weights),
        "n_slots": len(state.slots),
    }
    try:
        text = json.dumps(content)
    except (TypeError, ValueError) as error:
        raise OptionTypeError(
            f"extra must hold plain JSON values (dict, list, str, numbers), got: {error}"
        ) from None
    tensors = _named(state.parameters, "")
    for i, slot in enumerate(state.slots):
        tensors.update(_named(slot, _slot_prefix(i)))
    for i, statistics in state.running.items():
        for kind, values in zip(_RUNNING, statistics, strict=True):
            tensors[f"{kind}.{i}"] = np.ascontiguousarray(values)
    # Renaming within a folder is atomic: a reader sees the old file or the new one, never half.
    unfinished = target.with_name(f".{target.name}.{uuid.uuid4().hex}")
    try:
        save_file(tensors, unfinished, metadata={_METADATA_KEY: text})
        os.chmod(unfinished, _mode_of(target))
        os.replace(unfinished, target)
    except (OSError, ValueError, SafetensorError) as error:
        raise ModelFileError(
            f"a model file must be writable, got {str(target)!r}: {error}; free space there or "
            "save under another name"
        ) from error
    finally:
        with contextlib.suppress(OSError, ValueError):
            unfinished.unlink(missing_ok=True)


def _mode_of(target: Path) -> int:
    """Permissions of the file that is replaced, or those of a new one: safetensors writes 0600."""
    if target.exists():
        return stat.S_IMODE(target.stat().st_mode)
    mask = os.umask(0)
    os.umask(mask)
    return 0o666 & ~mask


def read_model(path: str | os.PathLike[str]) -> ModelState:
    """The state in the file `path`; ModelFileError says what is wrong with a file."""
    from safetensors.numpy import load_file

    source = as_path(path)
    if not source.is_file():
        what = "a folder" if source.is_dir() else "no such file"
        raise ModelFileNotFoundError(
            f"a model file must be a file that Network.save wrote, got {str(source)!r}, {what}"
        )
    metadata = _metadata(source)
    if _METADATA_KEY not in metadata:
        raise ModelFileError(
            f"{str(source)!r} must be a fastmlp model, got a safetensors file of something else"
        )
    try:
        content = json.loads(metadata[_METADATA_KEY])
        version = int(content["format_version"])
        if version > FORMAT_VERSION:
            raise ModelFileError(
                f"{str(source)!r} must have format {FORMAT_VERSION} or older, "
                f"got format {version}; upgrade fastmlp to read it"
            )
        tensors = load_file(source)
        n_layers = content["n_layers"]
        slots = [_unnamed(tensors, _slot_prefix(i), n_layers) for i in range(content["n_slots"])]
        parameters = _unnamed(tensors, "", n_layers)
        mean, variance = _RUNNING
        running = {
            i: (tensors[f"{mean}.{i}"], tensors[f"{variance}.{i}"])
            for i in range(n_layers)
            if f"{mean}.{i}" in tensors
        }
        classes = _classes_from_json(content["classes"])
    except ModelFileError:
        raise
    except Exception as error:  # whatever a damaged file makes the parsers raise
        raise damaged(source, error) from error
    return ModelState(content, parameters, classes, slots, running)


def damaged(path: str | os.PathLike[str], error: Exception) -> ModelFileError:
    """The error for a file of the right kind whose content makes no sense."""
    return ModelFileError(
        f"{str(path)!r} must be a whole fastmlp model, got a damaged one "
        f"({type(error).__name__}: {error}); save it again"
    )


def _metadata(source: Path) -> dict[str, str]:
    """The metadata of a safetensors file, whose length is compared with what its header says."""
    n_bytes = source.stat().st_size
    with source.open("rb") as file:
        start = file.read(9)
        n_header = int.from_bytes(start[:8], "little")
        if len(start) < 9 or start[8:] != b"{" or n_header > _MAX_HEADER_BYTES:
            raise ModelFileError(
                f"{str(source)!r} must be a model file that Network.save wrote, got a file of "
                f"{n_bytes} bytes that is no safetensors file"
            )
        expected = 8 + n_header
        if expected <= n_bytes:
            try:
                header = json.loads(start[8:] + file.read(n_header - 1))
                metadata = dict(header.pop("__metadata__", {}))
                expected += max((int(t["data_offsets"][1]) for t in header.values()), default=0)
            except Exception as error:  # whatever a damaged header makes the parsers raise
                raise damaged(source, error) from error
    if expected > n_bytes:
        raise ModelFileError(
            f"{str(source)!r} must have {expected} bytes, got {n_bytes}: it is truncated; "
            "save or copy it again"
        )
    return metadata


def _named(parameters: Parameters, prefix: str) -> dict[str, np.ndarray]:
    return {
        prefix + name: np.ascontiguousarray(array) for name, array in parameters.named().items()
    }


def _unnamed(tensors: dict[str, np.ndarray], prefix: str, n_layers: int) -> Parameters:
    own = {name.removeprefix(prefix): t for name, t in tensors.items() if name.startswith(prefix)}
    return Parameters.from_named(own, n_layers)


def _slot_prefix(number: int) -> str:
    return f"optimizer.slot{number}."


def _classes_to_json(classes: np.ndarray | None) -> dict[str, Any] | None:
    return None if classes is None else {"dtype": classes.dtype.str, "labels": classes.tolist()}


def _classes_from_json(content: dict[str, Any] | None) -> np.ndarray | None:
    if content is None:
        return None
    dtype = np.dtype(content["dtype"])
    if dtype.kind not in _CLASS_KINDS:
        raise ValueError(f"class labels of dtype {dtype}")
    return np.array(content["labels"], dtype=dtype)
