"""The network as an object: what it says of itself, its parameters, copies, reproducibility."""

import copy
import pickle

import numpy as np
import pytest

import fastmlp
from fastmlp import losses


def test_what_it_says_of_itself():
    net = fastmlp.Network(
        [784, 256, 128, 10], activation=["relu", "tanh"], loss="cross_entropy", dropout=0.5
    )
    assert net.sizes == (784, 256, 128, 10)
    assert net.activations == ("relu", "tanh")
    assert (net.loss.name, net.dtype, net.seed, net.task) == (
        "cross_entropy", "float32", 0, "multiclass",
    )  # fmt: skip
    assert net.n_parameters == 235_146
    assert net.n_parameters == sum(array.size for array in [*net.weights, *net.biases])
    assert (net.n_epochs_, net.n_steps_, net.classes_, net.history_) == (0, 0, None, None)
    assert repr(net) == (
        "Network([784, 256, 128, 10], activation=['relu', 'tanh'], loss='cross_entropy', "
        "dtype='float32', 235,146 parameters)"
    )
    lines = net.summary().splitlines()
    assert lines[1].split() == ["0", "784", "256", "relu", "0.5", "200,960", "803,840"]
    assert lines[3].split() == ["2", "128", "10", "(output)", "-", "1,290", "5,160"]
    assert lines[4].split() == ["total", "235,146", "940,584"]
    assert repr(fastmlp.Network([4, 3])) == (
        "Network([4, 3], activation=[], loss='squared_error', dtype='float32', 15 parameters)"
    )
    assert "activation='gelu'" in repr(fastmlp.Network([4, 3, 3], activation="gelu"))
    assert "loss='huber(0.5)'" in repr(fastmlp.Network([4, 3], loss=losses.huber(0.5)))


@pytest.mark.parametrize(
    ("loss", "n_outputs", "task"),
    [
        ("cross_entropy", 3, "multiclass"),
        ("binary_cross_entropy", 1, "binary"),
        ("binary_cross_entropy", 3, "multilabel"),
        ("quantile", 3, "regression"),
    ],
)
def test_task(loss, n_outputs, task):
    assert fastmlp.Network([4, n_outputs], loss=loss).task == task


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_parameters_are_set_as_given_and_read_as_copies(dtype):
    net = fastmlp.Network([5, 17, 3], dtype=dtype)
    rng = np.random.default_rng(0)
    weights = [rng.normal(size=(5, 17)).astype(dtype), rng.normal(size=(17, 3)).astype(dtype)]
    biases = [rng.normal(size=17).astype(dtype), rng.normal(size=3).astype(dtype)]
    net.weights, net.biases = weights, biases
    for given, read in zip([*weights, *biases], [*net.weights, *net.biases], strict=True):
        np.testing.assert_array_equal(given, read)
        assert read.dtype == dtype
    net.weights[0][:] = 0
    weights[0][:] = 0
    assert np.abs(net.weights[0]).min() > 0


def test_weights_decide_the_outputs(X):
    net = fastmlp.Network([4, 8, 2], activation="tanh", dtype="float64")
    (w0, w1), (b0, b1) = net.weights, [np.arange(8.0), np.array([1.0, 2.0])]
    net.biases = [b0, b1]
    hidden = np.tanh(X @ w0 + b0)
    np.testing.assert_allclose(net.predict(X), hidden @ w1 + b1, rtol=1e-12)
    traced = net.trace(X)
    assert [array.shape for array in traced] == [(60, 4), (60, 8), (60, 2)]
    np.testing.assert_array_equal(traced[0], X)
    np.testing.assert_allclose(traced[1], hidden, rtol=1e-12)
    np.testing.assert_array_equal(traced[2], net.predict(X))


def test_parameters_are_set_from_lists_and_other_orders():
    net = fastmlp.Network([2, 3])
    net.weights = [[[1, 2, 3], [4, 5, 6]]]
    assert net.weights[0].tolist() == [[1, 2, 3], [4, 5, 6]]
    net.weights = (np.asfortranarray(net.weights[0] + 1)[::-1],)
    assert net.weights[0].tolist() == [[5, 6, 7], [2, 3, 4]]


def test_the_seed_decides_everything(X, y, same_weights):
    def trained(seed):
        net = fastmlp.Network([4, 8, 3], loss="cross_entropy", dropout=0.3, seed=seed)
        net.fit(X, y, epochs=2, batch_size=16)
        return net

    assert same_weights(trained(2**64 - 1), trained(2**64 - 1))
    assert not same_weights(trained(0), trained(1))
    assert not same_weights(trained(1), trained(2**32 + 1))


@pytest.mark.parametrize("n_threads", [1, 2, 3])
def test_the_number_of_threads_does_not_matter(X, y, same_weights, n_threads):
    nets = [
        fastmlp.Network([4, 8, 3], loss="cross_entropy", dropout=0.3, n_threads=n)
        for n in (None, n_threads)
    ]
    for net in nets:
        net.fit(X, y, epochs=3, batch_size=16)
    assert same_weights(*nets)


def test_loss_and_gradients_contain_the_penalty(X):
    settings = {"sizes": [4, 3], "dtype": "float64"}
    plain, penal = fastmlp.Network(**settings), fastmlp.Network(**settings, l1=0.1, l2=0.01)
    y = X[:, :3]
    loss, (dweight,), (dbias,) = plain.loss_and_gradients(X, y)
    with_penalty, (dweight_p,), (dbias_p,) = penal.loss_and_gradients(X, y)
    w = plain.weights[0]
    assert loss == pytest.approx(plain.evaluate(X, y)["loss"], rel=1e-12)
    assert penal.evaluate(X, y) == plain.evaluate(X, y)
    expected = loss + 0.1 * np.abs(w).sum() + 0.005 * (w**2).sum()
    assert with_penalty == pytest.approx(expected, rel=1e-12)
    np.testing.assert_allclose(dweight_p, dweight + 0.1 * np.sign(w) + 0.01 * w, rtol=1e-12)
    np.testing.assert_array_equal(dbias, dbias_p)
    residual = (X.astype(float) @ w - y) / (3 * 60)
    np.testing.assert_allclose(dweight, X.astype(float).T @ residual, rtol=1e-9)
    weights = np.arange(60)
    weighted, _, _ = plain.loss_and_gradients(X, y, weights)
    assert weighted == pytest.approx(plain.evaluate(X, y, weights)["loss"], rel=1e-12)


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda net: pickle.loads(pickle.dumps(net))])
def test_copies_go_on_alike_and_apart(net, X, y, same_weights, copied):
    net.extra["columns"] = ["a", "b", "c", "d"]
    other = copied(net)
    assert same_weights(net, other)
    assert other.history_.loss == net.history_.loss
    assert other.extra == net.extra
    assert other.extra is not net.extra
    net.fit(X, y, epochs=2, batch_size=16)
    assert not same_weights(net, other)
    other.fit(X, y, epochs=2, batch_size=16)
    assert same_weights(net, other)
    assert (other.n_epochs_, other.n_steps_) == (net.n_epochs_, net.n_steps_)
    assert other.classes_.tolist() == [0, 1, 2]


def test_an_untrained_network_can_be_copied(X, same_weights):
    net = fastmlp.Network([4, 8, 1], loss=losses.quantile(0.9), seed=5)
    other = pickle.loads(pickle.dumps(net))
    assert same_weights(net, other)
    assert other.spec == net.spec
    assert other.optimizer is None
    assert other.history_ is None


def test_one_row(net, X):
    np.testing.assert_allclose(net.predict_proba(X[:1]), net.predict_proba(X)[:1], rtol=1e-6)


def test_one_row_of_data_trains():
    net = fastmlp.Network([1, 1])
    history = net.fit([[1]], [2], epochs=200, optimizer=fastmlp.optim.SGD(lr=0.3))
    assert history.loss[-1] < 1e-10
    assert net.predict([[1]]) == pytest.approx([2])
