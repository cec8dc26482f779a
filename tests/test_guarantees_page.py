"""The figures of docs/guarantees.md are those of tests that passed in their long forms."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from tests import guarantees_page
from tests.conftest import ROOT

TESTED = """
import pytest
from tests.figures import Count

@pytest.mark.parametrize("n", [3, 4])
def test_counted(n, record_property):
    record_property("kills", Count(1000 * n))
    record_property("seconds", n / 7)

@pytest.mark.parametrize("n", [3, 4])
def test_silent(n):
    pass

def test_skipped(record_property):
    record_property("kills", Count(9))
    pytest.skip("not here")
"""
FAILS = "\ndef test_fails(record_property):\n    record_property('kills', Count(5))\n    assert 0\n"
BREAKS = "\n@pytest.fixture\ndef bad():\n    yield\n    1 / 0\n\ndef test_breaks(bad):\n    pass\n"
PAGE = f"""# Promises

{guarantees_page.HEAD}| all of | | |
| a | `tests/t.py::test_counted`, `tests/t.py::test_silent` | |
| b | `tests/t.py::test_skipped` | 7 kills |
| c | `tests/other.py::test_elsewhere`, `tests/t.py::test_silent` | 8 kills |

More | text | | |
"""


@pytest.fixture
def run(tmp_path):
    """run(code): the record of a run of tests/t.py that holds this code."""
    (tmp_path / "tests").mkdir()
    (tmp_path / "tests" / "conftest.py").write_text((ROOT / "tests" / "conftest.py").read_text())

    def run(code: str, long: str = "1"):
        (tmp_path / "tests" / "t.py").write_text(code)
        record = tmp_path / "build" / "record.json"
        made = {"FASTMLP_TRUST": long, "FASTMLP_FIGURES": str(record), "PYTHONPATH": str(ROOT)}
        subprocess.run(
            [sys.executable, "-m", "pytest", "-q", "-c", os.devnull, "--rootdir", str(tmp_path),
             "-p", "no:cacheprovider", "tests/t.py"],
            cwd=tmp_path, env=os.environ | made, capture_output=True, check=False,
        )  # fmt: skip
        return record

    return run


@pytest.fixture
def page(tmp_path):
    path = tmp_path / "page.md"
    path.write_text(PAGE)
    return path


def test_the_figures_of_what_passed_are_written(run, page, capsys):
    assert guarantees_page.main([str(run(TESTED)), "--into", str(page)]) == 0
    wanted = PAGE.replace(
        "test_silent` | |", "test_silent` | 7,000 kills; seconds: 0.57; 2 cases |"
    )
    assert page.read_text() == wanted
    assert capsys.readouterr().out.splitlines() == [
        "no new figure: tests/t.py::test_skipped did not run",
        "no new figure: tests/other.py::test_elsewhere did not run",
    ]
    # Again: the figures are those of the run, not added to those of the page.
    guarantees_page.main([str(run(TESTED)), "--into", str(page)])
    assert page.read_text() == wanted


@pytest.mark.parametrize(
    ("code", "long", "words"),
    [
        (TESTED + FAILS, "1", "without failures, got tests/t.py::test_fails"),
        (TESTED + BREAKS, "1", "without failures, got tests/t.py::test_breaks"),
        (TESTED + "\n1 / 0\n", "1", "without failures, got tests/t.py"),
        (TESTED + "\ndef test_ends():\n    pytest.exit('now', 3)\n", "1", "it ended before"),
        (TESTED + "\ndef test_stops():\n    raise KeyboardInterrupt\n", "1", "got status 2"),
        (TESTED, "0", "must be of the long forms; set FASTMLP_TRUST=1"),
    ],
    ids=["fails", "breaks", "imports", "ends", "stops", "short"],
)
def test_nothing_is_written_of_another_run(run, page, capsys, code, long, words):
    assert guarantees_page.main([str(run(code, long)), "--into", str(page)]) == 1
    assert words in capsys.readouterr().err
    assert page.read_text() == PAGE


def test_one_failed_run_of_several_is_enough(tmp_path, page):
    good = {"long": True, "status": 0, "failed": [], "tests": {"tests/t.py::test_silent": ["9 x"]}}
    for name, record in (("good", good), ("bad", {**good, "failed": ["tests/t.py::test_silent"]})):
        (tmp_path / name).write_text(json.dumps(record))
    names = [str(tmp_path / "good"), str(tmp_path / "bad")]
    assert guarantees_page.main([*names, "--into", str(page)]) == 1
    assert page.read_text() == PAGE


def test_the_page_has_its_table():
    text = guarantees_page.PAGE.read_text()
    assert guarantees_page.page(text, {})[0] == text
