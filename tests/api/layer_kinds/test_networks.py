"""Normalised and residual networks with embeddings as users hold them: predict, keep, go on."""

from __future__ import annotations

import copy
import json
import pickle

import numpy as np
import pandas as pd
import pytest
from safetensors import safe_open
from safetensors.numpy import load_file

import fastmlp
from fastmlp import errors, optim, tensor_file
from fastmlp.callbacks import EarlyStopping
from tests.api.layer_kinds.networks import (
    KINDS,
    TABLES,
    activations_of,
    assert_same,
    everything,
    make,
    table,
    trained,
)

each_kind = pytest.mark.parametrize("kind", KINDS)


def log_softmax(z):
    z = z - z.max(axis=1, keepdims=True)
    return z - np.log(np.exp(z).sum(axis=1, keepdims=True))


def assert_predicts_as_numpy(net):
    """All of predict, predict_proba, evaluate and trace beside NumPy's outputs."""
    X, y = table(70, seed=9)
    tolerance = {"float32": 2e-4, "float64": 1e-10}[net.dtype]
    wanted = activations_of(net, X)
    for found, values in zip(net.trace(X), wanted, strict=True):
        np.testing.assert_allclose(found, values, rtol=tolerance, atol=tolerance)
    log_p = log_softmax(wanted[-1])
    p = np.exp(log_p)
    np.testing.assert_allclose(net.predict_proba(X), p, rtol=0, atol=tolerance)
    clear = np.sort(p)[:, -1] - np.sort(p)[:, -2] > tolerance
    np.testing.assert_array_equal(net.predict(X)[clear], p.argmax(axis=1)[clear])
    scores = net.evaluate(X, y)
    assert scores["loss"] == pytest.approx(-log_p[range(70), y].mean(), rel=10 * tolerance)
    assert scores["accuracy"] == pytest.approx((p.argmax(axis=1) == y).mean(), abs=2 / 70)


def saved_and_loaded(net, tmp_path):
    net.save(tmp_path / "m.safetensors")
    return fastmlp.Network.load(tmp_path / "m.safetensors")


COPIES = {
    "load": saved_and_loaded,
    "deepcopy": lambda net, tmp_path: copy.deepcopy(net),
    "pickle": lambda net, tmp_path: pickle.loads(pickle.dumps(net)),
}
each_copy = pytest.mark.parametrize("copied", COPIES)


# ---- predictions ---------------------------------------------------------------------------


@each_kind
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("ema", [None, 0.9])
def test_predictions_are_those_of_numpy_with_the_running_statistics(kind, dtype, ema):
    net = trained(kind, optim.Adam(lr=0.01, ema=ema), dtype=dtype)
    assert_predicts_as_numpy(net)
    # Again after more training: nothing of the first time is kept.
    net.fit(*table(100), epochs=1, batch_size=32)
    assert_predicts_as_numpy(net)


@each_kind
def test_predictions_follow_parameters_that_are_set(kind):
    net = trained(kind, optim.Adam(ema=0.9))
    net.predict(table(5)[0])
    for name in ("weights", "biases", "scales", "embeddings"):
        doubled = [None if a is None else 2.0 * a for a in getattr(net, name)]
        setattr(net, name, doubled)
        for found, wanted in zip(getattr(net, name), doubled, strict=True):
            np.testing.assert_array_equal(found, wanted)
        assert_predicts_as_numpy(net)


@each_kind
@each_copy
def test_copies_predict_the_same_bits(kind, copied, tmp_path):
    net, (X, _) = trained(kind, optim.Adam(ema=0.9)), table(70)
    net.predict(X)  # so that whatever is kept between predictions is there
    other = COPIES[copied](net, tmp_path)
    np.testing.assert_array_equal(other.predict_proba(X), net.predict_proba(X))
    assert other.spec == net.spec
    assert_predicts_as_numpy(other)


def test_an_untrained_batch_normalised_network_has_means_of_0_and_variances_of_1():
    net = make("batch")
    assert list(net.running_statistics) == [0, 1, 2]
    for mean, variance in net.running_statistics.values():
        assert (mean == 0.0).all()
        assert (variance == 1.0).all()
    assert_predicts_as_numpy(net)


def test_running_statistics_are_copies():
    net = trained("batch")
    before = net.running_statistics[0][0].copy()
    net.running_statistics[0][0][:] = 7.0
    np.testing.assert_array_equal(net.running_statistics[0][0], before)


# ---- going on ------------------------------------------------------------------------------


@each_kind
@each_copy
@pytest.mark.parametrize(
    "optimizer",
    [optim.SGD(0.05, 0.9, True), optim.AMSGrad(lr=0.01, ema=0.9, clip_norm=0.5, max_norm=1.0)],
    ids=["nesterov", "amsgrad"],
)
def test_a_copy_goes_on_bitwise_as_the_original(kind, copied, optimizer, tmp_path):
    net = trained(kind, optimizer)
    other = COPIES[copied](net, tmp_path)
    assert_same(other, net)
    for each in (net, other):
        each.fit(*table(100), epochs=2, batch_size=32)
    assert_same(other, net)


@each_kind
@pytest.mark.parametrize("ema", [None, 0.9])
def test_two_fits_are_one(kind, ema):
    optimizer, (X, y) = optim.Adam(lr=0.01, ema=ema), table(100)
    once, twice = make(kind), make(kind)
    once.fit(X, y, epochs=5, batch_size=32, optimizer=optimizer)
    for epochs in (2, 3):
        twice.fit(X, y, epochs=epochs, batch_size=32, optimizer=optimizer)
        twice.evaluate(X, y)
    assert_same(once, twice)


@each_kind
def test_any_number_of_threads_gives_the_same_bits(kind):
    one = trained(kind, n_threads=1)
    for n_threads in (2, 3, 4, 5, 8):
        assert_same(trained(kind, n_threads=n_threads), one)


def test_a_short_last_minibatch_of_one_row_moves_no_statistics():
    X, y = table(33)
    with_last, without = make("batch"), make("batch")
    with_last.fit(X, y, epochs=1, batch_size=16, shuffle=False)
    without.fit(X[:32], y[:32], epochs=1, batch_size=16, shuffle=False)
    assert (with_last.n_steps_, without.n_steps_) == (3, 2)
    for i, statistics in with_last.running_statistics.items():
        for found, wanted in zip(statistics, without.running_statistics[i], strict=True):
            np.testing.assert_array_equal(found, wanted)
    # The layers before a normalised one get no gradient from a row that is its own mean.
    before, after = without.weights, with_last.weights
    assert np.abs(after[3] - before[3]).max() > 0.0
    with_last.fit(X, y, epochs=20, batch_size=16)
    assert np.isfinite(with_last.predict_proba(X)).all()


@pytest.mark.parametrize("kind", ["batch", "all"])
@pytest.mark.parametrize("ema", [None, 0.5])
def test_early_stopping_puts_everything_back_that_predicts(kind, ema):
    (X, y), net, seen = table(100), make(kind), []

    def remember(run):
        seen.append((net.engine.parameters().named(), run.network.running_statistics))

    # The loss falls, so that the first epoch is the "best" one.
    stopping = EarlyStopping(monitor="val_loss", mode="max", patience=3)
    history = net.fit(
        X, y, epochs=20, batch_size=32, eval_set=[(X, y)], callbacks=[remember, stopping],
        optimizer=optim.Adam(lr=0.01, ema=ema),
    )  # fmt: skip
    assert history.stopped_by == "early_stopping"
    best, running = seen[history.best_epoch - 1]
    for name, values in net.engine.parameters().named().items():
        np.testing.assert_array_equal(values, best[name], err_msg=name)
    for i, statistics in net.running_statistics.items():
        for found, wanted in zip(statistics, running[i], strict=True):
            np.testing.assert_array_equal(found, wanted)
    assert net.evaluate(X, y)["loss"] == history.val_loss[history.best_epoch - 1]


def test_the_engine_puts_back_everything_that_predicts():
    net, (X, _) = trained("all", optim.Adam(lr=0.01, ema=0.9)), table(70)
    wanted, snapshot = net.predict_proba(X), net.engine.snapshot()
    net.fit(*table(100), epochs=2)
    assert (net.predict_proba(X) != wanted).any()
    net.engine.restore(snapshot)
    np.testing.assert_array_equal(net.predict_proba(X), wanted)


# ---- model files ---------------------------------------------------------------------------


def rewrite(path, change):
    """Save the model again after `change(content, tensors)`."""
    with safe_open(path, "numpy") as file:
        content = json.loads(file.metadata()["fastmlp"])
    tensors = load_file(path)
    change(content, tensors)
    tensor_file.write(path, tensors, "fastmlp", json.dumps(content))


def test_names_of_the_tensors(tmp_path):
    net = trained("all", "sgd")
    net.save(tmp_path / "m")
    tensors = load_file(tmp_path / "m")
    plain = [f"{kind}.{i}" for kind in ("weights", "biases") for i in range(4)]
    around = [f"scales.{i}" for i in range(3)] + ["embeddings.0", "embeddings.1"]
    running = [f"running_{which}.{i}" for which in ("mean", "variance") for i in (0, 2)]
    assert sorted(tensors) == sorted(plain + around + running)
    np.testing.assert_array_equal(tensors["embeddings.1"], net.embeddings[1])
    np.testing.assert_array_equal(tensors["running_variance.2"], net.running_statistics[2][1])


def test_files_from_before_these_kinds_load(tmp_path):
    X, y = table(60)
    net = fastmlp.Network([5, 8, 3], loss="cross_entropy")
    net.fit(X, y, epochs=2)
    net.save(tmp_path / "m")

    def forget(content, tensors):
        for name in ("norm", "residual", "embeddings", "input_dropout"):
            del content["spec"][name]

    rewrite(tmp_path / "m", forget)
    loaded = fastmlp.Network.load(tmp_path / "m")
    assert loaded.spec == net.spec
    for each in (net, loaded):
        each.fit(X, y, epochs=1)
    assert_same(loaded, net)


@pytest.mark.parametrize(
    "name",
    ["scales.1", "embeddings.0", "running_mean.0", "running_variance.2",
     "optimizer.slot1.scales.0", "optimizer.slot0.embeddings.1"],
)  # fmt: skip
def test_files_without_one_of_their_arrays_are_damaged(name, tmp_path):
    trained("all").save(tmp_path / "m")
    rewrite(tmp_path / "m", lambda content, tensors: tensors.pop(name))
    with pytest.raises(errors.ModelFileError, match="got a damaged one"):
        fastmlp.Network.load(tmp_path / "m")


def test_files_with_a_negative_variance_are_damaged(tmp_path):
    trained("all").save(tmp_path / "m")

    def negate(content, tensors):
        tensors["running_variance.0"][3] = -1.0

    rewrite(tmp_path / "m", negate)
    with pytest.raises(errors.ModelFileError, match="must have variances >= 0, got -1"):
        fastmlp.Network.load(tmp_path / "m")


# ---- data ----------------------------------------------------------------------------------


def strided(X):
    return np.repeat(np.repeat(X, 2, axis=0), 3, axis=1)[::2, ::3]


FORMS = {
    "float64": lambda X: X.astype(np.float64),
    "float16": lambda X: X.astype(np.float16),
    "int64": lambda X: X.astype(np.int64),
    "uint8": lambda X: X.astype(np.uint8),
    "Fortran order": np.asfortranarray,
    "strided": strided,
    "list": lambda X: X.tolist(),
    "pandas": lambda X: pd.DataFrame(X, columns=list("abcde")).astype({"b": "int8", "d": "Int64"}),
}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("kind", ["embedded", "all"])
def test_data_of_any_form_trains_and_predicts_the_same(kind, form):
    X, y = table(100)
    X = np.abs(np.round(X))  # whole numbers, so that integers hold them
    plain, other = make(kind), make(kind)
    plain.fit(X, y, epochs=2, batch_size=32)
    other.fit(FORMS[form](X), y, epochs=2, batch_size=32)
    assert_same(other, plain)
    np.testing.assert_array_equal(other.predict_proba(FORMS[form](X)), plain.predict_proba(X))


def test_all_columns_may_be_embedded():
    rng = np.random.default_rng(0)
    X, y = rng.integers(0, 3, (90, 2)), rng.integers(0, 3, 90)
    net = fastmlp.Network(
        [2, 10, 3], loss="cross_entropy", embeddings={0: (3, 4), 1: (3, 1)}, input_dropout=0.1
    )
    assert net.weights[0].shape == (5, 10)
    net.fit(X, y, epochs=2, batch_size=20)
    np.testing.assert_allclose(net.trace(X)[-1], activations_of(net, X)[-1], rtol=1e-4, atol=1e-5)


def test_columns_may_be_given_in_any_order():
    swapped = dict(reversed(TABLES.items()))
    assert_same(trained("embedded"), trained("embedded", embeddings=swapped))


def test_everything_covers_all_arrays():
    """What the comparisons above compare."""
    names = everything(trained("all", optim.Adam(ema=0.9)))
    assert {"scales.1", "average scales.1", "slot 1 embeddings.0", "variance 2"} <= set(names)
