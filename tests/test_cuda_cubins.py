"""Machine code of CUDA kernels on disk: compiled once, found by every later process, or made anew.

The processes run the engine with numba-cuda and cuda.core as on a GPU, on a stand-in for the driver
that loads binaries, captures graphs and runs nothing.
"""

from __future__ import annotations

import ast
import hashlib
import json
import shutil
import threading
from pathlib import Path

import numpy as np
import pytest
from numba.cuda import types

from fastmlp.engine.cuda.offline import Typed, distinct, launches_of
from fastmlp.engine.cuda.warm import every_job
from fastmlp.kernels.constants import nadam_momentum
from fastmlp.kernels.cpu import optimizers, updates
from fastmlp.kernels.cuda import binaries, steps
from fastmlp.kernels.cuda.arguments import signature_of, words_of
from fastmlp.kernels.cuda.compiler import TARGETS, pretended, target_named, target_of
from fastmlp.kernels.rules import kept_momentum, step_factors

from . import cuda_driver

TRAINING = """
import json, sys
import numpy as np
from benchmarks.cases import Case
from benchmarks.gpu.timings import FastMLP
from fastmlp.engine.train_job import TrainJob
from fastmlp.kernels.cuda import binaries

case = Case("c", (20, 64, 64, 3), 64)
X, y = case.data(4)
peer = FastMLP(case, X, y, 0)
# Eight steps: nothing runs, so the clock stands still, and all of them are launched.
peer.engine.train(TrainJob(
    peer.data, batch_size=64, n_epochs=2, first_epoch=0, first_step=0,
    learning_rates=np.full(8, 0.1), shuffle=True,
))
peer.engine.predict(X)
print(json.dumps([*binaries.counts(), peer.graph_trouble]))
"""


@pytest.fixture(scope="module")
def library(tmp_path_factory) -> Path:
    if shutil.which("gcc") is None:
        pytest.skip("the stand-in for the driver needs gcc")
    return cuda_driver.build(tmp_path_factory.mktemp("driver"))


@pytest.fixture(scope="module")
def filled(library, tmp_path_factory) -> Path:
    """The cache folder that a first process left."""
    cache = tmp_path_factory.mktemp("cubins") / "cache"
    compiled, read, refused, trouble = trained(library, cache)[0]
    assert (read, refused, trouble) == (0, 0, "")
    assert compiled > 5
    return cache


def trained(library: Path, cache: Path | str) -> tuple[list, list[list[str]]]:
    """[kernels compiled, read, refused by the driver, why there was no graph], and its log."""
    printed, log = cuda_driver.run(library, TRAINING, cache=cache)
    return json.loads(printed), log


def copied(filled: Path, folder: Path) -> Path:
    return Path(shutil.copytree(filled, folder / "cache"))


def files(cache: Path) -> list[Path]:
    return [path for path in cache.rglob("*") if path.is_file() and "cuda-" in path.parent.name]


def test_a_second_process_compiles_nothing(library, filled):
    (compiled, read, _, _), log = trained(library, filled)
    assert (compiled, read) == (0, len(files(filled)))
    assert sum(words[0] == "load" for words in log) == read  # each once, as a cubin


def test_a_step_is_launched_once_captured_once_and_replayed(library, filled):
    _, log = trained(library, filled)
    (graph,) = (words for words in log if words[0] == "graph")
    at = log.index(graph)
    captured = [words for words in log[:at] if words[-1] == "captured"]
    assert int(graph[1]) == len(captured)
    # begin and the first step before it; seven steps are replays.
    launched = [words for words in log[:at] if words[0] == "launch" and words[-1] != "captured"]
    assert [words[:4] for words in launched[-len(captured) :]] == [w[:4] for w in captured]
    assert sum(words[0] == "replay" for words in log) == 7


@pytest.mark.parametrize("damage", ["cut", "changed", "writable by others"])
def test_what_is_damaged_or_foreign_is_compiled_anew(library, filled, tmp_path, damage):
    cache = copied(filled, tmp_path)
    path = min(files(cache), key=lambda path: path.name)
    body = path.read_bytes()
    if damage == "cut":
        path.write_bytes(body[:-1])
    elif damage == "changed":
        path.write_bytes(body[:99] + bytes([body[99] ^ 1]) + body[100:])
    else:
        path.chmod(0o666)
    assert trained(library, cache)[0][0] == 1
    assert trained(library, cache)[0][0] == 0  # mended


def test_what_the_driver_refuses_is_compiled_anew(library, filled, tmp_path):
    cache = copied(filled, tmp_path)
    path = min(files(cache), key=lambda path: path.name)
    header, _, _ = path.read_bytes()[32:].partition(b"\n")
    body = header + b"\n" + b"no machine code"
    path.write_bytes(hashlib.sha256(body).digest() + body)
    compiled, _, refused, trouble = trained(library, cache)[0]
    assert (compiled, refused, trouble) == (1, 1, "")
    assert trained(library, cache)[0][0] == 0  # mended


def test_variables_of_numba_change_no_code(library, filled, tmp_path):
    cache = copied(filled, tmp_path)
    path = min(files(cache), key=lambda path: path.name)
    n_bytes = path.stat().st_size
    path.unlink()
    cuda_driver.run(library, TRAINING, cache=cache, NUMBA_OPT="0", NUMBA_CUDA_DEBUGINFO="1")
    # Names within it hold numbers that numba counts; code that is not optimised is twice as long.
    assert path.stat().st_size == pytest.approx(n_bytes, rel=0.05)


def test_a_pretended_target_is_that_of_its_thread_alone():
    from numba.cuda import dispatcher

    asked = []

    def ask():
        try:
            asked.append(dispatcher.get_current_device().compute_capability)
        except Exception:  # there is no GPU here
            asked.append(None)

    with pretended(TARGETS[0]):
        thread = threading.Thread(target=ask)
        thread.start()
        thread.join()
        ask()
    assert asked == [None, (7, 5)]


def test_without_a_cache_every_process_compiles(library, filled):
    compiled, read, *_ = trained(library, "off")[0]
    assert (compiled, read) == (len(files(filled)), 0)


def test_every_kernel_has_a_name_of_its_own():
    launches = distinct([launch for job in every_job() for launch in launches_of(**job)])
    names = {(x.kernel.identity, signature_of(x.arguments)) for x in launches}
    assert len(names) == len(launches) > 200
    assert None not in {identity for identity, _ in names}


def test_the_stamp_counts_every_file_that_cuda_kernels_take_of_the_cpu_s():
    folder = Path(binaries.__file__).parent
    taken: set[str] = set()
    for path in folder.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom) and node.level == 2:
                taken |= {node.module} if node.module else {alias.name for alias in node.names}
    assert sorted(f"{name}.py" for name in taken - {"cache"}) == sorted(binaries._SHARED)


def test_both_compilers_take_the_formulas_of_a_step_from_one_place():
    assert steps.momentum_at.py_func is optimizers.momentum_at.py_func is nadam_momentum
    assert steps.step_factors_at.py_func is optimizers.step_factors_at.py_func is step_factors
    assert steps.kept_momentum_at.py_func is updates.kept_momentum_at.py_func is kept_momentum


def test_a_kernel_with_a_function_of_a_user_is_compiled_by_every_process():
    from fastmlp.kernels.cuda import gemm
    from fastmlp.kernels.cuda.jit import device
    from fastmlp.kernels.cuda.tile import TILES

    def cube(z):
        return z * z * z, np.float32(3) * z * z

    kernel = gemm.forward(np.float32, TILES[4][0], device(cube), True, False, False)
    assert kernel.identity is None
    assert binaries.is_kept(kernel, types.void(), TARGETS[0])


def test_a_gpu_gets_code_of_its_own_capability_or_of_one_that_it_can_run():
    assert [str(target_of(c)) for c in ((7, 5), (8, 9), (9, 0), (12, 0))] == [
        "7.5", "8.9", "9.0a", "12.0a",
    ]  # fmt: skip
    assert str(target_of((13, 3))) == "12.1"
    assert str(target_named("9.0")) == str(target_named("9.0a")) == "9.0a"
    for text in ("9", "3.0", "9.0b", ""):
        with pytest.raises(ValueError, match=r"one of 7.5, 8.0"):
            target_named(text)


def test_the_words_of_a_launch_are_the_parameters_of_its_ptx():
    from fastmlp.kernels.cuda.compiler import ptx_of

    class Array(Typed):
        size, __cuda_array_interface__ = 12, {"data": (4096, False)}

    n_bytes = {".b8": 1, ".u8": 1, ".u64": 8, ".b64": 8, ".f64": 8}
    launches = launches_of(sizes=(20, 64, 3), batch_size=64, weights=True)
    for launch in {x.kernel.name: x for x in launches}.values():
        _, ptx = ptx_of(launch.kernel.py_func, signature_of(launch.arguments), TARGETS[2])
        head = ptx.decode().partition(".entry")[2].partition(")")[0]
        wanted = [n_bytes[line.split()[1]] for line in head.splitlines() if ".param" in line]
        given = [Array(a.dtype) if isinstance(a, Typed) else a for a in launch.arguments]
        words = words_of(tuple(given))
        assert [1 if isinstance(word, bool) else 8 for word in words] == wanted
