"""The rules of the house: who imports whom, what is packaged, how long a file may be."""

from __future__ import annotations

import ast
import tomllib
from pathlib import Path

import pytest

import fastmlp

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
SETUPTOOLS = PROJECT["tool"]["setuptools"]
MAX_LINES = 400

# From the bottom up: rooms, and modules that stand alone. A room may import those of the layers
# below and none beside it, so rooms form no circle.
LAYERS = (
    ("kernels",),
    ("history", "interrupts", "names"),
    ("errors",),
    ("checks", "registered"),
    ("monitor", "paths"),
    ("spec", "layout", "optim", "schedules", "tables"),
    ("data", "losses", "sources"),
    ("engine",),
    ("user_functions",),
    ("callbacks",),
    ("training",),
    ("model",),
    ("pickles", "preparation"),
    ("report",),
    ("estimators",),
    ("accel",),
    ("cli",),
    ("__main__",),
)
# Packages whose `__init__` is more than a docstring: users, or other rooms, import from it.
FACES = {
    *("", "accel", "callbacks", "cli", "estimators", "optim", "preparation", "schedules"),
    "engine",
}


def sources(folder: str) -> list[Path]:
    """The Python files below `folder`, the link to the kernels left out."""
    found = (ROOT / folder).rglob("*.py")
    return sorted(path for path in found if "fastmlp/kernels" not in str(path.relative_to(ROOT)))


def module_name(path: Path) -> str:
    """``engine.store`` for fastmlp/engine/store.py, ``kernels.jit`` for kernels/jit.py."""
    parts = list(path.relative_to(ROOT).with_suffix("").parts)
    if parts[0] == "fastmlp":
        parts = parts[1:]
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imported(tree: ast.AST, *, checked: bool = False) -> list[tuple[int, str]]:
    """Line and full name of every import that runs; `checked`: of those for type checkers too."""
    found: list[tuple[int, str]] = []
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test) and not checked:
            continue
        if isinstance(node, ast.Import):
            found += [(node.lineno, alias.name) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            origin = "." * node.level + (node.module or "")
            found += [(node.lineno, f"{origin}.{alias.name}") for alias in node.names]
        else:
            found += imported(node, checked=checked)
    return found


MODULES = {module_name(path): path for path in sources("fastmlp") + sources("kernels")}


def resolve(name: str) -> str | None:
    """The module of this project that an imported name lies in, or None for another's."""
    if name != "fastmlp" and not name.startswith("fastmlp."):
        return None
    name = name.removeprefix("fastmlp").removeprefix(".")
    while name not in MODULES:
        name = name.rpartition(".")[0]
    return name


def layer(module: str) -> int:
    """The layer of the longest entry of LAYERS that is `module` or a package around it."""
    name = module
    while name:
        for number, members in enumerate(LAYERS):
            if name in members:
                return number
        name = name.rpartition(".")[0]
    pytest.fail(f"{module} has no place in LAYERS; add it where it belongs")


def executed(module: str, target: str) -> list[str]:
    """What `module` makes Python execute by importing `target`: the packages around it as well.

    Those around `module` itself have been executed before it.
    """
    names = target.split(".")
    around = [".".join(names[:n]) for n in range(1, len(names))]
    return [*(name for name in around if not f"{module}.".startswith(f"{name}.")), target]


def edges(*, checked: bool) -> list[tuple[str, int, str]]:
    """Importing module, line and imported module of every import; `checked`: as of `imported`."""
    return [
        (module, line, target)
        for module, path in MODULES.items()
        for line, name in imported(ast.parse(path.read_text()), checked=checked)
        if (found := resolve(name)) is not None
        for target in executed(module, found)
    ]


EDGES = edges(checked=False)
# Who names another for the type checker alone depends on it as well.
NAMED = edges(checked=True)
# A program of launches and the two files that launch parts of it.
KNOWN_CIRCLE = {
    ("engine.cuda.muon", "engine.cuda.program"),
    ("engine.cuda.norms", "engine.cuda.program"),
}


def room(module: str) -> str:
    return module.split(".")[0]


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
        if module and target and target != module and (module, target) not in KNOWN_CIRCLE:
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
