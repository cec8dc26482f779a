"""The launches of a network without a GPU: arrays have a type and no memory."""

from __future__ import annotations

from typing import Any

import numpy as np

from fastmlp.engine.cuda.program import CudaProgram
from fastmlp.engine.cuda.tables import sent_type
from fastmlp.engine.cuda.workspace import OnDevice, Tables
from fastmlp.kernels.cuda import steps, tables
from fastmlp.kernels.cuda.arguments import signature_of
from fastmlp.kernels.cuda.jit import THREADS
from fastmlp.kernels.cuda.launch import Launch
from fastmlp.kernels.cuda.ptx import VECTOR_BYTES
from fastmlp.kernels.structs import Float
from fastmlp.layout.parameters import ParameterPlan
from fastmlp.names import RULES, SOURCE_TYPES
from fastmlp.spec.network import NetworkSpec


class Typed:
    """Stands for an array of the device: only its type counts."""

    def __init__(self, dtype: Any) -> None:
        self.dtype = np.dtype(dtype)

    def __getitem__(self, part: slice) -> Typed:
        return self


class NoGpu:
    """Stands for a `Gpu`."""

    number = 0

    def empty(self, n: int, dtype: Any) -> Typed:
        return Typed(dtype)

    def array(self, values: np.ndarray) -> Typed:
        return Typed(values.dtype)


def launches_of(
    *, batch_size: int, rule: str = "adam", kind: str = "train", clip: bool = False,
    max_norm: bool = False, weights: bool = False, table: Any = None, soft: bool = False,
    **settings: Any,
) -> list[Launch]:  # fmt: skip
    """Every kernel with its arguments that a step of a network launches; settings: of the spec.

    kind: "train", or "predict" and "gradients" for what evaluating and gradients launch; soft:
    classes are given by probabilities; weights: rows have weights; table: element type of X.
    """
    spec = NetworkSpec.make(**{"loss": "cross_entropy", **settings})
    dtype = np.dtype(spec.dtype)
    lanes = VECTOR_BYTES // dtype.itemsize
    plan = ParameterPlan.make(
        spec.layer_sizes, lanes, spec.norms, spec.embeddings, has_panels=False
    )
    of_type = Typed(dtype)
    loss = spec.loss.soft_kernel if soft else spec.loss.name
    gpu: Any = NoGpu()
    net = OnDevice(
        spec, plan, gpu, spec.activations, loss, Typed(np.float64), of_type,
        of_type, of_type, of_type, [0] * len(plan.layers),
    )  # fmt: skip
    data = Tables(
        Typed(sent_type(np.dtype(table or dtype))), Typed(np.int32), of_type, of_type, 1,
        spec.loss.is_classes and not soft, weights, (spec.sizes[0], 1),
    )  # fmt: skip
    orthogonalises = kind == "train" and RULES[rule].orthogonalises
    training = "orthogonalise" if orthogonalises else kind
    program = CudaProgram(net, data, batch_size, training, rule)
    if kind == "train":
        program.floats_host[Float.N_ITERATIONS] = 1
        stores = clip or orthogonalises
        made = program.train_steps(stores=stores, max_norm=max_norm)
        return [program.begin(), program.record_now(), *made.launches]
    return [Launch(steps.stage, (1,), 1, (program.clock, 0)), *program.block().launches]


def checks_of_tables() -> list[Launch]:
    """The launches that look through tables of other libraries."""
    launches = []
    for dtype in sorted({np.dtype(name) for name in SOURCE_TYPES if name != "float16"}, key=str):
        kernel = tables.first_bad_row(dtype.type, dtype.kind == "f")
        integers = Typed(np.int64)
        arguments = (integers, Typed(dtype), integers, 10, 4, 4, 1, 1, 1e38)
        launches.append(Launch(kernel, (1,), THREADS, arguments))
    return launches


def distinct(launches: list[Launch]) -> list[Launch]:
    """One launch of each kernel and types of arguments."""
    found = {}
    for launch in launches:
        found[id(launch.kernel), signature_of(launch.arguments)] = launch
    return list(found.values())
