"""Scikit-learn's conventions in the compiled loop: its own numbers, epoch by epoch."""

from __future__ import annotations

import math
import warnings

import numpy as np
import pytest
from sklearn.exceptions import ConvergenceWarning
from sklearn.neural_network import MLPClassifier, MLPRegressor

from fastmlp.engine.train_job import TrainJob
from fastmlp.losses import Loss
from fastmlp.spec.conventions import LossPlateau, scikit_learn

from .tools import DTYPES, dataset, make_engine_with, make_spec, train

N_ROWS, N_EPOCHS, BATCH_SIZE = 90, 12, 32
OWN = {"logistic": "sigmoid"}


def problem(kind: str, rng: np.random.Generator):
    """(estimator class, X, y, loss, targets as the engine takes them)."""
    X = rng.standard_normal((N_ROWS, 5))
    z = X @ rng.standard_normal((5, 3))
    if kind == "multiclass":
        y = z.argmax(axis=1)
        return MLPClassifier, X, y, "cross_entropy", y
    if kind == "binary":
        y = (z[:, 0] > 0).astype(int)
        return MLPClassifier, X, y, "binary_cross_entropy", y[:, None].astype(float)
    if kind == "multilabel":
        y = (z > 0).astype(int)
        return MLPClassifier, X, y, "binary_cross_entropy", y.astype(float)
    if kind == "poisson":
        y = rng.poisson(np.exp(0.3 * z[:, :2])).astype(float)
        return MLPRegressor, X, y, "poisson", y
    y = z[:, 0] if kind == "regression" else z
    return MLPRegressor, X, y, "squared_error", y.reshape(N_ROWS, -1)


class Both:
    """Scikit-learn's fit, and the same with the engine from the same initial weights."""

    def __init__(self, kind, dtype="float64", sample_weight=None, n_threads=1, **settings):
        settings = {"hidden_layer_sizes": (11, 6), "activation": "tanh", "shuffle": False,
                    "batch_size": BATCH_SIZE, "max_iter": N_EPOCHS, "tol": 1e-4,
                    "random_state": 3, **settings}  # fmt: skip
        estimator, X, y, loss, targets = problem(kind, np.random.default_rng(1))
        if loss == "poisson":
            settings["loss"] = "poisson"
        self.X, self.y, self.weight = X.astype(dtype), y, sample_weight
        self.theirs = estimator(**settings)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            start = estimator(**{**settings, "max_iter": 1, "learning_rate_init": 1e-300})
            start.fit(self.X, y, sample_weight)
            self.theirs.fit(self.X, y, sample_weight)
        self.data = dataset(self.X, targets, dtype, sample_weight)
        n_outputs = start.n_outputs_
        spec = make_spec(
            (5, *settings["hidden_layer_sizes"], n_outputs), loss=Loss(loss), dtype=dtype,
            activation=OWN.get(settings["activation"], settings["activation"]),
            l2=settings.get("alpha", 1e-4), n_threads=n_threads,
        )  # fmt: skip
        self.engine = make_engine_with(spec, start.coefs_, start.intercepts_)
        self.conventions = scikit_learn(loss, n_outputs)
        # What scikit-learn adds of the targets alone.
        self.constant = 0.0
        if loss == "poisson":
            logs = np.where(targets > 0, targets * np.log(np.maximum(targets, 1)), 0.0)
            self.constant = float((logs - targets).sum(axis=1).mean())

    def train(self, rates, n_epochs=N_EPOCHS, **settings):
        n_steps = -(-N_ROWS // BATCH_SIZE)
        return self.engine.train(TrainJob(
            self.data, batch_size=BATCH_SIZE, n_epochs=n_epochs, first_epoch=0, first_step=0,
            learning_rates=np.repeat(rates, n_steps), shuffle=False,
            conventions=self.conventions, **settings,
        ))  # fmt: skip

    def check(self, losses, tolerance):
        coefs, intercepts = self.engine.get_parameters()
        for own, other in zip(coefs, self.theirs.coefs_, strict=True):
            np.testing.assert_allclose(own, other, rtol=0, atol=tolerance)
        for own, other in zip(intercepts, self.theirs.intercepts_, strict=True):
            np.testing.assert_allclose(own, other, rtol=0, atol=tolerance)
        if losses is not None:
            wanted = self.theirs.loss_curve_
            np.testing.assert_allclose(np.array(losses) + self.constant, wanted, rtol=tolerance)


KINDS = ("multiclass", "binary", "multilabel", "regression", "multioutput", "poisson")
each_kind = pytest.mark.parametrize("kind", KINDS)


@each_kind
@pytest.mark.parametrize("alpha", [0.0, 1e-4, 2.0])
def test_adam(kind, alpha):
    both = Both(kind, alpha=alpha)
    both.engine.set_optimizer("adam", (0.9, 0.999, 1e-8))
    result = both.train(np.full(N_EPOCHS, 1e-3))
    both.check(result.loss, 1e-12)


def test_a_large_eps_shows_where_it_is_added():
    both = Both("multiclass", epsilon=0.1)
    both.engine.set_optimizer("adam", (0.9, 0.999, 0.1))
    both.check(both.train(np.full(N_EPOCHS, 1e-3)).loss, 1e-12)


@each_kind
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize(
    ("rule", "settings"),
    [
        ("sgd", {"momentum": 0.0, "nesterovs_momentum": False}),
        ("momentum", {"momentum": 0.9, "nesterovs_momentum": False}),
        ("nesterov", {"momentum": 0.9, "nesterovs_momentum": True}),
    ],
)
def test_sgd_with_falling_rates(kind, weighted, rule, settings):
    weight = np.random.default_rng(2).uniform(0.1, 3.0, N_ROWS) if weighted else None
    both = Both(
        kind, solver="sgd", learning_rate="invscaling", learning_rate_init=0.2, power_t=0.3,
        sample_weight=weight, alpha=0.1, **settings,
    )  # fmt: skip
    both.engine.set_optimizer(rule, () if rule == "sgd" else (0.9,))
    seen = 1 + N_ROWS * np.arange(N_EPOCHS)
    rates = np.where(np.arange(N_EPOCHS) == 0, 0.2, 0.2 / seen**0.3)
    losses = [both.train(rates[:5], 5).loss, both.train(rates[5:], N_EPOCHS - 5).loss]
    # What scikit-learn adds to poisson's loss depends on the minibatches' weights.
    seen = None if weighted and kind == "poisson" else np.concatenate(losses)
    both.check(seen, 1e-11)


@pytest.mark.parametrize("n_threads", [2, 3])
@pytest.mark.parametrize("dtype", DTYPES)
def test_threads_do_not_show(n_threads, dtype):
    runs = []
    for n in (1, n_threads):
        both = Both("multiclass", dtype, n_threads=n, hidden_layer_sizes=(70, 40), alpha=1.0)
        both.engine.set_optimizer("adam", (0.9, 0.999, 1e-8))
        plateau = LossPlateau(0.02, 2)
        result = both.train(np.full(N_EPOCHS, 1e-2), plateau=plateau)
        runs.append((result.status, result.plateau, result.loss, both.engine.params))
    assert runs[0][:2] == runs[1][:2]
    for one, other in zip(runs[0][2:], runs[1][2:], strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("n_threads", [1, 2])
@pytest.mark.parametrize("patience", [1, 3])
def test_a_level_loss_ends_the_training_where_scikit_learn_ends_it(patience, n_threads):
    both = Both(
        "multiclass", max_iter=500, tol=2e-3, n_iter_no_change=patience, n_threads=n_threads,
        solver="sgd", learning_rate_init=0.3,
    )  # fmt: skip
    both.engine.set_optimizer("nesterov", (0.9,))
    result = both.train(np.full(500, 0.3), 500, plateau=LossPlateau(2e-3, patience))
    assert result.status == "plateau"
    assert result.n_epochs_done == both.theirs.n_iter_ < 500
    assert result.n_steps_done == both.engine.n_updates == 3 * both.theirs.n_iter_
    assert result.plateau.n_bad == patience + 1
    assert result.plateau.best == both.theirs.best_loss_ or math.isclose(
        result.plateau.best, both.theirs.best_loss_, rel_tol=1e-10
    )
    both.check(result.loss, 1e-9)


def test_a_plateau_goes_on_in_the_next_call():
    def run(cut):
        both = Both("regression", max_iter=500, learning_rate_init=1e-2)
        both.engine.set_optimizer("adam", (0.9, 0.999, 1e-8))
        plateau, losses = LossPlateau(1e-3, 3), []
        for n in cut:
            result = both.train(np.full(n, 1e-2), n, plateau=plateau)
            plateau = result.plateau
            losses += result.loss.tolist()
            if plateau.n_bad > plateau.n_epochs:
                break
        return losses, plateau, both.engine.params

    whole, pieces = run([400]), run([1] * 400)
    assert whole[:2] == pieces[:2]
    assert len(whole[0]) < 400
    np.testing.assert_array_equal(whole[2], pieces[2])


def test_the_last_epoch_of_a_call_may_be_the_one_that_is_too_many():
    both = Both("regression", max_iter=1)
    both.engine.set_optimizer("sgd", ())
    result = both.train(np.full(4, 1e-300), 4, plateau=LossPlateau(1e-3, 2))
    assert result.plateau.n_bad == 3
    assert (result.n_epochs_done, result.n_steps_done) == (4, 12)


def test_the_engines_own_numbers_are_as_they_were():
    both = Both("multioutput", alpha=0.5)
    both.conventions = type(both.conventions)()
    both.engine.set_optimizer("sgd", ())
    before = both.engine.evaluate(both.data)
    result = train(both.engine, both.data, batch_size=N_ROWS, n_epochs=1, lr=1e-300)
    assert result.loss[0] == pytest.approx(before, rel=1e-12)
    assert result.plateau is None
