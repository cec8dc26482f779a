"""The picture of the README: how many times as long as fastmlp each peer takes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .peers.names import TITLES
from .summary import Record, best_of_threads, time_text

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# Okabe and Ito's colours, told apart by colour-blind eyes too.
COLOURS = {"jax": "#0072B2", "torch": "#E69F00", "compile": "#D55E00", "sklearn": "#009E73"}
ORDER = ("jax", "torch", "compile", "sklearn")
WIDTH = 0.2


def ratios(records: list[Record]) -> dict[str, dict[str, float]]:
    """By case and peer: the time of a step divided by fastmlp's, each with its best threads."""
    return {
        case: {
            peer: record["us_per_step_best"] / peers["fastmlp"]["us_per_step_best"]
            for peer, record in peers.items()
            if peer != "fastmlp"
        }
        for case, peers in best_of_threads(records).items()
        if "fastmlp" in peers
    }


def draw(records: list[Record]) -> Figure:
    """A group of bars for each case, a bar for each peer; fastmlp is the line at 1."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 4.2), layout="constrained")
    axes = figure.subplots()
    best, by_case = best_of_threads(records), ratios(records)
    shown = [peer for peer in ORDER if any(peer in group for group in by_case.values())]
    for place, peer in enumerate(shown):
        at = [
            (number + (place - (len(shown) - 1) / 2) * WIDTH, group[peer])
            for number, group in enumerate(by_case.values())
            if peer in group
        ]
        bars = axes.bar(
            [x for x, _ in at], [ratio - 1 for _, ratio in at], WIDTH * 0.92, bottom=1,
            color=COLOURS[peer], label=TITLES[peer],
        )  # fmt: skip
        labels = [f"{ratio:.1f}" if ratio < 9.95 else f"{ratio:.0f}" for _, ratio in at]
        axes.bar_label(bars, labels, fontsize=8, padding=2)
    axes.axhline(1.0, color="black", linewidth=1.2)
    axes.text(len(by_case) - 0.45, 1.0, "fastmlp", va="center", fontsize=9)
    axes.set_yscale("log")
    axes.set_ylim(min(0.8, *(0.8 * r for g in by_case.values() for r in g.values())))
    axes.margins(y=0.15)
    axes.set_xlim(-0.55, len(by_case) - 0.5)
    names = [
        f"{case}\n{'-'.join(map(str, best[case]['fastmlp']['sizes']))}\n"
        f"batch {best[case]['fastmlp']['batch']}\n"
        f"{time_text(best[case]['fastmlp']['us_per_step_best'])}"
        for case in by_case
    ]
    axes.set_xticks(range(len(by_case)), names, fontsize=8)
    axes.tick_params(axis="x", length=0)
    ticks = [1, 2, 5, 10, 20, 50, 100, 200]
    top = max(r for group in by_case.values() for r in group.values())
    ticks = [tick for tick in ticks if tick <= 1.5 * top]
    axes.set_yticks(ticks, [str(tick) for tick in ticks])
    axes.minorticks_off()
    axes.spines[["top", "right", "bottom"]].set_visible(False)
    axes.set_ylabel("times as long as fastmlp")
    one = records[0]
    axes.set_title(
        f"A training step, {one['optimizer'].capitalize()}, {one['dtype']}: sizes, batch, and "
        "fastmlp's time below", fontsize=10,
    )  # fmt: skip
    axes.legend(ncols=len(shown), frameon=False, fontsize=9, loc="upper right")
    return figure
