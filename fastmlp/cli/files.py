"""Files that a training writes: that they can be written, and that none is lost by it."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from fastmlp.callbacks import Checkpoint
from fastmlp.cli.own_files import check_replaced, is_checkpoint, is_csv_log, is_json_log
from fastmlp.errors import OptionError

# By option, what a log of that kind is.
_LOGS = {"--log-csv": (is_csv_log, "a log"), "--log-json": (is_json_log, "a log")}
# What every run leaves in the folder of --out.
MODEL, HISTORY, RUN_FILE = OWN_FILES = ("model.safetensors", "history.json", "run.toml")


@contextmanager
def writable_folder(name: str) -> Iterator[Path]:
    """The folder `name`, made if need be; it goes away again where nothing was written into it.

    Raises OptionError where it cannot be written.
    """
    folder = Path(name)
    made = [path for path in (folder, *folder.parents) if not path.exists()]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise OptionError(
            f"--out must be a folder that can be written, got {name}: {error.strerror}"
        ) from None
    try:
        yield folder
    finally:
        with suppress(OSError):  # it may have become one that cannot be read
            for path in made:
                if not path.is_dir() or any(path.iterdir()):
                    break
                path.rmdir()


def check_room(folder: Path, n_bytes: int) -> None:
    """Raise OptionError where the disk of `folder` has no room for a model of that size."""
    free = shutil.disk_usage(folder).free
    if n_bytes > free:
        raise OptionError(
            f"--out must be on a disk with {n_bytes / 2**20:.1f} MiB free for the model, got "
            f"{folder} with {free / 2**20:.1f} MiB; choose another"
        )


def check_writable(option: str, path: Path) -> None:
    """Raise OptionError where no file can be written at `path`."""
    try:
        if path.is_dir():
            raise IsADirectoryError(None, "Is a directory")
        with tempfile.TemporaryFile(dir=path.parent):
            pass
    except OSError as error:
        raise OptionError(
            f"{option} must be a file that can be written, got {path}: {error.strerror}"
        ) from None


def check_files(
    written: Mapping[str, str | None],
    read: Mapping[str, Sequence[str]],
    folder: Path,
    checkpoint: Checkpoint | None = None,
) -> None:
    """Raise OptionError where a file cannot be written, or would replace another: one of this run,
    or one that is neither log nor checkpoint.

    Parameters
    ----------
    written : option to file, None where it is not given.
    read : option to files that are read.
    folder : where the model goes.
    checkpoint : what saves beside it, under one name or several.
    """
    whose = {(folder / name).resolve(): f"a file of --out {folder}" for name in OWN_FILES}
    whose |= {Path(path).resolve(): option for option, paths in read.items() for path in paths}
    for option, name in written.items():
        if name is None:
            continue
        path = Path(name)
        check_writable(option, path)
        other = whose.get(path.resolve())
        if other is not None:
            raise OptionError(
                f"{option} must be a file of its own, got {name}, which is {other}; "
                "give it another name"
            )
        whose[path.resolve()] = f"that of {option}"
        check_replaced(option, path, *_LOGS[option])
    if checkpoint is None:
        return
    check_writable("--checkpoint", checkpoint.path)
    for path, other in whose.items():
        if checkpoint.may_write(path):
            raise OptionError(
                f"--checkpoint must be a file of its own, got {checkpoint.path}, which is {other}; "
                "give it another name"
            )
    for path in checkpoint.files():
        check_replaced("--checkpoint", path, is_checkpoint, "a checkpoint")
