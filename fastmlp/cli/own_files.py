"""Whether a file may be replaced: a log or a checkpoint, not something else of the same name.

A run file may come from anybody, and names the files that its run writes.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

from fastmlp.errors import OptionError

# The format's own limit of a header.
_MAX_HEADER_BYTES = 100_000_000


def is_csv_log(path: Path) -> bool:
    return _begins(path, b"epoch,loss,")


def is_json_log(path: Path) -> bool:
    return _begins(path, b'{"epoch": ')


def is_checkpoint(path: Path) -> bool:
    """Whether a fit stands in the file; one of `Network.save` alone is somebody's result."""
    try:
        with path.open("rb") as file:
            n_bytes = int.from_bytes(file.read(8), "little")
            if n_bytes > _MAX_HEADER_BYTES:
                return False
            header = json.loads(file.read(n_bytes))
        return json.loads(header["__metadata__"]["fastmlp"]).get("fit") is not None
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return False


def check_replaced(option: str, path: Path, is_own: Callable[[Path], bool], what: str) -> None:
    """Raise OptionError where a file at `path` has content of another kind than `what`."""
    if path.is_file() and path.stat().st_size and not is_own(path):
        raise OptionError(
            f"{option} must be a new file or {what} that fastmlp wrote, got {path}, which would be "
            "lost; give it another name"
        )


def _begins(path: Path, start: bytes) -> bool:
    try:
        with path.open("rb") as file:
            return file.read(len(start)) == start
    except OSError:
        return False
