"""The picture of the imports between rooms, drawn from the code.

python -m tests.imports_picture docs/pictures/imports.png

Rows are the layers of `imports.LAYERS`. An arrow that follows from others is left out: where
a imports b and b imports c, no arrow says that a imports c too. Arrows to the kernels all stay.
"""

from __future__ import annotations

import itertools
import sys
from typing import TYPE_CHECKING, NamedTuple

from .imports import LAYERS, MODULES, rooms_below

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

FOLDER, MODULE, EDGE = "#cfe2f3", "#f3f3f3", "#44546a"
ALWAYS_SHOWN = "kernels"  # who imports this room
WIDTH_IN, ROW_IN, DPI = 10.0, 0.62, 100
BOX, GAP, PASSAGE = 1.0, 0.25, 0.22  # widths: of a box, beside it, of an arrow that passes a row
BOX_HEIGHT = 0.5
SWEEPS = 24


class Node(NamedTuple):
    """A room, or with `above` the place where the arrow from `above` to `room` passes a row."""

    row: int
    room: str
    above: str = ""

    @property
    def width(self) -> float:
        return PASSAGE if self.above else BOX


def row_of(room: str) -> int:
    """0 is the highest layer."""
    below = next(number for number, members in enumerate(LAYERS) if room in members)
    return len(LAYERS) - 1 - below


def shortest(below: dict[str, set[str]]) -> list[tuple[str, str]]:
    """The arrows that do not follow from others; ValueError for one that does not lead down."""
    for room, others in below.items():
        for other in others:
            if row_of(other) <= row_of(room):
                raise ValueError(f"{room} must import what lies below it, got an import of {other}")
    reached: dict[str, set[str]] = {}
    for room in sorted(below, key=row_of, reverse=True):
        reached[room] = set().union(below[room], *(reached[other] for other in below[room]))
    return [
        (room, other)
        for room in below
        for other in sorted(below[room])
        if other == ALWAYS_SHOWN or not any(other in reached[one] for one in below[room])
    ]


def paths(arrows: list[tuple[str, str]]) -> list[list[Node]]:
    """Each arrow as a node for each row from its first to its last."""
    found = []
    for above, room in arrows:
        rows = range(row_of(above) + 1, row_of(room))
        passages = [Node(row, room, above) for row in rows]
        found.append([Node(row_of(above), above), *passages, Node(row_of(room), room)])
    return found


def placed(routes: list[list[Node]]) -> dict[Node, float]:
    """The x of every node: rows are sorted by their neighbours' mean x, and kept apart."""
    rooms = [Node(row_of(name), name) for members in LAYERS for name in members]
    nodes = dict.fromkeys([*rooms, *itertools.chain.from_iterable(routes)])
    rows: dict[int, list[Node]] = {}
    for node in nodes:
        rows.setdefault(node.row, []).append(node)
    near: dict[Node, list[Node]] = {node: [] for node in nodes}
    for route in routes:
        for upper, lower in itertools.pairwise(route):
            near[upper].append(lower)
            near[lower].append(upper)
    x: dict[Node, float] = {}
    for row in rows.values():
        x |= {node: float(place) for place, node in enumerate(row)}
    for sweep in range(SWEEPS):
        for row in sorted(rows, reverse=bool(sweep % 2)):
            wanted = {
                node: sum(x[other] for other in near[node]) / max(len(near[node]), 1)
                for node in rows[row]
            }
            members = sorted(rows[row], key=lambda node: (wanted[node], node))
            x |= apart(members, wanted)
    return x


def apart(members: list[Node], wanted: dict[Node, float]) -> dict[Node, float]:
    """Places in this order, each near where it is wanted, none within its neighbour."""
    runs: list[tuple[list[Node], float]] = []  # nodes side by side, and the x of the first
    for node in members:
        run, start = [node], wanted[node]
        while runs and runs[-1][1] + extent(runs[-1][0], run) > start:
            before = runs.pop()[0]
            run = before + run
            starts = [wanted[one] - at for one, at in zip(run, offsets(run), strict=True)]
            start = sum(starts) / len(starts)
        runs.append((run, start))
    return {
        node: start + at for run, start in runs for node, at in zip(run, offsets(run), strict=True)
    }


def offsets(run: list[Node]) -> list[float]:
    """Centres of nodes side by side, from the first one's."""
    steps = [(a.width + b.width) / 2 + GAP for a, b in itertools.pairwise(run)]
    return [0.0, *itertools.accumulate(steps)]


def extent(before: list[Node], run: list[Node]) -> float:
    """From the first centre of `before` to the first centre of `run` beside it."""
    return offsets([*before, run[0]])[-1]


def label(room: str) -> str:
    return f"{room}/" if is_folder(room) else f"{room}.py"


def is_folder(room: str) -> bool:
    return MODULES[room].name == "__init__.py"


def draw() -> Figure:
    from matplotlib.figure import Figure

    routes = paths(shortest(rooms_below()))
    x = placed(routes)
    figure = Figure(figsize=(WIDTH_IN, ROW_IN * len(LAYERS)), dpi=DPI, layout="constrained")
    axes = figure.subplots()
    for route in routes:
        draw_arrow(axes, route, x)
    for node, at in x.items():
        if not node.above:
            draw_box(axes, node, at)
    edges = [at + side * node.width / 2 for node, at in x.items() for side in (-1, 1)]
    axes.set_xlim(min(edges) - 0.1, max(edges) + 0.1)
    axes.set_ylim(0.5 - len(LAYERS), 0.5)
    axes.set_axis_off()
    return figure


def draw_box(axes: Axes, node: Node, x: float) -> None:
    from matplotlib.patches import Rectangle

    left, bottom = x - BOX / 2, -node.row - BOX_HEIGHT / 2
    colour = FOLDER if is_folder(node.room) else MODULE
    axes.add_patch(
        Rectangle((left, bottom), BOX, BOX_HEIGHT, facecolor=colour, edgecolor=EDGE, zorder=2)
    )
    axes.text(x, -node.row, label(node.room), ha="center", va="center", fontsize=10, zorder=3)


def draw_arrow(axes: Axes, route: list[Node], x: dict[Node, float]) -> None:
    """From the lower edge of the first box to the upper edge of the last, upright where it passes
    a row."""
    from matplotlib.patches import FancyArrowPatch
    from matplotlib.path import Path

    half = BOX_HEIGHT / 2
    points = [(x[route[0]], -route[0].row - half)]
    codes = [Path.MOVETO]
    for lower in route[1:]:
        (x0, y0), (x1, y1) = points[-1], (x[lower], half - lower.row)
        points += [(x0, (y0 + y1) / 2), (x1, (y0 + y1) / 2), (x1, y1)]
        codes += [Path.CURVE4] * 3
        if lower.above:
            points.append((x1, -half - lower.row))
            codes.append(Path.LINETO)
    axes.add_patch(
        FancyArrowPatch(
            path=Path(points, codes),
            arrowstyle="-|>",
            mutation_scale=9,
            color=EDGE,
            linewidth=1.0,
            zorder=1,
        )
    )


def description() -> str:
    """The arrows as text, which the picture's file keeps: a test compares them with the code."""
    return "; ".join(f"{above} > {room}" for above, room in shortest(rooms_below()))


def main() -> None:
    draw().savefig(sys.argv[1], metadata={"Software": None, "Description": description()})


if __name__ == "__main__":
    main()
