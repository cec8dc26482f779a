"""The engine around the loop: parameters, prediction, evaluation, traces, skipped steps."""

from __future__ import annotations

import numpy as np
import pytest

from fastmlp.engine import make_engine
from fastmlp.engine.cpu.program import ensure_compiled
from fastmlp.engine.train_job import TrainJob
from fastmlp.kernels import codes
from fastmlp.kernels.cpu.loop import run
from fastmlp.optim import UpdateOptions
from tests.reference.network import ReferenceNetwork

from .tools import (
    DTYPES,
    dataset,
    make_engine_with,
    make_spec,
    outputs_for,
    random_parameters,
    random_targets,
    relative_error,
    train,
)

each_dtype = pytest.mark.parametrize("dtype", DTYPES)
SIZES, NAMES = (6, 33, 17, 4), ("gelu", "relu")
TOLERANCE = {"float32": 1e-5, "float64": 1e-13}


def make(dtype, n_rows=40, loss="squared_error", n_threads=None):
    """An engine, the NumPy network of the same weights, inputs and data."""
    rng = np.random.default_rng(5)
    sizes = (*SIZES[:-1], outputs_for(loss, SIZES[-1]))
    spec = make_spec(sizes, activation=NAMES, loss=loss, dtype=dtype, n_threads=n_threads)
    engine = make_engine_with(spec, *random_parameters(rng, sizes))
    engine.set_optimizer("sgd", ())
    weights, biases = ([a.astype(float) for a in part] for part in engine.get_parameters())
    X = rng.standard_normal((n_rows, SIZES[0])).astype(dtype)
    data = dataset(X, random_targets(rng, loss, n_rows, sizes[-1]), dtype)
    return engine, ReferenceNetwork(weights, biases, NAMES, loss, spec.loss.parameters), X, data


@each_dtype
def test_parameters_come_back_as_they_were_set_and_are_copies(dtype):
    spec = make_spec(SIZES, activation=NAMES, dtype=dtype)
    weights, biases = random_parameters(np.random.default_rng(0), SIZES)
    engine = make_engine_with(spec, weights, biases)
    for _ in range(2):
        for found, wanted in zip(engine.get_parameters(), (weights, biases), strict=True):
            for f, w in zip(found, wanted, strict=True):
                np.testing.assert_array_equal(f, w.astype(dtype))
                f[...] = 0.0


# Variances for (300, 200): what each rule says of the fan in and the fan out.
VARIANCES = {
    "he": 2.0 / 300, "glorot": 2.0 / 500, "lecun": 1.0 / 300, "uniform": 1.0 / 900, "zeros": 0.0,
    "orthogonal": 1.0 / 300,
}  # fmt: skip


@pytest.mark.parametrize("init", [name for name in codes.INITIALIZERS if name != "auto"])
def test_first_weights_have_the_spread_of_their_rule(init):
    (weight,), (bias,) = make_engine(make_spec([300, 200], init=init)).get_parameters()
    variance = VARIANCES[init.partition("_")[0]]
    assert weight.std() == pytest.approx(np.sqrt(variance), rel=0.02)
    assert abs(weight.mean()) <= 4.0 * np.sqrt(variance / weight.size)
    if variance:
        largest = np.abs(weight).max() / np.sqrt(variance)
        assert largest <= np.sqrt(3.0) if init.endswith("uniform") else 3.5 < largest < 7.0
    assert (bias == 0.0).all()


@pytest.mark.parametrize("shape", [(30, 20), (20, 30), (1, 1), (7, 7)])
@pytest.mark.parametrize("activation", ["relu", "tanh"])
def test_orthogonal_weights_are_orthogonal_with_the_gain_of_the_activation(shape, activation):
    n_in, n_out = shape
    spec = make_spec([n_in, n_out, 3], init="orthogonal", activation=activation, dtype="float64")
    weight = make_engine(spec).get_parameters()[0][0]
    product = weight.T @ weight if n_in >= n_out else weight @ weight.T
    gain = 2.0 if activation == "relu" else 1.0
    np.testing.assert_allclose(product, gain * np.eye(min(shape)), atol=1e-12)


@pytest.mark.parametrize(
    ("activation", "same_as"),
    [("relu", "he_uniform"), ("gelu", "he_uniform"), ("selu", "lecun_normal"),
     ("tanh", "glorot_uniform"), ("sigmoid", "glorot_uniform")],
)  # fmt: skip
def test_auto_takes_the_rule_that_fits_the_activation(activation, same_as):
    auto, named = (
        make_engine(make_spec([9, 8, 3], activation=activation, init=init)).get_parameters()[0][0]
        for init in ("auto", same_as)
    )
    np.testing.assert_array_equal(auto, named)


def test_first_weights_depend_on_the_seed_and_differ_by_layer():
    first, again, other = (
        make_engine(make_spec([9, 9, 9], seed=seed)).get_parameters()[0] for seed in (1, 1, 2)
    )
    for a, b, c in zip(first, again, other, strict=True):
        np.testing.assert_array_equal(a, b)
        assert (a != c).all()
    assert (first[0] / first[0].std() != first[1] / first[1].std()).all()


@each_dtype
@pytest.mark.parametrize("n_threads", [1, 3])
@pytest.mark.parametrize("n_rows", [1, 7, 512, 513, 1200])
def test_prediction_and_trace_are_the_forward_pass(n_rows, n_threads, dtype):
    engine, net, X, _ = make(dtype, n_rows, n_threads=n_threads)
    wanted, _ = net.forward(X.astype(float))
    assert relative_error(engine.predict(X), wanted[-1]) <= TOLERANCE[dtype]
    trace = engine.trace(X)
    assert len(trace) == len(SIZES)
    for found, layer in zip(trace, wanted, strict=True):
        assert relative_error(found, layer) <= TOLERANCE[dtype]


@each_dtype
def test_prediction_of_no_rows_is_empty(dtype):
    engine, _, X, _ = make(dtype)
    assert engine.predict(X[:0]).shape == (0, SIZES[-1])


@each_dtype
@pytest.mark.parametrize("loss", codes.LOSSES)
@pytest.mark.parametrize("n_rows", [1, 513, 1200])
def test_evaluation_is_the_mean_loss(n_rows, loss, dtype):
    engine, net, X, data = make(dtype, n_rows, loss)
    y = data.labels if data.targets is None else data.targets.astype(float)
    wanted = net.data_loss(X.astype(float), y)
    assert abs(engine.evaluate(data) - wanted) <= TOLERANCE[dtype] * max(abs(wanted), 1.0)


@each_dtype
def test_read_only_targets_and_weights_are_read_and_left_alone(dtype):
    engine, _, X, data = make(dtype)
    data.weights = np.linspace(0.0, 1.0, len(X)).astype(dtype)
    wanted, copies = engine.evaluate(data), [a.copy() for a in (X, data.targets, data.weights)]
    for array in (X, data.targets, data.weights):
        array.flags.writeable = False
    assert engine.evaluate(data) == wanted
    train(engine, data, batch_size=8, n_epochs=2)
    for array, copy in zip((X, data.targets, data.weights), copies, strict=True):
        np.testing.assert_array_equal(array, copy)


@each_dtype
def test_steps_of_the_first_epoch_can_be_left_out(dtype):
    """The steps that are left out have no learning rate either, in a training of all of them."""
    (some, _, _, data), (all_steps, _, _, same) = make(dtype), make(dtype)
    n_left_out = 3
    result = some.train(TrainJob(
        data, batch_size=8, n_epochs=2, first_epoch=4, first_step=n_left_out, shuffle=True,
        learning_rates=np.full(10 - n_left_out, 0.01),
    ))  # fmt: skip
    assert (result.n_epochs_done, result.n_steps_done) == (2, 10 - n_left_out)
    rates = np.full(10, 0.01)
    rates[:n_left_out] = 0.0
    all_steps.train(TrainJob(
        same, batch_size=8, n_epochs=2, first_epoch=4, first_step=0, shuffle=True,
        learning_rates=rates,
    ))  # fmt: skip
    np.testing.assert_array_equal(some.params, all_steps.params)


@each_dtype
@pytest.mark.parametrize("n_threads", [1, 2])
@pytest.mark.parametrize("cut", [1, 3, 4])
def test_a_training_in_pieces_is_bitwise_that_in_one(dtype, n_threads, cut):
    """Three epochs of 5 steps, the last of them in two calls that part before step `cut`."""
    (whole, _, _, data), (pieces, *_) = make(dtype, n_threads=n_threads), make(dtype)
    rates = np.linspace(0.1, 0.01, 15)
    settings = {"batch_size": 8, "shuffle": True}
    for engine in (whole, pieces):
        engine.set_optimizer("nadam", (0.9, 0.999, 1e-8))
    wanted = whole.train(
        TrainJob(data, n_epochs=3, first_epoch=4, first_step=0, learning_rates=rates, **settings)
    )
    first = pieces.train(TrainJob(
        data, n_epochs=3, first_epoch=4, first_step=0, n_steps_left=5 - cut,
        learning_rates=rates[: 10 + cut], **settings,
    ))  # fmt: skip
    assert (first.status, first.n_epochs_done, first.n_steps_done) == ("done", 2, 10 + cut)
    np.testing.assert_array_equal(first.loss[:2], wanted.loss[:2])
    last = pieces.train(TrainJob(
        data, n_epochs=1, first_epoch=6, first_step=cut, seen=first.seen,
        learning_rates=rates[10 + cut :], **settings,
    ))  # fmt: skip
    assert (last.status, last.n_epochs_done, last.n_steps_done) == ("done", 1, 5 - cut)
    np.testing.assert_array_equal(last.loss, wanted.loss[2:])
    np.testing.assert_array_equal(last.grad_norm, wanted.grad_norm[2:])
    np.testing.assert_array_equal(pieces.params, whole.params)
    np.testing.assert_array_equal(pieces.state, whole.state)


@each_dtype
@pytest.mark.parametrize("loss", ["quantiles", "cross_entropy"])
def test_what_is_compiled_beforehand_is_what_trains(loss, dtype):
    """Another type of any argument would compile the whole loop a second time."""
    ensure_compiled(np.dtype(dtype))
    engine, _, X, data = make(dtype, loss=loss)
    engine.set_optimizer("adam", (0.9, 0.999, 1e-8), UpdateOptions(clip_norm=1.0, ema=0.9))
    train(engine, data, batch_size=8, n_epochs=1)
    engine.evaluate(data)
    engine.predict(X)
    engine.loss_and_gradients(data)
    compiled = [signature for signature in run.signatures if str(signature[-1]) == dtype]
    assert len(compiled) == 1
