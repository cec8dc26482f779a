"""The README's table and picture of speed, from the records of `benchmarks.peers`.

python -m benchmarks.readme RESULT.jsonl [--into README.md] [--picture docs/pictures/speed.png]
"""

from __future__ import annotations

from pathlib import Path

import click

from .command import run
from .failed import Failed
from .marks import write_between_marks
from .peers.names import TITLES
from .picture import draw
from .summary import Record, best_of_threads, best_peer, read, time_text

MARK = "speed"


def text(records: list[Record]) -> str:
    """The table and what it was measured with, as Markdown; a function of the records alone."""
    best = best_of_threads(records)
    others = [
        peer
        for peer in TITLES
        if peer != "fastmlp" and any(peer in peers for peers in best.values())
    ]
    titles = ["case", "sizes, batch", "fastmlp", "of peak", *(TITLES[peer] for peer in others)]
    titles.append("times the best peer")
    lines = [_row(titles), _row(["---", "---", *["---:"] * (len(titles) - 2)])]
    for case, peers in best.items():
        own, rival = peers.get("fastmlp"), best_peer(peers)
        if own is None or rival is None:
            continue  # nothing to compare
        sizes = "-".join(map(str, own["sizes"]))
        ratio = rival["us_per_step_best"] / own["us_per_step_best"]
        times = [_time(peers.get(peer)) for peer in others]
        lines.append(
            _row(
                [
                    case,
                    f"{sizes}, {own['batch']}",
                    f"**{time_text(own['us_per_step_best'])}**",
                    f"{100 * own['fraction_of_peak']:.0f} %",
                    *times,
                    f"**{ratio:.1f}**",
                ]
            )
        )
    return "\n".join([*lines, "", _conditions(records)])


def _row(cells: list[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _time(record: Record | None) -> str:
    return time_text(record["us_per_step_best"]) if record else "-"


def _conditions(records: list[Record]) -> str:
    """One sentence: processor, versions, threads, repeats."""
    one = records[0]
    versions: dict[str, str] = {}
    for record in records:
        versions |= record["versions"]
    blas = {r["peer"]: r["blas"] for r in records if not r["blas"].startswith("none")}
    threads = sorted({record["threads"] for record in records})
    libraries = ", ".join(f"{name} {version}" for name, version in versions.items())
    return (
        f"Best of {one['repeats']} rounds on {one['cpu']}; {one['dtype']}, {one['optimizer']}, "
        f"{one['activation']}; each with the better of {' and '.join(map(str, threads))} threads. "
        f"{libraries}; {', '.join(f'{TITLES[peer]} with {name}' for peer, name in blas.items())}."
    )


@click.command("benchmarks.readme")
@click.argument("result", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--into", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--picture", type=click.Path(dir_okay=False, path_type=Path))
def readme(result: Path, into: Path | None, picture: Path | None) -> None:
    """Print the table of RESULT; write it into a document and draw it, where asked to."""
    try:
        records = read(result)
        if not records:
            raise Failed(f"{result} must hold records of benchmarks.peers, got none")
        click.echo(text(records))
        if into is not None:
            write_between_marks(into, MARK, text(records))
    except ValueError as error:
        raise Failed(str(error)) from None
    if picture is not None:
        # Without the version of matplotlib in it, the same figures give the same file.
        draw(records).savefig(picture, dpi=120, metadata={"Software": None})


if __name__ == "__main__":
    run(readme)
