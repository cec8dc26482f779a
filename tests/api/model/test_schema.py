"""What the text of a model file may be: every value of another kind is named."""

from __future__ import annotations

import copy

import pytest

from fastmlp.model.schema import check_content
from tests.fuzz.corpus import models
from tests.fuzz.model_files import parts

CHECKPOINT = parts(models(2)["checkpoint"])[0]


def places(value, above=()):
    """Where values stand in a text: keys of mappings, the first of a list."""
    items = value.items() if isinstance(value, dict) else ()
    if isinstance(value, list):
        items = list(enumerate(value))[:1]
    for key, inner in items:
        yield (*above, key)
        yield from places(inner, (*above, key))


def changed(content, place, change):
    made = copy.deepcopy(content)
    *above, last = place
    within = made
    for key in above:
        within = within[key]
    change(within, last)
    return made


# Below these anything may stand, which others check.
FREE = {"extra", "optimizer", "settings", "data", "schedule", "labels"}
KNOWN = [
    place
    for place in places(CHECKPOINT)
    if not FREE & set(place[:-1]) and not str(place[:2]).startswith("('fit', 'callback")
]


def test_what_was_written_is_taken():
    check_content(CHECKPOINT)
    assert len(KNOWN) > 40
    assert {"spec", "history", "fit", "classes"} <= {place[0] for place in KNOWN}


class Other:
    """Of no kind that JSON has."""


@pytest.mark.parametrize("place", KNOWN, ids=lambda place: ".".join(map(str, place)))
def test_a_value_of_another_kind_is_named(place):
    def put(within, key):
        within[key] = Other()

    with pytest.raises(ValueError, match=r"must be|must have") as caught:
        check_content(changed(CHECKPOINT, place, put))
    assert str(caught.value).startswith("it")
    # It names the value, or what it stands in where several kinds are allowed.
    assert any(str(key) in str(caught.value) for key in place)


# What may be missing where other names are those of callbacks.
OF_FIT = {("fit", "loop"), ("fit", "schedule"), ("fit", "shuffle")}
NAMES = [place for place in KNOWN if isinstance(place[-1], str) and place not in OF_FIT]


@pytest.mark.parametrize("place", NAMES, ids=lambda place: ".".join(map(str, place)))
def test_a_name_is_not_another(place):
    def rename(within, key):
        within[f"{key}s"] = within.pop(key)

    with pytest.raises(ValueError, match=r"must have|must not have"):
        check_content(changed(CHECKPOINT, place, rename))


# What files of an older version, or of another kind of fit, need not have.
MAY_BE_MISSING = {
    *(("spec", name) for name in ("dropout", "input_dropout", "norm", "residual", "embeddings")),
    *(("spec", name) for name in ("l1", "l2", "init", "dtype", "seed", "device", "n_threads")),
    *((name,) for name in ("optimizer_steps", "optimizer_rate", "history", "fit")),
}


@pytest.mark.parametrize(
    "place",
    [
        place
        for place in NAMES
        if place[:1] != ("fit",) or place[-1] in ("settings", "told", "data")
    ],
    ids=lambda place: ".".join(map(str, place)),
)
def test_what_may_be_missing(place):
    content = changed(CHECKPOINT, place, lambda within, key: within.pop(key))
    if place in MAY_BE_MISSING:
        check_content(content)
        return
    with pytest.raises(ValueError, match=f"must have '{place[-1]}'"):
        check_content(content)


@pytest.mark.parametrize(
    ("embeddings", "words"),
    [
        ({}, None),
        ({"0": [7, 2], "1" * 19: [0, 0]}, None),
        ({"x": [7, 2]}, "must have numbers of columns, got 'x'"),
        ({"-1": [7, 2]}, "got '-1'"),
        ({"1" * 20: [7, 2]}, "got '1111"),
        ({"": [7, 2]}, "got ''"),
        ({"0": [7]}, r"embeddings\[0\] must be \(categories, width\), got \[7\]"),
        ({"0": [7, 2, 1]}, "must be .categories, width"),
        ({"0": [7, -2]}, r"embeddings\[0\]\[1\] must be a whole number"),
        ({"0": 7}, r"embeddings\[0\] must be a list"),
        ([], "embeddings must be a mapping"),
    ],
)
def test_embeddings(embeddings, words):
    content = copy.deepcopy(CHECKPOINT)
    content["spec"]["embeddings"] = embeddings
    if words is None:
        check_content(content)
        return
    with pytest.raises(ValueError, match=words):
        check_content(content)
