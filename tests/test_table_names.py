"""What has a record is known by name in its table and its kernels only: all else asks the record.

Tables: losses, kinds of layers, and update rules.
"""

from __future__ import annotations

import ast

import pytest

from fastmlp.names import LAYER_KINDS, LOSSES, RULES
from fastmlp.spec.loss_table import TABLE

from .imports import ROOT, sources

NAMES = {
    "loss": {*LOSSES, *TABLE},
    "kind of layer": set(LAYER_KINDS),
    "update rule": set(RULES),
}
# The records, and the kernels with their own tables.
KNOW_NAMES = {
    "loss": {
        "fastmlp/spec/loss_table.py", "kernels/codes.py", "kernels/cpu/losses.py",
        "kernels/cuda/losses.py",
    },
    "kind of layer": {
        "kernels/layer_kinds.py", "kernels/cpu/layer_kinds.py", "kernels/cpu/norms.py",
        "fastmlp/engine/cuda/norms.py",
    },
    "update rule": {"kernels/rules.py", "kernels/cpu/optimizers.py", "kernels/cuda/optimizers.py"},
}  # fmt: skip
# The same words for something else.
OF_SKLEARN = {"sgd", "adam"}  # its solvers
OTHERWISE = {
    "kind of layer": {
        "fastmlp/cli/options.py": {"none"},  # no hidden layers
        "fastmlp/model/parameters.py": {"layer"},  # the head of a column
    },
    "update rule": {
        "fastmlp/cli/options.py": {"momentum", "nesterov"},  # optimizers of the command line
        "fastmlp/estimators/convert.py": OF_SKLEARN,
        "fastmlp/estimators/settings.py": OF_SKLEARN,
        "fastmlp/estimators/stochastic.py": {"sgd"},
        "fastmlp/optim/muon.py": {"momentum"},  # a number of it
        "fastmlp/pickles.py": {"muon"},  # a module
    },
}
# Methods that compare a text or look it up.
LOOKUPS = {"get", "index", "count", "pop", "setdefault", "startswith", "endswith"}


def _chosen_by(node: ast.AST) -> list[ast.expr | None]:
    """The parts of a node that a value is compared with, looked up among or kept under.

    Arguments, defaults, values behind a key and assignments of one name are none of these: to
    make a loss by name is no branch.
    """
    if isinstance(node, ast.Compare):
        return [node.left, *node.comparators]
    if isinstance(node, ast.Tuple | ast.List | ast.Set):
        return list(node.elts)
    if isinstance(node, ast.Dict):
        return list(node.keys)
    if isinstance(node, ast.Subscript):
        return [node.slice]
    if isinstance(node, ast.MatchValue):
        return [node.value]
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
        return list(node.args) if node.func.attr in LOOKUPS else []
    return []


def branches(source: str, names: set[str]) -> list[tuple[int, str]]:
    """Line and name of every branch on one of `names`."""
    return [
        (part.lineno, part.value)
        for node in ast.walk(ast.parse(source))
        for part in _chosen_by(node)
        if isinstance(part, ast.Constant) and part.value in names
    ]


@pytest.mark.parametrize("kind", NAMES)
def test_no_other_file_branches_on_a_name(kind):
    known, otherwise = KNOW_NAMES[kind], OTHERWISE.get(kind, {})
    found: dict[str, list[tuple[int, str]]] = {}
    for path in sources("fastmlp") + sources("kernels"):
        if (name := str(path.relative_to(ROOT))) not in known:
            found[name] = branches(path.read_text(), NAMES[kind])
    wrong = {
        f"{file}:{line} {name!r}"
        for file, lines in found.items()
        for line, name in lines
        if name not in otherwise.get(file, ())
    }
    assert not wrong, f"ask the record in {', '.join(sorted(known))} instead of {wrong}"
    # What is excused is there.
    assert {file: {name for _, name in found[file]} for file in otherwise} == otherwise


@pytest.mark.parametrize(
    "source",
    [
        "loss.name == 'poisson'",
        "'focal' != loss.name",
        "loss.name in ('huber', x)",
        "CLASSES = ['cross_entropy']",
        "{'quantiles': 3}.get(name)",
        "TABLE['quantiles']",
        "LOSSES.index('soft_cross_entropy')",
        "loss.name.startswith('quantile')",
        "match name:\n case 'huber': pass",
        "match name:\n case x if x == 'huber': pass",
    ],
)
def test_branches_are_seen(source):
    assert len(branches(source, NAMES["loss"])) == 1


@pytest.mark.parametrize(
    "source",
    [
        "def f(loss='squared_error'): 'poisson'",
        "Network([1, 1], loss='huber')",
        "Loss('binary_cross_entropy')",
        "DEFAULT = 'cross_entropy'",
        "{'loss': 'cross_entropy'}",
        "f'use poisson, got {x!r}'",
    ],
)
def test_making_a_loss_by_its_name_is_no_branch(source):
    assert not branches(source, NAMES["loss"])


def test_every_kernel_has_a_record_and_every_record_a_kernel():
    served = [kind.probabilities.kernel for kind in TABLE.values() if kind.probabilities]
    assert sorted([*TABLE, *served]) == sorted(LOSSES)
    assert list(TABLE) == [name for name in LOSSES if name in TABLE]
