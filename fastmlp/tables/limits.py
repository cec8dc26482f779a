"""How much a small file may become: a stranger's table must not fill the memory.

What is compressed, or leaves out zeros, is larger in memory than on disk: the size of the file
bounds how much larger.
"""

from __future__ import annotations

import gzip
import io
from pathlib import Path
from typing import IO, Any

from fastmlp.errors import TableError

# CSV is packed to a third or a twentieth, deflate's own limit is 1032.
_FREE_BYTES, _MOST_TIMES = 32_000_000, 128
# A column takes some 400 bytes, whatever its cells take.
_FREE_COLUMNS, _BYTES_A_COLUMN = 100_000, 256


def most_unpacked(n_file_bytes: int) -> int:
    """Bytes that compressed data of so many bytes may become."""
    return _FREE_BYTES + _MOST_TIMES * n_file_bytes


def check_unpacked(path: Path, n_bytes: int, n_file_bytes: int) -> None:
    """Raise TableError where compressed data of a file become more than that."""
    if n_bytes > most_unpacked(n_file_bytes):
        raise TableError(
            f"{path} must unpack to at most {most_unpacked(n_file_bytes):,} bytes, "
            f"{_MOST_TIMES} times its size and 32 MB, and becomes more; unpack it first if it is "
            "what it should be"
        )


def check_width(path: Path | str, n_columns: int, n_file_bytes: int) -> None:
    """Raise TableError for far more columns than a file of that size has cells for."""
    most = _FREE_COLUMNS + n_file_bytes // _BYTES_A_COLUMN
    if n_columns > most:
        raise TableError(
            f"{path} must have at most {most:,} columns, as it has {n_file_bytes:,} bytes, got "
            f"{n_columns:,}; leave out rare columns, or pass an array to fastmlp.Network"
        )


class _Unpacked(io.RawIOBase):
    """The bytes of a gzip file, which can be read from the beginning again."""

    def __init__(self, file: IO[bytes], path: Path) -> None:
        self._file: Any = gzip.GzipFile(fileobj=file)
        self._path, self._n_file_bytes = path, path.stat().st_size
        self._at = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        n: int = self._file.readinto(buffer)
        self._at += n
        check_unpacked(self._path, self._at, self._n_file_bytes)
        return n

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        self._at = self._file.seek(offset, whence)
        return self._at

    def tell(self) -> int:
        return self._at


def unpacked(file: IO[bytes], path: Path) -> io.BufferedReader:
    """An opened gzip file to be read unpacked; TableError where it becomes far too large."""
    return io.BufferedReader(_Unpacked(file, path), 1 << 16)
