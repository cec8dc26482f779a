"""SECURITY.md names a test for each promise: each of them is there."""

from __future__ import annotations

import ast
import re

from tests.conftest import ROOT

_NAMED = re.compile(r"`(tests/[\w/]+\.py)::(\w+)`")


def test_every_named_test_is_there():
    text = (ROOT / "SECURITY.md").read_text()
    named = _NAMED.findall(text)
    assert len(named) >= 12
    for path, name in named:
        tree = ast.parse((ROOT / path).read_text())
        assert name in {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}


def test_every_promise_has_a_test():
    table = (ROOT / "SECURITY.md").read_text().partition("## Must not")[0]
    rows = [line for line in table.splitlines() if line.startswith("|")][2:]
    assert len(rows) >= 9
    assert all(_NAMED.search(row) for row in rows)
