"""The documents are true: their Python runs, their links lead somewhere, their commands exist."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from fastmlp.cli import commands
from fastmlp.spec import devices

ROOT = Path(__file__).parents[1]
DOCUMENTS = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
TEXTS = {str(path.relative_to(ROOT)): path.read_text() for path in DOCUMENTS}
# The pages about the code, which name its files from fastmlp/ on, or by their names alone.
ABOUT_CODE = [name for name in TEXTS if name.startswith(("docs/architecture", "docs/design/"))]
FOLDERS = ("kernels", "fastmlp", "tests", "benchmarks")
MOST_WORDS_OF_MAP = 1500


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


@pytest.mark.parametrize("name", ABOUT_CODE)
def test_files_of_the_code_exist(name):
    """`engine/store.py` and `layout/` in fastmlp/ or beside it, `store.py` anywhere."""
    known = {path.name for folder in FOLDERS for path in (ROOT / folder).rglob("*.py")}
    for path in re.findall(r"`([\w./]+(?:\.py|/))`", TEXTS[name]):
        if "/" in path:
            assert any((root / path).exists() for root in (ROOT, ROOT / "fastmlp")), path
        else:
            assert path in known, path


@pytest.mark.parametrize("name", ABOUT_CODE)
def test_what_is_named_with_its_file_exists(name):
    """`run_crew` (`engine/cpu/crew.py`), `Job` in `kernels/structs.py`."""
    for full, path in re.findall(r"`([\w.]+)`(?: \(| in )`([\w/]+\.py)`", TEXTS[name]):
        file = next(root / path for root in (ROOT, ROOT / "fastmlp") if (root / path).exists())
        last = full.rpartition(".")[2]
        made = rf"^ *(?:def|class) {last}\b|^{last}(?:: \w+)? = "
        found = re.search(made, file.read_text(), re.MULTILINE)
        assert found, f"{name}: {path} has no {full}"


def test_the_map_is_short():
    assert len(TEXTS["docs/architecture.md"].split()) <= MOST_WORDS_OF_MAP


def test_the_map_names_every_room_and_every_page_of_reasons():
    text = TEXTS["docs/architecture.md"]
    for path in (ROOT / "fastmlp").iterdir():
        if path.suffix == ".py" and not path.stem.startswith("__"):
            assert f"`{path.name}`" in text
        elif (path / "__init__.py").exists():
            assert f"`{path.name}/`" in text
    for page in (ROOT / "docs" / "design").iterdir():
        assert f"(design/{page.name})" in text


def test_functions_of_the_table_of_steps_exist():
    """`kernels/cpu/gemm.py`, `forward_rows` in the same row."""
    rows = re.findall(r"`(kernels/[\w/.]+)`, `(\w+)`", TEXTS["docs/backpropagation.md"])
    assert len(rows) >= 10
    for path, function in rows:
        source = (ROOT / path).read_text()
        found = re.search(rf"^(def {function}\(|{function} = )", source, re.MULTILINE)
        assert found, f"{path} has no {function}"
