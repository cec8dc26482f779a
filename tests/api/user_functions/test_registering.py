"""Networks with functions of one's own, from training to files and threads."""

from __future__ import annotations

import copy
import math
import pickle
import subprocess
import sys
import threading

import numba
import numpy as np
import pytest

import fastmlp
from fastmlp import errors, registered
from fastmlp.names import LOSSES
from fastmlp.spec.network import NetworkSpec
from tests.conftest import ROOT
from tests.user_functions import log_cosh, log_cosh_derivative, softsign, softsign_derivative


@pytest.fixture
def softsign_net():
    """A trained network with functions of its own."""
    fastmlp.register_activation("softsign", softsign, softsign_derivative)
    fastmlp.register_loss("log_cosh", log_cosh, log_cosh_derivative)
    net = fastmlp.Network([4, 9, 7, 2], activation=["softsign", "tanh"], loss="log_cosh")
    rng = np.random.default_rng(0)
    X = rng.standard_normal((60, 4))
    net.fit(X, np.stack([X[:, 0], X[:, 1] * X[:, 2]], axis=1), epochs=3, verbose=False)
    return net


def test_everything_of_a_network_works(softsign_net, X):
    net = softsign_net
    assert net.activations == ("softsign", "tanh")
    assert (net.loss.name, net.task) == ("log_cosh", "regression")
    assert "softsign" in repr(net)
    assert "log_cosh" in repr(net)
    trace = net.trace(X)
    z = X @ net.weights[0] + net.biases[0]
    np.testing.assert_allclose(trace[1], z / (1 + np.abs(z)), rtol=1e-5, atol=1e-6)
    predicted = net.predict(X)
    np.testing.assert_array_equal(predicted, trace[-1])
    y = np.zeros_like(predicted)
    scores = net.evaluate(X, y)
    wanted = np.mean([[log_cosh(float(p), 0.0) for p in row] for row in predicted])
    assert scores["loss"] == pytest.approx(wanted, rel=1e-5)
    assert set(scores) == {"loss", "r2"}
    loss, dweights, _ = net.loss_and_gradients(X, y)
    assert loss == pytest.approx(wanted, rel=1e-5)
    assert all(np.abs(gradient).max() > 0 for gradient in dweights)


def test_learns():
    fastmlp.register_activation("softsign", softsign, softsign_derivative)
    fastmlp.register_loss("log_cosh", log_cosh, log_cosh_derivative)
    X = np.linspace(-2, 2, 200)[:, None]
    net = fastmlp.Network([1, 32, 1], activation="softsign", loss="log_cosh")
    adam = fastmlp.optim.Adam(lr=0.02)
    net.fit(X, np.sin(2 * X), epochs=300, batch_size=50, optimizer=adam, verbose=False)
    assert net.evaluate(X, np.sin(2 * X))["r2"] > 0.99


def test_initial_weights_are_those_of_glorot():
    fastmlp.register_activation("softsign", softsign, softsign_derivative)
    own, glorot = (
        fastmlp.Network([4, 9, 2], activation=name, init=init)
        for name, init in (("softsign", "auto"), ("relu", "glorot_uniform"))
    )
    np.testing.assert_array_equal(own.weights[0], glorot.weights[0])


def test_saved_and_loaded(softsign_net, X, tmp_path, same_weights):
    path = tmp_path / "own.safetensors"
    softsign_net.save(path)
    loaded = fastmlp.Network.load(path)
    assert loaded.spec == softsign_net.spec
    np.testing.assert_array_equal(loaded.predict(X), softsign_net.predict(X))
    for net in (softsign_net, loaded):
        net.fit(X, X[:, :2], epochs=1, verbose=False)
    assert same_weights(softsign_net, loaded)


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda net: pickle.loads(pickle.dumps(net))])
def test_copies(softsign_net, X, copied):
    np.testing.assert_array_equal(copied(softsign_net).predict(X), softsign_net.predict(X))


def test_spec_to_dict_and_back(softsign_net):
    assert NetworkSpec.from_dict(softsign_net.spec.to_dict()) == softsign_net.spec


def test_a_file_is_refused_where_its_function_is_not_registered(softsign_net, tmp_path):
    path = tmp_path / "own.safetensors"
    softsign_net.save(path)
    fastmlp.unregister_activation("softsign")
    with pytest.raises(errors.NotRegisteredError) as caught:
        fastmlp.Network.load(path)
    assert str(caught.value) == (
        "the activation 'softsign' of a network must be registered before the network is loaded, "
        "got none of that name; call fastmlp.register_activation('softsign', ...) first, as the "
        "program did that made the network"
    )
    fastmlp.register_activation("softsign", softsign, softsign_derivative)
    fastmlp.unregister_loss("log_cosh")
    with pytest.raises(errors.NotRegisteredError, match=r"call fastmlp.register_loss\('log_cosh'"):
        fastmlp.Network.load(path)


def test_another_process_has_to_register_first(softsign_net, tmp_path):
    path = tmp_path / "own.pickle"
    path.write_bytes(pickle.dumps(softsign_net))
    program = f"import pickle; pickle.load(open({str(path)!r}, 'rb'))"
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert "NotRegisteredError: the activation 'softsign'" in done.stderr


def test_a_network_keeps_its_function(softsign_net, X):
    before = softsign_net.predict(X)
    fastmlp.unregister_activation("softsign")
    fastmlp.register_activation("softsign", lambda z: 2 * z, lambda z: 2.0)
    rows = np.concatenate([X, X])  # a workspace of another size
    np.testing.assert_array_equal(softsign_net.predict(rows)[: len(X)], before)
    assert np.abs(copy.deepcopy(softsign_net).predict(X) - before).max() > 0.01


def test_targets_outside_the_limits_are_refused(X):
    fastmlp.register_loss(
        "rates", lambda z, y: math.exp(z) - y * z, lambda z, y: math.exp(z) - y, y_min=0, y_max=9
    )
    net = fastmlp.Network([4, 1], loss="rates")
    net.fit(X, np.full(60, 9), epochs=1, verbose=False)
    y = np.zeros(60)
    for wrong in (-1.0, 9.5):
        y[7] = wrong
        with pytest.raises(errors.DataError) as caught:
            net.fit(X, y)
        assert str(caught.value) == (
            f"y must be >= 0 and <= 9 for the rates loss, got {wrong} at row 7"
        )


def raising(z):
    if z > 50:
        raise ValueError("beyond what it is made for")
    return z


def test_what_raises_in_training_ends_it(X):
    fastmlp.register_activation("raising", raising, lambda z: 1.0)
    net = fastmlp.Network([4, 8, 1], activation="raising")
    net.fit(X, X[:, 0], epochs=1, verbose=False)
    with pytest.raises(errors.TrainingDivergedError):
        net.fit(1000 * X, X[:, 0], epochs=1, verbose=False)
    assert all(np.isfinite(weight).all() for weight in net.weights)


def test_threads_register_and_train_at_the_same_time(X):
    failures = []

    def work(number):
        try:
            name = f"scaled_{number}"
            fastmlp.register_activation(name, lambda z: number * z, lambda z: number)
            net = fastmlp.Network([4, 8, 4], activation=name, seed=1, dtype="float64")
            twin = fastmlp.Network([4, 8, 4], activation="identity", seed=1, dtype="float64")
            twin.weights = [twin.weights[0] * number, twin.weights[1]]
            net.weights = [twin.weights[0] / number, twin.weights[1]]
            for _ in range(20):
                np.testing.assert_allclose(net.predict(X), twin.predict(X), rtol=1e-9)
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=work, args=(number,)) for number in (2, 3, 5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures


def test_one_of_many_threads_gets_a_name():
    outcomes = []

    def work():
        try:
            fastmlp.register_activation("wanted", softsign, softsign_derivative)
            outcomes.append("registered")
        except errors.OptionError as error:
            outcomes.append(str(error))

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert outcomes.count("registered") == 1
    assert sum("must be free, got 'wanted'" in outcome for outcome in outcomes) == 3


def test_functions_compiled_by_numba_are_taken(X):
    fastmlp.register_activation("soft", numba.njit(softsign), numba.njit(softsign_derivative))
    fastmlp.Network([4, 3, 1], activation="soft").predict(X)


def sigmoid(z):
    return 1 / (1 + math.exp(-z))


def test_functions_may_call_others_and_hold_numbers(X):
    beta, power = 1.5, math.exp

    def gate(z):
        return sigmoid(beta * z) if z > -100 else power(z)

    fastmlp.register_activation(
        "swish", lambda z: z * gate(z), lambda z: gate(z) * (1 + beta * z * (1 - gate(z)))
    )
    net = fastmlp.Network([4, 3, 1], activation="swish", dtype="float64")
    z = X.astype(float) @ net.weights[0]
    np.testing.assert_allclose(net.trace(X)[1], z / (1 + np.exp(-beta * z)), rtol=1e-12)
    assert sigmoid.__globals__["math"] is math


def test_the_message_for_an_unknown_name_lists_own_ones():
    fastmlp.register_activation("softsign", softsign, softsign_derivative)
    with pytest.raises(errors.OptionError, match="got 'softsing'; did you mean 'softsign'\\?"):
        fastmlp.Network([4, 3, 1], activation="softsing")


def test_only_registered_functions_have_a_code():
    fastmlp.register_loss("log_cosh", log_cosh, log_cosh_derivative)
    assert registered.losses.code("huber", "float32") == list(LOSSES).index("huber")
    found = {registered.losses.code("log_cosh", dtype) for dtype in ("float32", "float64")}
    assert len(found) == 2
    assert min(found) > len(LOSSES)
    with pytest.raises(errors.NotRegisteredError, match="the loss 'log_sinh' of a network must be"):
        registered.losses.code("log_sinh", "float32")


def test_a_network_is_moved_with_its_own_functions_alone():
    fastmlp.register_loss("log_cosh", log_cosh, log_cosh_derivative)
    own = registered.losses.get("log_cosh")
    registered.losses.check_same("log_cosh", own)
    registered.losses.check_same("huber", None)  # built in: every engine has it
    registered.losses.remove("log_cosh")
    with pytest.raises(errors.NotRegisteredError, match="got none of that name"):
        registered.losses.check_same("log_cosh", own)
    fastmlp.register_loss("log_cosh", log_cosh, log_cosh_derivative)
    with pytest.raises(errors.NotRegisteredError, match="got another function of that name"):
        registered.losses.check_same("log_cosh", own)
