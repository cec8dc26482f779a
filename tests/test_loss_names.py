"""Losses are known by name in their records and kernels only: all else asks the record."""

from __future__ import annotations

import ast

import pytest

from fastmlp.names import LOSSES
from fastmlp.spec.loss_table import TABLE

from .imports import ROOT, sources

# The records, and the kernels with their own tables.
KNOW_NAMES = {
    "fastmlp/spec/loss_table.py", "kernels/codes.py", "kernels/cpu/losses.py",
    "kernels/cuda/losses.py",
}  # fmt: skip
NAMES = {*LOSSES, *TABLE}
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


def branches(source: str) -> list[tuple[int, str]]:
    """Line and name of every branch on a loss's name."""
    return [
        (part.lineno, part.value)
        for node in ast.walk(ast.parse(source))
        for part in _chosen_by(node)
        if isinstance(part, ast.Constant) and part.value in NAMES
    ]


def test_no_other_file_branches_on_the_name_of_a_loss():
    found = {
        f"{name}:{line} {loss!r}"
        for path in sources("fastmlp") + sources("kernels")
        if (name := str(path.relative_to(ROOT))) not in KNOW_NAMES
        for line, loss in branches(path.read_text())
    }
    assert not found, f"ask the record in {', '.join(sorted(KNOW_NAMES))} instead of {found}"


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
    assert len(branches(source)) == 1


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
    assert not branches(source)


def test_every_kernel_has_a_record_and_every_record_a_kernel():
    served = [kind.probabilities.kernel for kind in TABLE.values() if kind.probabilities]
    assert sorted([*TABLE, *served]) == sorted(LOSSES)
    assert list(TABLE) == [name for name in LOSSES if name in TABLE]
