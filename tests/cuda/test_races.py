"""No result of a kernel depends on the order in which threads run: none is left to chance."""

import numpy as np
import pytest

from fastmlp.engine.cuda.engine import CudaEngine
from fastmlp.spec.network import NetworkSpec

from .scheduler import ordered, races_found
from .tools import dataset, engine, results, train

# Between them, every kernel that a training, a prediction or gradients launch.
CASES = {
    "plain": ({"sizes": [9, 17, 11, 3], "dropout": 0.2, "input_dropout": 0.1}, "adam", {}),
    "layer norm": ({"sizes": [5, 7, 7, 3], "norm": "layer", "residual": [False, True]}, "sgd", {}),
    "batch norm": ({"sizes": [5, 7, 7, 3], "norm": "batch", "residual": [False, True]}, "sgd", {}),
    "rms norm": ({"sizes": [5, 7, 3], "norm": "rms", "l1": 0.01}, "lion", {"max_norm": 0.5}),
    "muon": ({"sizes": [5, 9, 12, 3]}, "muon", {"clip_norm": 0.5, "ema": 0.9}),
    "embedding": ({"sizes": [3, 7, 3], "embeddings": {1: (5, 3)}}, "rmsprop", {"ema": 0.9}),
    "regression": ({"sizes": [3, 7, 6], "loss": "squared_error"}, "adagrad", {"clip_value": 0.1}),
}


def trained(case, dtype):
    settings, rule, options = CASES[case]
    spec = NetworkSpec.make(**{"loss": "cross_entropy", **settings}, dtype=dtype, seed=2)
    X = np.random.default_rng(0).normal(size=(21, spec.sizes[0]))
    X[:, 1] = np.arange(21) % 5 if case == "embedding" else X[:, 1]
    data = dataset(spec, 21, weights=True, X=X)
    made = engine(CudaEngine, spec, rule, **options)
    return results(made, data, train(made, data, n_epochs=2))


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_every_order_of_threads_has_the_same_bits(case, dtype):
    with races_found():
        wanted = trained(case, dtype)
    for order in ("backward", "random"):
        with ordered(order):
            found = trained(case, dtype)
        for name, values in wanted.items():
            np.testing.assert_array_equal(found[name], values, err_msg=name)


def test_two_runs_have_the_same_bits():
    first, second = trained("plain", "float32"), trained("plain", "float32")
    for name, values in first.items():
        np.testing.assert_array_equal(second[name], values, err_msg=name)
