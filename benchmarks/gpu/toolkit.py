"""Where an installed CUDA toolkit lies, for a Python without NVIDIA's compiler packages.

numba-cuda takes NVVM from pip's or conda's packages, else from ``nvvm/lib64`` below CUDA_HOME, and
asks no nvcc where that is. Some toolkits keep libnvvm.so elsewhere, in ``lib`` for instance: a
folder of links then has it where numba-cuda looks.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

VARIABLES = ("CUDA_PATH", "CUDA_HOME")  # in the order in which cuda.pathfinder reads them
EXPECTED = "nvvm/lib64"
ELSEWHERE = ("nvvm/lib", "lib64", "lib", "targets/x86_64-linux/lib")
NVVM = ("libnvvm.so.4", "libnvvm.so")
LIBDEVICE = "nvvm/libdevice/libdevice.10.bc"
USUAL = Path("/usr/local/cuda")
_TOP = re.compile(r"^#\$ TOP=(.+)$", re.MULTILINE)


def home(scratch: Path) -> Path | None:
    """CUDA_HOME for numba-cuda: the first toolkit that has NVVM, or links to it in `scratch`.

    None where there is no such toolkit.
    """
    for root in _roots():
        nvvm = nvvm_folder(root)
        if nvvm is not None and (root / LIBDEVICE).is_file():
            return root if nvvm == root / EXPECTED else _linked(root, nvvm, scratch)
    return None


def nvvm_folder(root: Path) -> Path | None:
    """The folder below a toolkit's that has libnvvm.so."""
    for name in (EXPECTED, *ELSEWHERE):
        if any((root / name / library).is_file() for library in NVVM):
            return root / name
    return None


def _roots() -> Iterator[Path]:
    for name in VARIABLES:
        if os.environ.get(name):
            yield Path(os.environ[name])
    nvcc = shutil.which("nvcc")
    if nvcc is not None:
        yield from _of_nvcc(nvcc)
    yield USUAL


def _of_nvcc(nvcc: str) -> Iterator[Path]:
    """As nvcc itself tells, which a script on PATH may start from anywhere; else from its file."""
    try:
        said = subprocess.run(
            [nvcc, "--dryrun", "-x", "cu", "-c", "/dev/null", "-o", "/dev/null"],
            capture_output=True, text=True, timeout=20, stdin=subprocess.DEVNULL,
        )  # fmt: skip
    except (OSError, subprocess.TimeoutExpired):
        pass
    else:
        for top in _TOP.findall(said.stderr + said.stdout):
            yield Path(top.strip()).resolve()
    yield Path(nvcc).resolve().parents[1]


def _linked(root: Path, nvvm: Path, scratch: Path) -> Path:
    links = scratch / "toolkit"
    (links / "nvvm").mkdir(parents=True, exist_ok=True)
    for folder, left_out in ((".", "nvvm"), ("nvvm", "lib64")):
        for entry in sorted((root / folder).iterdir()):
            if entry.name != left_out:
                (links / folder / entry.name).symlink_to(entry.resolve())
    (links / EXPECTED).symlink_to(nvvm.resolve())
    return links
