"""The picture of the imports shows what the code imports, and every arrow leads down."""

from __future__ import annotations

import itertools

import pytest

from . import imports_picture
from .imports import ROOT, rooms_below
from .imports_picture import GAP, paths, placed, shortest

PICTURE = ROOT / "docs" / "pictures" / "imports.png"


def test_the_picture_is_drawn_from_this_code():
    assert imports_picture.description().encode() in PICTURE.read_bytes(), "run `make pictures`"


def test_arrows_left_out_follow_from_others():
    below = rooms_below()
    shown: dict[str, set[str]] = {room: set() for room in below}
    for above, room in shortest(below):
        shown[above].add(room)

    def reached(room: str) -> set[str]:
        return shown[room].union(*(reached(other) for other in shown[room]))

    for room, others in below.items():
        assert others <= reached(room)


def test_an_import_upwards_is_refused():
    below = rooms_below()
    below["engine"].add("training")
    with pytest.raises(ValueError, match="engine must import what lies below it"):
        shortest(below)


def test_rooms_of_a_row_do_not_overlap():
    x = placed(paths(shortest(rooms_below())))
    for row in {node.row for node in x}:
        members = sorted((node for node in x if node.row == row), key=x.__getitem__)
        for left, right in itertools.pairwise(members):
            least = (left.width + right.width) / 2 + GAP
            assert x[right] - x[left] >= least - 1e-9
