"""Every CUDA kernel compiles for all GPUs that are supported, and keeps its numbers in registers.

No GPU takes part: numba-cuda makes PTX, and NVIDIA's assembler machine code of it, on the only way
that there is to a GPU (kernels/cuda/compiler.py): without link-time optimisation.
"""

from __future__ import annotations

import ast
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from fastmlp.kernels.cuda.compiler import TARGETS, pretended

from .conftest import LONG

ROOT = Path(__file__).parents[1]
N_PROCESSES = 2
# Of every multiprocessor since 7.5.
REGISTERS, STATIC_SHARED = 65536, 48 * 1024


def records(folder: Path, *options: str) -> list[dict]:
    """What `python -m benchmarks.gpu.resources` writes, its kernels shared by some processes."""
    paths = [folder / f"{number}.jsonl" for number in range(N_PROCESSES)]
    environment = {k: v for k, v in os.environ.items() if k != "NUMBA_ENABLE_CUDASIM"}
    started = [
        subprocess.Popen(
            [sys.executable, "-m", "benchmarks.gpu.resources", *options,
             "--targets", ",".join(map(str, TARGETS)), "--part", f"{number + 1}/{N_PROCESSES}",
             "--json", str(path)],
            cwd=ROOT, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
        )
        for number, path in enumerate(paths)
    ]  # fmt: skip
    errors = [process.communicate()[1] for process in started]
    assert [process.returncode for process in started] == [0] * N_PROCESSES, "".join(errors)
    return [json.loads(line) for path in paths for line in path.read_text().splitlines()]


@pytest.fixture(scope="module")
def found(tmp_path_factory) -> list[dict]:
    return records(tmp_path_factory.mktemp("resources"), "--every", *(["--anew"] if LONG else []))


def kernel_names() -> set[str]:
    """Functions below @kernel, and those that are made of source text."""
    names = {"gather", "forward", "backward", "gradient", "product", "loss"}
    for path in (ROOT / "kernels" / "cuda").glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            decorators = getattr(node, "decorator_list", [])
            if any(ast.unparse(decorator) == "kernel" for decorator in decorators):
                names.add(node.name)
    return names


def test_no_kernel_spills_or_asks_for_more_than_there_is(found, record_property):
    # "a": numba-cuda compiles for the instructions of one GPU from 9.0 on, and so do we.
    assert {r["target"] for r in found} == {"7.5", "8.0", "9.0a", "10.0a"}
    wrong = [
        r for r in found
        if r["spill_stores"] or r["spill_loads"] or r["stack"] or r["shared"] > STATIC_SHARED
        or not 0 < r["registers"] * r["threads"] <= REGISTERS or not r["n_machine_code"]
    ]  # fmt: skip
    assert not wrong
    assert {r["name"] for r in found} == kernel_names()
    n_kernels = len(found) // len(TARGETS)
    record_property(f"CUDA kernels without spills on {' '.join(map(str, TARGETS))}", n_kernels)


def test_a_function_that_numba_cuda_cannot_compile_is_refused_where_it_is_given():
    from fastmlp.engine.cuda.functions import _device_function
    from fastmlp.errors import DeviceError

    with pretended(TARGETS[2]):
        for dtype in ("float32", "float64"):
            _device_function(lambda z: z * z, lambda z: 2.0 * z, "square", dtype, 1)
            _device_function(lambda z, y: z - y, lambda z, y: 1.0, "difference", dtype, 2)
        with pytest.raises(DeviceError, match="'table' must be a function that numba-cuda can"):
            _device_function(
                lambda z: np.interp(z, [0.0], [1.0]), lambda z: 0.0, "table", "float32", 1
            )  # fmt: skip
