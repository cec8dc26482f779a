"""How many kernels a plain training step launches, and that the documents say so."""

from __future__ import annotations

import ast
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest

from fastmlp.engine.cuda.offline import launches_of
from fastmlp.engine.cuda.workspace import OnDevice, Tables

ROOT = Path(__file__).parents[1]
SMALL, LARGE, NARROW = (4, 32, 32, 1), (784, 256, 128, 10), (128, *[64] * 5, 16)


def names_of_step(**settings: Any) -> list[str]:
    """Kernels of a step, in their order; the simulator's have another name for their function."""
    told = launches_of(**{"batch_size": 8192, "loss": "squared_error", **settings})
    functions = [getattr(launch.kernel, "py_func", None) or launch.kernel.fn for launch in told]
    names = [function.__name__ for function in functions]
    assert names[:2] == ["begin", "record_now"]
    return names[2:]


@pytest.mark.parametrize("sizes", [SMALL, LARGE, NARROW], ids=str)
def test_a_plain_step_has_a_launch_a_product_and_three_more(sizes):
    n = len(sizes) - 1
    assert names_of_step(sizes=sizes) == [
        "gather", *["forward"] * n, "loss", *["backward"] * (n - 1), *["gradient"] * n, "update",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("settings", "added"),
    [
        ({"batch_size": 1 << 18}, ["weigh"]),
        ({"sizes": (2048, 256, 10)}, ["advance"]),
        ({"max_norm": True}, ["constrain"] * 3 + ["advance"]),
        ({"clip": True}, ["store", "clip_by_norm"]),
        ({"norm": "batch"}, ["update_running"] * 2),
    ],
    ids=str,
)
def test_what_adds_launches(settings, added):
    names = names_of_step(**{"sizes": LARGE, **settings})
    plain = {"gather", "forward", "loss", "backward", "gradient", "update"}
    of_norms = {"normalise", "column_moments", "merge", "column_sums"}
    assert [name for name in names if name not in plain | of_norms] == added
    assert names[-1] == ("advance" if "advance" in added else "update")


def test_the_documents_have_the_counts():
    counts = [len(names_of_step(sizes=sizes)) for sizes in (SMALL, LARGE, NARROW)]
    many_rows = len(names_of_step(sizes=NARROW, batch_size=1 << 18))
    assert counts[0] == counts[1]
    sentence = (
        f"A plain step of 4-32-32-1 or 784-256-128-10 has {counts[0]} launches, one of "
        f"128-64x5-16 has {counts[2]}, and {many_rows} with minibatches of 262,144 rows"
    )
    assert sentence in (ROOT / "docs" / "design" / "gpu.md").read_text()


@pytest.mark.parametrize("kind", [Tables, OnDevice])
def test_what_a_program_is_given_is_read(kind):
    read = {
        node.attr
        for path in (ROOT / "fastmlp" / "engine" / "cuda").glob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Load)
    }
    assert {field.name for field in fields(kind)} <= read
