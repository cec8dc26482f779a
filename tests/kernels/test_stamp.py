"""The cache stamp: a change of any kernel file, and of the versions, gives another one."""

from __future__ import annotations

import importlib.util
import shutil
from pathlib import Path

import numba
import pytest

from fastmlp.kernels import cache

KERNELS = Path(cache.__file__).parent


def stamp_of(folder: Path) -> str:
    """The stamp that the cache.py of this copy of the kernels computes."""
    spec = importlib.util.spec_from_file_location("copied_cache", folder / "cache.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.source_stamp()


@pytest.fixture
def copied(tmp_path):
    """A copy of the kernels."""
    return Path(shutil.copytree(KERNELS, tmp_path / "kernels"))


def test_a_copy_has_the_same_stamp_whatever_was_compiled_beside_it(copied):
    assert stamp_of(copied) == cache.STAMP
    (copied / "cpu" / "__pycache__").mkdir(exist_ok=True)
    (copied / "cpu" / "__pycache__" / "tile.cpython-311.pyc").write_bytes(b"bytes")
    assert stamp_of(copied) == cache.STAMP


@pytest.mark.parametrize("name", sorted(str(p.relative_to(KERNELS)) for p in KERNELS.rglob("*.py")))
def test_a_change_in_any_file_changes_the_stamp(copied, name):
    path = copied / name
    path.write_bytes(path.read_bytes() + b"\n# changed\n")
    assert stamp_of(copied) != cache.STAMP


def test_a_new_a_renamed_and_a_missing_file_change_the_stamp(copied):
    stamps = {stamp_of(copied)}
    (copied / "cpu" / "more.py").write_text("")
    stamps.add(stamp_of(copied))
    (copied / "cpu" / "more.py").rename(copied / "more.py")
    stamps.add(stamp_of(copied))
    (copied / "more.py").unlink()
    (copied / "cpu" / "losses.py").unlink()
    stamps.add(stamp_of(copied))
    assert len(stamps) == 4


def test_another_version_of_numba_changes_the_stamp(monkeypatch):
    monkeypatch.setattr(numba, "__version__", "0.0.1")
    assert cache.source_stamp() != cache.STAMP
