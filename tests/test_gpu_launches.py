"""A kit for a GPU has every kernel that the stages launch: what they list without a GPU is what
they launch on one."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest

from benchmarks.gpu import launches, products
from fastmlp.engine.cuda.offline import launches_of
from fastmlp.engine.cuda.warm import LOSSES, usual_jobs
from fastmlp.kernels.cuda import gather, losses
from fastmlp.kernels.cuda.arguments import signature_of
from fastmlp.kernels.cuda.ptx import VECTOR_BYTES

from . import cuda_driver

# On the stand-in for the driver nothing runs: a training's first step is its last one, and what it
# tells has no meaning. Prints what would have been launched.
PROGRAM = """
import json, sys
from contextlib import suppress
import numpy as np
import fastmlp
from benchmarks.gpu import stage, timings, trainings
from fastmlp.engine.cuda.engine import CudaEngine
from fastmlp.kernels.cuda.arguments import signature_of
from fastmlp.kernels.cuda.launch import Gpu

seen = set()
def note(gpu, launches, stream=None):
    seen.update((x.kernel.identity, str(signature_of(x.arguments))) for x in launches)
Gpu.launch = note

def one_step(engine, program, launch, n_steps, *rest):
    launch(0, 1)
    return outcome
CudaEngine._run_steps = one_step
over = CudaEngine._go_over
CudaEngine._go_over = lambda *given: (0.0, 1.0, over(*given)[2])
train = timings.FastMLP.train
def trained(*given):
    with suppress(IndexError):  # of no epoch's loss
        train(*given)
    return 1.0
timings.FastMLP.train = trained

class Network(fastmlp.Network):
    def __init__(self, *given, **named):
        super().__init__(*given, **{**named, "device": "cuda:0"})
    def fit(self, *given, **named):
        super().fit(*given, **named)
        return {"loss": [1.0]}
fastmlp.Network, trainings.SEEDS = Network, 1

found = {}
for dtype in ("float32", "float64"):
    outcome = "deadline"
    for table in ("float32", "float64"):
        seen.clear()
        X, y = np.random.default_rng(0).random((99, 64)).astype(table), np.arange(99) % 10
        for sizes, loss, values in (((64, 100, 10), "cross_entropy", y),
                                    ((64, 20, 1), "squared_error", y / 2)):
            net = Network(sizes, loss=loss, dtype=dtype)
            net.fit(X, values, batch_size=64, verbose=False)
            net.evaluate(X, values)
            net.predict(X)
        found[f"{dtype} network, {table} table"] = sorted(seen)
for name in sys.argv[1:]:
    name, few = name.removesuffix(" of few"), name.endswith(" of few")
    # Engines ask for as many steps as they take; fits, for more until all epochs are over.
    outcome = "done" if name in ("captured training", "timings") else "deadline"
    seen.clear()
    for _ in stage.found(name, 0, few, 100.0):
        pass
    found[name + " of few" * few] = sorted(seen)
print(json.dumps(found))
"""
STAGES = (
    "captured training", "15 products", "training beside the CPU", "products of few",
    "accuracy", "accuracy of few", "repeatability", "repeatability of few", "timings of few",
)  # fmt: skip
USES = tuple(
    f"{dtype} network, {table} table"
    for dtype in ("float32", "float64")
    for table in ("float32", "float64")
)
Names = set[tuple[str, str]]


def names(launched: list) -> Names:
    return {(x.kernel.identity, str(signature_of(x.arguments))) for x in launched}


@pytest.fixture(scope="module")
def usual() -> Names:
    """What `fastmlp warmup --device cuda` compiles of networks."""
    jobs = [job for dtype in ("float32", "float64") for job in usual_jobs(dtype)]
    return names([launch for job in jobs for launch in launches_of(**job)])


@pytest.fixture(scope="module")
def launched(tmp_path_factory) -> dict[str, Names]:
    """What stages and uses launch, by their names."""
    if shutil.which("gcc") is None:
        pytest.skip("the stand-in for the driver needs gcc")
    folder = tmp_path_factory.mktemp("driver")
    library = cuda_driver.build(folder)
    printed, _ = cuda_driver.run(library, PROGRAM, *STAGES, cache=folder / "cache")
    return {name: {tuple(x) for x in found} for name, found in json.loads(printed).items()}


def test_what_stages_launch_is_what_they_list(launched):
    listed = names(launches.of_stages())
    for stage in STAGES:
        assert len(launched[stage]) >= 6, stage
        assert launched[stage] <= listed, stage


def test_what_most_networks_launch_is_compiled_ahead(launched, usual):
    for use in USES:
        assert len(launched[use]) >= 10, use
        assert launched[use] <= usual, use


def test_all_that_stages_launch_is_compiled_ahead_but_some_products(usual):
    assert len(products.kinds()) == 15
    other = {identity for identity, _ in names(launches.of_stages()) - usual}
    assert all(".gemm.product(" in identity for identity in other), other


@pytest.mark.parametrize("T", [np.float32, np.float64])
def test_kernels_of_every_width_are_compiled_ahead(T, usual):
    identities = {identity for identity, _ in usual}
    for drops in (False, True):
        for ld in range(1, 4096):
            group = gather.group_for(ld, VECTOR_BYTES // np.dtype(T).itemsize)
            assert gather.gather(T, drops, False, group).identity in identities
    for loss in LOSSES:
        for n_outputs in range(4, 100, 4):
            lanes = losses.lanes_for(loss.name, n_outputs)
            for finish in ("weigh", "add_losses"):
                assert losses.loss(T, loss.name, lanes, finish).identity in identities


VERSIONS = """
import json, os
from pathlib import Path
from benchmarks.gpu import surroundings, versions
from fastmlp.kernels.cuda import binaries

surroundings.described = lambda: {"targets": ["9.0"]}
cache = Path(os.environ["FASTMLP_CACHE_DIR"])
lines = []
for mode in (0o777, 0o700):
    cache.chmod(mode)
    lines.append(versions.found(0)["line"])
print(json.dumps([*lines, binaries.stamp()]))
"""


def test_a_kits_cache_that_is_not_used_is_in_the_first_line(tmp_path):
    if shutil.which("gcc") is None:
        pytest.skip("the stand-in for the driver needs gcc")
    cache = tmp_path / "cache"
    cache.mkdir()
    printed, _ = cuda_driver.run(cuda_driver.build(tmp_path), VERSIONS, cache=cache)
    distrusted, empty, stamp = json.loads(printed)
    assert distrusted.startswith("stand-in, compute capability 9.0, ")
    told = f", the kit's kernels are not used: {cache} may be written by others (mode 777)"
    assert distrusted.endswith(told)
    assert f"the kit's kernels are not used: {cache / stamp} has none" in empty
