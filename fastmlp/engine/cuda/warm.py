"""Jobs that between them have every kernel of the CUDA engine, and what to compile ahead of use."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from fastmlp import names
from fastmlp.engine.cuda.engine import CHUNK_ROWS
from fastmlp.engine.cuda.offline import checks_of_tables, distinct, launches_of
from fastmlp.kernels.cuda import binaries
from fastmlp.kernels.cuda.arguments import signature_of
from fastmlp.kernels.cuda.compiler import Target, target_named
from fastmlp.kernels.cuda.jit import THREADS
from fastmlp.kernels.cuda.launch import Gpu, Launch
from fastmlp.kernels.cuda.ptx import VECTOR_BYTES
from fastmlp.spec.losses import NAMES, OF_CLASSES, OF_VALUES, Loss

LOSSES = tuple(Loss(name) for name in NAMES)
KINDS = ("train", "gradients", "predict")
# Large products, and the tile that small ones take.
LARGE, NARROW, SMALL = (784, 256, 128, 6), (128, 64, 64, 64, 6), (20, 64, 64, 6)
LOSS_WIDTHS = (1, 2, 4, 8, 16, 32)


def plain_steps() -> Iterator[dict[str, Any]]:
    """Settings of steps as most trainings have them: of each element type, large and small."""
    for dtype in ("float32", "float64"):
        for sizes, batch_size in (
            (LARGE, 8192), (LARGE, 1024), (NARROW, 1 << 18), (SMALL, 128),
        ):  # fmt: skip
            yield {"sizes": sizes, "batch_size": batch_size, "dtype": dtype}


def every_job() -> Iterator[dict[str, Any]]:
    """Settings for `launches_of` of jobs that use every activation, loss, rule and option."""
    yield from plain_steps()
    for dtype in ("float32", "float64"):
        # Of so many rows the sums of losses are a kernel's of their own.
        yield {"sizes": NARROW, "batch_size": 1 << 18, "dtype": dtype, "kind": "gradients"}
        base = {"batch_size": 8192, "dtype": dtype}
        for activation in names.ACTIVATIONS:
            yield {**base, "sizes": (784, 256, 6), "activation": activation}
        for loss in LOSSES:
            yield {**base, "sizes": (*LARGE[:-1], _outputs(loss, LARGE[-1])), "loss": loss}
        yield {**base, "sizes": LARGE, "soft": True}
        for rule, record in names.RULES.items():
            yield {**base, "sizes": LARGE, "rule": rule}
            if record.orthogonalises:
                yield {**base, "sizes": LARGE, "rule": rule, "batch_size": 128}
        around = {"sizes": (784, 256, 256, 6), "residual": (False, True), "dropout": 0.1}
        for norm in names.NORMS:
            for kind in KINDS:
                yield {**base, **around, "norm": norm, "kind": kind, "activation": "gelu"}
        embedded = {"embeddings": {3: (10, 4)}, "input_dropout": 0.1, "weights": True}
        for kind in KINDS:
            for table in ("float32", "float64", "int16"):
                options = {"clip": True, "max_norm": True} if kind == "train" else {}
                yield {**base, **around, **embedded, **options, "kind": kind, "table": table}
    for table in names.SOURCE_TYPES:
        yield {"batch_size": 8192, "dtype": "float32", "sizes": LARGE, "table": table}


def usual_jobs(dtype: str) -> Iterator[dict[str, Any]]:
    """Settings of what most trainings, evaluations and predictions of this element type launch:
    every activation and loss with every tile, with dropout and without, beside `every_job`."""
    yield from (job for job in every_job() if job["dtype"] == dtype)
    around = ((LARGE, 8192), (LARGE, 128), (NARROW, 1 << 18), (SMALL, 128), ((4, 32, 32, 1), 32))
    for sizes, batch_size in around:
        base = {"sizes": sizes, "batch_size": batch_size, "dtype": dtype}
        if sizes[-1] == 1:
            base["loss"] = OF_VALUES
        for activation in names.ACTIVATIONS:
            for kind in KINDS:
                yield {**base, "activation": activation, "kind": kind}
            yield {**base, "activation": activation, "dropout": 0.1}
    for kind_of_layer in (kind for kind in names.LAYER_KINDS.values() if kind.is_usual):
        base = {"sizes": SMALL, "batch_size": 128, "dtype": dtype, "norm": kind_of_layer.name}
        for activation in names.ACTIVATIONS:
            for kind in KINDS:
                yield {**base, "activation": activation, "kind": kind}
            yield {**base, "activation": activation, "dropout": 0.1}
    yield from _of_losses(dtype)
    yield from _of_inputs(dtype)


def _of_losses(dtype: str) -> Iterator[dict[str, Any]]:
    """Every loss in training and evaluation, with every number of threads that share a row: as many
    as it has outputs, up to 32. Of many rows the sums are a kernel's of their own."""
    for width in LOSS_WIDTHS:
        for loss in LOSSES:
            if width < loss.fewest_outputs:
                continue
            job = {"sizes": (20, 64, _outputs(loss, width)), "dtype": dtype, "loss": loss}
            for kind, batch_size in (("train", 128), ("predict", 128), ("predict", CHUNK_ROWS)):
                yield {**job, "kind": kind, "batch_size": batch_size}
            if loss.name in (OF_VALUES, OF_CLASSES):
                yield {**job, "batch_size": 1 << 18}


def _outputs(loss: Loss, width: int) -> int:
    """As many outputs as a loss can have, up to `width` unless it needs more."""
    each = loss.outputs_per_target
    return max(width // each * each, loss.fewest_outputs)


def _of_inputs(dtype: str) -> Iterator[dict[str, Any]]:
    """Rows of every length that threads share, from tables of the usual types; with dropout."""
    lanes = VECTOR_BYTES // np.dtype(dtype).itemsize
    for group in (1 << i for i in range(THREADS.bit_length())):
        base = {"sizes": (lanes * group, 6), "batch_size": 128, "dtype": dtype}
        for table in ("float32", "float64"):
            yield {**base, "table": table}
        yield {**base, "input_dropout": 0.1}


def target_for(name: str | None, number: int) -> Target:
    """What `name`, as "9.0", says to compile for; None: for the GPU of this number.

    ValueError, with the names that there are, where the name is none.
    """
    return Gpu(number).target if name is None else target_named(name)


def missing(dtype: str, target: Target) -> list[Launch]:
    """A launch of each kernel of the usual jobs that is not in the cache."""
    launches = [launch for job in usual_jobs(dtype) for launch in launches_of(**job)]
    return [
        launch
        for launch in distinct(launches + checks_of_tables())
        if not binaries.is_kept(launch.kernel, signature_of(launch.arguments), target)
    ]


def compile_kernel(launch: Launch, target: Target) -> None:
    """Its machine code, into the cache."""
    binaries.keep(launch.kernel, signature_of(launch.arguments), target)
