"""IDX, the format of MNIST: images as rows of pixels, their labels in a file beside them.

A file is two zero bytes, a code of the element type, the number of dimensions, each dimension
as a big-endian uint32, then the elements (http://yann.lecun.com/exdb/mnist, "The IDX file format").
"""

from __future__ import annotations

import gzip
import math
import re
import zlib
from collections.abc import Collection
from pathlib import Path
from typing import BinaryIO

import numpy as np

from fastmlp.errors import TableError
from fastmlp.tables.limits import check_unpacked, check_width, most_unpacked
from fastmlp.tables.matrix import MatrixSource

TARGET = "label"

_TYPES = {0x08: "u1", 0x09: "i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}
# train-images-idx3-ubyte, emnist-letters-train-images-idx3-ubyte.gz, train-images.idx3-ubyte
_IMAGES = re.compile(r"(?P<part>.*)images(?P<dot>[-.])idx\d-ubyte(\.gz)?")


def is_idx(beginning: bytes) -> bool:
    """Whether a file that begins so is an IDX file."""
    return len(beginning) >= 4 and beginning[:2] == b"\0\0" and beginning[2] in _TYPES


def idx_folder(folder: Path, categorical: Collection[str] = ()) -> MatrixSource:
    """The images ``train-images-idx3-ubyte[.gz]`` of a folder, with their labels.

    ``t10k-images-...`` or ``test-images-...``, where it is there, becomes `Source.test`.
    """
    train = _part(folder, "train")
    if train is None:
        raise TableError(
            f"{folder} must hold train-images-idx3-ubyte[.gz] and train-labels-idx1-ubyte[.gz] "
            "to be read as a folder of IDX files, and does not; name a single file otherwise"
        )
    source = _images(train, categorical, needs_labels=True)
    source.name = folder.resolve().name
    test = _part(folder, "t10k") or _part(folder, "test")
    if test is not None:
        source.test = _images(test, categorical, needs_labels=True)
        if source.test.columns != source.columns:
            raise TableError(
                f"{test} must have images of {len(source.columns) - 1} pixels as {train} has, "
                f"got {len(source.test.columns) - 1}"
            )
    return source


def idx_file(path: Path, categorical: Collection[str] = ()) -> MatrixSource:
    """One IDX file; images with the labels that a file of their name, if any, holds."""
    return _images(path, categorical, needs_labels=False)


def _part(folder: Path, part: str) -> Path | None:
    """The file of images for "train", "t10k" or "test"; the unpacked one where there are both."""
    found = [
        path
        for path in sorted(folder.iterdir())
        if (match := _IMAGES.fullmatch(path.name)) and match["part"].endswith(f"{part}-")
    ]
    plain = [path for path in found if path.suffix != ".gz"]
    found = plain or found
    if len(found) > 1:
        raise TableError(
            f"{folder} must hold one file of {part} images, got "
            f"{', '.join(path.name for path in found)}; name one of these files"
        )
    return found[0] if found else None


def _images(path: Path, categorical: Collection[str], needs_labels: bool) -> MatrixSource:
    images = _read(path)
    labels_path = _labels_of(path)
    if labels_path is None and needs_labels:
        raise TableError(
            f"{path} must have its labels beside it, in a file called "
            f"{path.name.replace('images', 'labels').replace('idx3', 'idx1')}"
        )
    labels = None if labels_path is None else _read(labels_path)
    if labels is not None and labels.shape != images.shape[:1]:
        raise TableError(
            f"{labels_path} must have a label for each of the {len(images)} images of "
            f"{path.name}, got an array of shape {labels.shape}"
        )
    n_pixels = math.prod(images.shape[1:])
    check_width(path, n_pixels, path.stat().st_size)
    return MatrixSource(
        path.name.partition("-idx")[0].partition(".")[0],
        str(path),
        images.reshape(len(images), n_pixels),
        columns=[f"p{i}" for i in range(n_pixels)],
        target=None if labels is None else (TARGET, labels),
        categorical=categorical,
    )


def _labels_of(path: Path) -> Path | None:
    match = _IMAGES.fullmatch(path.name)
    if match is None:
        return None
    plain = path.with_name(f"{match['part']}labels{match['dot']}idx1-ubyte")
    for labels in (plain, plain.with_name(plain.name + ".gz")):
        if labels.is_file():
            return labels
    return None


def _read(path: Path) -> np.ndarray:
    """The array of a file: mapped, or unpacked into memory from gzip."""
    try:
        with path.open("rb") as file:
            compressed = file.read(2) == b"\x1f\x8b"
            file.seek(0)
            if compressed:
                with gzip.GzipFile(fileobj=file) as unpacked:
                    dtype, shape, _ = _header(unpacked, path)
                    n_bytes = dtype.itemsize * math.prod(shape)
                    # A damaged header must not ask for memory that the file could not fill.
                    n_file_bytes = path.stat().st_size
                    data = unpacked.read(min(n_bytes, most_unpacked(n_file_bytes)) + 1)
                    check_unpacked(path, len(data), n_file_bytes)
                    _check_length(path, len(data), n_bytes)
                    return np.frombuffer(data, dtype).reshape(shape)
            dtype, shape, offset = _header(file, path)
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise TableError(
            f"{path} must be a whole gzip file, and cannot be unpacked: {error}; fetch it again"
        ) from None
    n_bytes = dtype.itemsize * math.prod(shape)
    _check_length(path, path.stat().st_size - offset, n_bytes)
    if n_bytes == 0:
        return np.empty(shape, dtype)
    return np.memmap(path, dtype, "r", offset, shape)


def _header(file: BinaryIO | gzip.GzipFile, path: Path) -> tuple[np.dtype, tuple[int, ...], int]:
    magic = file.read(4)
    if not is_idx(magic):
        raise TableError(
            f"{path} must be an IDX file, which begins with two zero bytes and a type from 8 to "
            f"14, got {magic.hex(' ') or 'an empty file'}; fetch it again"
        )
    n_dims = magic[3]
    sizes = file.read(4 * n_dims)
    if n_dims == 0 or len(sizes) != 4 * n_dims:
        raise TableError(
            f"{path} must name its dimensions, got {n_dims} of them in {len(sizes)} bytes; fetch "
            "it again"
        )
    shape = tuple(np.frombuffer(sizes, ">u4").tolist())
    return np.dtype(_TYPES[magic[2]]), shape, 4 + 4 * n_dims


def _check_length(path: Path, got: int, n_bytes: int) -> None:
    if got != n_bytes:
        raise TableError(
            f"{path} must have {n_bytes} bytes of elements as its header says, got {got}"
            f"{' or more' if got > n_bytes else ''}; fetch it again"
        )
