"""``fastmlp warmup``: the kernels compiled once, for all processes to come."""

from __future__ import annotations

from collections.abc import Callable

import click

from fastmlp.cli.output import Output
from fastmlp.engine.warming import warmup as warm
from fastmlp.spec import devices
from fastmlp.spec.allowed import DTYPES
from fastmlp.training.progress import waiting

Say = Callable[[str], None]


@click.command()
@click.option(
    "--dtype",
    type=click.Choice(DTYPES),
    help="Compile for networks of this element type alone.  [default: both]",
)
@click.option(
    "--device",
    default=devices.CPU,
    show_default=True,
    help="Compile for 'cpu', 'cuda' or 'cuda:N' for GPU number N.",
)
@click.option(
    "--target",
    help="Compile for GPUs of this compute capability, such as 9.0, on a machine that need not "
    "have one.  [default: the GPU's]",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def warmup(dtype: str | None, device: str, target: str | None, as_json: bool) -> None:
    """Compile all that training and predicting need, and keep it in the cache folder.

    Done once, it serves every later process with this version and processor or GPU, also as part
    of a container image. Kernels for a GPU can be compiled anywhere and carried to it.
    """
    seconds: dict[str, float] = {}
    for name in DTYPES if dtype is None else (dtype,):
        text = f"compiling the {name} kernels"
        with waiting(text, shown=not as_json) as say:

            def told(done: int, n_kernels: int, text: str = text, say: Say = say) -> None:
                say(f"{text}: {done} of {n_kernels}")

            seconds |= warm(name, device=device, target=target, on_kernel=told)
    # Finding the processor loads the compiler, which --help does not need.
    from fastmlp.engine.cpu.host import cached_bytes, describe_host

    host = describe_host()
    compiled = {name: round(taken_s, 3) for name, taken_s in seconds.items() if taken_s > 0.0}
    values = {
        "folder": host["cache_dir"],
        "bytes": cached_bytes(device.partition(":")[0]),
        "processor": host["processor"],
        "device": device,
        "target": target,
        "compiled": compiled,
        "seconds": round(sum(seconds.values()), 3),
        "ready": host["cache_ready"] if device == devices.CPU else list(seconds),
    }
    lines = [f"{name}  compiled in {taken_s:.1f} s" for name, taken_s in compiled.items()]
    if not compiled:
        lines.append(f"nothing to do: {' and '.join(seconds)} kernels lie compiled")
    made_for = f"processor {host['processor']}"
    if device != devices.CPU:
        made_for = f"GPUs of compute capability {target}" if target else device
    lines.append(f"cache    {host['cache_dir']}, {values['bytes'] / 1e6:.1f} MB, for {made_for}")
    Output(as_json).event("warmup", "\n".join(lines), values)
