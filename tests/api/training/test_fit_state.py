"""Fingerprints of data, and the words for a difference."""

from __future__ import annotations

import numpy as np
import pytest

from fastmlp.errors import OptionError
from fastmlp.training.differences import check_same
from fastmlp.training.fit_state import FitState, Told, described, fingerprint

SMALL = np.arange(12.0).reshape(4, 3)


def test_small_arrays_by_every_bit():
    same = fingerprint(SMALL)
    assert same == fingerprint(np.asfortranarray(SMALL)) == fingerprint(SMALL[::-1][::-1])
    others = [SMALL.T, SMALL.reshape(3, 4), SMALL.astype("f4"), SMALL[:3], SMALL + 0, -SMALL]
    others[4][3, 2] = np.nextafter(11.0, 12.0)
    prints = {fingerprint(array) for array in others}
    assert len(prints) == 6
    assert same not in prints
    assert fingerprint(None) is None
    assert fingerprint(SMALL[:0]) != fingerprint(SMALL[:0].astype("i8"))


@pytest.mark.parametrize("shape", [(20_000_000,), (9_000_000, 2), (3, 6_000_000), (1, 17_000_000)])
def test_large_arrays_by_parts_from_end_to_end(shape):
    array = np.zeros(shape, np.float32)
    before = fingerprint(array)
    for place in (0, -1):
        array[place] = 1.0
        assert fingerprint(array) != before
        array[place] = 0.0
    assert fingerprint(array) == before


@pytest.mark.parametrize(
    ("then", "now", "words"),
    [
        ({"a": {"b": [1, 2]}}, {"a": {"b": [1, 3]}}, "another a.b[1]: 2 then, 3 now; do"),
        ({"a": 1}, {"a": True}, "another a: 1 then, True now"),
        ({"a": 1}, {}, "another a: 1 then, None now"),
        ({}, {"b": 2.5}, "another b: None then, 2.5 now"),
        ({"a": [1]}, {"a": [1, 2]}, "another a: [1] then, [1, 2] now"),
        ({"a": "x" * 99}, {"a": 1}, "another a: 'xxx"),
    ],
)
def test_a_difference_is_named(then, now, words):
    with pytest.raises(OptionError) as caught:
        check_same(then, now, "settings", "do so")
    assert words in str(caught.value)
    assert len(str(caught.value)) < 250
    check_same(then, dict(then), "settings", "do so")


def test_settings_as_plain_values():
    assert described([1, (2.5, None), {"a": float("inf")}]) == [1, [2.5, None], {"a": "inf"}]
    assert described(described) == "described"
    assert described(FitState({"a": 1})) == {"name": "FitState", "values": {"a": 1}, "arrays": {}}
    assert described(object()) == "object"


def test_parts_come_back():
    state, array = FitState({}), np.arange(3)
    state.put("callback1", {"n": 1, "x": array})
    state.put("callback10", {"x": array[:1]})
    found = state.get("callback1")
    assert (found["n"], found["x"].tolist(), len(found)) == (1, [0, 1, 2], 2)
    assert list(state.get("callback10")) == ["x"]
    assert state.get("callback2") == {}


@pytest.mark.parametrize("counter", ["n_of_steps", "n_of_epoch"])
def test_what_was_told_of_an_epoch(counter):
    """A call that is under way counts as made; a fit without its last callbacks has told all."""
    told = Told(n_of_steps=2, is_evaluated=True, n_of_epoch=3, stopped_by="callback")
    plain = told.to_dict(None)
    assert Told.from_dict(plain, 3) == told
    assert told.to_dict(counter) == {**plain, counter: plain[counter] + 1}
    assert getattr(Told.from_dict(plain, 1), counter) == 1
    assert Told.from_dict(plain, 1).is_evaluated
    for wrong in ("interrupt", "", 1):
        with pytest.raises(ValueError, match="a fit stopped by"):
            Told.from_dict({**plain, "stopped_by": wrong}, 3)
    with pytest.raises(TypeError):
        Told.from_dict({**plain, "more": 1}, 3)


@pytest.mark.parametrize(
    ("shape", "digits"),
    [
        ((3, 4), "4c844a780e771f2d"),
        ((90_000_000,), "0c8f337ddc99c3fd"),
        ((3, 30_000_000), "88aa16edd6684522"),
        ((30_000_000, 3), "3094ffcb312003c0"),
    ],
)
def test_fingerprints_are_those_of_files_written_before(shape, digits):
    """With others, a checkpoint would be refused as one of other data."""
    whole = np.resize(np.arange(251, dtype=np.uint8), 90_000_000)
    assert fingerprint(whole[: np.prod(shape)].reshape(shape)).startswith(digits)
