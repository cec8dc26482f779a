"""What the CUDA kernels of a network take on GPUs that need not be there.

    python -m benchmarks.gpu_resources --sizes 784,256,128,10 --batch 8192 --targets 9.0

Compiles every kernel that a training step launches for each compute capability, to PTX and on to
machine code, and prints its registers, shared memory and spills, as the assembler tells them.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from unittest import mock

import click
import numpy as np
from rich.console import Console
from rich.table import Table

TARGETS = ((7, 5), (8, 0), (9, 0), (10, 0))


@dataclass(frozen=True)
class Resources:
    """Of one kernel on one target; bytes but for registers."""

    name: str
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


def compiled(launch: Any, target: tuple[int, int]) -> Resources:
    """The kernel of a launch as PTX and machine code for a compute capability."""
    from cuda.bindings import nvjitlink
    from numba import cuda

    function = launch.kernel.py_func
    with pretended(target):
        text, _ = cuda.compile(function, signature_of(launch), device=False, abi="numba", cc=target)
    ptx = text.encode()
    options = [f"-arch=sm_{target[0]}{target[1]}", "-verbose"]
    linker = nvjitlink.create(len(options), options)
    try:
        nvjitlink.add_data(linker, nvjitlink.InputType.PTX, ptx, len(ptx), function.__name__)
        nvjitlink.complete(linker)
        code = bytearray(nvjitlink.get_linked_cubin_size(linker))
        nvjitlink.get_linked_cubin(linker, code)
        log = bytearray(nvjitlink.get_info_log_size(linker))
        nvjitlink.get_info_log(linker, log)
    except Exception as error:
        log = bytearray(nvjitlink.get_error_log_size(linker))
        nvjitlink.get_error_log(linker, log)
        raise RuntimeError(f"{function.__name__} for {target}: {log.decode()}") from error
    finally:
        nvjitlink.destroy(linker)
    return _resources(function.__name__, target, log.decode(), len(ptx), len(code))


def _resources(name: str, target: tuple[int, int], log: str, n_ptx: int, n_code: int) -> Resources:
    def number(pattern: str) -> int:
        found = re.findall(pattern, log)
        return max((int(text) for text in found), default=0)

    assert "registers" in log, log
    return Resources(
        name, target, number(r"Used (\d+) registers"), number(r"(\d+) bytes smem"),
        number(r"(\d+) bytes stack frame"), number(r"(\d+) bytes spill stores"),
        number(r"(\d+) bytes spill loads"), n_ptx, n_code,
    )  # fmt: skip


def launches_of(
    batch_size: int, *, rule: str = "adam", kind: str = "train", clip: bool = False,
    max_norm: bool = False, has_weights: bool = False, table: Any = None, own: bool = False,
    **settings: Any,
) -> list[Any]:  # fmt: skip
    """Every kernel with its arguments that a step of a network launches; settings: of the spec.

    kind: "train", or "predict" and "gradients" for what evaluating and gradients launch.
    """
    from fastmlp.engine.cuda import CudaEngine
    from fastmlp.engine.cuda_program import CudaProgram, Network, Tables
    from fastmlp.kernels.cuda.ptx import VECTOR_BYTES
    from fastmlp.kernels.structs import Float
    from fastmlp.plan import ParameterPlan
    from fastmlp.spec import NetworkSpec

    del CudaEngine  # imported for its check that all parts are there
    spec = NetworkSpec.make(**settings)
    dtype = np.dtype(spec.dtype)
    lanes = VECTOR_BYTES // dtype.itemsize
    plan = ParameterPlan.make(
        spec.layer_sizes, lanes, spec.norms, spec.embeddings, has_panels=False
    )
    of_type = Typed(dtype)
    is_classes = spec.loss.is_classes
    gpu: Any = NoGpu()
    net = Network(
        spec, plan, gpu, spec.activations, spec.loss.name, Typed(np.float64), of_type,
        of_type, of_type, of_type, [0] * len(plan.layers),
    )  # fmt: skip
    tables = Tables(
        Typed(table or dtype), Typed(np.int32), of_type, of_type, 1000, 1, is_classes, has_weights
    )
    training = "muon" if rule == "muon" and kind == "train" else kind
    program = CudaProgram(net, tables, batch_size, training, rule)
    if kind == "train":
        program.floats_host[Float.MUON + 2] = 1
        stores = clip or rule == "muon"
        made = program.train_steps(stores=stores, max_norm=max_norm)
        return [program.begin(), program.record_now(), *made.launches]
    launches = [program.at_rows(0), *program.gather(), *program.forward(), *program.loss()]
    launches.append(program.add_losses())
    if kind == "gradients":
        launches += [*program.backward(), *program.gradients(), program.add_gradients()]
    return launches


def distinct(launches: list[Any]) -> list[Any]:
    """One launch of each kernel and types of arguments."""
    found = {}
    for launch in launches:
        found[id(launch.kernel), str(signature_of(launch))] = launch
    return list(found.values())


def _target(text: str) -> tuple[int, int]:
    major, _, minor = text.strip().partition(".")
    return int(major), int(minor or 0)


@click.command()
@click.option("--sizes", default="784,256,128,10", help="inputs, hidden layers, outputs")
@click.option("--batch", "batch_size", default=8192, help="rows of a minibatch")
@click.option("--dtype", default="float32", help="float32 or float64")
@click.option("--activation", default="relu", help="of the hidden layers")
@click.option("--rule", default="adam", help="update rule")
@click.option("--targets", default="9.0", help="compute capabilities, as 8.0,9.0")
def main(
    sizes: str, batch_size: int, dtype: str, activation: str, rule: str, targets: str
) -> None:  # fmt: skip
    """Registers, shared memory and spills of the kernels of a training step."""
    launches = launches_of(
        batch_size, sizes=[int(n) for n in sizes.split(",")], loss="cross_entropy", dtype=dtype,
        activation=activation, rule=rule,
    )  # fmt: skip
    table = Table("kernel", "threads", "target", "registers", "shared", "stack", "spills")
    for launch in distinct(launches):
        for target in map(_target, targets.split(",")):
            r = compiled(launch, target)
            spills = str(r.spill_stores + r.spill_loads)
            row = (r.name, launch.block, f"{target[0]}.{target[1]}", r.registers, r.shared, r.stack)
            table.add_row(*map(str, row), spills)
    Console().print(table)


if __name__ == "__main__":
    main()
