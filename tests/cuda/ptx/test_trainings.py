"""Whole trainings from PTX, as a GPU's assembler would get it: all that a network tells beside the
CPU engine, and the same bits in other orders of blocks and warps.

`make trust` runs every operation for 20 steps, `make test` some of them for fewer.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from fastmlp.engine.cpu.engine import CpuEngine
from fastmlp.engine.cuda.engine import CudaEngine
from fastmlp.spec.network import NetworkSpec
from tests.conftest import LONG
from tests.cuda.cases import operations
from tests.cuda.tools import TOLERANCES, beyond, dataset, engine, error, results, table_of, train

from .gpu import engine_on_ptx

CASES = operations()
# Between them some 50 kernels.
FEW = (
    "sizes (9, 17, 8, 3) float32", "norm batch float64", "rule muon float32",
    "embeddings 0, dropout 0.2", "loss focal float32",
    "options {'clip_norm': 0.5, 'max_norm': 0.8, 'ema': 0.9}",
)  # fmt: skip
KERNELS: set[Any] = set()


def told(
    kind: type, sizes: Any, *, rule: str = "adam", options: Any = None, n: int = 21,
    table: str | None = None, layout: str | None = None, weights: bool = False, soft: bool = False,
    shuffle: Any = True, batch_size: int = 8, n_epochs: int = 7, dtype: str = "float64",
    loss: Any = "cross_entropy", **settings: Any,
) -> dict[str, np.ndarray]:  # fmt: skip
    """Train a network: all that its engine tells, by name. Arguments: of `tools.compared`."""
    spec = NetworkSpec.make(sizes=sizes, dtype=dtype, loss=loss, seed=3, **settings)
    data = dataset(spec, n, weights=weights, X=table_of(spec, n, table, layout), soft=soft)
    made = engine(kind, spec, rule, **(options or {}))
    run = train(made, data, batch_size=batch_size, n_epochs=n_epochs, shuffle=shuffle)
    assert run.status == "done"
    return results(made, data, run)


def from_ptx(case: dict[str, Any], **settings: Any) -> dict[str, np.ndarray]:
    with engine_on_ptx(**settings) as machines:
        found = told(CudaEngine, **case)
    for machine in machines:
        KERNELS.update(machine.kernels)
    return found


def limit_of(case: dict[str, Any]) -> float:
    return TOLERANCES[case.get("dtype", "float64")]


@pytest.mark.parametrize("name", CASES if LONG else FEW)
def test_a_training_from_ptx_is_that_of_the_cpu(name, record_property):
    case = CASES[name] if LONG else {**CASES[name], "n_epochs": 1}
    cpu, gpu = told(CpuEngine, **case), from_ptx(case)
    assert cpu.keys() == gpu.keys()
    wrong = beyond({what: error(cpu[what], gpu[what]) for what in cpu}, limit_of(case))
    assert not wrong
    few = {**case, "n_epochs": min(2, case.get("n_epochs", 7))}
    first, other = gpu if few == case else from_ptx(few), from_ptx(few, seed=1)
    for what in first:
        assert first[what].tobytes() == other[what].tobytes(), f"{what} depends on the order"
    record_property("kernels that ran from their PTX in trainings", len(KERNELS))


# Of rows for several blocks of every kernel.
LARGE = {
    "float32": {"sizes": [37, 70, 33, 6], "n": 300, "batch_size": 290, "n_epochs": 1},
    "float64": {"sizes": [21, 40, 5], "n": 300, "batch_size": 300, "n_epochs": 1, "norm": "batch"},
}


@pytest.mark.parametrize("dtype", LARGE if LONG else ["float32"])
def test_many_blocks_in_many_orders_give_the_same_bits(dtype):
    case = {**LARGE[dtype], "dtype": dtype, "rule": "momentum", "activation": "tanh"}
    cpu, first = told(CpuEngine, **case), from_ptx(case)
    assert not beyond({what: error(cpu[what], first[what]) for what in cpu}, limit_of(case))
    for seed in range(1, 9 if LONG else 3):
        other = from_ptx(case, seed=seed)
        for what in first:
            assert first[what].tobytes() == other[what].tobytes(), (seed, what)


def test_errors_of_approximate_functions_stay_within_the_tolerance(record_property):
    """Exponentials and reciprocals as far off as the manual allows, both ways and at random."""
    case = {**CASES["sizes (9, 17, 8, 3) float32"], "n_epochs": 1}
    cpu = told(CpuEngine, **case)
    for lean in (-1.0, 1.0, np.random.default_rng(0)):
        gpu = from_ptx(case, lean=lean)
        errors = {what: error(cpu[what], gpu[what]) for what in cpu}
        assert not beyond(errors, limit_of(case))
        record_property("error of a training with approximations at their worst", errors["loss"])
