"""Files that are replaced as a whole: written beside their name, brought to the disk, renamed.

A process that is killed leaves the old file or the new one under the name, never half of one. What
it may leave besides, an unfinished file, the next one to write that name removes: a lock on it
says whether its writer still lives.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from fastmlp.interrupts import held_back, let_through

fcntl: Any
try:
    import fcntl
except ImportError:  # a system without such locks: unfinished files stay there
    fcntl = None

_SUFFIX = ".unfinished"


def real_target(path: Path) -> Path:
    """The file that a path names: of a symbolic link, the one that it points to."""
    return path.resolve() if path.is_symlink() else path


def is_special(path: Path) -> bool:
    """Whether there is something that is neither file nor folder: a pipe, a device, a socket."""
    return path.exists() and not (path.is_file() or path.is_dir())


@contextlib.contextmanager
def replaced(path: Path) -> Iterator[Path]:
    """A new, empty file to be written, which takes the place of `path` where no error comes.

    It has the permissions of the file that it replaces, or those that the umask leaves a new one.
    When this returns, content and name are on the disk. Raises OSError, and then nothing of the
    new file is left; where only the way of its new name to the disk failed, it has taken its place.
    """
    target = real_target(path)
    with held_back():
        _remove_unfinished(target)
    # The umask acts on a new file. One that is replaced may be private: so is this one then, from
    # its first byte on.
    old_mode = stat.S_IMODE(target.stat().st_mode) if target.exists() else None
    # Ctrl-C waits wherever it would leave a file or a descriptor behind.
    with held_back():
        handle, unfinished = _created(target, 0o666 if old_mode is None else 0o600)
        try:
            try:
                with let_through():
                    if old_mode is not None:
                        os.fchmod(handle, old_mode)
                    yield unfinished
                    os.fsync(handle)
                # Under its lock: another writer would take it for one of a dead process.
                os.replace(unfinished, target)
            finally:
                os.close(handle)
        except BaseException:
            with contextlib.suppress(OSError):
                unfinished.unlink()
            raise
    with held_back():
        _sync_folder(target.parent)


def write_text(path: Path, text: str) -> None:
    """Replace a file by one that holds `text`, in UTF-8; a pipe or a device is written to.

    Raises OSError.
    """
    if is_special(path):
        path.write_text(text, encoding="utf-8")
        return
    with replaced(path) as unfinished:
        unfinished.write_text(text, encoding="utf-8")


def _created(target: Path, mode: int) -> tuple[int, Path]:
    """A new file beside `target`, locked for as long as its descriptor is open."""
    while True:
        name = f".{target.name}.{uuid.uuid4().hex}{_SUFFIX}"
        unfinished = target.with_name(name)
        handle = os.open(unfinished, os.O_RDWR | os.O_CREAT | os.O_EXCL, mode)
        _lock(handle, waits=True)
        # Before it was locked another writer may have taken it for one of a dead process.
        if os.fstat(handle).st_nlink:
            return handle, unfinished
        os.close(handle)


def _lock(handle: int, waits: bool = False) -> bool:
    """Whether the lock of an open file could be had; False where the file system has none."""
    if fcntl is None:
        return False
    try:
        fcntl.flock(handle, fcntl.LOCK_EX if waits else fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def _remove_unfinished(target: Path) -> None:
    """Remove what processes have left that were killed while they wrote this file."""
    beginning = f".{target.name}."
    for entry in _entries(target.parent):
        if not (entry.startswith(beginning) and entry.endswith(_SUFFIX)):
            continue
        path = target.with_name(entry)
        with contextlib.suppress(OSError):
            handle = os.open(path, os.O_RDWR | getattr(os, "O_NOFOLLOW", 0))
            try:
                if _lock(handle):
                    path.unlink()
            finally:
                os.close(handle)


def _entries(folder: Path) -> list[str]:
    try:
        return os.listdir(folder)
    except OSError:
        return []  # it can be written to and not listed


def _sync_folder(folder: Path) -> None:
    """Bring the names in a folder to the disk."""
    if not hasattr(os, "O_DIRECTORY"):
        return
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    except OSError as error:
        # Some file systems have no such call, and write names in their own time.
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):
            raise
    finally:
        os.close(handle)
