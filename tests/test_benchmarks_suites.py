"""Every asv suite can be run, and finds the fastmlp that is installed."""

from __future__ import annotations

import ast
import importlib
import json
import pkgutil
from pathlib import Path

import pytest

import benchmarks.suites
from benchmarks import cases, first_fit
from benchmarks.processes import printed

ROOT = Path(__file__).parents[1]
SETTINGS = json.loads((ROOT / "asv.conf.json").read_text())
MODULES = [module.name for module in pkgutil.iter_modules(benchmarks.suites.__path__)]
KINDS = ("time_", "track_", "peakmem_")


def suites() -> list:
    """(class, name of the method) of every benchmark."""
    found = []
    for name in MODULES:
        module = importlib.import_module(f"benchmarks.suites.{name}")
        for suite in vars(module).values():
            if isinstance(suite, type) and suite.__module__ == module.__name__:
                methods = [method for method in dir(suite) if method.startswith(KINDS)]
                found += [
                    pytest.param(suite, method, id=f"{suite.__name__}.{method}")
                    for method in methods
                ]
    return found


@pytest.fixture(autouse=True)
def short_runs(monkeypatch):
    """Programs that take seconds by themselves, made short; what they return stays of its kind."""
    from benchmarks import share
    from benchmarks.peers import race
    from benchmarks.suites import memory

    monkeypatch.setattr(share, "SECONDS_PER_REPEAT", 0.001)
    monkeypatch.setattr(race, "TURN_S", 0.001)
    monkeypatch.setattr(memory, "N_ROWS", 640)
    # Compiling everything again is tested where it belongs.
    monkeypatch.setattr(first_fit, "PROGRAM", "import fastmlp; print(0.25)")


@pytest.mark.parametrize(("suite", "method"), suites())
def test_a_benchmark_runs_with_its_smallest_parameters(suite, method):
    params = getattr(suite, "params", ())
    lists = params if params and isinstance(params[0], list) else ([params] if params else [])
    smallest = [values[0] for values in lists]
    assert len(getattr(suite, "param_names", ())) == len(lists)
    instance = suite()
    if hasattr(instance, "setup"):
        try:
            instance.setup(*smallest)
        except NotImplementedError as error:  # asv leaves it out, too
            pytest.skip(str(error))
    value = getattr(instance, method)(*smallest)
    if hasattr(instance, "teardown"):
        instance.teardown()
    if method.startswith("track_"):
        assert isinstance(value, float)
        assert getattr(suite, method).unit


def test_the_questions_of_the_project_are_all_asked():
    names = {f"{p.values[0].__name__}.{p.values[1]}" for p in suites()}
    assert names >= {
        "Epoch.time_epoch", "OneStep.time_step", "Predict.time_predict", "BundledData.time_fit",
        "FitMemory.peakmem_fit", "Start.track_cold_first_fit", "Start.track_warm_first_fit",
        "Start.track_compile", "Start.track_import_beyond_numba",
        "FractionOfPeak.track_fraction_of_peak", "SpeedUp.track_speed_up_over_sklearn",
        "Gpu.track_step", "Gpu.track_rate",
        "Rows.track_sample", "Width.track_rate", "Depth.track_rate", "Threads.track_rate",
    }  # fmt: skip


def test_every_case_and_bundled_data_set_is_measured():
    from benchmarks.suites.epochs import Epoch
    from benchmarks.suites.fits import BundledData
    from fastmlp.tables.bundled import BUNDLED

    assert Epoch.params[0] == list(cases.CASES)
    assert BundledData.params[0] == list(BUNDLED)


def test_asv_finds_nothing_but_the_suites():
    """It imports all modules of its folder, whatever they need, in an environment without peers."""
    folder = ROOT / SETTINGS["benchmark_dir"]
    assert folder == Path(benchmarks.suites.__path__[0])
    for path in folder.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            names = [a.name for a in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            assert not {name.split(".")[0] for name in names} & {"torch", "jax", "matplotlib"}


def test_fresh_processes_have_the_fastmlp_of_this_one():
    import fastmlp

    program = "import fastmlp, benchmarks.cases; print(fastmlp.__file__)"
    assert printed(program).strip() == fastmlp.__file__
