"""What the CUDA kernels of a network take on GPUs that need not be there.

    python -m benchmarks.gpu.resources --sizes 784,256,128,10 --batch 8192 --targets 9.0a
    python -m benchmarks.gpu.resources --every --json resources.jsonl

Compiles every kernel that a training step launches, or every kernel there is, for each compute
capability, to PTX and on to machine code, and prints its registers, shared memory and spills, as
the assembler tells them.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.table import Table

from fastmlp.engine.cuda.offline import Typed, checks_of_tables, distinct, launches_of
from fastmlp.engine.cuda.warm import every_job, plain_steps
from fastmlp.kernels.cuda.arguments import signature_of
from fastmlp.kernels.cuda.compiler import TARGETS, Compiled, Target, assembled
from fastmlp.kernels.cuda.launch import Launch


@dataclass(frozen=True)
class Resources:
    """Of one kernel on one target; bytes but for registers."""

    name: str
    element: str  # type of the network's numbers
    threads: int
    target: str
    registers: int
    shared: int
    stack: int
    spill_stores: int
    spill_loads: int
    n_ptx: int
    n_machine_code: int


def compiled(launch: Launch, targets: Sequence[Target], *, anew: bool) -> Iterator[Resources]:
    """What the kernel of a launch takes on each of the targets, by the way that leads to a GPU.

    anew: numba begins anew for each of them, as a GPU's process would; else with one LLVM IR.
    """
    kernel, signature = launch.kernel, signature_of(launch.arguments)
    made = None
    for target in targets:
        if made is None or anew:
            made = Compiled(kernel.py_func, signature, target)
        entry, ptx = made.ptx(target)
        cubin, log = assembled(entry, ptx, target)
        yield _resources(launch, kernel.name, target, log, len(ptx), len(cubin))


def _resources(
    launch: Launch, name: str, target: Target, log: str, n_ptx: int, n_code: int
) -> Resources:
    def number(pattern: str) -> int:
        found = re.findall(pattern, log)
        return max((int(text) for text in found), default=0)

    assert "registers" in log, log
    floats = [a.dtype for a in launch.arguments if isinstance(a, Typed) and a.dtype.kind == "f"]
    element = min(floats, key=lambda dtype: dtype.itemsize).name if floats else ""
    return Resources(
        name, element, launch.block, str(target),
        number(r"Used (\d+) registers"), number(r"(\d+) bytes smem"),
        number(r"(\d+) bytes stack frame"), number(r"(\d+) bytes spill stores"),
        number(r"(\d+) bytes spill loads"), n_ptx, n_code,
    )  # fmt: skip


def every_kernel(jobs: Any) -> list[Launch]:
    """One launch of each kernel that these jobs launch, and of those that check tables."""
    launches = [launch for job in jobs for launch in launches_of(**job)]
    return distinct(launches + checks_of_tables())


def _targets(context: click.Context, option: click.Parameter, text: str) -> list[Target]:
    known = {str(target): target for target in TARGETS}
    chosen = [known.get(part.strip()) for part in text.split(",")]
    if None in chosen:
        raise click.BadParameter(f"must be of {', '.join(known)}, got {text!r}")
    return [target for target in chosen if target is not None]


def _part(context: click.Context, option: click.Parameter, text: str) -> slice:
    found = re.fullmatch(r"(\d+)/(\d+)", text)
    if not found or not 1 <= int(found[1]) <= int(found[2]):
        raise click.BadParameter(f"must be one of n parts such as 1/2, got {text!r}")
    return slice(int(found[1]) - 1, None, int(found[2]))


@click.command()
@click.option("--sizes", default="784,256,128,10", help="inputs, hidden layers, outputs")
@click.option("--batch", "batch_size", default=8192, help="rows of a minibatch")
@click.option("--dtype", default="float32", help="float32 or float64")
@click.option("--activation", default="relu", help="of the hidden layers")
@click.option("--rule", default="adam", help="update rule")
@click.option("--every", is_flag=True, help="every kernel that any training may launch")
@click.option("--plain", is_flag=True, help="those of plain steps, large and small")
@click.option("--part", callback=_part, default="1/1", help="of the kernels, such as 1/2")
@click.option("--anew", is_flag=True, help="run all of numba for each target, not once")
@click.option("--targets", callback=_targets, default="9.0a", help="as 7.5,8.0,9.0a,10.0a")
@click.option("--json", "json_path", type=Path, help="write one record a line here")
def main(
    sizes: str, batch_size: int, dtype: str, activation: str, rule: str, every: bool, plain: bool,
    part: slice, anew: bool, targets: list[Target], json_path: Path | None,
) -> None:  # fmt: skip
    """Registers, shared memory and spills of CUDA kernels, compiled without a GPU."""
    job = {
        "sizes": [int(n) for n in sizes.split(",")], "batch_size": batch_size, "dtype": dtype,
        "activation": activation, "rule": rule,
    }  # fmt: skip
    if every:
        launches = every_kernel(every_job())[part]
    else:
        jobs = plain_steps() if plain else [job]
        launches = distinct([launch for job in jobs for launch in launches_of(**job)])[part]
    found = [r for launch in launches for r in compiled(launch, targets, anew=anew)]
    if json_path is not None:
        json_path.write_text("".join(json.dumps(asdict(r)) + "\n" for r in found))
    table = Table(
        "kernel", "type", "threads", "target", "registers", "shared", "stack", "spills"
    )  # fmt: skip
    for r in found:
        spills = r.spill_stores + r.spill_loads
        numbers = (r.threads, r.target, r.registers, r.shared, r.stack, spills)
        table.add_row(r.name, r.element, *map(str, numbers))
    Console().print(table)


if __name__ == "__main__":
    main()
