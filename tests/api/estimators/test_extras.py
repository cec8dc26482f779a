"""What our estimators have beyond scikit-learn's: each setting does what it says."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import mean_pinball_loss

import fastmlp
from fastmlp import MLPClassifier, MLPRegressor, losses, optim, schedules
from fastmlp.data import targets
from fastmlp.estimators import settings

from .pairs import problem

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
FEW = {"hidden_layer_sizes": (9, 7), "max_iter": 5, "random_state": 0, "batch_size": 16}


def fitted(cls=MLPClassifier, kind="multiclass", n=90, **settings):
    X, y = problem(kind, n)
    return cls(**{**FEW, **settings}).fit(X, y)


def differ(one, other) -> bool:
    return any(not np.array_equal(a, b) for a, b in zip(one.coefs_, other.coefs_, strict=True))


@pytest.mark.parametrize(
    "settings",
    [
        {"dropout": 0.3}, {"dropout": [0.0, 0.5]}, {"label_smoothing": 0.1}, {"clip_norm": 1e-3},
        {"ema": 0.9}, {"class_weight": "balanced"}, {"class_weight": {"ant": 5.0}},
        {"activation": ["tanh", "gelu"]}, {"activation": "silu"}, {"loss": "focal"},
        {"loss": losses.focal(1.0)}, {"solver": "lion"}, {"solver": optim.RMSprop(lr=0.01)},
        {"learning_rate": schedules.Cosine()}, {"dtype": "float32"},
    ],
    ids=lambda settings: "-".join(settings),
)  # fmt: skip
def test_a_setting_changes_what_is_learnt_and_is_learnt_alike_again(settings):
    plain, one, again = fitted(), fitted(**settings), fitted(**settings)
    assert differ(plain, one)
    assert not differ(one, again)
    assert one.predict(problem("multiclass")[0]).shape == (90,)


@pytest.mark.parametrize("solver", sorted({*optim.BY_NAME} - {"lbfgs"}))
def test_every_solver_by_its_name(solver):
    X, y = problem("multiclass")
    model = fitted(solver=solver, learning_rate_init=3e-3, max_iter=60, tol=0.0)
    assert model.score(X, y) > 0.5
    assert model.loss_curve_[-1] < model.loss_curve_[0]
    assert model.partial_fit(X, y).t_ == 61 * 90


@pytest.mark.parametrize("n_threads", [1, 2, 3])
def test_the_number_of_threads_changes_nothing(n_threads):
    settings = {"hidden_layer_sizes": (70, 40), "dropout": 0.2}
    assert not differ(fitted(**settings), fitted(**settings, n_threads=n_threads))


def test_threads_of_a_fitted_model_can_be_changed():
    X, _ = problem("multiclass")
    model = fitted()
    before = model.predict_proba(X)
    np.testing.assert_array_equal(model.set_params(n_threads=2).predict_proba(X), before)
    assert model.network_.spec.n_threads == 2
    assert model.network_.engine.n_updates == 30  # Adam goes on where it was


def test_float32_on_request():
    model = fitted(dtype="float32")
    X, _ = problem("multiclass")
    assert {c.dtype for c in (*model.coefs_, *model.intercepts_)} == {np.dtype("float32")}
    assert model.predict_proba(X).dtype == np.float32
    assert not differ(model, MLPClassifier(**FEW, dtype="float32").fit(*problem("multiclass")))
    double = MLPClassifier(**FEW, dtype="float64").fit(X.astype(np.float32), model.predict(X))
    assert double.coefs_[0].dtype == np.float64


def test_class_weights_are_sample_weights():
    X, y = problem("multiclass")
    weight = np.where(y == "ant", 5.0, 1.0)
    one = MLPClassifier(**FEW, class_weight={"ant": 5.0}).fit(X, y)
    assert not differ(one, MLPClassifier(**FEW).fit(X, y, weight))
    both = MLPClassifier(**FEW, class_weight={"ant": 5.0}).fit(X, y, weight)
    assert not differ(both, MLPClassifier(**FEW).fit(X, y, weight**2))
    from sklearn.utils.class_weight import compute_sample_weight

    for kind in ("multiclass", "binary"):
        X, y = problem(kind)
        balanced = MLPClassifier(**FEW, class_weight="balanced").fit(X, y)
        by_hand = MLPClassifier(**FEW).fit(X, y, compute_sample_weight("balanced", y))
        for a, b in zip(balanced.coefs_, by_hand.coefs_, strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-10)


def test_balanced_classes_weigh_in_estimators_what_they_weigh_in_networks():
    codes, classes = np.array([0, 3, 3, 0, 0, 1]), np.array(list("abcd"))  # without a "c"
    here = settings.weights_of_classes("balanced", codes, classes)
    there = targets.class_weights("balanced", classes, codes, losses.cross_entropy())
    np.testing.assert_array_equal(here, there)
    np.testing.assert_allclose(here, [2.0 / 3.0, 2.0, 2.0, 1.0])


@pytest.mark.parametrize(
    ("loss", "error"),
    [
        ("absolute_error", lambda y, p: np.abs(y - p).mean()),
        ("huber", None),
        (losses.huber(0.1), None),
        (losses.quantile(0.9), lambda y, p: mean_pinball_loss(y, p, alpha=0.9)),
    ],
    ids=str,
)
def test_losses_of_values(loss, error):
    X, y = problem("regression", 300)
    settings = {"hidden_layer_sizes": (30,), "max_iter": 300, "random_state": 0, "tol": 0.0}
    model = MLPRegressor(loss, **settings).fit(X, y)
    if error is not None:
        squared = MLPRegressor(**settings).fit(X, y)
        assert error(y, model.predict(X)) < error(y, squared.predict(X)) + 1e-3
        penalty = 0.5e-4 * sum((w**2).sum() for w in model.coefs_) / 200
        assert model.loss_ == pytest.approx(error(y, model.predict(X)) + penalty, abs=0.02)
    assert model.score(X, y) > 0.5


@pytest.mark.parametrize("kind", ["regression", "multioutput"])
def test_quantiles_do_not_cross_and_cover(kind):
    X, y = problem(kind, 400)
    y = y + np.random.default_rng(0).standard_normal(y.shape)
    model = MLPRegressor(
        losses.quantiles([0.1, 0.5, 0.9]), hidden_layer_sizes=(20,), max_iter=200, random_state=0
    ).fit(X, y)
    n_targets = 1 if kind == "regression" else 3
    found = model.predict(X).reshape(400, n_targets, 3)
    assert (np.diff(found, axis=2) >= 0).all()
    within = (y.reshape(400, -1) > found[..., 0]) & (y.reshape(400, -1) < found[..., 2])
    assert 0.7 < within.mean() < 0.95
    assert model.score(X, y) > 0.3
    stopped = MLPRegressor(
        "quantiles", max_iter=300, random_state=0, early_stopping=True, n_iter_no_change=2
    ).fit(X, y)
    assert len(stopped.validation_scores_) == stopped.n_iter_ < 300


def test_data_to_score_after_every_epoch():
    X, y = problem("multiclass", 120)
    train, val, other = (X[:60], y[:60]), (X[60:90], y[60:90]), (X[90:], y[90:])
    model = MLPClassifier(**FEW).fit(*train, X_val=val[0], y_val=val[1])
    assert len(model.validation_scores_) == len(model.validation_loss_curve_) == 5
    assert model.validation_scores_[-1] == model.score(*val)
    p = model.predict_proba(val[0])[np.arange(30), np.searchsorted(model.classes_, val[1])]
    assert model.validation_loss_curve_[-1] == pytest.approx(-np.log(p).mean(), rel=1e-9)
    assert not differ(model, MLPClassifier(**FEW).fit(*train))
    several = MLPClassifier(**FEW).fit(*train, eval_set=[other, val])
    assert several.validation_scores_ == model.validation_scores_
    assert set(several.evals_result_) == {"validation_0", "validation_1"}
    assert several.evals_result_["validation_1"]["loss"] == model.validation_loss_curve_
    assert several.evals_result_["validation_0"]["score"][-1] == several.score(*other)
    weight = np.arange(1.0, 31.0)
    weighted = MLPClassifier(**FEW).fit(
        *train, X_val=val[0], y_val=val[1], sample_weight_val=weight
    )
    assert weighted.validation_scores_[-1] == model.score(*val, weight)
    assert weighted.validation_loss_curve_[-1] == pytest.approx(
        np.average(-np.log(p), weights=weight), rel=1e-9
    )


def test_early_stopping_on_data_of_ones_own_keeps_the_best_weights():
    X, y = problem("multiclass", 200)
    noisy = np.random.default_rng(0).permutation(y)
    model = MLPClassifier(
        hidden_layer_sizes=(50,), random_state=0, early_stopping=True, n_iter_no_change=3,
        max_iter=200, learning_rate_init=0.02,
    ).fit(X, noisy, X_val=X[:50], y_val=y[:50])  # fmt: skip
    assert model.n_iter_ < 200
    assert model.score(X[:50], y[:50]) == model.best_validation_score_
    assert max(model.validation_scores_) == model.best_validation_score_
    assert model.best_validation_score_ > model.validation_scores_[-1]
    # None of X was held out.
    assert model.t_ == 200 * model.n_iter_


def test_callbacks_see_the_network_and_end_a_fit(tmp_path):
    seen = []

    def watch(run):
        seen.append((run.epoch, run.logs["loss"], run.logs["val_score"]))
        return run.epoch == 3

    X, y = problem("multiclass")
    path = tmp_path / "best.safetensors"
    model = MLPClassifier(**FEW, callbacks=[watch, fastmlp.callbacks.Checkpoint(path)])
    model.fit(X, y, X_val=X, y_val=y)
    assert [epoch for epoch, _, _ in seen] == [1, 2, 3]
    assert [loss for _, loss, _ in seen] == model.loss_curve_
    assert [score for _, _, score in seen] == model.validation_scores_
    loaded = fastmlp.Network.load(path)
    np.testing.assert_array_equal(loaded.predict(X), model.predict(X))
    stopping = fastmlp.callbacks.EarlyStopping("val_score", patience=1, mode="max")
    stopped = MLPClassifier(**{**FEW, "max_iter": 100}, callbacks=[stopping])
    stopped.fit(X, y, X_val=X, y_val=y)
    assert stopped.n_iter_ < 100
    assert stopped.score(X, y) == max(stopped.validation_scores_)


def test_a_time_limit_and_a_bar(capsys):
    X, y = problem("multiclass")
    model = MLPClassifier(**{**FEW, "max_iter": 10**7, "tol": 0.0, "n_iter_no_change": np.inf},
                          max_time_s=0.3).fit(X, y)  # fmt: skip
    assert 0 < model.n_iter_ < 10**7
    assert len(model.loss_curve_) == model.n_iter_
    # One that ends in its first epoch tells how far that came.
    X, y = np.tile(X, (400, 1)), np.tile(y, 400)
    short = MLPClassifier([300, 300], batch_size=1, max_iter=9, max_time_s=0.01, random_state=0)
    short.fit(X, y)
    assert (short.n_iter_, len(short.loss_curve_), short.loss_ > 0.0) == (1, 1, True)
    # Epochs shorter than the engine's looks at the time end by it too.
    X, y = problem("multiclass")
    asked = MLPClassifier(**{**FEW, "max_iter": 10**7, "tol": 0.0, "n_iter_no_change": np.inf},
                          callbacks=[lambda run: None], max_time_s=0.1).fit(X, y)  # fmt: skip
    assert 0 < asked.n_iter_ < 10**7
    MLPClassifier(**FEW, verbose="progress").fit(X, y)
    assert "epoch" in capsys.readouterr().err


def test_schedules_give_every_step_its_rate():
    X, y = problem("multiclass")

    def halved(step, n_steps):
        assert n_steps == 30
        return 0.5

    one = MLPClassifier(**FEW, learning_rate=halved, learning_rate_init=2e-3).fit(X, y)
    assert not differ(one, MLPClassifier(**FEW).fit(X, y))


def test_the_network_behind():
    X, _ = problem("multiclass")
    model = fitted()
    net = model.network_
    assert isinstance(net, fastmlp.Network)
    np.testing.assert_array_equal(net.predict(X), model.predict(X))
    np.testing.assert_allclose(net.predict_proba(X), model.predict_proba(X), rtol=1e-12)
    assert [layer.shape for layer in net.trace(X)] == [(90, 5), (90, 9), (90, 7), (90, 3)]
    with pytest.raises(ValueError, match="not fitted"):
        MLPClassifier().network_  # noqa: B018
