"""The documents are true: their Python runs, their links lead somewhere, their commands exist."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from fastmlp.cli import commands
from fastmlp.spec import devices

ROOT = Path(__file__).parents[1]
DOCUMENTS = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")])
TEXTS = {str(path.relative_to(ROOT)): path.read_text() for path in DOCUMENTS}


def blocks(language: str) -> list:
    return [
        pytest.param(block, id=f"{name}-{number}")
        for name, text in TEXTS.items()
        for number, block in enumerate(re.findall(rf"```{language}\n(.*?)```", text, re.DOTALL))
    ]


@pytest.mark.parametrize("code", blocks("python"))
def test_python_runs_as_it_stands(code, tmp_path, monkeypatch):
    if 'device="cuda"' in code and devices.trouble(0):
        pytest.skip("in the simulator: tests/cuda/test_network.py")
    monkeypatch.chdir(tmp_path)
    exec(compile(code, "document", "exec"), {})


@pytest.mark.parametrize("text", TEXTS.values(), ids=TEXTS)
def test_commands_and_options_exist(text):
    for command, rest in re.findall(r"fastmlp (train|predict|warmup|doctor)\b([^`\n]*)", text):
        options = {name for param in commands.commands[command].params for name in param.opts}
        assert set(re.findall(r"(--[a-z-]+)", rest)) <= {*options, "--help"}


@pytest.mark.parametrize("text", TEXTS.values(), ids=TEXTS)
def test_makefile_targets_exist(text):
    makefile = (ROOT / "Makefile").read_text()
    targets = set(re.findall(r"^([a-z]+):", makefile, re.MULTILINE))
    named = re.findall(r"(?:`|^)make ([a-z ]+)", text, re.MULTILINE)
    assert {target for words in named for target in words.split()} <= targets


@pytest.mark.parametrize("name", TEXTS)
def test_links_lead_somewhere(name):
    folder = (ROOT / name).parent
    for target in re.findall(r"\]\(([^)#:]+)\)", TEXTS[name]):
        assert (folder / target).exists(), f"{name} links to {target}"


@pytest.mark.parametrize("name", TEXTS)
def test_files_that_are_named_exist(name):
    for path in re.findall(r"`((?:kernels|fastmlp|tests|benchmarks|docs)/[\w/.]+)`", TEXTS[name]):
        assert (ROOT / path).exists(), f"{name} names {path}"


def test_functions_of_the_table_of_steps_exist():
    """`kernels/cpu/gemm.py`, `forward_rows` in the same row."""
    rows = re.findall(r"`(kernels/[\w/.]+)`, `(\w+)`", TEXTS["docs/backpropagation.md"])
    assert len(rows) >= 10
    for path, function in rows:
        source = (ROOT / path).read_text()
        found = re.search(rf"^(def {function}\(|{function} = )", source, re.MULTILINE)
        assert found, f"{path} has no {function}"
