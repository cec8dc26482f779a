"""Launches of jobs that between them have every kernel of the CUDA engine."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from fastmlp import losses
from fastmlp.engine import names

LOSSES = (
    "squared_error", "absolute_error", losses.huber(0.5), "poisson", losses.quantile(0.3),
    losses.quantiles((0.1, 0.5, 0.9)), losses.gaussian_nll(), "cross_entropy", losses.focal(1.5),
    "binary_cross_entropy",
)  # fmt: skip
KINDS = ("train", "gradients", "predict")
# Large products, and the tile that small ones take.
LARGE, NARROW, SMALL = (784, 256, 128, 6), (128, 64, 64, 64, 6), (20, 64, 64, 6)


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
        base = {"batch_size": 8192, "dtype": dtype}
        for activation in names.ACTIVATIONS:
            yield {**base, "sizes": (784, 256, 6), "activation": activation}
        for loss in LOSSES:
            yield {**base, "sizes": LARGE, "loss": loss}
        yield {**base, "sizes": LARGE, "soft": True}
        for rule in names.OPTIMIZERS:
            yield {**base, "sizes": LARGE, "rule": rule}
        yield {**base, "sizes": LARGE, "rule": "muon", "batch_size": 128}
        around = {"sizes": (784, 256, 256, 6), "residual": (False, True), "dropout": 0.1}
        for norm in ("none", "layer", "rms", "batch"):
            for kind in KINDS:
                yield {**base, **around, "norm": norm, "kind": kind, "activation": "gelu"}
        embedded = {"embeddings": {3: (10, 4)}, "input_dropout": 0.1, "weights": True}
        for kind in KINDS:
            for table in ("float32", "float64", "int16"):
                options = {"clip": True, "max_norm": True} if kind == "train" else {}
                yield {**base, **around, **embedded, **options, "kind": kind, "table": table}
    for table in names.SOURCE_TYPES:
        yield {"batch_size": 8192, "dtype": "float32", "sizes": LARGE, "table": table}
