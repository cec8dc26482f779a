"""``fastmlp doctor``: what this machine has, and what would mend what is missing."""

from __future__ import annotations

import click

from fastmlp.cli.output import Output


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def doctor(as_json: bool) -> None:
    """Report on CPU, vectors, tiles, threads, cache, GPU and versions, and on what is missing."""
    # Finding the vector width loads the compiler, which the other commands may not need to.
    from fastmlp.report.doctor import as_text, examine

    report = examine()
    Output(as_json).event("doctor", as_text(report), report)
