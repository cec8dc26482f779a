"""Where machine code is kept on disk, and what may be read from there.

numba stamps a cached function with the time of its own file only, so a change in a helper of
another file (or a pip upgrade) would leave old machine code running. Here the stamp is a hash of
the whole `kernels/` tree and of the versions that make the code; machine code for GPUs has a stamp
of its own (cuda/binaries.py), as it does not depend on Python.

Files of numba's are pickles, and who writes one runs code as whoever reads it. So folder and files
must belong to the user, or to root (who may replace the interpreter as well: a cache that is part
of a system or a container image), and nobody else may write them. A cache of root's, or on a
read-only disk, is read and never written. Each file carries a digest, and whatever is wrong with
one leads to a recompile, never to an exception. Processes that start together on a cold cache wait
for the one of them that compiles.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import pickle
import shutil
import stat
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import llvmlite
import numba
import numpy as np
from llvmlite import binding as llvm
from numba.core.caching import CompileResultCacheImpl, FunctionCache, _CacheLocator

fcntl: Any
try:
    import fcntl
except ImportError:  # a system without such locks
    fcntl = None

# Old machine code is kept for this many versions of the kernels (several environments may share
# one cache folder), then removed.
KEPT_STAMPS = 8

# Longer than compiling takes anywhere.
MOST_WAIT_S, _POLL_S = 300.0, 0.02

_ROOT = 0
_SOURCES = Path(__file__).parent


def stamp_of(paths: Iterable[Path], versions: tuple[str, ...]) -> str:
    """A hash over kernel source files and the versions of what turns them into code."""
    digest = hashlib.sha256()
    for path in sorted(paths):
        name = str(path.relative_to(_SOURCES)).encode()
        digest.update(name + b"\0" + path.read_bytes() + b"\0")
    digest.update(repr(versions).encode())
    return digest.hexdigest()[:24]


def source_stamp() -> str:
    """Of every kernel source file, for code that numba makes for the CPU."""
    versions = (sys.version, numba.__version__, llvmlite.__version__, np.__version__)
    return stamp_of(_SOURCES.rglob("*.py"), versions)


STAMP = source_stamp()


def cache_root() -> Path | None:
    """The cache folder: FASTMLP_CACHE_DIR ("off" for none), else fastmlp below the XDG cache.

    A symbolic link of the user's or root's is followed, and looked at is what it leads to.
    """
    chosen = os.environ.get("FASTMLP_CACHE_DIR", "")
    if chosen.lower() == "off":
        return None
    base = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    root = Path(chosen) if chosen else Path(base) / "fastmlp"
    try:
        is_own = not hasattr(os, "getuid") or root.lstat().st_uid in (os.getuid(), _ROOT)
        return root.resolve() if root.is_symlink() and is_own else root
    except (OSError, RuntimeError):  # not there yet; or a circle of links
        return root


def cache_trouble() -> str | None:
    """Why the disk cache is neither read nor written, in a sentence, or None where it is fine."""
    root = cache_root()
    if root is None:
        return "it is switched off by FASTMLP_CACHE_DIR=off"
    try:
        root.mkdir(mode=0o700, parents=True, exist_ok=True)
        info = root.lstat()
        if stat.S_ISLNK(info.st_mode):
            return f"{root} is a symbolic link of user {info.st_uid}"
        if not stat.S_ISDIR(info.st_mode):
            return f"{root} is not a folder"
        distrust = _distrust(info)
        if distrust:
            return f"{root} {distrust}"
        os.listdir(root)
    except OSError as error:
        return f"{root}: {error.strerror}"
    return None


def write_trouble(stamp: str = STAMP) -> str | None:
    """Why nothing is written to the disk cache's folder of this stamp, in a sentence, or None where
    it is fine."""
    trouble, root = cache_trouble(), cache_root()
    if trouble or root is None:
        return trouble
    try:
        for folder in (root, root / stamp):
            if not folder.exists():
                continue
            if hasattr(os, "getuid") and (owner := folder.lstat().st_uid) != os.getuid():
                return f"{folder} belongs to user {owner}, so user {os.getuid()} only reads it"
            with tempfile.TemporaryFile(dir=folder):
                pass
    except OSError as error:
        return f"{root}: {error.strerror}"
    return None


def _distrust(info: os.stat_result) -> str | None:
    """Why what is in a file or folder may be foreign code, None where only its user or root can
    have written it.
    """
    if not hasattr(os, "getuid"):
        return None
    user = os.getuid()
    if info.st_uid not in (user, _ROOT):
        return f"belongs to user {info.st_uid}, not to user {user}"
    if stat.S_IMODE(info.st_mode) & 0o022:
        return f"may be written by others (mode {stat.S_IMODE(info.st_mode):o})"
    return None


class _Locator(_CacheLocator):
    """Tells numba's cache driver where files go; the stamp is a folder of its own."""

    def __init__(self, py_func: Callable, py_file: str) -> None:
        self._py_file = py_file
        self._line = py_func.__code__.co_firstlineno

    def get_cache_path(self) -> str:
        return str((cache_root() or Path(tempfile.gettempdir())) / STAMP)

    def get_source_stamp(self) -> str:
        return STAMP

    def get_disambiguator(self) -> str:
        return str(self._line)

    @classmethod
    def from_function(cls, py_func: Callable, py_file: str) -> _Locator:
        return cls(py_func, py_file)


class _CacheImpl(CompileResultCacheImpl):
    """Always our own locator: NUMBA_CACHE_LOCATOR_CLASSES is not consulted."""

    def __init__(self, py_func: Callable) -> None:
        path = py_func.__code__.co_filename
        self._lineno = py_func.__code__.co_firstlineno
        self._locator = _Locator(py_func, path)
        self._filename_base = f"{Path(path).stem}.{py_func.__name__}"

    def reduce(self, cres: Any) -> Any:
        (name, kind, (machine_code, _)), *rest = super().reduce(cres)
        # numba keeps the bitcode too, to be linked into what calls the function: no kernel calls an
        # entry, and to read the loop's takes 40 ms. A load reads from it what the code defines.
        defined = _definitions(cres.library._get_module_for_linking())
        return (name, kind, (machine_code, defined)), *rest

    def rebuild(self, target_context: Any, payload: Any) -> Any:
        result = super().rebuild(target_context, payload)
        result.library._shared_module = None  # numba says so where one links it all the same
        return result


def _definitions(module: llvm.ModuleRef) -> bytes:
    """Bitcode that defines the same names, and nothing more."""
    named = [*module.functions, *module.global_variables]
    names = [value.name for value in named if not value.is_declaration]
    text = "".join(f'@"{name}" = global i8 0\n' for name in names)
    bitcode: bytes = llvm.parse_assembly(text).as_bitcode()
    return bitcode


def read_trusted(path: Path) -> bytes | None:
    """What `write_whole` wrote there; None where others may have written it, or it is damaged.

    OSError where there is none.
    """
    with open(path, "rb") as file:
        # Of the opened file, which nobody can exchange for another between look and read.
        if _distrust(os.fstat(file.fileno())):
            return None
        raw = file.read()
    digest, body = raw[:32], raw[32:]
    return body if hashlib.sha256(body).digest() == digest else None


def write_whole(path: Path, body: bytes) -> None:
    """A file with its digest, there as a whole or not at all."""
    handle, temporary = tempfile.mkstemp(dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(hashlib.sha256(body).digest() + body)
        os.replace(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise


def path_for(folder: Path, base: str, key: str) -> Path:
    """One file a key, named by its hash: no index, so writers cannot collide."""
    return folder / f"{base}.{hashlib.sha256(key.encode()).hexdigest()}"


def _close_held() -> None:
    for handle in _held:
        os.close(handle)
    _held.clear()


_held: set[int] = set()
if fcntl is not None:
    # A lock lasts as long as any process has its file open. A child that is forked while its
    # parent compiles must not keep it when the parent has died.
    os.register_at_fork(after_in_child=_close_held)


@contextlib.contextmanager
def alone(path: Path, most_s: float = MOST_WAIT_S) -> Iterator[None]:
    """Within it no other process is within it, for the lock file `path`.

    The system frees the lock of a process that died. Where there are no locks, or the holder takes
    longer than `most_s`, as one that was stopped does, it goes on without: compiling twice is a
    waste and no fault.
    """
    handle = _locked(path, most_s)
    if handle is None:
        yield
        return
    _held.add(handle)
    try:
        yield
    finally:
        if handle in _held:  # else this is a child, which has closed it
            # Before it is unlocked: afterwards it may be another's.
            with contextlib.suppress(OSError):
                path.unlink()
            _held.discard(handle)
            os.close(handle)


def _locked(path: Path, most_s: float) -> int | None:
    """The lock file, opened and locked; None where that cannot be."""
    if fcntl is None:
        return None
    end_s = time.monotonic() + most_s
    handle = -1
    try:
        while True:
            if handle < 0:
                handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                if _names(path, handle):
                    return handle
                # Its holder has removed it, and another one may stand there.
                os.close(handle)
                handle = -1
                continue
            except BlockingIOError:
                if time.monotonic() >= end_s:
                    break
            # Not the call that waits: Ctrl-C ends this at once.
            time.sleep(_POLL_S)
    except OSError:  # a file system without locks, a folder that has gone
        pass
    except BaseException:
        if handle >= 0:
            os.close(handle)
        raise
    if handle >= 0:
        os.close(handle)
    return None


def _names(path: Path, handle: int) -> bool:
    """Whether a path is the name of an opened file."""
    try:
        return os.path.samestat(path.lstat(), os.fstat(handle))
    except FileNotFoundError:
        return False


class _Files:
    """One file a signature."""

    def __init__(self, folder: str, base: str) -> None:
        self._folder, self._base = Path(folder), base

    def path(self, key: Any) -> Path:
        return path_for(self._folder, self._base, repr(key))

    def load(self, key: Any) -> Any:
        body = read_trusted(self.path(key))
        if body is None:
            return None
        stored_key, data = pickle.loads(body)
        return data if stored_key == repr(key) else None

    def save(self, key: Any, data: Any) -> None:
        from numba.core.serialize import dumps

        write_whole(self.path(key), dumps((repr(key), data)))

    def flush(self) -> None:
        for path in self._folder.glob(f"{self._base}.*"):
            path.unlink()


class Cache(FunctionCache):
    """numba's cache driver, made to shrug: a cache that cannot be used is no cache."""

    _impl_class = _CacheImpl

    def __init__(self, py_func: Callable) -> None:
        super().__init__(py_func)
        self._cache_file = _Files(self._cache_path, self._impl.filename_base)

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        if cache_trouble():
            return None
        try:
            # Without the `refresh` of numba's driver, which imports and registers all that can be
            # compiled, SciPy's linear algebra included (0.25 s), and compiles the functions that
            # count references (20 ms): machine code that is there needs nothing of them. A
            # compilation refreshes by itself.
            return self._load_overload(sig, target_context)
        except Exception:
            return None

    def holds(self, sig: Any, target_context: Any) -> bool:
        """Whether code for this signature and processor is there, and may be read."""
        if cache_trouble():
            return False
        try:
            return self._cache_file.load(self._index_key(sig, target_context.codegen())) is not None
        except Exception:
            return False

    @contextlib.contextmanager
    def alone(self, sig: Any, target_context: Any) -> Iterator[None]:
        """Wait until no other process compiles for this signature; see `alone`."""
        root = cache_root()
        if root is None or write_trouble():
            yield
            return
        key = f"{self._impl.filename_base} {self._index_key(sig, target_context.codegen())!r}"
        with alone(root / f".compiling-{hashlib.sha256(key.encode()).hexdigest()}"):
            yield

    def save_overload(self, sig: Any, data: Any) -> None:
        if write_trouble():
            return
        try:
            super().save_overload(sig, data)
            prune(Path(self._cache_path))
        except Exception:
            return


def prune(current: Path) -> None:
    """Remove the folders of old stamps of the same kind, the ones longest untouched first."""
    os.utime(current)
    # Stamps of one kind are of one length; see kernels/cuda/binaries.py for the other kind.
    stamps = [path for path in current.parent.iterdir() if len(path.name) == len(current.name)]
    stamps.sort(key=lambda path: path.stat().st_mtime, reverse=True)
    for path in stamps[KEPT_STAMPS:]:
        shutil.rmtree(path, ignore_errors=True)
