"""Every operation of the CUDA engine, as arguments of `tools.compared`: one list for the simulator
and for GPUs.

`large`: sizes for a GPU, of several tiles with odd rests; those of the simulator are as many of
its small tiles.
"""

from __future__ import annotations

from typing import Any

from fastmlp import names
from fastmlp.data.shuffle import Blocks
from fastmlp.spec.losses import NAMES
from tests.targets import example_of, outputs_of

from .tools import HYPER

LOSSES = {name: example_of(name) for name in NAMES}
OPTIONS: list[dict[str, Any]] = [
    {"clip_norm": 0.5}, {"clip_value": 0.05}, {"max_norm": 0.8}, {"ema": 0.9},
    {"weight_decay": 0.1}, {"weight_decay": 0.1, "decay_biases": True}, {"layer_lr": (0.5, 2.0)},
    {"clip_norm": 0.5, "max_norm": 0.8, "ema": 0.9},
]  # fmt: skip
DTYPES = ("float32", "float64")
Cases = dict[str, dict[str, Any]]


def operations(large: bool = False) -> Cases:
    """Arguments of `compared` by a name that says what is looked at."""
    cases: Cases = {}
    for dtype in DTYPES:
        for made in (_of_both_types(large), _of_sizes(large)):
            cases |= {f"{name} {dtype}": {**case, "dtype": dtype} for name, case in made.items()}
    cases |= _of_one_type(large)
    if large:
        for case in cases.values():
            # Float32 beside float64: Adam divides by roots of small gradients, and relu may take
            # the other side of 0. What a case is not about is smooth.
            case.setdefault("rule", "momentum")
            case.setdefault("activation", "tanh")
            case["sizes"] = [19 * size + 2 for size in case["sizes"][:-1]] + case["sizes"][-1:]
            case["n"], case["batch_size"] = 421, case.get("batch_size", 8) * 17 + 3
            case["n_epochs"] = 2
        for dtype in DTYPES:
            for sizes, n in (([784, 256, 128, 10], 8189), ([128, 64, 64, 64, 16], 65533)):
                cases[f"tiles of {sizes} and {n} rows {dtype}"] = {
                    "sizes": sizes, "n": n, "batch_size": n, "n_epochs": 2, "rule": "momentum",
                    "activation": "tanh", "dtype": dtype,
                }  # fmt: skip
    return cases


def _of_sizes(large: bool) -> Cases:
    cases: Cases = {
        f"sizes {sizes}": {"sizes": list(sizes)}
        for sizes in ((5, 3), (5, 7, 3), (9, 17, 8, 3), (3, 1, 33, 2))
    }
    for loss in ("squared_error", "cross_entropy"):
        n_outputs = 1003 if large else 19
        cases[f"wide outputs of {loss}"] = {
            "sizes": [5, 7, n_outputs], "loss": loss, "n_epochs": 2,
        }  # fmt: skip
    return cases


def _of_both_types(large: bool) -> Cases:
    cases: Cases = {}
    for name in names.ACTIVATIONS:
        cases[f"activation {name}"] = {"sizes": [5, 7, 6, 3], "activation": name}
    for name, loss in LOSSES.items():
        cases[f"loss {name}"] = {
            "sizes": [5, 7, outputs_of(loss, 6)], "loss": loss, "weights": True,
            "rule": "momentum",
        }  # fmt: skip
    cases["class probabilities"] = {"sizes": [5, 7, 4], "soft": True, "weights": True}
    for rule in HYPER:
        cases[f"rule {rule}"] = {"sizes": [5, 9, 7, 3], "rule": rule}
    for norm in names.NORMS[1:]:
        cases[f"norm {norm}"] = {
            "sizes": [5, 7, 6, 3], "norm": norm, "dropout": 0.2, "activation": "gelu",
        }  # fmt: skip
    cases["dropout"] = {
        "sizes": [70, 67, 9, 3] if not large else [5, 9, 7, 3], "dropout": [0.3, 0.5],
        "input_dropout": 0.2, "n_epochs": 2,
    }  # fmt: skip
    return cases


def _of_one_type(large: bool) -> Cases:
    cases: Cases = {}
    if not large:
        for batch_size in (1, 7, 9, 21, 64):
            cases[f"batches of {batch_size}"] = {
                "sizes": [5, 7, 3], "batch_size": batch_size, "n_epochs": 2,
            }  # fmt: skip
    cases["muon on matrices of both shapes"] = {
        "sizes": [9, 5, 12, 3], "rule": "muon", "options": {"weight_decay": 0.1, "ema": 0.9},
    }  # fmt: skip
    for norm in ("batch", "layer"):
        cases[f"{norm} norm of wide layers and many rows"] = {
            "sizes": [5, 37, 3], "norm": norm, "n": 43, "batch_size": 19, "n_epochs": 2,
        }  # fmt: skip
    for norm in ("none", "layer", "batch"):
        cases[f"residual connections, norm {norm}"] = {
            "sizes": [7, 7, 7, 7, 3], "residual": True, "norm": norm, "dropout": 0.1,
            "activation": "tanh",
        }  # fmt: skip
    cases["some residual layers"] = {
        "sizes": [5, 7, 7, 7, 3], "residual": [False, True, False],
    }  # fmt: skip
    for options in OPTIONS:
        cases[f"options {options}"] = {
            "sizes": [5, 7, 3], "options": options, "l1": 0.01, "l2": 0.02,
        }  # fmt: skip
    for shuffle in (False, True, Blocks(2, 9), Blocks(3, 100), Blocks(5, 7)):
        cases[f"shuffle {shuffle}"] = {"sizes": [5, 7, 3], "shuffle": shuffle}
    for rate in (0.0, 0.2):
        for number, embedded in enumerate(({1: (5, 2), 3: (3, 3)}, {0: (21, 4)})):
            cases[f"embeddings {number}, dropout {rate}"] = {
                "sizes": [4, 7, 3], "embeddings": embedded, "input_dropout": rate,
            }  # fmt: skip
    for table in (*names.SOURCE_TYPES, "bool"):
        cases[f"table of {table}"] = {
            "sizes": [5, 7, 3], "table": table, "dtype": "float32", "n_epochs": 2,
        }  # fmt: skip
    for layout in ("columns", "rows", "fortran", "backwards"):
        cases[f"table by {layout}"] = {"sizes": [5, 7, 3], "layout": layout, "n_epochs": 2}
    return cases
