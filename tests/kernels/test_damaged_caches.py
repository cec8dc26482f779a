"""Every way in which a cache can be bad: the right code runs, and at most one warning is given."""

from __future__ import annotations

import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from fastmlp.kernels import cache
from tests.conftest import LONG, ROOT

# A small function stands for the loop, which takes half a minute to compile.
PROGRAM = """
import json, os, shutil, sys, warnings
import numba
import numpy as np
from numba import types
from fastmlp.engine.cpu import program
from fastmlp.kernels.jit import entry

@entry
def doubled(x):
    return x + x

program.run = doubled
program._signature = lambda dtype: (types.int64 if dtype == "f4" else types.float64,)
if "BECOME" in os.environ:
    numba.njit(lambda x: x)(1)  # loads the parts of numba, which the user may not be able to read
    os.setgroups([])
    os.setgid(int(os.environ["BECOME"]))
    os.setuid(int(os.environ["BECOME"]))
compile_it = doubled.compile
def compile_and_delete(sig):
    if "DELETE" in os.environ:
        shutil.rmtree(os.environ.pop("DELETE"))
    return compile_it(sig)
doubled.compile = compile_and_delete
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    for dtype in ("f4", "f8", "f4"):
        program.ensure_usable(np.dtype(dtype))
said = [f"{w.category.__name__}: {w.message}" for w in caught]
print(json.dumps([doubled(21), doubled(0.5), sum(doubled.stats.cache_hits.values()), said]))
"""
USER = 12345


@pytest.fixture(scope="module")
def filled():
    """Two folders that other users reach, unlike pytest's own: the program, and a full cache."""
    with tempfile.TemporaryDirectory(dir="/var/tmp") as made:
        folder = Path(made)
        os.chmod(folder, 0o755)
        (folder / "program.py").write_text(PROGRAM)
        assert run(folder, folder / "cache") == (0, [])
        yield folder


def run(folder: Path, cached: Path | str, before=None, **variables) -> tuple[int, list[str]]:
    """Number of entries found in the cache, and the warnings; the results are right."""
    chosen = {"PYTHONPATH": str(ROOT), "FASTMLP_CACHE_DIR": str(cached)}
    done = subprocess.run(
        [sys.executable, folder / "program.py"], capture_output=True, text=True, check=False,
        env=os.environ | chosen | variables, preexec_fn=before,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    *values, hits, said = json.loads(done.stdout)
    assert values == [42, 1.0]
    return hits, said


@pytest.fixture
def cached(filled):
    """Where a test may have a cache; there is none yet."""
    yield filled / "own"
    if (filled / "own").is_symlink() or (filled / "own").is_file():
        (filled / "own").unlink()
    shutil.rmtree(filled / "own", ignore_errors=True)


@pytest.fixture
def start(filled, cached):
    """start(...): what the program finds there and says, with more variables or a limit."""
    return lambda before=None, **variables: run(
        filled, **({"cached": cached, "before": before} | variables)
    )


def files(cached: Path) -> list[Path]:
    return sorted(path for path in cached.rglob("*") if path.is_file())


def truncate(cached: Path) -> None:
    for path in files(cached):
        path.write_bytes(path.read_bytes()[:-1])


def fill_with_garbage(cached: Path) -> None:
    for number, path in enumerate(files(cached)):
        path.write_bytes(bytes([number + 1]) * 5000)


def make_folders(cached: Path) -> None:
    for path in files(cached):
        path.unlink()
        path.mkdir()


def link_into_nothing(cached: Path) -> None:
    shutil.rmtree(cached)
    cached.symlink_to("nowhere")


def become_a_file(cached: Path) -> None:
    shutil.rmtree(cached)
    cached.write_text("")


def give_away(cached: Path) -> None:
    os.chown(cached, USER, USER)


# Of a warm cache: what happens to it, and what the one warning says, None where the code is kept.
DAMAGES = {
    "truncated": (truncate, None),
    "garbage": (fill_with_garbage, None),
    "empty": (lambda cached: [path.unlink() for path in files(cached)], None),
    "gone": (shutil.rmtree, None),
    "folders in the place of files": (make_folders, "its disk may be full"),
    "a file in the place of the folder": (become_a_file, "File exists"),
    "a link into nothing": (link_into_nothing, None),
    "writable for others": (lambda cached: cached.chmod(0o777), "may be written by others"),
    "of another user": (give_away, f"belongs to user {USER}, not to user 0"),
}

if not LONG:  # others are like these, and each compiles for seconds
    for like_others in ("garbage", "empty", "gone"):
        del DAMAGES[like_others]


@pytest.mark.parametrize("damage", DAMAGES)
def test_it_is_compiled_anew_and_kept_or_one_warning_says_why_not(start, filled, cached, damage):
    if damage == "of another user" and os.getuid() != 0:
        pytest.skip("only root can give a folder away")
    shutil.copytree(filled / "cache", cached)
    assert len(files(cached)) == 2
    spoil, said = DAMAGES[damage]
    spoil(cached)
    hits, warned = start()
    assert hits == 0
    if said is None:
        assert warned == []
        assert start() == (2, [])
    else:
        assert len(warned) == 1
        assert warned[0].startswith("CacheWarning: compiled kernels could not be kept")
        assert said in warned[0]


def test_a_cache_that_is_only_read(start, filled, cached):
    """What is there is taken without a word; what is not, is compiled by every process."""
    if os.getuid() != 0:
        pytest.skip("only root can become another user")
    shutil.copytree(filled / "cache", cached)
    for path in [cached, *cached.rglob("*")]:
        path.chmod(0o755)
    assert start(BECOME=str(USER)) == (2, [])
    shutil.rmtree(cached / cache.STAMP)
    hits, warned = start(BECOME=str(USER))
    assert (hits, len(warned)) == (0, 1)
    assert f"belongs to user 0, so user {USER} only reads it" in warned[0]
    assert list(cached.iterdir()) == []


def test_a_full_disk(start, cached):
    def full() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))

    hits, warned = start(before=full)
    assert (hits, len(warned)) == (0, 1)
    assert "its disk may be full" in warned[0]
    assert files(cached) == []
    assert start() == (0, [])


def test_deleted_while_it_is_compiled(start, cached):
    assert start(DELETE=str(cached)) == (0, [])
    assert start() == (2, [])


def test_switched_off_it_says_nothing(start):
    assert start(FASTMLP_CACHE_DIR="off") == (0, [])


def test_a_new_cache_is_the_users_alone(filled):
    assert (filled / "cache").stat().st_mode & 0o777 == 0o700
    assert {path.stat().st_mode & 0o777 for path in files(filled / "cache")} == {0o600}


def test_a_function_that_is_compiled_anew_on_purpose_loses_its_files_alone(tmp_path):
    """What `recompile` of numba's dispatcher asks of a cache."""
    own, other = cache._Files(str(tmp_path), "own"), cache._Files(str(tmp_path), "other")
    for key in (1, 2):
        own.save(key, "code")
        other.save(key, "code")
    own.flush()
    assert not any(own.path(key).exists() for key in (1, 2))
    assert [other.load(key) for key in (1, 2)] == ["code", "code"]
