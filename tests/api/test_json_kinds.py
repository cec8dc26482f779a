"""Kinds of values of a JSON text: what each takes and refuses, up to its limits, and where."""

import math
import sys

import pytest

from fastmlp import json_kinds as kinds

LARGEST = sys.float_info.max
either = kinds.either(kinds.boolean, kinds.list_of(kinds.count))
known = kinds.mapping({"a": kinds.count}, {"b": kinds.text})
more = kinds.mapping({"a": kinds.count}, rest=kinds.boolean)

TAKEN = [
    (kinds.count, [0, 1, 2**62 - 1]),
    (kinds.number, [0, -1, 0.5, LARGEST, -LARGEST, int(LARGEST)]),
    (kinds.name, ["", "a", "a" * 200]),
    (kinds.text, ["", "a" * 201]),
    (kinds.boolean, [True, False]),
    (kinds.optional(kinds.count), [None, 3]),
    (kinds.list_of(kinds.count), [[], [1, 2]]),
    (known, [{"a": 1}, {"a": 1, "b": "x"}]),
    (more, [{"a": 1}, {"a": 1, "c": True, "d": False}]),
    (either, [True, [], [3]]),
    (kinds.positive, [1, 0.1, LARGEST]),
    (kinds.among("a", 3), ["a", 3]),
    (kinds.different(kinds.count), [[], [1], [1, 2]]),
    (kinds.mapping_to(kinds.count), [{}, {"x": 1, "y": 2}]),
]
REFUSED = [
    (kinds.count, -1, "it must be a whole number from 0 on, got -1"),
    (kinds.count, 2**62, "got 4611686018427387904"),
    (kinds.count, True, "got True"),
    (kinds.count, 1.0, r"got 1\.0"),
    (kinds.number, math.inf, "it must be a finite number, got inf"),
    (kinds.number, -math.inf, "got -inf"),
    (kinds.number, math.nan, "got nan"),
    (kinds.count, 2**200 - 1, f"got {str(2**200 - 1)[:57]}"),
    (kinds.count, 2**200, "got a huge number"),
    (kinds.number, 10**309, "got a huge number"),
    (kinds.number, 2**1025, "got a huge number"),
    (kinds.number, -(2**1025), "got a huge number"),
    (kinds.number, False, "got False"),
    (kinds.number, "1", "got '1'"),
    (kinds.name, "a" * 201, "it must be a name, got 201 characters"),
    (kinds.name, 3, "it must be a text, got 3"),
    (kinds.boolean, 1, "it must be true or false, got 1"),
    (kinds.optional(kinds.count), "x", "got 'x'"),
    (kinds.list_of(kinds.count), (1,), "it must be a list"),
    (kinds.list_of(kinds.count), [1, 2, "x"], r"it\[2\] must be a whole number"),
    (known, [], "it must be a mapping"),
    (known, {"b": "x"}, "it must have 'a'"),
    (known, {"a": 1, "c": 1}, "it must not have 'c'"),
    (known, {"a": 1, "c" * 50: 1}, f"it must not have '{'c' * 40}'$"),
    (known, {"a": 1, "b": 1}, r"it\.b must be a text"),
    (more, {"a": 1, "c": 1}, r"it\.c must be true or false"),
    (either, "x", "it must be true or false, got 'x'"),
    (either, [-1], "it must be true or false"),
    (kinds.positive, 0, "it must be above 0, got 0"),
    (kinds.positive, -0.5, r"it must be above 0, got -0\.5"),
    (kinds.positive, math.inf, "it must be a finite number"),
    (kinds.among("a", 3), "b", r"it must be one of \('a', 3\), got 'b'"),
    (kinds.different(kinds.count), [1, 2, 1], "it must have no value twice"),
    (kinds.different(kinds.count), [1, -1], r"it\[1\] must be a whole number"),
    (
        kinds.mapping_to(kinds.count),
        {"x": 1, "y" * 50: "z"},
        rf"it\['{'y' * 40}'\] must be a whole",
    ),
    (kinds.mapping_to(kinds.count), [], "it must be a mapping"),
]


@pytest.mark.parametrize(("check", "values"), TAKEN)
def test_what_is_taken(check, values):
    for value in values:
        check(value, "it")


@pytest.mark.parametrize(("check", "value", "words"), REFUSED)
def test_what_is_refused_is_named(check, value, words):
    with pytest.raises(ValueError, match=words):
        check(value, "it")


@pytest.mark.parametrize(
    ("length", "shown"), [(58, "'" + "x" * 58 + "'"), (59, "'" + "x" * 56 + "...")]
)
def test_a_long_value_is_cut(length, shown):
    """To 60 characters, quotation marks counted."""
    with pytest.raises(ValueError, match="must be") as caught:
        kinds.count("x" * length, "it")
    assert str(caught.value).endswith(f"got {shown}")
