"""Arrays and a text in one safetensors file, with a digest of all of it; read in one go.

https://github.com/huggingface/safetensors has the format: eight bytes with the length of a JSON
header, the header (name, type, shape and place of each array, and a mapping of texts), the arrays.
The package `safetensors` reads it, which checks that places and shapes agree, leave no hole and
overlap nowhere. Files are written here, as the package can bring none to the disk, and renames
what it writes by itself.
"""

from __future__ import annotations

import json
import stat
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from fastmlp.errors import ModelFileError, ModelFileNotFoundError, OptionError

TYPES = {
    "float64": "F64", "float32": "F32", "int64": "I64", "int32": "I32", "uint64": "U64",
    "uint8": "U8", "bool": "BOOL",
}  # fmt: skip
# Keys of what a file holds.
MODEL, ENSEMBLE = "fastmlp", "fastmlp.ensemble"
_DIGEST = "sha256"
# The format's own limit: a larger number is the beginning of a file of another kind.
_MAX_HEADER_BYTES = 100_000_000
# A value of a JSON text may take 2 bytes of it and 215 of memory. A stranger's file must not take
# more memory than twice its size and 64 MB: the limits of its text grow with its arrays.
_FREE_VALUES, _BYTES_A_VALUE = 200_000, 128
_FREE_TEXT_BYTES, _TEXT_SHARE = 8_000_000, 4


def write(path: Path, tensors: Mapping[str, np.ndarray], key: str, text: str) -> None:
    """Write `tensors` and, under `key`, `text` to the file `path`; OSError.

    A digest of both goes with them, so that `read` finds every changed bit.
    """
    # Wide elements first, so that each array is aligned as its elements want it.
    arrays = {
        name: np.ascontiguousarray(tensors[name])
        for name in sorted(tensors, key=lambda name: (-tensors[name].itemsize, name))
    }
    too_much = _excess(text, sum(array.nbytes for array in arrays.values()))
    if too_much:
        raise OptionError(
            f"extra must hold less, got {too_much}, which no reader would take; keep such a table "
            "in a file of its own"
        )
    digest = _digest(arrays, text)
    header: dict[str, Any] = {"__metadata__": {key: text, _DIGEST: digest}}
    at = 0
    for name, array in arrays.items():
        header[name] = {
            "dtype": TYPES[array.dtype.name],
            "shape": list(array.shape),
            "data_offsets": [at, at + array.nbytes],
        }
        at += array.nbytes
    encoded = json.dumps(header, separators=(",", ":")).encode()
    encoded += b" " * (-len(encoded) % 8)
    with path.open("wb") as file:
        file.write(struct.pack("<Q", len(encoded)) + encoded)
        for array in arrays.values():
            file.write(array.data if array.size else b"")


def read(path: Path, key: str) -> tuple[str, dict[str, np.ndarray], bool]:
    """The text under `key`, the arrays, and whether the file has a digest, which then was right.

    The file is opened once and read once: one that another process replaces meanwhile is the old
    one or the new one. Raises ModelFileNotFoundError where it is no file, ModelFileError where it
    is none of these or damaged.
    """
    from safetensors.numpy import load

    raw = _content(path)
    header = _header(path, raw)
    metadata = header.pop("__metadata__", {})
    if key not in metadata:
        raise ModelFileError(_other_kind(path, key, metadata))
    try:
        tensors = load(raw)
    except Exception as error:  # of several kinds, by what is wrong
        raise damaged(path, error) from error
    if metadata.get(_DIGEST, "") == "":
        return metadata[key], tensors, False
    found = _digest(tensors, metadata[key])
    if found != metadata[_DIGEST]:
        raise ModelFileError(
            f"{str(path)!r} must be a whole fastmlp model, got a damaged one: its content does not "
            "fit its digest; copy or save it again"
        )
    return metadata[key], tensors, True


def _other_kind(path: Path, key: str, metadata: Mapping[str, str]) -> str:
    wanted = "an ensemble" if key == ENSEMBLE else "a fastmlp model"
    found = "a safetensors file of something else"
    if key == MODEL and ENSEMBLE in metadata:
        found = "an ensemble; load it with fastmlp.Ensemble.load"
    elif key == ENSEMBLE and MODEL in metadata:
        found = "one network; load it with fastmlp.Network.load"
    return f"{str(path)!r} must be {wanted}, got {found}"


def damaged(path: object, error: Exception) -> ModelFileError:
    """The error for a file of the right kind whose content makes no sense."""
    said = " ".join(str(error).split())[:300]
    return ModelFileError(
        f"{str(path)!r} must be a whole fastmlp model, got a damaged one "
        f"({type(error).__name__}: {said}); save it again"
    )


def parsed(text: str, n_tensor_bytes: int, factor: int = 1) -> Any:
    """A JSON text of a file with so many bytes of arrays.

    ValueError where a name is there twice, and for a text that would take far more memory than the
    file does.
    """
    too_much = _excess(text, n_tensor_bytes, factor)
    if too_much:
        raise ValueError(too_much)
    return json.loads(text, object_pairs_hook=_once)


def _excess(text: str, n_tensor_bytes: int, factor: int = 1) -> str:
    """What of a text is too much beside so many bytes of arrays; "" where nothing is."""
    most_values = factor * (_FREE_VALUES + n_tensor_bytes // _BYTES_A_VALUE)
    most_chars = factor * (_FREE_TEXT_BYTES + n_tensor_bytes // _TEXT_SHARE)
    n_values = sum(map(text.count, ",[{"))
    if len(text) > most_chars:
        return f"a text of {len(text):,} characters, where {most_chars:,} are the most"
    return (
        f"{n_values:,} values, where {most_values:,} are the most" if n_values > most_values else ""
    )


def _content(path: Path) -> bytes:
    if not path.exists() or not stat.S_ISREG(path.stat().st_mode):
        what = "a folder" if path.is_dir() else "no such file"
        if path.exists() and not path.is_dir():
            what = "a pipe or a device"
        raise ModelFileNotFoundError(
            f"a model file must be a file that Network.save wrote, got {str(path)!r}, {what}"
        )
    try:
        with path.open("rb") as file:
            return file.read()
    except OSError as error:
        raise ModelFileError(
            f"a model file must be readable, got {str(path)!r}: {error.strerror}; change its "
            "permissions"
        ) from error


def _header(path: Path, raw: bytes) -> dict[str, Any]:
    """The header of a file, whose length is compared with what it says."""
    n_header, n_bytes = int.from_bytes(raw[:8], "little"), len(raw)
    if n_bytes < 9 or raw[8:9] != b"{" or n_header > _MAX_HEADER_BYTES:
        raise ModelFileError(
            f"{str(path)!r} must be a model file that Network.save wrote, got a file of "
            f"{n_bytes} bytes that is no safetensors file"
        )
    expected = 8 + n_header
    header: dict[str, Any] = {}
    if expected <= n_bytes:
        try:
            # The text stands in it as a JSON text, with two characters for a quotation mark.
            header = parsed(str(memoryview(raw)[8:expected], "utf-8"), n_bytes - expected, 2)
            arrays = [entry for name, entry in header.items() if name != "__metadata__"]
            expected += max((int(entry["data_offsets"][1]) for entry in arrays), default=0)
            metadata = header.get("__metadata__", {})
            if not all(isinstance(value, str) for value in metadata.values()):
                raise ValueError("metadata must be texts")
        except Exception as error:  # whatever a damaged header makes the parsers raise
            raise damaged(path, error) from error
    if expected > n_bytes:
        raise ModelFileError(
            f"{str(path)!r} must have {expected} bytes, got {n_bytes}: it is truncated; "
            "save or copy it again"
        )
    return header


def _digest(tensors: Mapping[str, np.ndarray], text: str) -> str:
    """Of the text and of name, type, shape and elements of each array; in hexadecimal digits."""
    import hashlib  # OpenSSL takes 4 ms to load, which only those who read or write a file pay

    found = hashlib.sha256(text.encode())
    for name in sorted(tensors):
        array = np.ascontiguousarray(tensors[name])
        found.update(json.dumps([name, array.dtype.str, array.shape]).encode())
        if array.size:
            found.update(array.data)
    return found.hexdigest()


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a name is there twice")
    return found
