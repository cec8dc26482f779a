"""The mutator: which changes it makes, and that a trial tells noticed mutants from others."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from tests.mutants import __main__ as command
from tests.mutants import trial
from tests.mutants.covered_by import GROUPS, ROOT
from tests.mutants.equivalent import EQUIVALENT
from tests.mutants.operators import mutants_of


@pytest.mark.parametrize(
    ("source", "changes"),
    [
        ("a + b", {"a + b -> (a - b)"}),
        ("a << b", {"a << b -> (a >> b)"}),
        ("a < b", {"a < b -> (a <= b)"}),
        ("a is not b", {"a is not b -> (a is b)"}),
        ("a and b", {"a and b -> (a or b)"}),
        ("not a", {"not a -> (a)"}),
        ("-a", {"-a -> (a)"}),
        ("3", {"3 -> (4)"}),
        ("0.0", {"0.0 -> (1.0)"}),
        ("2.5", {"2.5 -> (5.0)"}),
        ("True", {"True -> (False)"}),
        ("'text'", set()),
        ("a += b", {"a += b -> a -= b", "a += b -> pass"}),
        ("f(a)", {"f(a) -> pass"}),
        ("x = f(a, b)", {"f(a, b) -> (f(b, a))"}),
        ("x = f(a, a)", set()),
        ("x = isinstance(a, b | c)", set()),
        ("x = max(a, b)", set()),
        ("x = np.maximum(a, b)", set()),
        ("x = f(a, strict=True)", set()),
        ("a.b = c", {"a.b = c -> pass"}),
        ("a = c", set()),
        ("raise E(1 + 2)", {"raise E(1 + 2) -> pass"}),
        ("for i in range(n): f[i]", {"range(n) -> (range(n + 1))", "range(n) -> (range(n - 1))"}),
        ("if a: b", {"a -> (not a)"}),
        ("if a == b: c", {"a == b -> (a != b)"}),
        ("if a < b: c", {"a < b -> (a <= b)", "a < b -> (not a < b)"}),
        ("x = [i for i in a if b]", {"b -> (not b)"}),
        ("def f(a: 3 = 4) -> 5: 'x'", {"4 -> (5)"}),
        ("x = f'{a + 1}'", set()),
        ("'ä'; a + b", {"a + b -> (a - b)"}),
    ],
)
def test_every_change(source, changes):
    found = mutants_of("x.py", source)
    assert {mutant.name.partition(": ")[2] for mutant in found} == changes
    for mutant in found:
        assert mutant.of(source) == source.replace(mutant.old, mutant.new, 1)


def test_a_mutant_is_named_by_the_function_around_it():
    source = "class A:\n    def b(self):\n        def c():\n            return 1\n"
    assert [m.name for m in mutants_of("x.py", source)] == ["x.py::A.b.c: 1 -> (2)"]
    # What binds less than its surroundings keeps its meaning.
    (mutant,) = [m for m in mutants_of("x.py", "y = a * b * 3") if m.old == "a * b"]
    assert mutant.of("y = a * b * 3") == "y = (a / b) * 3"


def test_mutants_of_the_same_words_have_numbers():
    found = mutants_of("x.py", "def f():\n    return [1, 1]\n")
    assert [m.name for m in found] == ["x.py::f: 1 -> (2)", "x.py::f: 1 -> (2) #2"]
    assert found[1].of("def f():\n    return [1, 1]\n") == "def f():\n    return [1, (2)]\n"


def test_the_same_seed_draws_the_same():
    drawn = command.drawn(20, 7)
    assert drawn == command.drawn(20, 7)
    assert drawn != command.drawn(20, 8)
    assert [m.path.startswith("kernels") for m, _ in drawn] == [True] * 10 + [False] * 10
    assert command.drawn(10, 7, "fastmlp") == drawn[10:]


def test_the_files_of_the_table_are_there():
    for group in GROUPS.values():
        for path, tests in group.items():
            assert (ROOT / path).exists()
            assert all((ROOT / test).exists() for test in tests)
    mutated = {path for group in GROUPS.values() for path in group}
    here = {str(path.relative_to(ROOT)) for path in (ROOT / "kernels" / "cpu").glob("*.py")}
    here |= {str(path.relative_to(ROOT)) for path in (ROOT / "fastmlp" / "spec").glob("*.py")}
    assert here - mutated == {"kernels/cpu/__init__.py", "fastmlp/spec/__init__.py"}


def test_mutants_that_nothing_can_notice_are_mutants_of_this_tree():
    """A list that has grown old would hide others of the same name."""
    paths = {name.partition("::")[0] for name in EQUIVALENT}
    names = {m.name for path in paths for m in mutants_of(path, (ROOT / path).read_text())}
    assert set(EQUIVALENT) <= names
    assert all(EQUIVALENT.values())


SOURCE = """
import os

def f(a, b):
    if a < 0:
        return a * 0 == 5
    while a == 3:
        a = 4
    if b == 1:
        os._exit(0)
    return a + b
"""
TESTS = """
from x import f

def test_f():
    assert f(1, 2) == 3
    assert f(3, 2) == 6
"""


# In a process of its own, as it forks: this one may have threads.
TRIALS = """
import json, pathlib, sys
from tests.mutants import trial
from tests.mutants.operators import mutants_of

folder, tests, changes = pathlib.Path(sys.argv[1]), sys.argv[2].split(), json.loads(sys.argv[3])
trial.ROOT = folder / "root"
trial._TIMES, trial._MORE_S = 0.0, 5.0
source = (trial.ROOT / "x.py").read_text()
mutants = {m.name.partition(": ")[2]: m for m in mutants_of("x.py", source)}
tree, fates = trial.Tree(folder / "copy"), []
for old, new in changes:
    fates.append(tree.try_(mutants[old]._replace(**new), tests)[0])
    assert (folder / "copy" / "tree" / "x.py").read_text() == source
    assert (trial.ROOT / "x.py").read_text() == source
print(json.dumps(fates))
"""


@pytest.fixture
def fates(tmp_path):
    """fates(*changes): what becomes of these mutants of a small repository, in a process."""
    root = tmp_path / "root"
    root.mkdir()
    failing = "def test_y():\n    assert 0\n"
    files = {"x.py": SOURCE, "test_x.py": TESTS, "test_y.py": failing, "pytest.ini": "[pytest]"}
    for name, text in files.items():
        (root / name).write_text(text)
    subprocess.run(["git", "init", "-q"], cwd=root, check=True)

    def fates(*changes, tests="test_x.py"):
        both = [change if isinstance(change, tuple) else (change, {}) for change in changes]
        done = subprocess.run(
            [sys.executable, "-c", TRIALS, str(tmp_path), tests, json.dumps(both)],
            cwd=ROOT, capture_output=True, text=True, timeout=600, check=False,
        )  # fmt: skip
        return json.loads(done.stdout.splitlines()[-1]) if done.returncode == 0 else done.stderr

    return fates


def test_a_trial_tells_what_became_of_a_mutant(fates):
    crash = {"new": "__import__('ctypes').string_at(0)"}
    found = fates(
        "a + b -> (a - b)", "a < 0 -> (a <= 0)", "4 -> (5)", "0 -> (1)", "a < 0 -> (not a < 0)",
        "a == 3 -> (a != 3)", ("a + b -> (a - b)", crash),
    )  # fmt: skip
    noticed, survived = "test: FAILED test_x.py::test_f - ", trial.SURVIVED
    wanted = [noticed, survived, noticed, survived, noticed, "time: no test ended in time",
              "crash: SIGSEGV"]  # fmt: skip
    assert len(found) == len(wanted)
    assert all(map(str.startswith, found, wanted)), found


def test_tests_that_fail_without_a_mutant_try_nothing(fates):
    said = fates("4 -> (5)", tests="test_x.py test_y.py")
    assert "RuntimeError: test_y.py must pass without a mutant" in said
