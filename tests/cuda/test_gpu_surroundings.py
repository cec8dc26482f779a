"""Stages find an unpacked kit and an installed toolkit."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.gpu import machine, surroundings, toolkit, versions


def installed(root: Path, nvvm: str = toolkit.EXPECTED) -> Path:
    """A toolkit of empty files, whose nvcc tells where it lies."""
    for name in (f"{nvvm}/libnvvm.so.4", toolkit.LIBDEVICE, "include/cuda.h"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()
    script(root / "bin" / "nvcc", f'echo "#$ _HERE_=x" >&2; echo "#$ TOP={root}/bin/.." >&2')
    return root


def script(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)


@pytest.fixture(autouse=True)
def no_toolkit(monkeypatch, tmp_path):
    """None is installed, and no variable names one."""
    for name in toolkit.VARIABLES:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    monkeypatch.setattr(toolkit, "USUAL", tmp_path / "nothing")


def test_no_toolkit(tmp_path):
    assert toolkit.home(tmp_path / "scratch") is None
    assert not set(toolkit.VARIABLES) & set(surroundings.environment(tmp_path / "scratch"))


def test_the_toolkit_of_nvcc_that_a_script_starts(tmp_path, monkeypatch):
    root = installed(tmp_path / "cuda-13.0")
    script(tmp_path / "bin" / "nvcc", f'exec {root}/bin/nvcc "$@"')
    assert toolkit.home(tmp_path / "scratch") == root
    environment = surroundings.environment(tmp_path / "scratch")
    assert [environment[name] for name in toolkit.VARIABLES] == [str(root)] * 2


def test_the_toolkit_of_nvcc_that_is_a_link(tmp_path):
    root = installed(tmp_path / "cuda-13.0")
    script(root / "bin" / "nvcc", "exit 1")
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "nvcc").symlink_to(root / "bin" / "nvcc")
    assert toolkit.home(tmp_path / "scratch") == root


def test_the_usual_place(tmp_path, monkeypatch):
    monkeypatch.setattr(toolkit, "USUAL", installed(tmp_path / "cuda"))
    assert toolkit.home(tmp_path / "scratch") == tmp_path / "cuda"


def test_a_variable_comes_first_where_it_has_nvvm(tmp_path, monkeypatch):
    monkeypatch.setattr(toolkit, "USUAL", installed(tmp_path / "cuda"))
    monkeypatch.setenv("CUDA_HOME", str(tmp_path / "of no use"))
    assert toolkit.home(tmp_path / "scratch") == tmp_path / "cuda"
    monkeypatch.setenv("CUDA_HOME", str(installed(tmp_path / "own")))
    assert toolkit.home(tmp_path / "scratch") == tmp_path / "own"


@pytest.mark.parametrize("folder", toolkit.ELSEWHERE)
def test_links_have_nvvm_where_it_is_looked_for(folder, tmp_path, monkeypatch):
    root = installed(tmp_path / "cuda", folder)
    monkeypatch.setattr(toolkit, "USUAL", root)
    home = toolkit.home(tmp_path / "scratch")
    assert home is not None
    assert home != root
    assert (home / toolkit.EXPECTED / "libnvvm.so.4").samefile(root / folder / "libnvvm.so.4")
    assert (home / toolkit.LIBDEVICE).samefile(root / toolkit.LIBDEVICE)
    assert (home / "include" / "cuda.h").is_file()
    # As numba-cuda's finder does it, in a process whose variables are these.
    pytest.importorskip("cuda.pathfinder")
    program = (
        "from cuda.pathfinder._dynamic_libs import lib_descriptor, search_steps as s\n"
        "context = s.SearchContext(lib_descriptor.LIB_DESCRIPTORS['nvvm'])\n"
        "print(s.run_find_steps(context, s.LATE_FIND_STEPS).abs_path)\n"
    )
    found = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True,
        env={**os.environ, "CUDA_HOME": str(home)},
    ).stdout.strip()  # fmt: skip
    assert Path(found).samefile(root / folder / "libnvvm.so.4")


def unpacked(folder: Path, **changes: str) -> Path:
    """A kit for this Python, but for the changes."""
    (folder / surroundings.PACKAGES).mkdir(parents=True)
    described = {"python": "{}.{}".format(*sys.version_info[:2]), "machine": platform.machine()}
    (folder / surroundings.DESCRIPTION).write_text(json.dumps(described | changes))
    return folder


def test_an_unpacked_kit_comes_first(tmp_path, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", "own")
    monkeypatch.delenv("FASTMLP_CACHE_DIR", raising=False)
    assert surroundings.environment(tmp_path, tmp_path / "none")["PYTHONPATH"] == "own"
    kit = unpacked(tmp_path / "kit")
    environment = surroundings.environment(tmp_path, kit)
    assert environment["PYTHONPATH"] == f"{kit / 'site-packages'}{os.pathsep}own"
    assert environment["FASTMLP_CACHE_DIR"] == str(kit / "cache")
    monkeypatch.setenv("FASTMLP_CACHE_DIR", "another")
    assert surroundings.environment(tmp_path, kit)["FASTMLP_CACHE_DIR"] == "another"


def test_a_kit_for_another_python_is_told(tmp_path):
    assert surroundings.kit_trouble(tmp_path / "none") == ""
    assert surroundings.kit_trouble(unpacked(tmp_path / "fits")) == ""
    told = surroundings.kit_trouble(unpacked(tmp_path / "other", python="2.7"))
    assert told.startswith("the kit in other/ is for Python 2.7 on ")
    assert told.endswith("; try make gpu PYTHON=python2.7, or remove other/")


def test_the_line_of_a_gpu():
    described = {
        "name": "NVIDIA Z", "simulated": False, "compute_capability": "9.0",
        "driver": "580.1", "cuda_of_driver": "13.0", "nvvm": "/cuda/lib/libnvvm.so.4",
        "versions": {"numba": "0.68.1", "numba-cuda": "0.30.4"}, "commit": "abc",
    }  # fmt: skip
    assert versions.line(described) == (
        "NVIDIA Z, compute capability 9.0, driver 580.1 for CUDA 13.0, numba 0.68.1, "
        "numba-cuda 0.30.4, NVVM /cuda/lib/libnvvm.so.4, commit abc"
    )


def test_a_kits_kernels_that_are_not_used_are_told():
    kept = {"trouble": "", "folder": "/cache/cuda-1", "n_files": 700, "n_trusted": 700}
    described = {"kernels": kept, "compute_capability": "9.0"}
    assert versions.kit_unused(described, ["8.0", "9.0"]) == ""
    assert versions.kit_unused({**described, "kernels": {**kept, "n_files": 0}}, []) == ""
    for changed, part in (
        ({"trouble": "/cache may be written by others (mode 777)"}, "(mode 777)"),
        ({"n_files": 0, "n_trusted": 0}, "/cache/cuda-1 has none"),
        ({"n_trusted": 690}, "10 of 700 files"),
    ):
        assert part in versions.kit_unused({**described, "kernels": {**kept, **changed}}, ["9.0"])
    assert "compute capability 8.0" in versions.kit_unused(described, ["8.0"])


def test_without_git_the_commit_is_the_kits(tmp_path, monkeypatch):
    monkeypatch.setattr(machine, "ROOT", tmp_path)
    monkeypatch.setattr(machine, "described", lambda: {"commit": "abc"})
    assert machine.commit() == "abc"
