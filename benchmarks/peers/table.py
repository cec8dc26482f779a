"""The table at the end of a run: every peer at its best number of threads."""

from __future__ import annotations

from collections.abc import Sequence

from rich.table import Table

from benchmarks.summary import Record, best_of_threads, best_peer, time_text

from .names import TITLES


def table(records: list[Record]) -> Table:
    """A section for each case; the fastest first."""
    one = records[0]
    drawn = Table(
        title=f"A training step: {one['dtype']}, {one['optimizer']}, {one['activation']}, "
        f"shuffled minibatches; {one['cpu']}"
    )
    for name in ("case", "peer"):
        drawn.add_column(name, no_wrap=True)
    for name in ("threads", "best", "median", "GFLOP/s", "of the peak", "times the best peer"):
        drawn.add_column(name, justify="right")
    for case, peers in best_of_threads(records).items():
        rival = best_peer(peers)
        ranked = sorted(peers.values(), key=lambda record: record["us_per_step_best"])
        for place, record in enumerate(ranked):
            drawn.add_row(
                f"{case}: {_sizes(record['sizes'])}, {record['batch']}" if place == 0 else "",
                TITLES[record["peer"]],
                str(record["threads"]),
                time_text(record["us_per_step_best"]),
                time_text(record["us_per_step_median"]),
                f"{record['gflops']:.1f}",
                f"{100 * record['fraction_of_peak']:.0f} %",
                f"{rival['us_per_step_best'] / record['us_per_step_best']:.2f}" if rival else "",
                style="bold" if record["peer"] == "fastmlp" else "",
                end_section=place == len(ranked) - 1,
            )
    return drawn


def _sizes(sizes: Sequence[int]) -> str:
    return "-".join(map(str, sizes))
