"""Do networks of any size lie on one curve, and what do other activations than relu cost?

    python -m benchmarks.curve [--case odd] [--batches 1,7,100,1000,0] [--threads 2]

Share of the multiply-add peak over sizes that no tile fits and batches from one row to all data;
"loss_percent" of an activation is the part of its step's time that relu would not need.
"""

from __future__ import annotations

import json

import click

from .cases import CASES, Case
from .command import Integers, Names, n_cores, run
from .share import shares

ODD = {
    "odd": (17, 53, 29, 3),
    "wide": (100, 300, 300, 1),
    "deep": (512, 512, 512, 512, 512, 100),
}
FULL_ROWS = 10_000
ACTIVATIONS = ("relu", "tanh", "gelu", "silu")


@click.command("benchmarks.curve")
@click.option("--case", "cases", type=Names([*ODD, *CASES]), default=",".join(ODD))
@click.option(
    "--batches", type=Integers(least=0), default="1,7,100,1000,0", show_default=True,
    help=f"Rows of a minibatch of the odd sizes; 0 is all {FULL_ROWS:,} rows in one.",
)  # fmt: skip
@click.option("--activations", type=Names(ACTIVATIONS), default="all", show_default=True)
@click.option("--threads", type=click.IntRange(1), help="[cores]")
@click.option(
    "--dtype", type=click.Choice(("float32", "float64")), default="float32", show_default=True
)
@click.option("--repeats", type=click.IntRange(1), default=5, show_default=True)
def curve(
    cases: tuple[str, ...],
    batches: tuple[int, ...],
    activations: tuple[str, ...],
    threads: int | None,
    dtype: str,
    repeats: int,
) -> None:
    """Share of peak over sizes, batches and activations, one JSON record a line."""
    for name in cases:
        if name in CASES:
            chosen: list[tuple[Case, int | None]] = [(CASES[name], None)]
        else:
            chosen = [
                (Case(name, ODD[name], batch or FULL_ROWS), None if batch else 1)
                for batch in batches
            ]
        for case, n_steps in chosen:
            for record in shares(case, threads or n_cores(), dtype, repeats, activations, n_steps):
                click.echo(json.dumps({**record, "flops_per_step": case.flops_per_step}))


if __name__ == "__main__":
    run(curve)
