"""The disk cache: used where it can be, and never a reason to fail or to run foreign code."""

from __future__ import annotations

import json
import os
import pickle
import resource
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from fastmlp.kernels import cache
from tests.conftest import ROOT

# Two functions that numba would compile for the same signature, in a module of their own.
SOURCE = """
from fastmlp.kernels.jit import entry, njit

@njit
def part(x):
    return x + x

@entry
def doubled(x):
    return part(x)

@entry
def tripled(x):
    return part(x) + x
"""
MAIN = """
import json, os
from fastmlp.kernels import cache
import numba
import tiny
if "BECOME" in os.environ:
    numba.njit(lambda x: x)(1)  # loads the parts of numba, which the user may not be able to read
    os.setgroups([])
    os.setgid(int(os.environ["BECOME"]))
    os.setuid(int(os.environ["BECOME"]))
values = [tiny.doubled(21), tiny.tripled(5)]
hits = sum(sum(f.stats.cache_hits.values()) for f in (tiny.doubled, tiny.tripled))
print(json.dumps([values, hits, cache.cache_trouble(), cache.write_trouble()]))
"""
RIGHT = [42, 15]


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    """A function that runs the module in a new process: (number of cache hits, cache trouble).

    With `of_writing` the second is what keeps it from being written.
    """
    module = tmp_path_factory.mktemp("module")
    (module / "tiny.py").write_text(SOURCE)

    def run(
        folder, *, main=None, before=None, of_writing=False, **variables
    ) -> tuple[int, str | None]:
        paths = os.pathsep.join([str(ROOT), str(module)])
        chosen = {} if folder is None else {"FASTMLP_CACHE_DIR": str(folder)}
        environment = {k: v for k, v in os.environ.items() if k != "FASTMLP_CACHE_DIR"}
        done = subprocess.run(
            [sys.executable, "-W", "error", "-c", main or MAIN], capture_output=True, text=True,
            check=False, env=environment | {"PYTHONPATH": paths} | chosen | variables,
            preexec_fn=before, cwd=module,
        )  # fmt: skip
        assert (done.returncode, done.stderr) == (0, "")
        if main:
            return 0, None
        values, hits, *troubles = json.loads(done.stdout)
        assert values == RIGHT
        return hits, troubles[of_writing]

    return run


@pytest.fixture(scope="module")
def filled(tiny, tmp_path_factory):
    """A cache folder with both functions in it, to be copied."""
    folder = tmp_path_factory.mktemp("filled") / "cache"
    assert tiny(folder) == (0, None)
    return folder


@pytest.fixture
def warm(filled, tmp_path):
    """A cache folder with both functions in it."""
    return Path(shutil.copytree(filled, tmp_path / "cache"))


def files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())


def test_a_second_process_finds_both_functions(tiny, warm):
    assert len(files(warm)) == 2
    assert warm.stat().st_mode & 0o777 == 0o700
    assert {path.parent for path in files(warm)} == {warm / cache.STAMP}
    assert tiny(warm) == (2, None)


KEPT = """
import pickle
import llvmlite.binding as llvm
from fastmlp.kernels import cache
import tiny
paths = [path for path in cache.cache_root().rglob("*") if path.is_file()]
assert len(paths) == 2
for path in paths:
    _, ((_, _, (_, bitcode)), *_) = pickle.loads(cache.read_trusted(path))
    module = llvm.parse_bitcode(bitcode)
    assert not list(module.functions)
    assert any("NumbaEnv" in value.name for value in module.global_variables)
"""


def test_no_bitcode_is_kept_but_the_names_that_the_code_defines(tiny, warm):
    tiny(warm, main=KEPT)


BESIDE = """
import numba
import numpy as np
from numba.core import types
import tiny
assert tiny.doubled.load((types.int64,))

@numba.njit
def filled(n):
    return np.full(n, 1.5)

@numba.njit
def calling(x):
    return tiny.doubled(x)

assert filled(1000).sum() == 1500.0
try:
    calling(1)
except RuntimeError as error:
    assert "unfit for linking" in str(error), error
else:
    raise AssertionError("its bitcode is not kept")
assert tiny.doubled(21) == 42
"""


def test_functions_of_numba_work_beside_code_that_was_loaded(tiny, warm):
    tiny(warm, main=BESIDE)


@pytest.mark.parametrize("n_bytes", [0, 31, 33, -1])
def test_a_truncated_file_is_compiled_anew_and_written_again(tiny, warm, n_bytes):
    for path in files(warm):
        path.write_bytes(path.read_bytes()[:n_bytes])
    assert tiny(warm) == (0, None)
    assert tiny(warm) == (2, None)


def test_a_changed_byte_is_noticed(tiny, warm):
    for path in files(warm):
        data = bytearray(path.read_bytes())
        data[len(data) // 2] ^= 1
        path.write_bytes(data)
    assert tiny(warm) == (0, None)


def test_a_file_without_its_digest_is_not_unpickled(tiny, warm, tmp_path):
    class Bomb:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "exploded"),)

    for path in files(warm):
        path.write_bytes(pickle.dumps(Bomb()))
    assert tiny(warm) == (0, None)
    for path in files(warm):
        path.write_bytes(bytes(32) + pickle.dumps(Bomb()))
    assert tiny(warm) == (0, None)
    assert not (tmp_path / "exploded").exists()


def test_the_file_of_another_function_is_not_taken(tiny, warm):
    first, second = files(warm)
    one, other = first.read_bytes(), second.read_bytes()
    first.write_bytes(other)
    second.write_bytes(one)
    assert tiny(warm) == (0, None)


def test_a_folder_in_the_place_of_a_file_does_no_harm(tiny, warm):
    for path in files(warm):
        path.unlink()
        path.mkdir()
    assert tiny(warm)[0] == 0
    assert tiny(warm)[0] == 0


def test_switched_off_nothing_is_read_or_written(tiny, tmp_path):
    for word in ("off", "OFF"):
        hits, trouble = tiny(word, XDG_CACHE_HOME=str(tmp_path / "xdg"), HOME=str(tmp_path))
        assert hits == 0
        assert "FASTMLP_CACHE_DIR=off" in trouble
    assert list(tmp_path.iterdir()) == []


def test_the_default_folder_follows_xdg_and_home(tiny, tmp_path):
    xdg, home = tmp_path / "xdg", tmp_path / "home"
    assert tiny(None, XDG_CACHE_HOME=str(xdg)) == (0, None)
    assert len(files(xdg / "fastmlp")) == 2
    assert tiny(None, XDG_CACHE_HOME="", HOME=str(home)) == (0, None)
    assert len(files(home / ".cache" / "fastmlp")) == 2


@pytest.mark.parametrize("mode", [0o777, 0o770, 0o702])
def test_a_folder_that_others_may_write_is_not_used(tiny, warm, mode):
    warm.chmod(mode)
    hits, trouble = tiny(warm)
    assert hits == 0
    assert f"{mode:o}" in trouble


@pytest.mark.skipif(os.getuid() != 0, reason="only root can give a folder away")
def test_the_folder_of_another_user_is_not_used(tiny, warm):
    os.chown(warm, 12345, -1)
    hits, trouble = tiny(warm)
    assert hits == 0
    assert "12345" in trouble


def test_a_symbolic_link_of_the_user_is_followed(tiny, warm, tmp_path):
    link = tmp_path / "link"
    link.symlink_to(warm)
    assert tiny(link) == (2, None)


def contents(folder: Path) -> dict[Path, tuple[bytes, int, int]]:
    """Bytes, owner and time of every file; folders with their time."""
    return {
        path: (path.read_bytes() if path.is_file() else b"", info.st_uid, info.st_mtime_ns)
        for path in [folder, *folder.rglob("*")]
        if (info := path.stat())
    }


@pytest.mark.skipif(os.getuid() == 0, reason="root may write everywhere")
def test_a_read_only_folder_is_read_and_never_written(tiny, warm):
    (warm / cache.STAMP).chmod(0o500)
    warm.chmod(0o500)
    try:
        before = contents(warm)
        assert tiny(warm) == (2, None)
        assert "ermission" in tiny(warm, of_writing=True)[1]
        assert contents(warm) == before
    finally:
        warm.chmod(0o700)
        (warm / cache.STAMP).chmod(0o700)


# --- root's cache, as in a container image ---------------------------------------------------

USER = 12345


@pytest.fixture
def shared():
    """An empty folder of root's that other users reach, unlike pytest's own."""
    if os.getuid() != 0:
        pytest.skip("only root can become another user")
    with tempfile.TemporaryDirectory(dir="/var/tmp") as folder:
        os.chmod(folder, 0o755)
        yield Path(folder)


@pytest.fixture
def as_user(tiny, filled, shared):
    """A function that runs the module as another user, with root's cache: as `tiny`."""
    cached = shutil.copytree(filled, shared / "cache")

    def run(**options):
        return tiny(cached, BECOME=str(USER), **options)

    return run


def readable(folder: Path) -> None:
    """`chmod -R a+rX folder`"""
    for path in [folder, *folder.rglob("*")]:
        path.chmod(path.stat().st_mode | (0o555 if path.is_dir() else 0o444))


def test_a_readable_cache_of_root_is_read_by_others_and_never_written(as_user, shared):
    readable(shared / "cache")
    before = contents(shared / "cache")
    assert as_user() == (2, None)
    assert "belongs to user 0, so user 12345 only reads it" in as_user(of_writing=True)[1]
    assert contents(shared / "cache") == before


def test_a_cache_of_root_without_the_code_is_not_filled_by_others(as_user, shared):
    readable(shared / "cache")
    shutil.rmtree(shared / "cache" / cache.STAMP)
    assert as_user() == (0, None)
    assert files(shared / "cache") == []


def test_a_cache_of_root_that_others_cannot_read_is_not_used(as_user):
    hits, trouble = as_user()
    assert hits == 0
    assert "ermission" in trouble


def test_a_cache_of_root_that_others_may_write_is_not_used(as_user, shared):
    readable(shared / "cache")
    (shared / "cache").chmod(0o777)
    hits, trouble = as_user()
    assert hits == 0
    assert "777" in trouble


def test_a_file_of_a_third_user_in_a_cache_of_root_is_not_read(as_user, shared):
    readable(shared / "cache")
    os.chown(files(shared / "cache")[0], USER + 1, -1)
    assert as_user()[0] == 1


def test_root_does_not_read_the_cache_of_a_user(tiny, warm):
    if os.getuid() != 0:
        pytest.skip("only root can give a folder away")
    for path in files(warm):
        os.chown(path, USER, -1)
    assert tiny(warm)[0] == 0


@pytest.mark.parametrize("mode", [0o620, 0o602, 0o666])
def test_a_file_that_others_may_write_is_not_read(tiny, warm, mode):
    files(warm)[0].chmod(mode)
    assert tiny(warm)[0] == 1


def test_a_folder_that_cannot_be_made_is_no_reason_to_fail(tiny, tmp_path):
    (tmp_path / "file").write_text("")
    for folder in (tmp_path / "file", tmp_path / "file" / "below", Path("/proc/fastmlp")):
        hits, trouble = tiny(folder)
        assert hits == 0
        assert str(folder) in trouble


def test_a_full_disk_is_no_reason_to_fail(tiny, tmp_path):
    def no_space():
        resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))

    folder = tmp_path / "cache"
    assert tiny(folder, before=no_space)[0] == 0
    assert files(folder) == []
    assert tiny(folder) == (0, None)


def test_processes_that_start_together_do_not_disturb_one_another(tiny, tmp_path):
    from concurrent.futures import ThreadPoolExecutor

    folder = tmp_path / "cache"
    with ThreadPoolExecutor(4) as pool:
        for future in [pool.submit(tiny, folder) for _ in range(4)]:
            assert future.result()[1] is None
    assert len(files(folder)) == 2
    assert tiny(folder) == (2, None)


def test_only_the_newest_stamps_are_kept(tmp_path):
    stamps = [tmp_path / f"{number:024d}" for number in range(cache.KEPT_STAMPS + 3)]
    for age, folder in enumerate(stamps):
        folder.mkdir()
        (folder / "code").write_text("")
        os.utime(folder, (1e9 - age, 1e9 - age))
    (tmp_path / "not-a-stamp").mkdir()
    current = stamps[-1]
    cache.prune(current)
    left = sorted(path.name for path in tmp_path.iterdir() if path.name != "not-a-stamp")
    assert left == sorted(p.name for p in [current, *stamps[: cache.KEPT_STAMPS - 1]])
    assert (tmp_path / "not-a-stamp").exists()
