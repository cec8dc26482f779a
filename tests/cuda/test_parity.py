"""Every operation of the CUDA engine beside the CPU's: 20 steps, then all that both can tell."""

import numpy as np
import pytest

from fastmlp import losses
from fastmlp.engine import names
from fastmlp.shuffle import Blocks

from .tools import HYPER, assert_alike

LOSSES = [
    "squared_error", "absolute_error", losses.huber(0.5), "poisson", losses.quantile(0.3),
    losses.quantiles((0.1, 0.5, 0.9)), losses.gaussian_nll(), losses.cross_entropy(0.1),
    losses.focal(1.5), "binary_cross_entropy",
]  # fmt: skip
DTYPES = ("float32", "float64")


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("sizes", [[5, 3], [5, 7, 3], [9, 17, 8, 3], [3, 1, 33, 2]], ids=str)
def test_sizes_around_those_of_tiles(sizes, dtype):
    assert_alike(sizes, dtype=dtype)


@pytest.mark.parametrize("batch_size", [1, 7, 9, 21, 64])
def test_batch_sizes(batch_size):
    assert_alike([5, 7, 3], batch_size=batch_size, n_epochs=2)


@pytest.mark.parametrize("activation", names.ACTIVATIONS)
@pytest.mark.parametrize("dtype", DTYPES)
def test_activations(activation, dtype):
    assert_alike([5, 7, 6, 3], activation=activation, dtype=dtype)


@pytest.mark.parametrize("loss", LOSSES, ids=str)
@pytest.mark.parametrize("dtype", DTYPES)
def test_losses(loss, dtype):
    assert_alike([5, 7, 6], loss=loss, weights=True, dtype=dtype, rule="momentum")


@pytest.mark.parametrize("loss", ["squared_error", "cross_entropy"])
def test_wide_outputs(loss):
    assert_alike([5, 7, 19], loss=loss, n_epochs=2)


@pytest.mark.parametrize("rule", HYPER)
@pytest.mark.parametrize("dtype", DTYPES)
def test_update_rules(rule, dtype):
    assert_alike([5, 9, 7, 3], rule=rule, dtype=dtype)


def test_muon_on_matrices_of_both_shapes_with_the_rates_of_adam():
    assert_alike([9, 5, 12, 3], rule="muon", options={"weight_decay": 0.1, "ema": 0.9})


@pytest.mark.parametrize("norm", ["layer", "rms", "batch"])
@pytest.mark.parametrize("dtype", DTYPES)
def test_norms(norm, dtype):
    assert_alike([5, 7, 6, 3], norm=norm, dropout=0.2, activation="gelu", dtype=dtype)


def test_norms_of_wide_layers_and_many_rows():
    assert_alike([5, 37, 3], norm="batch", n=43, batch_size=19, n_epochs=2)
    assert_alike([5, 37, 3], norm="layer", n=43, batch_size=19, n_epochs=2)


@pytest.mark.parametrize("norm", ["none", "layer", "batch"])
def test_residual_connections(norm):
    assert_alike([7, 7, 7, 7, 3], residual=True, norm=norm, dropout=0.1, activation="tanh")


def test_some_residual_layers():
    assert_alike([5, 7, 7, 7, 3], residual=[False, True, False])


@pytest.mark.parametrize("dtype", DTYPES)
def test_dropout_has_the_same_masks(dtype):
    assert_alike([70, 67, 9, 3], dropout=[0.3, 0.5], input_dropout=0.2, n_epochs=2, dtype=dtype)


@pytest.mark.parametrize(
    "options",
    [
        {"clip_norm": 0.5}, {"clip_value": 0.05}, {"max_norm": 0.8}, {"ema": 0.9},
        {"weight_decay": 0.1}, {"weight_decay": 0.1, "decay_biases": True},
        {"layer_lr": (0.5, 2.0)}, {"clip_norm": 0.5, "max_norm": 0.8, "ema": 0.9},
    ],
    ids=str,
)  # fmt: skip
def test_options_of_updates(options):
    assert_alike([5, 7, 3], options=options, l1=0.01, l2=0.02)


@pytest.mark.parametrize("shuffle", [False, True, Blocks(2, 9), Blocks(3, 100), Blocks(5, 7)])
def test_shuffles_take_the_same_rows(shuffle):
    assert_alike([5, 7, 3], shuffle=shuffle)


@pytest.mark.parametrize("embedded", [{1: (5, 2), 3: (3, 3)}, {0: (21, 4)}], ids=["two", "one"])
@pytest.mark.parametrize("dropped", [0.0, 0.2])
def test_embeddings(embedded, dropped):
    X = np.random.default_rng(0).normal(size=(21, 4))
    X[:, 0], X[:, 1], X[:, 3] = np.arange(21), np.arange(21) % 5, np.arange(21) % 3
    assert_alike([4, 7, 3], X=X, embeddings=embedded, input_dropout=dropped)


@pytest.mark.parametrize("source", [*names.SOURCE_TYPES, "bool"])
def test_types_of_tables(source):
    X = np.random.default_rng(0).integers(0, 2, (21, 5)).astype(source)
    assert_alike([5, 7, 3], X=X, dtype="float32", n_epochs=2)


@pytest.mark.parametrize("how", ["columns", "rows", "fortran", "backwards"])
def test_tables_of_any_strides(how):
    whole = np.random.default_rng(0).normal(size=(42, 10))
    X = {"columns": whole[:21, ::2], "rows": whole[::2, :5], "backwards": whole[20::-1, 4::-1],
         "fortran": np.asfortranarray(whole[:21, :5])}[how]  # fmt: skip
    assert_alike([5, 7, 3], X=X, n_epochs=2)


def test_class_probabilities_as_targets():
    from fastmlp.data import Dataset
    from fastmlp.engine.cpu import CpuEngine
    from fastmlp.engine.cuda import CudaEngine
    from fastmlp.spec import NetworkSpec

    from .tools import engine, error, results, train

    spec = NetworkSpec.make(sizes=[5, 7, 4], loss="cross_entropy", dtype="float64")
    rng = np.random.default_rng(1)
    data = Dataset(rng.normal(size=(21, 5)), targets=rng.dirichlet(np.ones(4), 21))
    told = []
    for kind in (CpuEngine, CudaEngine):
        made = engine(kind, spec)
        told.append(results(made, data, train(made, data)))
    assert max(error(told[0][name], told[1][name]) for name in told[0]) < 1e-10
