"""The program `python -m benchmarks.peers`."""

from __future__ import annotations

import json
from typing import Any

import click
from rich.console import Console

from benchmarks.cases import CASES, Case
from benchmarks.command import Integers, Names, n_cores, run
from benchmarks.failed import Failed

from .names import ACTIVATIONS, MODULES, OPTIMIZERS
from .race import Race
from .table import table
from .team import Team


@click.command("benchmarks.peers")
@click.option("--case", "cases", type=Names(list(CASES)), help="Cases by name, or all.")
@click.option("--sizes", type=Integers(at_least_numbers=2), help="A network: 64,256,2.")
@click.option("--batch", type=click.IntRange(1), help="Rows of a minibatch of --sizes.  [256]")
@click.option("--activation", type=click.Choice(ACTIVATIONS), default="relu", show_default=True)
@click.option(
    "--dtype", type=click.Choice(("float32", "float64")), default="float32", show_default=True
)
@click.option("--optimizer", type=click.Choice(OPTIMIZERS), default="adam", show_default=True)
@click.option(
    "--peers", type=Names(list(MODULES)), default="all", help=f"Of {', '.join(MODULES)}, or all."
)
@click.option("--threads", type=Integers(), help="Numbers of threads to try.  [1,cores]")
@click.option("--repeats", type=click.IntRange(1), default=7, show_default=True, help="Rounds.")
@click.option(
    "--json",
    "json_file",
    type=click.File("w", lazy=False),
    help="A file for the records, one a line.",
)
def peers(
    cases: tuple[str, ...] | None,
    sizes: tuple[int, ...] | None,
    batch: int | None,
    activation: str,
    dtype: str,
    optimizer: str,
    peers: tuple[str, ...],
    threads: tuple[int, ...] | None,
    repeats: int,
    json_file: Any,
) -> None:
    """Time a training step of fastmlp and its peers, in turn, in one run.

    Each peer has processes of its own, one for each number of threads, with an environment that
    chooses nothing for its libraries. First all must reach the same loss from the same weights and
    batches. A step has all that a training has: shuffled minibatches, gathered from the table,
    the loss, the update.
    """
    chosen = _chosen(cases, sizes, batch)
    if threads is None:
        threads = tuple(sorted({1, n_cores()}))
    console, aside = Console(), Console(stderr=True)
    if not console.is_terminal:
        console.width = 120
    records: list[dict[str, Any]] = []
    with aside.status("starting the peers") as status, Team(peers, tuple(sorted(threads))) as team:
        race = Race(dtype, optimizer, activation, repeats)
        for case in chosen:
            if not team.members:
                raise Failed(f"none of the peers is here: {'; '.join(team.absent)}")
            found = race.run(case, team, status.update)
            records += found
            for record in found if json_file else ():
                print(json.dumps(record), file=json_file, flush=True)
    console.print(table(records))
    largest = max(record["largest_difference_of_losses"] for record in records)
    console.print(f"All losses from the same start agree within {largest:g}, relative.")
    for sentence in team.absent:
        console.print(f"Missing: {sentence.rstrip('.')}.", highlight=False)


def _chosen(
    cases: tuple[str, ...] | None, sizes: tuple[int, ...] | None, batch: int | None
) -> list[Case]:
    if sizes is None:
        if batch is not None:
            raise click.UsageError("--batch is for --sizes, got it without; give both or neither")
        return [CASES[name] for name in cases or ("mnist",)]
    if cases is not None:
        raise click.UsageError("give --case or --sizes, got both")
    return [Case("custom", sizes, batch or 256)]


if __name__ == "__main__":
    run(peers)
