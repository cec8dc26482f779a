"""``fastmlp warmup``: the kernels compiled once, for all processes to come."""

from __future__ import annotations

import click

from fastmlp.cli.output import Output
from fastmlp.report.progress import waiting
from fastmlp.spec import DTYPES
from fastmlp.warming import warmup as warm


@click.command()
@click.option(
    "--dtype",
    type=click.Choice(DTYPES),
    help="Compile for networks of this element type alone.  [default: both]",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def warmup(dtype: str | None, as_json: bool) -> None:
    """Compile all that training and predicting need, and keep it in the cache folder.

    Done once, it serves every later process with this version and processor, also as part of a
    container image.
    """
    seconds: dict[str, float] = {}
    for name in DTYPES if dtype is None else (dtype,):
        with waiting(f"compiling the {name} kernels", shown=not as_json):
            seconds |= warm(name)
    # Finding the processor loads the compiler, which --help does not need.
    from fastmlp.engine.host import describe_host

    host = describe_host()
    compiled = {name: round(taken_s, 3) for name, taken_s in seconds.items() if taken_s > 0.0}
    values = {
        "folder": host["cache_dir"],
        "bytes": host["cache_bytes"],
        "processor": host["processor"],
        "compiled": compiled,
        "seconds": round(sum(seconds.values()), 3),
        "ready": host["cache_ready"],
    }
    lines = [f"{name}  compiled in {taken_s:.1f} s" for name, taken_s in compiled.items()]
    if not compiled:
        lines.append(f"nothing to do: {' and '.join(seconds)} kernels lie compiled")
    lines.append(
        f"cache    {host['cache_dir']}, {host['cache_bytes'] / 1e6:.1f} MB, "
        f"for processor {host['processor']}"
    )
    Output(as_json).event("warmup", "\n".join(lines), values)
