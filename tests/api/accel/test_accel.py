"""Programs written for scikit-learn, run with our estimators: patching, the runner, outputs."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import sklearn.neural_network
from sklearn.neural_network import _multilayer_perceptron

import fastmlp
from fastmlp.estimators.hooks import SklearnClassifier
from tests.conftest import ROOT

PROGRAMS = Path(__file__).parent / "sklearn_programs"


@pytest.fixture(autouse=True)
def unpatched():
    yield
    fastmlp.unpatch_sklearn()


def run(*arguments, code=0, **environment):
    done = subprocess.run(
        [sys.executable, "-W", "ignore", *arguments], cwd=ROOT, capture_output=True, text=True,
        timeout=300, check=False, env={**os.environ, "PYTHONPATH": str(ROOT), **environment},
    )  # fmt: skip
    assert done.returncode == code, done.stderr
    return done


def test_patching_and_back():
    for module in (sklearn.neural_network, _multilayer_perceptron):
        assert module.MLPClassifier is SklearnClassifier
    assert not fastmlp.is_patched()
    for _ in range(2):
        fastmlp.patch_sklearn()
        assert fastmlp.is_patched()
        from sklearn.neural_network import MLPClassifier, MLPRegressor

        assert (MLPClassifier, MLPRegressor) == (fastmlp.MLPClassifier, fastmlp.MLPRegressor)
    for _ in range(2):
        fastmlp.unpatch_sklearn()
        assert not fastmlp.is_patched()
        assert sklearn.neural_network.MLPClassifier is SklearnClassifier


def test_scikit_learn_finds_its_estimators_all_the_same():
    from sklearn.utils import all_estimators

    before = {name for name, _ in all_estimators()}
    fastmlp.patch_sklearn()
    assert {name for name, _ in all_estimators()} == before


def test_the_environment_variable_patches():
    code = "import fastmlp; print(fastmlp.is_patched())"
    assert run("-c", code, FASTMLP_PATCH="1").stdout == "True\n"
    assert run("-c", code, FASTMLP_PATCH="").stdout == "False\n"


def numbers(text: str) -> list[float]:
    return [float(number) for number in re.findall(r"-?\d+\.\d+", text)]


@pytest.mark.parametrize("program", sorted(p.name for p in PROGRAMS.glob("*.py")))
def test_a_program_prints_with_ours_what_it_prints_with_scikit_learn(program):
    path = str(PROGRAMS / program)
    plain, patched = run(path).stdout, run("-m", "fastmlp.accel", path).stdout
    assert "trained by sklearn." in plain
    assert "trained by fastmlp." in patched
    # Rows come in another order, so scores differ a little and the rest not at all.
    assert re.sub(r"-?\d+\.\d+|by \w+", "", plain) == re.sub(r"-?\d+\.\d+|by \w+", "", patched)
    wanted, found = numbers(plain), numbers(patched)
    assert len(found) == len(wanted) >= 2
    assert found == pytest.approx(wanted, abs=0.03)


def test_the_runner_is_like_python_itself(tmp_path):
    script = tmp_path / "program.py"
    (tmp_path / "beside.py").write_text("value = 7\n")
    script.write_text(
        "import sys, beside\n"
        "from sklearn.neural_network import MLPClassifier\n"
        "print(__name__, sys.argv[1:], beside.value, MLPClassifier.__module__.split('.')[0])\n"
        "if sys.argv[1] == 'exit':\n    sys.exit(3)\n"
        "if sys.argv[1] == 'fail':\n    [][1]\n"
    )
    told = "__main__ ['{}', '-x'] 7 fastmlp\n"
    for word, code in (("go", 0), ("exit", 3), ("fail", 1)):
        done = run("-m", "fastmlp.accel", str(script), word, "-x", code=code)
        assert done.stdout == told.format(word)
    frames = [line for line in done.stderr.splitlines() if line.startswith("  File")]
    assert frames == [f'  File "{script}", line 7, in <module>']
    as_module = run("-m", "fastmlp.accel", "-m", "program", "go", "-x",
                    PYTHONPATH=f"{ROOT}{os.pathsep}{tmp_path}")  # fmt: skip
    assert as_module.stdout == told.format("go")


def test_the_runner_says_what_it_needs():
    assert (
        "a script, or -m and a module, must be given" in run("-m", "fastmlp.accel", code=1).stderr
    )
    assert "there is no such file" in run("-m", "fastmlp.accel", "nowhere.py", code=1).stderr
    assert run("-m", "fastmlp.accel", "--help").stdout.startswith("usage: python -m fastmlp.accel")
