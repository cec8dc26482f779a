"""What the tests of layer kinds share: data with categories, networks, and NumPy's predictions."""

from __future__ import annotations

import numpy as np

import fastmlp
from fastmlp.names import NORMS
from fastmlp.spec.layers import kinds_of
from tests.reference import activations, embedding, norms

SIZES = [5, 20, 20, 20, 3]
TABLES = {1: (6, 3), 3: (4, 2)}
# What stands around the layers of a network of these sizes.
KINDS = {
    **{norm: {"norm": norm} for norm in NORMS[1:]},
    "residual": {"residual": True},
    "embedded": {"embeddings": TABLES},
    "input dropout": {"input_dropout": 0.2, "embeddings": TABLES},
    "all": {
        "norm": ["batch", "rms", "batch"], "residual": True, "input_dropout": 0.1, "dropout": 0.1,
        "embeddings": TABLES,
    },
}  # fmt: skip


def table(n_rows: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Numbers with two columns of categories, and one of three classes for each row."""
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((n_rows, SIZES[0])).astype(np.float32)
    for column, (n_categories, _) in TABLES.items():
        X[:, column] = rng.integers(0, n_categories, n_rows)
    y = (X[:, 0] + np.sin(X[:, 1]) > 0).astype(int) + (X[:, 3] == 2)
    return X, y


def make(kind: str, **settings) -> fastmlp.Network:
    """A classifier of the data of `table`."""
    around = {"loss": "cross_entropy", "activation": "gelu", "seed": 3} | KINDS[kind] | settings
    return fastmlp.Network(SIZES, **around)


def trained(kind: str, optimizer=None, epochs: int = 3, **settings) -> fastmlp.Network:
    """The same after some epochs, so that every statistic and state has moved."""
    net = make(kind, **settings)
    net.fit(*table(100), epochs=epochs, batch_size=32, optimizer=optimizer or "adam")
    return net


def activations_of(net: fastmlp.Network, X: np.ndarray) -> list[np.ndarray]:
    """What every layer puts out, from a network's public parameters alone, in float64."""
    spec, running = net.spec, net.running_statistics
    columns = [column for column, _, _ in spec.embeddings]
    tables = [values.astype(float) for values in net.embeddings]
    outputs = [embedding.embed_rows(np.asarray(X, float), columns, tables)]
    for i, (weight, bias) in enumerate(zip(net.weights, net.biases, strict=True)):
        weight, bias, a = weight.astype(float), bias.astype(float), outputs[-1]
        kind = kinds_of(spec.norms)[i]
        if kind.folds:
            weight, bias = norms.fold(weight, bias, net.scales[i], *running[i])
        z = a @ weight
        if not (kind.is_plain or kind.folds):
            z = norms.normalise(kind.name, z)[0] * net.scales[i]
        z = z + bias
        if i < len(spec.norms):
            z = activations.TABLE[spec.activations[i]](z)[0] + (a if spec.residual[i] else 0.0)
        outputs.append(z)
    return outputs


def everything(net: fastmlp.Network) -> dict[str, np.ndarray]:
    """All that a further training depends on, under names."""
    engine = net.engine
    found = dict(engine.get_training_parameters().named())
    found |= {f"average {name}": a for name, a in engine.parameters().named().items()}
    for i, slot in enumerate(engine.get_optimizer_state().slots):
        found |= {f"slot {i} {name}": a for name, a in slot.named().items()}
    for i, (mean, variance) in engine.get_running().items():
        found |= {f"mean {i}": mean, f"variance {i}": variance}
    return found


def assert_same(a: fastmlp.Network, b: fastmlp.Network) -> None:
    """Bitwise, all of `everything` and the counters."""
    found, wanted = everything(a), everything(b)
    assert list(found) == list(wanted)
    for name, values in wanted.items():
        np.testing.assert_array_equal(found[name], values, err_msg=name)
    assert (a.n_epochs_, a.n_steps_) == (b.n_epochs_, b.n_steps_)
