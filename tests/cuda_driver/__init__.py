"""A stand-in for NVIDIA's driver, built with the C compiler, and what a process did with it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

SOURCE = Path(__file__).parent / "libcuda.c"
ROOT = Path(__file__).parents[2]


def build(folder: Path) -> Path:
    """The folder with libcuda.so.1, for LD_LIBRARY_PATH."""
    target = folder / "libcuda.so.1"
    subprocess.run(["gcc", "-shared", "-fPIC", "-w", "-o", str(target), str(SOURCE)], check=True)
    return folder


def run(
    library: Path, program: str, *arguments: str, cache: Path | str, **variables: str
) -> tuple[str, list[list[str]]]:
    """What a Python program printed, and the words of each line of the driver's log."""
    log = library / "log"
    log.write_text("")
    environment = {k: v for k, v in os.environ.items() if k != "NUMBA_ENABLE_CUDASIM"}
    environment |= {
        "LD_LIBRARY_PATH": str(library), "FASTMLP_DRIVER_LOG": str(log),
        "FASTMLP_CACHE_DIR": str(cache), "PYTHONPATH": str(ROOT),
    }  # fmt: skip
    done = subprocess.run(
        [sys.executable, "-c", program, *arguments], env=environment | variables, cwd=ROOT,
        capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout, [line.split() for line in log.read_text().splitlines()]
