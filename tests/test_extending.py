"""docs/extending.md is true: its examples apply to the tree, touch few files and pass the tests.

They are applied to a copy of the tree, whose tests then run for the names that are new. `make test`
tries all examples together, in float32; `make trust` tries each alone as well, in both types.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest

from .conftest import LONG
from .extending import PAGE, Change, Example, ExampleError, Hunk, changed_copy, changes_of, examples

EXAMPLES = examples(PAGE.read_text())
# How many files a person edits to add one of a kind.
MOST_FILES = {"activation": 4, "loss": 5, "optimizer": 5, "kind of layer": 8}
# The tests that each kind has for every one of its names, and that an example must have passed:
# values beside the oracle, derivatives, sizes around a vector, threads, the GPU's twin, the page.
ON_CPU = {
    "activation": {
        "test_value_and_derivative_are_those_of_the_definition",
        "test_derivative_is_that_of_the_value",
        "test_block_leaves_zeros_in_the_padding_and_nothing_beyond",
        "test_gradients_are_those_of_the_oracle",
        "test_bits_of_every_function_do_not_depend_on_the_number_of_threads",
        "test_activations",
    },
    "loss": {
        "test_value_and_gradient_are_those_of_the_definition",
        "test_gradient_is_that_of_the_value",
        "test_gradients_are_those_of_the_oracle",
        "test_bits_of_every_function_do_not_depend_on_the_number_of_threads",
        "test_losses",
    },
    "optimizer": {
        "test_fifty_updates_are_those_of_the_formulas",
        "test_padding_of_weights_and_states_stays_zero",
        "test_a_gradient_that_is_not_a_number_is_not_hidden",
        "test_bits_of_every_function_do_not_depend_on_the_number_of_threads",
        "test_optimizers",
    },
    "kind of layer": {
        "test_both_ways_are_those_of_the_oracle_around_a_vector_and_a_tile",
        "test_vectors_lie_behind_the_bias_and_begin_at_their_values",
        "test_gradients_through_a_kind_of_layer_are_those_of_the_oracle",
        "test_bits_of_every_function_do_not_depend_on_the_number_of_threads",
        "test_kinds_of_layers",
    },
}
IN_SIMULATOR = {
    "activation": {
        "test_activations_are_those_of_their_definitions",
        "test_the_gpu_computes_what_the_cpu_does",
    },
    "loss": {
        "test_losses_are_those_of_their_definitions",
        "test_the_gpu_computes_what_the_cpu_does",
    },
    "optimizer": {
        "test_update_rules_are_those_of_the_formulas",
        "test_the_gpu_computes_what_the_cpu_does",
    },
    "kind of layer": {"test_the_gpu_computes_what_the_cpu_does"},
}
FOR_ALL_NAMES = ["tests/kernels/test_codes.py", "tests/test_repository.py"]


def python(folder: Path, *arguments: str, **environment: str) -> None:
    """Run Python in a changed copy, which has a cache of machine code of its own."""
    cache = folder / ".cache" / "fastmlp"
    variables = {"PYTHONPATH": str(folder), "FASTMLP_CACHE_DIR": str(cache), **environment}
    done = subprocess.run(
        [sys.executable, *arguments], cwd=folder, env=os.environ | variables,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-5000:]


def passed(folder: Path, files: list[str], chosen: str, **environment: str) -> set[tuple[str, str]]:
    """Run these tests of a copy, as far as their names fit `chosen`: the functions that passed,
    each with the names that it was called with."""
    report = folder / "report.xml"
    options = ["-q", "-p", "no:cacheprovider", "-o", "junit_family=xunit1", f"--junitxml={report}"]
    python(folder, "-m", "pytest", *options, "-k", chosen, *files, **environment)
    found = set()
    for case in ElementTree.parse(report).iter("testcase"):
        function, _, parameters = case.attrib["name"].removesuffix("]").partition("[")
        if case.find("skipped") is None:
            found.add((function, parameters))
    return found


def check(folder: Path, chosen: list[Example], quick: bool) -> None:
    """Apply examples to a copy of the tree, and run its tests for their names and its programs;
    `quick`: neither tests of float64, nor those of gradients that compile its loop."""
    changed_copy(folder, chosen)
    names = " or ".join(example.name for example in chosen)
    python(folder, "-m", "pytest", "-q", "-p", "no:cacheprovider", *FOR_ALL_NAMES)
    files = ["tests/kernels", "tests/test_functions.py", *([] if quick else ["tests/api"])]
    also = " and not (float64 or differences)" if quick else ""
    on_cpu = passed(folder, files, f"({names}){also}")
    simulated = passed(folder, ["tests/cuda"], names, NUMBA_ENABLE_CUDASIM="1")
    for example in chosen:
        for wanted, found in ((ON_CPU, on_cpu), (IN_SIMULATOR, simulated)):
            tested = {function for function, names in found if example.name in names}
            assert wanted[example.kind] <= tested, example.name
        for program in example.programs:
            python(folder, "-c", program)


def test_the_page_shows_one_example_of_each_kind():
    assert sorted(example.kind for example in EXAMPLES.values()) == sorted(MOST_FILES)


@pytest.mark.parametrize("name", EXAMPLES)
def test_an_example_touches_few_files_and_trains(name):
    example = EXAMPLES[name]
    assert 0 < len(example.files) <= MOST_FILES[example.kind], sorted(example.files)
    assert any(".fit(" in program for program in example.programs)


def test_all_examples_together_pass_their_tests(tmp_path):
    check(tmp_path / "copy", list(EXAMPLES.values()), quick=not LONG)


@pytest.mark.skipif(not LONG, reason="minutes each: make trust")
@pytest.mark.parametrize("name", EXAMPLES)
def test_each_example_alone_passes_its_tests(name, tmp_path):
    check(tmp_path / "copy", [EXAMPLES[name]], quick=False)


DIFF = """\
--- a/one.py
+++ b/one.py
@@ -1,2 +1,2 @@ whatever the numbers are
 first
-second
+changed

--- /dev/null
+++ b/folder/two.py
@@ -0,0 +1 @@
+new
"""


def test_a_change_is_found_by_its_lines_alone(tmp_path):
    (tmp_path / "one.py").write_text("shifted\nfirst\nsecond\n\nlast\n")
    for change in changes_of(DIFF):
        change.apply(tmp_path)
    assert (tmp_path / "one.py").read_text() == "shifted\nfirst\nchanged\n\nlast\n"
    assert (tmp_path / "folder" / "two.py").read_text() == "new\n"


@pytest.mark.parametrize(
    ("text", "times"), [("first\nother\n", "0 times"), ("first\nsecond\n" * 2, "2 times")]
)
def test_a_change_that_does_not_fit_says_which_lines(text, times, tmp_path):
    (tmp_path / "one.py").write_text(text)
    change = Change("one.py", False, (Hunk(("first", "second"), ("first",)),))
    with pytest.raises(ExampleError, match=rf"one.py .* {times}; mend the example:\n  first\n"):
        change.apply(tmp_path)
    assert (tmp_path / "one.py").read_text() == text


@pytest.mark.parametrize("is_new", [True, False])
def test_a_file_that_is_new_must_not_be_there_and_another_must(is_new, tmp_path):
    if is_new:
        (tmp_path / "one.py").write_text("")
    with pytest.raises(ExampleError, match=r"one\.py is "):
        Change("one.py", is_new, ()).apply(tmp_path)
