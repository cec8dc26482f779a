"""Who imports whom: every import of fastmlp/ and kernels/, parsed and not executed."""

from __future__ import annotations

import ast
from pathlib import Path

ROOT = Path(__file__).parents[1]

# From the bottom up: rooms, and modules that stand alone. A room may import those of the layers
# below and none beside it, so rooms form no circle.
LAYERS = (
    ("kernels",),
    ("history", "interrupts", "json_kinds", "names"),
    ("whole_files",),
    ("errors",),
    ("checks", "registered", "tensor_file"),
    ("monitor", "paths", "setting"),
    ("spec", "layout", "optim", "schedules", "tables"),
    ("data", "losses", "sources"),
    ("engine",),
    ("user_functions",),
    ("callbacks",),
    ("training",),
    ("model",),
    ("many", "pickles", "preparation"),
    ("ensemble",),
    ("report",),
    ("estimators",),
    ("accel",),
    ("cli",),
    ("__main__",),
)


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
    raise LookupError(f"{module} has no place in LAYERS; add it where it belongs")


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


def room(module: str) -> str:
    return module.split(".")[0]


def rooms_below() -> dict[str, set[str]]:
    """For every room, from the top down, the rooms that it imports or names for a type checker."""
    below: dict[str, set[str]] = {name: set() for members in reversed(LAYERS) for name in members}
    for module, _, target in NAMED:
        if module and target and room(module) != room(target):
            below[room(module)].add(room(target))
    return below
