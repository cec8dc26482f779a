"""What the CUDA kernels of a network take on GPUs that need not be there.

    python -m benchmarks.gpu.resources --sizes 784,256,128,10 --batch 8192 --targets 9.0
    python -m benchmarks.gpu.resources --every --json resources.jsonl

Compiles every kernel that a training step launches, or every kernel there is, for each compute
capability, to PTX and on to machine code, and prints its registers, shared memory and spills, as
the assembler tells them. The PTX is that of the lowest of the targets, or with --native of each.
"""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any
from unittest import mock

import click
import numpy as np
from rich.console import Console
from rich.table import Table

from benchmarks.gpu.kernel_cases import every_job, plain_steps

TARGETS = ((7, 5), (8, 0), (9, 0), (10, 0))


@dataclass(frozen=True)
class Resources:
    """Of one kernel on one target; bytes but for registers."""

    name: str
    element: str  # type of the network's numbers
    threads: int
    target: tuple[int, int]
    registers: int
    shared: int
    stack: int
    spill_stores: int
    spill_loads: int
    n_ptx: int
    n_machine_code: int


class Typed:
    """Stands for an array of the device: only its type counts."""

    def __init__(self, dtype: Any) -> None:
        self.dtype = np.dtype(dtype)

    def __getitem__(self, part: slice) -> Typed:
        return self


class NoGpu:
    """Stands for a `Gpu`: makes arrays that have a type and no memory."""

    number = 0

    def empty(self, n: int, dtype: Any) -> Typed:
        return Typed(dtype)

    def array(self, values: np.ndarray) -> Typed:
        return Typed(values.dtype)


@contextlib.contextmanager
def pretended(target: tuple[int, int]) -> Iterator[None]:
    """As if the current device had this compute capability: device functions take it from there."""
    from numba.cuda import dispatcher

    device = mock.Mock(compute_capability=target)
    with mock.patch.object(dispatcher, "get_current_device", return_value=device):
        yield


def signature_of(launch: Any) -> Any:
    """The types with which numba compiles the kernel of a launch."""
    from numba.cuda import types
    from numba.cuda.np import numpy_support

    kinds = []
    for argument in launch.arguments:
        if isinstance(argument, Typed):
            element = numpy_support.from_dtype(argument.dtype)
            kinds.append(types.Array(element, 1, "C"))
        elif isinstance(argument, bool):
            kinds.append(types.boolean)
        else:
            kinds.append(types.float64 if isinstance(argument, float) else types.int64)
    return types.void(*kinds)


def ptx_of(launch: Any, target: tuple[int, int]) -> bytes:
    """The kernel of a launch as PTX for a compute capability, and for later ones."""
    from numba import cuda

    signature = signature_of(launch)
    with pretended(target):
        text, _ = cuda.compile(
            launch.kernel.py_func, signature, device=False, abi="numba", cc=target
        )
    return text.encode()


def assembled(launch: Any, ptx: bytes, target: tuple[int, int]) -> Resources:
    """What the machine code of this PTX takes on a compute capability."""
    from cuda.bindings import nvjitlink

    name = launch.kernel.py_func.__name__
    options = [f"-arch=sm_{target[0]}{target[1]}", "-verbose"]
    linker = nvjitlink.create(len(options), options)
    try:
        nvjitlink.add_data(linker, nvjitlink.InputType.PTX, ptx, len(ptx), name)
        nvjitlink.complete(linker)
        code = bytearray(nvjitlink.get_linked_cubin_size(linker))
        nvjitlink.get_linked_cubin(linker, code)
        log = bytearray(nvjitlink.get_info_log_size(linker))
        nvjitlink.get_info_log(linker, log)
    except Exception as error:
        log = bytearray(nvjitlink.get_error_log_size(linker))
        nvjitlink.get_error_log(linker, log)
        raise RuntimeError(f"{name} for {target}: {log.decode()}") from error
    finally:
        nvjitlink.destroy(linker)
    return _resources(launch, name, target, log.decode(), len(ptx), len(code))


def compiled(launch: Any, targets: Any, *, native: bool) -> Iterator[Resources]:
    """What the kernel of a launch takes on each of the targets, in ascending order."""
    targets = sorted(targets)
    ptx = ptx_of(launch, targets[0])
    for target in targets:
        if native and target != targets[0]:
            ptx = ptx_of(launch, target)
        yield assembled(launch, ptx, target)


def _resources(
    launch: Any, name: str, target: tuple[int, int], log: str, n_ptx: int, n_code: int
) -> Resources:
    def number(pattern: str) -> int:
        found = re.findall(pattern, log)
        return max((int(text) for text in found), default=0)

    assert "registers" in log, log
    floats = [a.dtype for a in launch.arguments if isinstance(a, Typed) and a.dtype.kind == "f"]
    element = min(floats, key=lambda dtype: dtype.itemsize).name if floats else ""
    return Resources(
        name, element, launch.block, target,
        number(r"Used (\d+) registers"), number(r"(\d+) bytes smem"),
        number(r"(\d+) bytes stack frame"), number(r"(\d+) bytes spill stores"),
        number(r"(\d+) bytes spill loads"), n_ptx, n_code,
    )  # fmt: skip


def launches_of(
    *, batch_size: int, rule: str = "adam", kind: str = "train", clip: bool = False,
    max_norm: bool = False, weights: bool = False, table: Any = None, soft: bool = False,
    **settings: Any,
) -> list[Any]:  # fmt: skip
    """Every kernel with its arguments that a step of a network launches; settings: of the spec.

    kind: "train", or "predict" and "gradients" for what evaluating and gradients launch; soft:
    classes are given by probabilities; weights: rows have weights; table: element type of X.
    """
    from fastmlp.engine.cuda_program import CudaProgram, Network, Tables
    from fastmlp.engine.cuda_tables import sent_type
    from fastmlp.kernels.cuda import steps
    from fastmlp.kernels.cuda.launch import Launch
    from fastmlp.kernels.cuda.ptx import VECTOR_BYTES
    from fastmlp.kernels.structs import Float
    from fastmlp.plan import ParameterPlan
    from fastmlp.spec import NetworkSpec

    spec = NetworkSpec.make(**{"loss": "cross_entropy", **settings})
    dtype = np.dtype(spec.dtype)
    lanes = VECTOR_BYTES // dtype.itemsize
    plan = ParameterPlan.make(
        spec.layer_sizes, lanes, spec.norms, spec.embeddings, has_panels=False
    )
    of_type = Typed(dtype)
    loss = "soft_cross_entropy" if soft else spec.loss.name
    gpu: Any = NoGpu()
    net = Network(
        spec, plan, gpu, spec.activations, loss, Typed(np.float64), of_type,
        of_type, of_type, of_type, [0] * len(plan.layers),
    )  # fmt: skip
    tables = Tables(
        Typed(sent_type(np.dtype(table or dtype))), Typed(np.int32), of_type, of_type, 1000, 1,
        spec.loss.is_classes and not soft, weights, (spec.sizes[0], 1),
    )  # fmt: skip
    training = "muon" if rule == "muon" and kind == "train" else kind
    program = CudaProgram(net, tables, batch_size, training, rule)
    if kind == "train":
        program.floats_host[Float.MUON + 2] = 1
        stores = clip or rule == "muon"
        made = program.train_steps(stores=stores, max_norm=max_norm)
        return [program.begin(), program.record_now(), *made.launches]
    launches = [Launch(steps.stage, (1,), 1, (program.clock, 0)), program.at_rows(0)]
    launches += [*program.gather(), *program.forward(), *program.loss(), program.add_losses()]
    if kind == "gradients":
        launches += [*program.backward(), *program.gradients(), program.add_gradients()]
    return launches


def checks_of_tables() -> list[Any]:
    """The launches that look through tables of other libraries."""
    from fastmlp.engine.names import SOURCE_TYPES
    from fastmlp.kernels.cuda import tables
    from fastmlp.kernels.cuda.jit import THREADS
    from fastmlp.kernels.cuda.launch import Launch

    launches = []
    for dtype in sorted({np.dtype(name) for name in SOURCE_TYPES if name != "float16"}, key=str):
        kernel = tables.first_bad_row(dtype.type, dtype.kind == "f")
        integers = Typed(np.int64)
        arguments = (integers, Typed(dtype), integers, 10, 4, 4, 1, 1, 1e38)
        launches.append(Launch(kernel, (1,), THREADS, arguments))
    return launches


def distinct(launches: list[Any]) -> list[Any]:
    """One launch of each kernel and types of arguments."""
    found = {}
    for launch in launches:
        found[id(launch.kernel), str(signature_of(launch))] = launch
    return list(found.values())


def every_kernel(jobs: Any) -> list[Any]:
    """One launch of each kernel that these jobs launch, and of those that check tables."""
    launches = [launch for job in jobs for launch in launches_of(**job)]
    return distinct(launches + checks_of_tables())


def _targets(context: click.Context, option: click.Parameter, text: str) -> list[tuple[int, int]]:
    known = {f"{major}.{minor}": (major, minor) for major, minor in TARGETS}
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
@click.option("--native", is_flag=True, help="PTX for each target, in place of the lowest's")
@click.option("--targets", callback=_targets, default="9.0", help="as 7.5,8.0,9.0,10.0")
@click.option("--json", "json_path", type=Path, help="write one record a line here")
def main(
    sizes: str, batch_size: int, dtype: str, activation: str, rule: str, every: bool, plain: bool,
    part: slice, native: bool, targets: list[tuple[int, int]], json_path: Path | None,
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
    found = [r for launch in launches for r in compiled(launch, targets, native=native)]
    if json_path is not None:
        json_path.write_text("".join(json.dumps(asdict(r)) + "\n" for r in found))
    table = Table(
        "kernel", "type", "threads", "target", "registers", "shared", "stack", "spills"
    )  # fmt: skip
    for r in found:
        target, spills = f"{r.target[0]}.{r.target[1]}", r.spill_stores + r.spill_loads
        numbers = (r.threads, target, r.registers, r.shared, r.stack, spills)
        table.add_row(r.name, r.element, *map(str, numbers))
    Console().print(table)


if __name__ == "__main__":
    main()
