"""A kit for a GPU machine holds what is needed, and is small enough."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from importlib.metadata import version
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from benchmarks.gpu import kit, kit_contents

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
LONG = os.environ.get("FASTMLP_TRUST", "") not in ("", "0")


def test_versions_are_those_of_pyproject():
    wanted = {r.name: r for r in map(Requirement, kit_contents.requirements(PROJECT))}
    extras = PROJECT["optional-dependencies"]
    listed = map(Requirement, [*PROJECT["dependencies"], *extras["test"], *extras["cuda"]])
    theirs = {r.name: r.specifier for r in listed}
    assert str(wanted.pop("cuda-bindings")) == "cuda-bindings==13.*"
    for name, requirement in wanted.items():
        assert requirement.specifier == theirs[name]
        assert not requirement.extras, "an extra of numba-cuda's is NVIDIA's compiler"
    assert {"numba", "llvmlite", "numba-cuda", "greenlet", "click", "rich"} <= set(wanted)
    assert not set(wanted) & set(kit_contents.MACHINE_HAS)


def test_compilers_are_those_of_this_python():
    assert f"numba=={version('numba')}" in kit_contents.constraints()


def test_files_of_wheels():
    place = kit_contents.place
    assert place("numba/core/ir.py") == "numba/core/ir.py"
    assert place("numba_cuda/numba/cuda/include/13/cuda_bf16.h") is not None
    assert place("numba_cuda-0.30.4.data/purelib/_x.pth") == "_x.pth"
    assert place("click-8.dist-info/licenses/LICENSE.txt") is not None
    for entry in (
        "numba/tests/test_array.py", "numba_cuda/numba/cuda/tests/support.py", "cuda/core/_a.pyi",
        "cuda/bindings/driver.pyx", "rich-1.data/scripts/rich", "numba/core/", "a/lib.a",
    ):  # fmt: skip
        assert place(entry) is None, entry
    assert kit_contents.is_machines("numpy-2.5.5-cp312-cp312-manylinux_2_28_x86_64.whl")
    assert kit_contents.is_machines("scikit_learn-1.9.1-cp312-cp312-x.whl")
    assert not kit_contents.is_machines("numba-0.68.1-cp312-cp312-x.whl")


def test_the_projects_files_suffice_for_its_imports():
    names = set(kit.project_files())
    assert {"Makefile", "fastmlp/kernels", "kernels/cuda/jit.py", "tests/__init__.py"} <= names
    assert {"tests/cuda/cases.py", "benchmarks/gpu/kit.py", "pyproject.toml"} <= names
    assert not [name for name in names if name.startswith(("tests/api", "benchmarks/results"))]


def test_a_file_that_is_not_committed_yet_is_in_a_kit(tmp_path, monkeypatch):
    monkeypatch.setattr(kit, "ROOT", tmp_path)
    for name in ("fastmlp/old.py", "fastmlp/gone.py", "fastmlp/new.py", "fastmlp/__pycache__/a"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / ".gitignore").write_text("__pycache__/\n")
    git = ["git", "-C", str(tmp_path)]
    subprocess.run([*git, "init", "--quiet"], check=True)
    subprocess.run([*git, "add", "fastmlp/old.py", "fastmlp/gone.py"], check=True)
    (tmp_path / "fastmlp" / "gone.py").unlink()
    assert sorted(kit.project_files()) == ["fastmlp/new.py", "fastmlp/old.py"]


def test_a_kit_that_is_too_large():
    assert kit_contents.size_trouble(60 << 20) == ""
    told = kit_contents.size_trouble(61 << 20)
    assert told.startswith("the kit has 61.0 MiB, and 60 MiB are allowed; leave more out")


@pytest.fixture
def small_kit(tmp_path, monkeypatch):
    """One wheel of one file, and two commands that leave a kernel each."""
    wheel = tmp_path / "a-1.0-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr("a.py", "A = 1\n")
        archive.writestr("later.pth", "import a; a.A = 2\n")
    monkeypatch.setattr(kit, "downloaded", lambda folder: [wheel])
    plain = kit._said

    def said(*command, **variables):
        if "--target" not in command:
            return plain(*command, **variables)
        assert command[-2:] == ("--target", "8.0")
        assert variables["NUMBA_ENABLE_CUDASIM"] == "0"
        stamp = Path(variables["FASTMLP_CACHE_DIR"]) / "stamp"
        stamp.mkdir(exist_ok=True)
        name = {"fastmlp": "kernel", "benchmarks.gpu.launches": "of_stages"}[command[2]]
        (stamp / f"{name}.cubin").write_bytes(b"code")
        return ""

    monkeypatch.setattr(kit, "_said", said)
    return tmp_path


def test_a_kit_works_where_it_is_unpacked(small_kit):
    out = small_kit / "kit.tar.xz"
    assert kit.main(["--out", str(out), "--target", "8.0"]) == 0
    again = small_kit / "again.tar.xz"
    assert kit.main(["--out", str(again), "--target", "8.0"]) == 0
    assert out.read_bytes() == again.read_bytes()
    with tarfile.open(out) as archive:
        modes = {member.name: member.mode for member in archive.getmembers()}
        archive.extractall(small_kit / "empty", filter="data")
    assert modes["gpu-kit/cache/stamp"] == 0o755
    for name in ("kernel", "of_stages"):
        assert modes[f"gpu-kit/cache/stamp/{name}.cubin"] == 0o644
    empty, later = small_kit / "empty", small_kit / "later"
    (later / "numpy").mkdir(parents=True)
    (later / "numpy" / "__init__.py").write_text("def vstack(): pass\n")  # as NumPy 2.5
    assert (empty / "fastmlp" / "kernels" / "cuda" / "jit.py").is_file()
    done = subprocess.run(
        [sys.executable, "-c", "import a; print(a.A)"], capture_output=True, text=True, check=True,
        env={**os.environ, "PYTHONPATH": str(empty / "gpu-kit" / "site-packages")},
    )  # fmt: skip
    assert done.stdout == "2\n", "its .pth file was not read"
    done = subprocess.run(
        [sys.executable, "-c", "import numpy; print(numpy.row_stack is numpy.vstack)"], text=True,
        capture_output=True, check=True, env={**os.environ, "PYTHONPATH": os.pathsep.join(
            [str(empty / "gpu-kit" / "site-packages"), str(later)])},
    )  # fmt: skip
    assert done.stdout == "True\n"


def test_a_step_that_fails_is_told(small_kit, monkeypatch, capsys):
    monkeypatch.setattr(kit_contents, "LIMIT_BYTES", 1)
    out = small_kit / "kit.tar.xz"
    assert kit.main(["--out", str(out), "--without-cubins"]) == 1
    assert "MiB are allowed" in capsys.readouterr().err
    monkeypatch.setattr(kit, "_said", lambda *command, **variables: "")
    with pytest.raises(kit.KitError, match="left no kernels"):
        kit.compiled("8.0", small_kit / "cache")


def test_a_command_that_fails_is_told():
    with pytest.raises(kit.KitError, match=r"ended with 3: why$"):
        kit._said(sys.executable, "-c", "import sys; print('why', file=sys.stderr); sys.exit(3)")


@pytest.mark.skipif(not LONG, reason="minutes, and packages of a registry: part of make trust")
def test_the_whole_kit_in_an_empty_folder(tmp_path):
    python = shutil.which(f"python{kit_contents.PYTHON}")
    if python is None or subprocess.run([python, "--version"], capture_output=True).returncode:
        pytest.skip(f"there is no python{kit_contents.PYTHON}")
    out, empty, venv = tmp_path / "kit.tar.xz", tmp_path / "empty", tmp_path / "venv"
    assert kit.main(["--out", str(out)]) == 0
    assert out.stat().st_size <= kit_contents.LIMIT_BYTES
    with tarfile.open(out) as archive:
        archive.extractall(empty, filter="data")
    subprocess.run([python, "-m", "venv", str(venv)], check=True)
    pip = [str(venv / "bin" / "python"), "-m", "pip", "install", "--quiet"]
    subprocess.run([*pip, *kit_contents.MACHINE_HAS], check=True)
    done = subprocess.run(
        ["make", "gpu-smoke", f"PYTHON={venv / 'bin' / 'python'}"], cwd=empty, text=True,
        capture_output=True, env={**os.environ, "NUMBA_ENABLE_CUDASIM": "1"},
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.startswith("runs on numba's simulator")
    assert "WRONG" not in done.stdout
