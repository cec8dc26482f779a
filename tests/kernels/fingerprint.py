"""A short training with everything in it, and a hash of all that it leaves behind.

`python -m tests.kernels.fingerprint` writes the hashes as JSON, so that processes can be compared.
"""

from __future__ import annotations

import hashlib
import json
import sys

import numpy as np

from fastmlp.kernels.cpu.loop import run
from fastmlp.optim import UpdateOptions
from tests.reference.optimizers import HYPER

from .assembly import FUSES, describe
from .tools import (
    DTYPES,
    dataset,
    make_engine_with,
    make_spec,
    random_inputs,
    random_parameters,
    random_targets,
    train,
)

THREADS = (1, 2, 3, 8)

ALL = {"weight_decay": 0.01, "clip_norm": 0.5, "clip_value": 0.05, "max_norm": 1.0, "ema": 0.9}
# Odd sizes and partial last minibatches: sizes, loss, rule, rows, batch size, options.
TRAININGS = (
    ((13, 37, 70, 5), "cross_entropy", "adam", 203, 33, {}),
    ((3, 129, 1), "binary_cross_entropy", "adam", 150, 64, {"weight_decay": 0.01}),
    ((70, 16, 31), "huber", "nesterov", 77, 20, {"max_norm": 0.9}),
    ((1, 1, 1), "squared_error", "momentum", 9, 4, {"clip_norm": 0.1}),
    ((200, 100, 50, 25, 7), "poisson", "sgd", 131, 130, {"clip_norm": 0.3}),
    ((13, 37, 70, 6), "gaussian_nll", "amsgrad", 101, 33, ALL),
    ((5, 33, 3), "quantiles", "nadam", 77, 20, {"ema": 0.95}),
    ((40, 50, 7), "soft_cross_entropy", "radam", 93, 31, ALL | {"decay_biases": True}),
    ((9, 70, 20), "focal", "rmsprop", 64, 40, {"clip_norm": 0.2, "layer_lr": (0.5, 2.0)}),
    ((9, 70, 20), "absolute_error", "adagrad", 64, 40, {"max_norm": 0.7, "ema": 0.5}),
    ((17, 65, 2), "quantile", "lion", 64, 40, ALL),
)
# What stands around the layers of each; nothing around the others.
KINDS = {
    5: {"norm": ["layer", "rms"], "input_dropout": 0.2},
    6: {"norm": "batch", "embeddings": {1: (9, 3), 4: (70, 20)}, "input_dropout": 0.2},
    7: {"norm": "batch", "embeddings": {0: (5, 2)}},
    11: {"norm": ["batch", "layer", "batch"], "residual": True, "input_dropout": 0.1},
    12: {"residual": [True, True, False]},
}
TRAININGS += (
    ((8, 40, 40, 40, 3), "cross_entropy", "adam", 131, 50, {"clip_norm": 0.5}),
    ((33, 33, 33, 9, 4), "squared_error", "momentum", 90, 33, ALL),
    ((13, 70, 101, 33, 5), "cross_entropy", "muon", 131, 40, {}),
    ((70, 33, 65, 4), "squared_error", "muon", 90, 33, ALL),
)


def fingerprint(training, dtype: str, n_threads: int) -> str:
    """Of one of TRAININGS, with what stands around its layers."""
    n_hidden = len(training[0]) - 2
    around = KINDS.get(TRAININGS.index(training), {})
    activations, dropout = ["mish", "gelu", "relu"][:n_hidden], [0.3, 0.1, 0.5][:n_hidden]
    return hash_of(
        training, dtype, n_threads, {"activation": activations, "dropout": dropout, **around}
    )


def hash_of(training, dtype: str, n_threads: int, layers: dict) -> str:
    """Three shuffled epochs with weights: all parameters, states and figures; `layers`: settings of
    the network."""
    sizes, loss, rule, n_rows, batch_size, options = training
    rng = np.random.default_rng(8)
    spec = make_spec(
        sizes, loss=loss, dtype=dtype, l1=1e-4, l2=1e-3, seed=5, n_threads=n_threads, **layers
    )
    engine = make_engine_with(spec, *random_parameters(rng, spec.layer_sizes))
    engine.set_optimizer(rule, HYPER[rule], UpdateOptions(**options))
    X, y = random_inputs(rng, spec, n_rows, "float64"), random_targets(rng, loss, n_rows, sizes[-1])
    data = dataset(X, y, dtype, rng.uniform(0.0, 2.0, n_rows))
    result = train(engine, data, batch_size=batch_size, n_epochs=3, shuffle=True)
    assert (result.status, engine.n_threads_used) == ("done", n_threads)
    loss_value, gradients = engine.loss_and_all_gradients(data)
    digest = hashlib.sha256()
    for array in (
        engine.params, engine.state, result.loss, result.grad_norm, engine.predict(X),
        np.array([engine.evaluate(data), loss_value]), *gradients.named().values(), engine.running,
        np.zeros(0) if engine.average is None else engine.average,
    ):  # fmt: skip
        assert np.isfinite(array).all()
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()


def spills_of_the_loop() -> list[str]:
    """Vectors that product loops of the compiled loop keep on the stack; x86 with FMA only."""
    if not FUSES:
        return []
    lines, n_products = [], 0
    for signature in run.signatures:
        for loop in describe(run.inspect_asm(signature)):
            # Loops of fused multiply-adds of whole vectors and nothing else: the register tiles.
            if loop["products"] == loop["fused"] == loop["full_width"]:
                n_products += 1
                lines += loop["spills"]
    return lines if n_products else ["no product loop found"]


if __name__ == "__main__":
    hashes = {
        dtype: [fingerprint(training, dtype, number % 2 + 1) for number, training in
                enumerate(TRAININGS)]
        for dtype in DTYPES
    }  # fmt: skip
    compiled_here = sum(run.stats.cache_misses.values())
    spills = spills_of_the_loop() if compiled_here else []
    json.dump({"hashes": hashes, "compiled": compiled_here, "spills": spills}, sys.stdout)
