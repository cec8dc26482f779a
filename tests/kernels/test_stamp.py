"""The cache stamp: a change of any kernel file, and of the versions, gives another one."""

from __future__ import annotations

import shutil
from pathlib import Path

import numba
import pytest

from fastmlp.kernels import jit

KERNELS = Path(jit.__file__).parent


@pytest.fixture
def copied(tmp_path):
    """A copy of the kernels."""
    return Path(shutil.copytree(KERNELS, tmp_path / "kernels"))


def test_a_copy_has_the_same_stamp_whatever_was_compiled_beside_it(copied):
    assert jit.source_stamp(copied) == jit.STAMP
    (copied / "cpu" / "__pycache__").mkdir(exist_ok=True)
    (copied / "cpu" / "__pycache__" / "tile.cpython-311.pyc").write_bytes(b"bytes")
    assert jit.source_stamp(copied) == jit.STAMP


@pytest.mark.parametrize("name", sorted(str(p.relative_to(KERNELS)) for p in KERNELS.rglob("*.py")))
def test_a_change_in_any_file_changes_the_stamp(copied, name):
    path = copied / name
    path.write_bytes(path.read_bytes() + b"\n# changed\n")
    assert jit.source_stamp(copied) != jit.STAMP


def test_a_new_a_renamed_and_a_missing_file_change_the_stamp(copied):
    stamps = {jit.source_stamp(copied)}
    (copied / "cpu" / "more.py").write_text("")
    stamps.add(jit.source_stamp(copied))
    (copied / "cpu" / "more.py").rename(copied / "more.py")
    stamps.add(jit.source_stamp(copied))
    (copied / "more.py").unlink()
    (copied / "cpu" / "losses.py").unlink()
    stamps.add(jit.source_stamp(copied))
    assert len(stamps) == 4


def test_another_version_of_numba_changes_the_stamp(monkeypatch):
    monkeypatch.setattr(numba, "__version__", "0.0.1")
    assert jit.source_stamp() != jit.STAMP
