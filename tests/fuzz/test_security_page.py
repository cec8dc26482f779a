"""SECURITY.md and docs/guarantees.md name a test for each promise: each of them is there."""

from __future__ import annotations

import ast
import re

import pytest

from tests.conftest import ROOT

_NAMED = re.compile(r"`(tests/[\w/]+\.py)::(\w+)`")


@pytest.mark.parametrize("page", ["SECURITY.md", "docs/guarantees.md"])
def test_every_named_test_is_there(page):
    named = _NAMED.findall((ROOT / page).read_text())
    assert len(named) >= 12
    for path, name in named:
        tree = ast.parse((ROOT / path).read_text())
        assert name in {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}


@pytest.mark.parametrize(
    ("page", "end"), [("SECURITY.md", "## Must not"), ("docs/guarantees.md", "## What is not")]
)
def test_every_promise_has_a_test(page, end):
    table = (ROOT / page).read_text().partition(end)[0]
    rows = [line for line in table.splitlines() if line.startswith("|")][2:]
    rows = [row for row in rows if row.split("|")[2].strip()]  # others are a beginning
    assert len(rows) >= 9
    assert all(_NAMED.search(row) for row in rows)
