"""L-BFGS: the optimum of convex problems, SciPy on the NumPy reference, every way to end."""

import copy
import math
import os
import pickle
import signal
import threading

import numpy as np
import pytest
from scipy.optimize import minimize
from sklearn.linear_model import LogisticRegression, Ridge

import fastmlp
from fastmlp import errors, optim
from fastmlp.callbacks import Callback, Checkpoint, EarlyStopping
from fastmlp.optim import LBFGS
from tests.reference.network import ReferenceNetwork as Reference

EXACT = LBFGS(gradient_tolerance=1e-9, loss_tolerance=0.0)


@pytest.fixture
def data():
    """200 rows of 5 features, labels that depend on them, weights of rows."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(200, 5))
    y = np.digitize(X @ rng.normal(size=5) + rng.normal(size=200), [-1.0, 1.0])
    return X, y, rng.uniform(0.0, 2.0, 200)


@pytest.mark.parametrize("weighted", [False, True])
def test_the_optimum_of_softmax_regression(data, weighted):
    X, y, weights = data
    weights = weights if weighted else None
    scale = 200 if weights is None else weights.sum()
    net = fastmlp.Network([5, 3], loss="cross_entropy", l2=0.05, dtype="float64")
    history = net.fit(X, y, optimizer=EXACT, epochs=1000, sample_weight=weights)
    wanted = LogisticRegression(C=1 / (0.05 * scale), tol=1e-12, max_iter=10_000)
    wanted.fit(X, y, sample_weight=weights)
    assert history.stopped_by == "tolerance"
    np.testing.assert_allclose(net.predict_proba(X), wanted.predict_proba(X), atol=1e-6)


def test_the_optimum_of_two_classes(data):
    X, y, _ = data
    net = fastmlp.Network([5, 1], loss="binary_cross_entropy", l2=0.05, dtype="float64")
    net.fit(X, y > 1, optimizer=EXACT, epochs=1000)
    wanted = LogisticRegression(C=1 / (0.05 * 200), tol=1e-12, max_iter=10_000).fit(X, y > 1)
    np.testing.assert_allclose(net.weights[0].ravel(), wanted.coef_.ravel(), atol=1e-6)
    np.testing.assert_allclose(net.biases[0], wanted.intercept_, atol=1e-6)


@pytest.mark.parametrize("n_outputs", [1, 2])
def test_the_optimum_of_ridge_regression(data, n_outputs):
    X, _, weights = data
    y = 3.0 + np.stack([X[:, 0] * X[:, 1], np.abs(X[:, 2])], axis=1)[:, :n_outputs]
    net = fastmlp.Network([5, n_outputs], l2=0.1, dtype="float64")
    history = net.fit(X, y, optimizer=EXACT, epochs=1000, sample_weight=weights)
    # Our mean over outputs halves what an output weighs beside the penalty.
    wanted = Ridge(alpha=0.1 * n_outputs * weights.sum()).fit(X, y, sample_weight=weights)
    predicted = net.predict(X).reshape(200, n_outputs)
    np.testing.assert_allclose(predicted, wanted.predict(X).reshape(200, n_outputs), atol=1e-6)
    assert history.loss[-1] == pytest.approx(net.evaluate(X, y, weights)["loss"], rel=1e-12)


@pytest.mark.parametrize("norm", ["none", "layer"])
def test_a_network_is_minimised_as_scipy_does_the_numpy_reference(data, norm):
    X, y, _ = data
    net = fastmlp.Network(
        [5, 7, 3], activation="tanh", loss="cross_entropy", l2=0.01, dtype="float64", norm=norm
    )
    ours = Reference(
        net.weights, net.biases, ("tanh",), "cross_entropy", (0.0,), l2=0.01, norms=(norm,),
        scales=net.scales,
    )  # fmt: skip
    names, shapes = list(ours.named()), [array.shape for array in ours.named().values()]
    ends = np.cumsum([np.prod(shape, dtype=int) for shape in shapes])

    def objective(x):
        parts = np.split(x, ends[:-1])
        ours.set_named(
            {n: part.reshape(s) for n, part, s in zip(names, parts, shapes, strict=True)}
        )
        loss, gradients = ours.loss_and_gradients(X, y)
        flat = np.concatenate([gradients[name].ravel() for name in names])
        return loss + ours.penalty(), flat

    start = np.concatenate([array.ravel() for array in ours.named().values()])
    n = 15  # rounding grows from iteration to iteration
    wanted = minimize(objective, start, jac=True, method="L-BFGS-B", options={"maxiter": n})
    history = net.fit(X, y, optimizer="lbfgs", epochs=n)
    assert history.stopped_by == "epochs"
    assert len(history) == n
    objective(wanted.x)
    assert history.loss[-1] == pytest.approx(ours.data_loss(X, y), rel=1e-9)
    np.testing.assert_allclose(net.weights[0], ours.weights[0], rtol=1e-6, atol=1e-8)
    gradient = objective(wanted.x)[1][: 5 * 7]
    assert history.grad_norm[-1][0] == pytest.approx(np.linalg.norm(gradient), rel=1e-5)


def test_float32_comes_near_the_optimum(data):
    X, y, _ = data
    probabilities = []
    for dtype in ("float64", "float32"):
        net = fastmlp.Network([5, 3], loss="cross_entropy", l2=0.05, dtype=dtype)
        history = net.fit(X, y, optimizer=EXACT, epochs=1000)
        probabilities.append(net.predict_proba(X))
        assert history.stopped_by in ("tolerance", "line_search")
    np.testing.assert_allclose(probabilities[1], probabilities[0], atol=1e-4)


def classifier(**settings):
    return fastmlp.Network([4, 8, 3], **{"loss": "cross_entropy", **settings})


def test_every_iteration_is_an_epoch(X, y):
    seen = []

    class Steps(Callback):
        every_n_steps = 2

        def on_steps(self, run):
            seen.append((run.step, run.epoch))

        def on_epoch_end(self, run):
            # The network is at the iterate, whatever the line search tried last.
            found = run.network.evaluate(X, y)
            assert found["loss"] == pytest.approx(run.logs["val_loss"], rel=1e-7)
            assert run.logs["loss"] == pytest.approx(run.logs["val_loss"], rel=1e-5)

    net = classifier()
    history = net.fit(X, y, optimizer="lbfgs", epochs=7, eval_set=[(X, y)], callbacks=[Steps()])
    assert history.names == ["loss", "seconds", "grad_norm", "val_loss", "val_accuracy"]
    assert history.epochs == list(range(1, 8))
    assert history.stopped_by == "epochs"
    assert (net.n_epochs_, net.n_steps_) == (7, 7)
    assert seen == [(2, 2), (4, 4), (6, 6)]
    assert history.loss == sorted(history.loss, reverse=True)
    assert all(seconds > 0 for seconds in history.seconds)
    assert [len(norms) for norms in history.grad_norm] == [2] * 7


def test_a_minimum_is_left_alone(data):
    X, y, _ = data
    net = fastmlp.Network([5, 3], loss="cross_entropy", l2=0.05, dtype="float64")
    net.fit(X, y, optimizer=EXACT, epochs=1000)
    before = net.weights[0]
    history = net.fit(X, y, optimizer="lbfgs")
    assert (history.stopped_by, len(history)) == ("tolerance", 0)
    np.testing.assert_array_equal(net.weights[0], before)


def test_early_stopping_keeps_the_best(data):
    X, y, _ = data
    net = fastmlp.Network([5, 32, 3], loss="cross_entropy", activation="tanh")
    held_out = (X[100:], y[100:])
    history = net.fit(
        X[:100], y[:100], optimizer="lbfgs", epochs=500, eval_set=[held_out],
        callbacks=[EarlyStopping(patience=5)],
    )  # fmt: skip
    assert history.stopped_by == "early_stopping"
    assert history.best_epoch == 1 + int(np.argmin(history.val_loss))
    assert net.evaluate(*held_out)["loss"] == min(history.val_loss)


def test_a_function_stops_it(X, y):
    history = classifier().fit(X, y, optimizer="lbfgs", callbacks=[lambda run: run.epoch == 3])
    assert (history.stopped_by, len(history)) == ("callback", 3)


@pytest.mark.parametrize("error", [KeyError, StopIteration])
def test_an_error_of_a_callback_keeps_the_last_iterate(X, y, error):
    def fail(run):
        if run.epoch == 3:
            raise error("mine")

    net, other = classifier(), classifier()
    with pytest.raises(error, match="mine"):
        net.fit(X, y, optimizer="lbfgs", callbacks=[fail])
    other.fit(X, y, optimizer="lbfgs", epochs=3)
    np.testing.assert_array_equal(net.weights[0], other.weights[0])
    assert net.history_.stopped_by == "error"


def test_ctrl_c_keeps_the_last_iterate():
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(4000, 20)), rng.integers(0, 3, 4000)
    net = fastmlp.Network([20, 64, 3], loss="cross_entropy", activation="tanh")
    net.predict(X[:9])  # compiled
    timer = threading.Timer(0.5, os.kill, (os.getpid(), signal.SIGINT))
    timer.start()
    try:
        with pytest.warns(errors.TrainingInterruptedWarning, match="of 1000000; the network"):
            history = net.fit(
                X, y, optimizer=LBFGS(gradient_tolerance=0, loss_tolerance=0), epochs=10**6,
                eval_set=[(X, y)],
            )  # fmt: skip
    finally:
        timer.cancel()
    assert history.stopped_by == "interrupt"
    assert len(history) == net.n_epochs_ > 0
    assert net.evaluate(X, y)["loss"] == pytest.approx(history.loss[-1], rel=1e-5)


def test_max_time(X, y):
    net = classifier()
    net.predict(X)
    history = net.fit(
        X, y, optimizer=LBFGS(gradient_tolerance=0, loss_tolerance=0), epochs=10**6, max_time_s=0.2,
        callbacks=[lambda run: threading.Event().wait(0.02) and None],
    )  # fmt: skip
    assert history.stopped_by == "max_time"
    assert 0 < len(history) < 30


def test_divergence_keeps_finite_weights():
    X = np.array([[1e30], [2e30]], np.float32)
    net = fastmlp.Network([1, 4, 1])
    before = net.weights
    with pytest.raises(errors.TrainingDivergedError, match="scale the inputs, or take") as caught:
        net.fit(X, [1e30, 0.0], optimizer="lbfgs")
    error = caught.value
    assert not math.isfinite(error.loss)
    assert (error.step, error.epoch) == (1, 1)
    assert error.history is net.history_
    assert net.history_.stopped_by == "diverged"
    for weight, kept in zip(net.weights, before, strict=True):
        np.testing.assert_array_equal(weight, kept)


def test_other_optimizers_before_and_after(X, y):
    net = classifier()
    net.fit(X, y, optimizer=optim.Adam(lr=0.01, ema=0.9), epochs=3)
    trained = net.engine.get_training_parameters()
    net.fit(X, y, optimizer="lbfgs", epochs=1, max_time_s=1e-9)
    # Without its average the network goes on from the weights proper.
    np.testing.assert_array_equal(net.weights[0], trained.weights[0])
    net.fit(X, y, epochs=4)
    assert net.optimizer == LBFGS()
    net.fit(X, y, optimizer="adam", epochs=2, batch_size=30)
    assert net.engine.get_optimizer_state().n_steps == 4


COPIES = {
    "file": None,
    "pickle": lambda net: pickle.loads(pickle.dumps(net)),
    "deepcopy": copy.deepcopy,
}


@pytest.mark.parametrize("way", COPIES)
def test_files_and_copies(X, y, tmp_path, same_weights, way):
    net, path = classifier(), tmp_path / "m.safetensors"
    net.fit(X, y, optimizer=LBFGS(memory=5), epochs=5, callbacks=[Checkpoint(path)])
    other = fastmlp.Network.load(path) if way == "file" else COPIES[way](net)
    assert same_weights(net, other)
    assert other.optimizer == LBFGS(memory=5)
    assert (other.n_epochs_, other.n_steps_) == (5, 5)
    for each in (net, other):
        each.fit(X, y, epochs=3)
    assert same_weights(net, other)


def test_bits_do_not_depend_on_threads(X, y, same_weights):
    nets = [classifier(n_threads=n) for n in (1, 2)]
    for net in nets:
        net.fit(X, y, optimizer="lbfgs", epochs=20)
    assert same_weights(*nets)


@pytest.mark.parametrize(
    ("settings", "fit", "match"),
    [
        ({"dropout": 0.1}, {}, r"needs dropout=0, got rates \(0.1,\)"),
        ({"input_dropout": 0.1}, {}, r"needs dropout=0, got .* \(inputs 0.1\)"),
        ({"l1": 0.1}, {}, "needs l1=0, as the penalty has corners, got l1=0.1"),
        ({"norm": "batch"}, {}, r"needs norm other than 'batch', got norm=\['batch'\]"),
        ({}, {"batch_size": 20}, "needs all 60 rows in a step, got batch_size=20"),
        ({}, {"schedule": fastmlp.schedules.Cosine()}, "needs schedule=None, as it has no learn"),
        ({}, {"schedule": lambda step, n: 1.0}, "needs schedule=None"),
    ],
)
def test_what_it_cannot_do_is_refused_before_anything_changes(X, y, state_of, settings, fit, match):
    net = classifier(**settings)
    net.fit(X, y, epochs=1, batch_size=20)
    before = state_of(net)
    with pytest.raises(errors.OptionError, match=match):
        net.fit(X, y, optimizer="lbfgs", **fit)
    assert state_of(net) == before


def test_what_changes_nothing_is_taken(X, y):
    history = classifier().fit(
        X, y, optimizer="lbfgs", batch_size=60, schedule=fastmlp.schedules.Constant(), epochs=1
    )
    assert len(history) == 1


@pytest.mark.parametrize(
    ("settings", "match"),
    [
        ({"lr": 0.1}, "lr must be left at 1.0, got 0.1; leave it out, or use another"),
        ({"clip_norm": 1.0}, "clip_norm must be left at None, got 1.0"),
        ({"clip_value": 1.0}, "clip_value must be left"),
        ({"max_norm": 1.0}, "max_norm must be left"),
        ({"ema": 0.9}, "ema must be left"),
        ({"weight_decay": 0.1}, "weight_decay must be left at 0.0"),
        ({"decay_biases": True}, "decay_biases must be left"),
        ({"layer_lr": (1.0, 0.0)}, "layer_lr must be left"),
        ({"memory": 0}, "memory of LBFGS must be between 1 and 1000, got 0"),
        ({"memory": 2**31}, "memory of LBFGS must be between 1 and 1000, got 2147483648"),
        ({"max_evaluations": 0}, "max_evaluations of LBFGS must be >= 1, got 0"),
        ({"gradient_tolerance": -1}, "gradient_tolerance of LBFGS must be >= 0, got -1"),
        ({"loss_tolerance": -1}, "loss_tolerance of LBFGS must be >= 0, got -1"),
    ],
)
def test_bad_settings(settings, match):
    with pytest.raises(errors.OptionError, match=match):
        LBFGS(**settings)
