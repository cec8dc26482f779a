"""Metrics by name or function beside scikit-learn called by hand."""

import functools
import inspect
import math
import warnings

import numpy as np
import pytest
from sklearn import metrics as sk
from sklearn.exceptions import UndefinedMetricWarning

import fastmlp
from fastmlp import errors
from fastmlp.callbacks import EarlyStopping
from fastmlp.losses import gaussian_nll, quantiles

CLASS_NAMES = np.array(["blue", "green", "red"])


@pytest.fixture
def labels(X):
    """Three classes that depend on X, so that scores differ from chance."""
    return np.digitize(X[:, 0] + 0.5 * X[:, 1], [-0.5, 0.5])


def by_hand(name, truth, predicted, scores, weights):
    """What scikit-learn's own function says; the scorer gives function, sign and settings."""
    known = name in sk.get_scorer_names()
    scorer = sk.get_scorer(name if known else f"neg_{name}")
    methods = scorer._response_method
    methods = [methods] if isinstance(methods, str) else methods
    settings = dict(scorer._kwargs)
    parameters = inspect.signature(scorer._score_func).parameters
    if weights is not None and "sample_weight" in parameters:
        settings["sample_weight"] = weights
    y_pred = scores if "predict_proba" in methods else predicted
    one_of_many = scores is not None and scores.ndim == 2 and truth.ndim == 1
    if one_of_many and y_pred is scores and "labels" in parameters:
        settings["labels"] = np.arange(scores.shape[1])
    value = scorer._score_func(truth, y_pred, **settings)
    return value * (scorer._sign if known else 1)


def every_name():
    names = sk.get_scorer_names()
    return names + [name.removeprefix("neg_") for name in names if name.startswith("neg_")]


def compared(net, X, y, truth, predicted, scores, weights):
    """Names of the metrics that scikit-learn computes for these data; ours must be the same."""
    done = []
    for name in every_name():
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                wanted = by_hand(name, truth, predicted, scores, weights)
            except (ValueError, TypeError, AttributeError):
                with pytest.raises(errors.OptionError, match=f"'{name}'"):
                    net.evaluate(X, y, weights, metrics=[name])
                continue
            found = net.evaluate(X, y, weights, metrics=[name])
        assert list(found) == ["loss", name]
        assert found[name] == pytest.approx(wanted, rel=1e-9, nan_ok=True), name
        done.append(name)
    return done


each_weighting = pytest.mark.parametrize("weighted", [False, True])


@each_weighting
def test_three_classes(X, labels, weighted):
    net = fastmlp.Network([4, 8, 3], loss="cross_entropy", dtype="float64")
    y = CLASS_NAMES[labels]
    net.fit(X, y, epochs=30)
    weights = np.linspace(0, 2, 60) if weighted else None
    predicted = np.searchsorted(CLASS_NAMES, net.predict(X))
    done = compared(net, X, y, labels, predicted, net.predict_proba(X), weights)
    assert {"accuracy", "f1_macro", "neg_log_loss", "log_loss", "roc_auc_ovr",
            "top_k_accuracy", "balanced_accuracy", "matthews_corrcoef"} <= set(done)  # fmt: skip
    assert not {"roc_auc", "f1", "precision"} & set(done)  # those of two classes
    assert ("roc_auc_ovo" in done) == (not weighted)  # scikit-learn has no weights there


@each_weighting
@pytest.mark.parametrize("loss", ["binary_cross_entropy", "cross_entropy"])
@pytest.mark.parametrize("names", [[0, 1], [3, 7], ["no", "yes"], [False, True]])
def test_two_classes(X, labels, weighted, loss, names):
    names = np.array(names)
    net = fastmlp.Network([4, 8, 1 if loss.startswith("binary") else 2], loss=loss, dtype="float64")
    truth = (labels > 1).astype(int)
    net.fit(X, names[truth], epochs=30)
    weights = np.linspace(0, 2, 60) if weighted else None
    predicted = np.searchsorted(names, net.predict(X))
    done = compared(net, X, names[truth], truth, predicted, net.predict_proba(X)[:, 1], weights)
    assert {"roc_auc", "average_precision", "f1", "precision", "recall", "jaccard",
            "neg_brier_score", "brier_score", "log_loss"} <= set(done)  # fmt: skip


@each_weighting
@pytest.mark.parametrize("n_outputs", [2, 3])
def test_several_yes_or_no_outputs(X, weighted, n_outputs):
    net = fastmlp.Network([4, 8, n_outputs], loss="binary_cross_entropy", dtype="float64")
    y = (X[:, :n_outputs] > 0.3).astype(int)
    net.fit(X, y, epochs=30)
    weights = np.linspace(0, 2, 60) if weighted else None
    done = compared(net, X, y, y, net.predict(X), net.predict_proba(X), weights)
    assert {"accuracy", "roc_auc", "average_precision", "f1_macro", "f1_samples"} <= set(done)


LOSSES = {
    "squared_error": ("squared_error", 1, lambda net, X: net.predict(X)),
    "two targets": ("squared_error", 2, lambda net, X: net.predict(X)),
    "poisson": ("poisson", 1, lambda net, X: net.predict(X)),
    "quantile": (fastmlp.losses.quantile(0.8), 1, lambda net, X: net.predict(X)),
    "quantiles": (quantiles([0.1, 0.4, 0.9]), 3, lambda net, X: net.predict(X)[:, 1]),
    "gaussian_nll": (gaussian_nll(), 2, lambda net, X: net.predict(X)),
    "gaussian_nll, two targets": (gaussian_nll(), 4, lambda net, X: net.predict(X)),
}


@each_weighting
@pytest.mark.parametrize("loss", LOSSES)
def test_values(X, weighted, loss):
    loss, n_outputs, predict = LOSSES[loss]
    net = fastmlp.Network([4, 8, n_outputs], loss=loss, dtype="float64")
    n_targets = n_outputs // net.loss.outputs_per_target
    y = np.exp(X[:, :n_targets].astype(float) / 2)
    y = y[:, 0] if n_targets == 1 else y
    net.fit(X, y, epochs=5)
    weights = np.linspace(0, 2, 60) if weighted else None
    done = compared(net, X, y, y, predict(net, X), None, weights)
    assert {"r2", "explained_variance", "neg_mean_squared_error", "mean_absolute_error",
            "root_mean_squared_error", "neg_median_absolute_error"} <= set(done)  # fmt: skip
    assert not {"roc_auc", "neg_log_loss"} & set(done)


def test_a_class_that_does_not_occur(X, labels):
    net = fastmlp.Network([4, 8, 3], loss="cross_entropy", dtype="float64")
    net.fit(X, labels, epochs=3)
    rows = labels < 2
    found = net.evaluate(X[rows], labels[rows], metrics=["log_loss"])
    assert found["log_loss"] == pytest.approx(found["loss"], rel=1e-12)


@pytest.mark.parametrize("loss", ["binary_cross_entropy", "cross_entropy"])
def test_one_class_of_two_that_does_not_occur(X, labels, loss):
    n_outputs = 1 if loss.startswith("binary") else 2
    net = fastmlp.Network([4, 8, n_outputs], loss=loss, dtype="float64")
    net.fit(X, labels > 1, epochs=3)
    for rows in (labels > 1, labels < 2):
        found = net.evaluate(X[rows], labels[rows] > 1, metrics=["log_loss"])
        assert found["log_loss"] == pytest.approx(found["loss"], rel=1e-12)


def test_class_probabilities_as_targets(X, labels):
    net = fastmlp.Network([4, 8, 3], loss="cross_entropy", dtype="float64")
    y = np.full((60, 3), 0.1)
    y[np.arange(60), labels] = 0.8
    found = net.evaluate(X, y, metrics=["f1_macro"])
    assert found["f1_macro"] == sk.f1_score(labels, net.predict(X), average="macro")


def test_several_at_once_in_blocks_and_in_their_order(X, labels, monkeypatch):
    net = fastmlp.Network([4, 8, 3], loss="cross_entropy", dtype="float64")
    weights = np.arange(60) // 10  # the first block weighs nothing
    names = ["log_loss", "accuracy", "f1_macro", "balanced_accuracy"]
    whole = net.evaluate(X, labels, weights, metrics=names)
    assert list(whole) == ["loss", *names]
    assert whole["log_loss"] == pytest.approx(whole["loss"], rel=1e-12)
    monkeypatch.setattr(fastmlp.training.metrics, "_MIN_ROWS", 7)
    monkeypatch.setattr(fastmlp.training.metrics, "_MAX_ROWS", 7)
    assert net.evaluate(X, labels, weights, metrics=names) == pytest.approx(whole, rel=1e-12)
    assert list(net.evaluate(X, labels, metrics=[])) == ["loss"]


# --- functions ----------------------------------------------------------------------------------


def cost(y_true, y_pred):
    """A red one that is missed costs ten."""
    return float(np.mean(np.where(y_true == "red", 10.0, 1.0) * (y_true != y_pred)))


def b_loss(y_true, y_pred):
    """Has the name of another eval set's loss."""
    return 0.0


def weighted_cost(y_true, y_pred, sample_weight=None):
    return np.average(y_true != y_pred, weights=sample_weight)


def test_functions_see_labels_and_weights(X, labels):
    y = CLASS_NAMES[labels]
    net = fastmlp.Network([4, 8, 3], loss="cross_entropy")
    net.fit(X, y, epochs=2)
    weights = np.linspace(0, 1, 60)
    found = net.evaluate(X, y, weights, metrics=[cost, weighted_cost, sk.hamming_loss])
    predicted = net.predict(X)
    assert found["cost"] == cost(y, predicted)
    assert found["weighted_cost"] == pytest.approx(weighted_cost(y, predicted, weights))
    assert found["hamming_loss"] == pytest.approx(
        sk.hamming_loss(y, predicted, sample_weight=weights)
    )


def test_functions_of_values_see_shapes_of_predict(X):
    shapes = []

    def shape(y_true, y_pred):
        shapes.append((y_true.shape, y_pred.shape, y_true.dtype, y_pred.dtype))
        return 0

    fastmlp.Network([4, 1]).evaluate(X, X[:, :1], metrics=[shape])
    fastmlp.Network([4, 2]).evaluate(X, X[:, :2], metrics=[shape])
    fastmlp.Network([4, 4], loss=gaussian_nll()).evaluate(X, X[:, :2], metrics=[shape])
    assert [s[:2] for s in shapes] == [((60,), (60,)), ((60, 2), (60, 2)), ((60, 2), (60, 2))]
    assert all(s[2:] == (np.float64, np.float64) for s in shapes)


def test_an_error_of_a_function_is_its_own(X, labels, state_of):
    def fail(y_true, y_pred):
        raise LookupError("mine")

    net = fastmlp.Network([4, 8, 3], loss="cross_entropy")
    before = state_of(net)
    with pytest.raises(LookupError, match="mine"):
        net.fit(X, labels, eval_set=[(X, labels)], metrics=[fail])
    assert state_of(net) == before


# --- in a fit -----------------------------------------------------------------------------------


def test_the_history_has_them(X, labels):
    net = fastmlp.Network([4, 8, 3], loss="cross_entropy")
    history = net.fit(
        X, labels, epochs=4, eval_set=[(X, labels)], metrics=["f1_macro", "log_loss", cost]
    )
    assert history.names[-4:] == ["val_loss", "val_f1_macro", "val_log_loss", "val_cost"]
    found = net.evaluate(X, labels, metrics=["f1_macro", "log_loss"])
    assert history.val_f1_macro[-1] == found["f1_macro"]
    assert history.val_log_loss == pytest.approx(history.val_loss, rel=1e-5)
    assert len(history.val_cost) == 4


def test_eval_sets_with_names_and_weights(X, labels):
    net = fastmlp.Network([4, 8, 3], loss="cross_entropy")
    weights = np.linspace(0, 1, 60)
    history = net.fit(
        X, labels, epochs=2, metrics=["accuracy"],
        eval_set={"test": (X[:30], labels[:30]), "weighted": (X, labels, weights)},
    )  # fmt: skip
    assert history.names[-4:] == [
        "test_loss", "test_accuracy", "weighted_loss", "weighted_accuracy",
    ]  # fmt: skip
    assert history.test_accuracy[-1] == net.evaluate(X[:30], labels[:30])["accuracy"]
    wanted = net.evaluate(X, labels, weights)
    assert history.weighted_loss[-1] == wanted["loss"]
    assert history.weighted_accuracy[-1] == pytest.approx(wanted["accuracy"], rel=1e-12)


def test_names_alone_keep_the_default_score(X, labels):
    net = fastmlp.Network([4, 3], loss="cross_entropy")
    history = net.fit(X, labels, epochs=1, eval_set={"test": (X, labels)})
    assert history.names[-2:] == ["test_loss", "test_accuracy"]


@pytest.mark.parametrize(
    ("metric", "best"),
    [
        ("roc_auc_ovr", np.argmax), ("f1_macro", np.argmax), ("neg_log_loss", np.argmax),
        ("log_loss", np.argmin), ("accuracy", np.argmax), ("matthews_corrcoef", np.argmax),
    ],
)  # fmt: skip
def test_early_stopping_knows_the_direction(X, labels, metric, best):
    net = fastmlp.Network([4, 16, 3], loss="cross_entropy")
    history = net.fit(
        X[:40], labels[:40], epochs=60, optimizer=fastmlp.optim.Adam(0.05), metrics=[metric],
        eval_set=[(X[40:], labels[40:])], callbacks=[EarlyStopping(f"val_{metric}", patience=8)],
    )  # fmt: skip
    assert history.best_epoch == 1 + int(best(history[f"val_{metric}"]))


@pytest.mark.parametrize(
    ("metric", "best"), [("r2", np.argmax), ("mean_absolute_error", np.argmin)]
)
def test_early_stopping_of_values_knows_the_direction(X, metric, best):
    net = fastmlp.Network([4, 16, 1])
    history = net.fit(
        X[:40], X[:40, 0] ** 2, epochs=60, optimizer=fastmlp.optim.Adam(0.05), metrics=[metric],
        eval_set=[(X[40:], X[40:, 0] ** 2)],
        callbacks=[EarlyStopping(f"val_{metric}", patience=8)],
    )  # fmt: skip
    assert history.best_epoch == 1 + int(best(history[f"val_{metric}"]))


def test_the_direction_of_a_function_must_be_said(net, X, labels, state_of):
    fit = {"epochs": 5, "eval_set": [(X, labels)], "metrics": [cost]}
    before = state_of(net)
    with pytest.raises(
        errors.OptionError,
        match="mode of EarlyStopping must be 'min' or 'max' for 'val_cost', a metric of your own, "
        "got 'auto'",
    ):
        net.fit(X, labels, callbacks=[EarlyStopping("val_cost")], **fit)
    assert state_of(net) == before
    history = net.fit(X, labels, callbacks=[EarlyStopping("val_cost", mode="min")], **fit)
    assert history.val_cost[history.epochs.index(history.best_epoch)] == min(history.val_cost)


def test_what_is_undefined_at_first_is_not_refused(X, labels):
    """No row is found positive by the initial weights: precision is 0 / 0."""
    net = fastmlp.Network([4, 1], loss="binary_cross_entropy", init="zeros")
    net.biases = [[-100.0]]
    with pytest.warns(UndefinedMetricWarning):
        history = net.fit(
            X, labels > 1, epochs=1, optimizer=fastmlp.optim.SGD(1e-9),
            eval_set=[(X, labels > 1)], metrics=["precision"],
        )  # fmt: skip
    assert history.val_precision == [0.0]


@pytest.mark.parametrize(
    ("metrics", "error", "match"),
    [
        (["f1_macr"], errors.OptionError, r"got 'f1_macr'; did you mean 'f1_macro' or"),
        (["logloss"], errors.OptionError, "got 'logloss'; did you mean .*'log_loss'"),
        (["xyzzy"], errors.OptionError, r"or functions, got 'xyzzy'$"),
        ("accuracy", errors.OptionTypeError, r"must be a list .* write metrics=\[...\]"),
        ([3], errors.OptionTypeError, r"metrics\[0\] must be a name or a function .* got 3"),
        ([lambda a, b: 0.0], errors.OptionError, r"metrics\[0\] must be a function with a name"),
        ([functools.partial(cost)], errors.OptionError, r"metrics\[0\] must be a function with a"),
        (["accuracy", "accuracy"], errors.OptionError, "differ .* got 'accuracy' again"),
        (["f1"], errors.OptionError, "'f1' is for two classes, got a network of 3; .* 'f1_macro'"),
        (["roc_auc"], errors.OptionError, "the metric 'roc_auc' must fit the targets and the pred"),
        (["mean_gamma_deviance"], errors.OptionError, "the metric 'mean_gamma_deviance' must fit"),
    ],
)
def test_bad_metrics_change_nothing(net, X, labels, state_of, metrics, error, match):
    before = state_of(net)
    with pytest.raises(error, match=match):
        net.fit(X, labels, eval_set=[(X, labels)], metrics=metrics)
    assert state_of(net) == before
    with pytest.raises(error, match=match):
        net.evaluate(X, labels, metrics=metrics)


def test_bad_results(X, labels):
    net = fastmlp.Network([4, 3], loss="cross_entropy")

    def listed(y_true, y_pred):
        return [1.0, 2.0]

    def nothing(y_true, y_pred):
        return None

    for metric in (listed, nothing):
        with pytest.raises(errors.OptionTypeError, match=f"'{metric.__name__}' must give a number"):
            net.evaluate(X, labels, metrics=[metric])

    def nan(y_true, y_pred):
        return math.nan

    assert math.isnan(net.evaluate(X, labels, metrics=[nan])["nan"])


def test_probabilities_need_classes(X):
    with pytest.raises(
        errors.OptionError, match="'roc_auc' needs probabilities of classes, got loss='huber' of"
    ):
        fastmlp.Network([4, 1], loss="huber").evaluate(X, X[:, 0], metrics=["roc_auc"])


def test_metrics_without_an_eval_set(net, X, labels):
    with pytest.raises(errors.OptionError, match=r"metrics are computed of eval sets, .* too, or"):
        net.fit(X, labels, metrics=["accuracy"])


@pytest.mark.parametrize(
    ("eval_set", "match"),
    [
        ({3: ([], [])}, "names of eval_set must be text such as 'test', got 3"),
        ({"": ([], [])}, "names of eval_set must be text such as 'test', got ''"),
        ({"test": 3}, r"eval_set\['test'\] must be a pair \(X, y\), got a int"),
        ({"test": (1, 2, 3, 4)}, r"eval_set\['test'\] must be a pair .* tuple of 4 items"),
    ],
)
def test_bad_eval_sets(net, X, labels, eval_set, match):
    with pytest.raises(errors.OptionTypeError, match=match):
        net.fit(X, labels, eval_set=eval_set)
    with pytest.raises(errors.ShapeError, match=r"sample_weight of eval_set\['a'\] must have as"):
        net.fit(X, labels, eval_set={"a": (X, labels, [1.0])})
    with pytest.raises(errors.OptionError, match="got 'a_b_loss' twice; rename one of them"):
        net.fit(X, labels, eval_set={"a": (X, labels), "a_b": (X, labels)}, metrics=[b_loss])
    with pytest.raises(errors.OptionError, match="must not begin with an underscore, got '_a'"):
        net.fit(X, labels, eval_set={"_a": (X, labels)})
