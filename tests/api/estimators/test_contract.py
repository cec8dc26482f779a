"""Scikit-learn's own checks and tests, run on our estimators."""

from __future__ import annotations

import re
import subprocess
import sys
import warnings
from collections import Counter

import pytest
from sklearn.neural_network import _multilayer_perceptron as theirs
from sklearn.utils.estimator_checks import check_estimator

import fastmlp
from tests.conftest import ROOT


def statuses(estimator) -> tuple[Counter, dict[str, str]]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = check_estimator(estimator, on_fail=None)
    others = {c["check_name"]: c["status"] for c in found if c["status"] != "passed"}
    return Counter(c["status"] for c in found), others


@pytest.mark.parametrize("name", ["MLPClassifier", "MLPRegressor"])
def test_as_many_checks_pass_as_with_scikit_learns_own(name):
    ours, other = statuses(getattr(fastmlp, name)())
    wanted, skipped = statuses(getattr(theirs, name)())
    assert set(ours) <= {"passed", "skipped"}, other
    assert other == skipped
    assert ours["passed"] >= wanted["passed"] >= 59


def run_their_tests(*options):
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "--pyargs", "sklearn.neural_network.tests.test_mlp", "-q",
         "-c", "/dev/null", "-p", "no:cacheprovider", *options],
        cwd=ROOT, capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-3000:]
    return done.stdout.splitlines()[-1]


def test_scikit_learns_test_module_passes_with_our_classes():
    collected = re.match(r"(\d+) tests collected", run_their_tests("--collect-only"))
    assert int(collected[1]) >= 58
    found = run_their_tests("-p", "fastmlp.accel.pytest_plugin")
    assert found.startswith(f"{collected[1]} passed")


def test_the_plugin_tests_our_classes(tmp_path):
    (tmp_path / "test_which.py").write_text(
        "from sklearn.neural_network import MLPClassifier\n"
        "def test_which():\n    assert MLPClassifier.__module__.startswith('fastmlp.')\n"
    )
    command = [sys.executable, "-m", "pytest", "-q", "-c", "/dev/null", "-p", "no:cacheprovider"]
    for plugin, code in ((["-p", "fastmlp.accel.pytest_plugin"], 0), ([], 1)):
        done = subprocess.run(
            [*command, *plugin, str(tmp_path)], cwd=ROOT, capture_output=True, timeout=100,
            check=False,
        )  # fmt: skip
        assert done.returncode == code


def test_importing_fastmlp_does_not_import_scikit_learn():
    code = "import sys, fastmlp; print([m for m in sys.modules if m.startswith('sklearn')])"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"
    assert {"MLPClassifier", "MLPRegressor", "patch_sklearn"} <= set(dir(fastmlp))
    with pytest.raises(AttributeError, match="no attribute 'MLPKlassifier'"):
        fastmlp.MLPKlassifier  # noqa: B018
