"""The rules of the house: who imports whom, what is packaged, how long a file may be."""

from __future__ import annotations

import ast
import tomllib
from pathlib import Path

import pytest

import fastmlp

from .imports import (
    EDGES,
    MODULES,
    NAMED,
    ROOT,
    executed,
    imported,
    layer,
    module_name,
    room,
    sources,
)

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
SETUPTOOLS = PROJECT["tool"]["setuptools"]
MAX_LINES = 400

# Packages whose `__init__` is more than a docstring: users, or other rooms, import from it.
FACES = {
    *("", "accel", "callbacks", "cli", "estimators", "optim", "preparation", "schedules"),
    "engine",
}


def test_packages_around_a_module_count():
    assert executed("spec.losses", "engine.cpu.crew") == ["engine", "engine.cpu", "engine.cpu.crew"]
    assert executed("engine.cpu.crew", "engine.store") == ["engine.store"]
    assert executed("model.network", "engine") == ["engine"]


def test_rooms_without_a_face_execute_nothing():
    for module, path in MODULES.items():
        if path.name == "__init__.py" and module not in FACES and not module.startswith("kernels"):
            body = ast.parse(path.read_text()).body
            assert len(body) == 1, path
            assert isinstance(body[0], ast.Expr), path


def test_every_module_has_a_layer():
    for module in MODULES:
        if module:
            layer(module)


def test_imports_point_down():
    wrong = [
        f"{MODULES[module].relative_to(ROOT)}:{line} imports {target}"
        for module, line, target in NAMED
        if module and target and room(module) != room(target) and layer(target) >= layer(module)
    ]
    assert not wrong, "\n".join(wrong)


def test_devices_do_not_import_each_other():
    devices = {"engine.cpu", "engine.cuda"}
    wrong = [
        f"{MODULES[module].relative_to(ROOT)}:{line} imports {target}"
        for module, line, target in NAMED
        if module.rpartition(".")[0] in devices
        and target.startswith("engine.c")
        and target.split(".")[1] != module.split(".")[1]
    ]
    assert not wrong, "\n".join(wrong)


def test_imports_have_no_cycle():
    graph: dict[str, set[str]] = {module: set() for module in MODULES}
    for module, _, target in NAMED:
        if module and target and target != module:
            graph[module].add(target)
    done: set[str] = set()

    def visit(module: str, path: list[str]) -> None:
        assert module not in path, " -> ".join([*path, module])
        if module not in done:
            for target in graph[module]:
                visit(target, [*path, module])
            done.add(module)

    for module in graph:
        visit(module, [])


def test_only_the_engine_imports_kernels():
    wrong = [
        f"{module}:{line}"
        for module, line, target in EDGES
        if room(target) == "kernels" and room(module) not in ("engine", "kernels", "names")
    ]
    assert not wrong


def test_kernels_import_only_numpy_numba_llvmlite_and_themselves():
    import sys

    # cuda is cuda.core, on which numba-cuda itself stands.
    allowed = {"numpy", "numba", "llvmlite", "cuda", *sys.stdlib_module_names}
    for path in sources("kernels"):
        for line, name in imported(ast.parse(path.read_text())):
            own = name.startswith((".", "fastmlp.kernels"))
            assert own or name.split(".")[0] in allowed, f"{path}:{line} imports {name}"


def test_only_jit_names_the_compiler():
    """One place a device decides flags and cache: njit and jit appear in kernels/jit.py only,
    cuda.jit in kernels/cuda/jit.py."""
    places = [ROOT / "kernels" / "jit.py", ROOT / "kernels" / "cuda" / "jit.py"]
    for path in sources("kernels") + sources("fastmlp"):
        if path in places:
            continue
        tree = ast.parse(path.read_text())
        for line, name in imported(tree):
            parts = name.split(".")
            if parts[0] == "numba":
                assert not {"njit", "jit", "vectorize", "guvectorize"} & set(parts), (
                    f"{path}:{line}"
                )
        for node in ast.walk(tree):
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
                named = f"{node.value.id}.{node.attr}"
                assert named not in ("numba.njit", "numba.jit", "cuda.jit"), f"{path}:{node.lineno}"


def test_packages_are_those_of_the_tree():
    """A package missing from the list would silently be left out of the wheel."""
    inits = [path for path in sources("fastmlp") + sources("kernels") if path.name == "__init__.py"]
    names = {f"fastmlp.{module_name(path)}".rstrip(".") for path in inits}
    assert set(SETUPTOOLS["packages"]) == names
    folders = {path.parent for path in sources("fastmlp") + sources("kernels")}
    assert folders == {path.parent for path in inits}


def test_kernels_are_a_top_level_folder_with_a_link():
    assert SETUPTOOLS["package-dir"]["fastmlp.kernels"] == "kernels"
    link = ROOT / "fastmlp" / "kernels"
    assert link.is_symlink()
    assert link.readlink() == Path("../kernels")


def test_version_is_said_once_and_the_same():
    assert PROJECT["project"]["version"] == fastmlp.__version__


@pytest.mark.parametrize("folder", ["fastmlp", "kernels", "tests", "benchmarks"])
def test_files_are_short(folder):
    long = {
        str(path.relative_to(ROOT)): n_lines
        for path in sources(folder)
        if (n_lines := len(path.read_text().splitlines())) > MAX_LINES
    }
    assert not long


def test_the_page_of_rooms_has_every_file_that_both_devices_read():
    page = (ROOT / "docs" / "design" / "rooms.md").read_text()
    table = page.partition("| `kernels/` | |\n")[2].partition("\n\n")[0]
    files = {path.name for path in (ROOT / "kernels").glob("*.py")} - {"__init__.py"}
    assert {row.partition("`")[2].partition("`")[0] for row in table.splitlines()[1:]} == files
