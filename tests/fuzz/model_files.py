"""Model files taken apart and put together, and all that is done with one."""

from __future__ import annotations

import json
import random
import struct
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import load

import fastmlp
from fastmlp import tensor_file

KEY = "fastmlp"


def parts(raw: bytes) -> tuple[Any, dict[str, np.ndarray]]:
    """The JSON content and the arrays of a model file."""
    (n_header,) = struct.unpack("<Q", raw[:8])
    header = json.loads(raw[8 : 8 + n_header])
    return json.loads(header["__metadata__"][KEY]), load(raw)


def write(path: Path, content: Any, tensors: dict[str, np.ndarray]) -> None:
    """A file with a digest that fits, whatever it says."""
    path.write_bytes(b"")
    tensor_file.write(path, tensors, KEY, json.dumps(content))


def inputs(network: fastmlp.Network, n_rows: int = 5) -> np.ndarray:
    """Rows that a network takes, categories 0 in embedded columns."""
    X = np.ones((n_rows, network.sizes[0]), network.dtype)
    X[:, [column for column, _, _ in network.spec.embeddings]] = 0.0
    return X


def predictions(network: fastmlp.Network) -> bytes:
    X = inputs(network)
    is_values = network.task == "regression"
    return (network.predict(X) if is_values else network.predict_proba(X)).tobytes()


def trained_on(network: fastmlp.Network, folder: Path) -> None:
    """Train an epoch, predict, save, load again."""
    X, n = inputs(network, 8), network.sizes[-1]
    match network.task:
        case "regression":
            n //= network.loss.outputs_per_target
            y = np.linspace(1.0, 2.0, 8 * n).reshape(8, n)
        case "multilabel":
            y = np.arange(8 * n).reshape(8, n) % 2
        case _:
            labels = np.arange(max(n, 2)) if network.classes_ is None else network.classes_
            y = labels[np.arange(8) % len(labels)]
    network.fit(X, y[:, 0] if y.ndim == 2 and n == 1 else y, epochs=1, batch_size=8)
    predictions(network)
    path = folder / "again.safetensors"
    network.save(path)
    fastmlp.Network.load(path)


def other_arrays(tensors: dict[str, np.ndarray], draw: random.Random) -> dict[str, np.ndarray]:
    """Arrays of which one has another shape, type, name or value, or is gone."""
    changed = dict(tensors)
    name = draw.choice(sorted(tensors))
    array = changed[name]
    match draw.randrange(7):
        case 0:
            changed[name] = array[..., None]
        case 1:
            changed[name] = array.reshape(-1)[1:]
        case 2:
            changed[name] = array.astype(draw.choice(["float64", "float32", "int32", "uint8"]))
        case 3:
            del changed[name]
        case 4:
            changed[draw.choice(["weights.9", "x", "fit.x", "optimizer.slot7.weights.0"])] = array
        case 5:
            with np.errstate(invalid="ignore"):  # values that no integer has
                changed[name] = np.full_like(array, draw.choice([np.nan, np.inf, 1e38, -1e38, 0.0]))
        case 6:
            changed[name] = changed[draw.choice(sorted(tensors))]
    return changed
