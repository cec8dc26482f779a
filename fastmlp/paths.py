"""Names of files that users give, checked before anything is written."""

from __future__ import annotations

import os
from pathlib import Path

from fastmlp.checks import shown
from fastmlp.errors import ModelFileError, ModelFileNotFoundError, OptionTypeError
from fastmlp.whole_files import is_special


def as_path(path: object) -> Path:
    """`path` as a Path; OptionTypeError where it is no name of a file."""
    if not isinstance(path, str | os.PathLike):
        raise OptionTypeError(f"path must be a file name or a pathlib.Path, got {shown(path)}")
    return Path(path)


def check_target(path: str | os.PathLike[str]) -> Path:
    """`path` if a model file can have this name; ModelFileNotFoundError or ModelFileError."""
    target = as_path(path)
    if not target.parent.is_dir():
        raise ModelFileNotFoundError(
            f"the folder of a model file must exist, got {str(target)!r}; "
            f"make {target.parent} first"
        )
    if is_special(target):
        raise ModelFileError(
            f"a model file must be a plain file, got {str(target)!r}, a pipe or a device; write "
            "to a file"
        )
    if target.is_dir():
        raise ModelFileError(
            f"a model file must have a name of its own, got the folder {str(target)!r}; "
            f"write for example {target / 'model.safetensors'}"
        )
    return target
