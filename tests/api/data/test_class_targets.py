"""Probabilities for labels, class weights, and losses with several outputs for each target."""

import numpy as np
import pandas as pd
import pytest

import fastmlp
from fastmlp import errors, losses, optim

SETTINGS = {"epochs": 3, "batch_size": 16}


def make(loss="cross_entropy", **settings):
    return fastmlp.Network([4, 9, 3], loss=loss, dtype="float64", **settings)


def assert_alike(a, b, rtol=1e-10):
    for p, q in zip([*a.weights, *a.biases], [*b.weights, *b.biases], strict=True):
        np.testing.assert_allclose(p, q, rtol=rtol, atol=1e-13)


@pytest.mark.parametrize("container", [np.asarray, pd.DataFrame, np.ndarray.tolist])
def test_one_hot_probabilities_train_as_labels(X, y, container):
    labels, probabilities = make(), make()
    labels.fit(X, y, **SETTINGS)
    probabilities.fit(X, container(np.eye(3)[y]), **SETTINGS)
    assert_alike(labels, probabilities)
    assert probabilities.classes_.tolist() == [0, 1, 2]
    scores = [net.evaluate(X, t) for net, t in ((labels, y), (probabilities, np.eye(3)[y]))]
    assert scores[0] == pytest.approx(scores[1])


def test_smoothed_labels_are_the_probabilities_of_the_mixture(X, y):
    smoothed, mixed = make(losses.cross_entropy(0.3)), make()
    smoothed.fit(X, y, **SETTINGS)
    mixed.fit(X, 0.7 * np.eye(3)[y] + 0.1, **SETTINGS)
    assert_alike(smoothed, mixed)
    soft, p = make(losses.cross_entropy(0.3)), np.random.default_rng(2).dirichlet(np.ones(3), 60)
    mixed = make()
    soft.fit(X, p, **SETTINGS)
    mixed.fit(X, 0.7 * p + 0.1, **SETTINGS)
    assert_alike(soft, mixed)
    assert soft.evaluate(X, p)["loss"] == pytest.approx(mixed.evaluate(X, 0.7 * p + 0.1)["loss"])


def test_names_of_the_first_fit_stay_with_probabilities(X, y):
    net, names = make(), np.array(["a", "b", "c"])
    net.fit(X, names[y], **SETTINGS)
    net.fit(X, np.eye(3)[y], **SETTINGS)
    assert net.classes_.tolist() == ["a", "b", "c"]
    assert set(net.predict(X)) <= {"a", "b", "c"}


@pytest.mark.parametrize("loss", ["cross_entropy", "focal"])
@pytest.mark.parametrize("names", [np.arange(3), np.array(["a", "b", "c"]), np.array([-1, 5, 9])])
def test_class_weights_are_sample_weights(X, y, loss, names):
    by_class, by_row, given = make(loss), make(loss), [0.5, 3.0, 1.0]
    mapping = {names[0]: 0.5, names[1].item(): 3.0}  # the third is left at 1
    rows = np.linspace(0.1, 2.0, 60)
    by_class.fit(X, names[y], class_weight=mapping, sample_weight=rows, **SETTINGS)
    by_row.fit(X, names[y], sample_weight=rows * np.array(given)[y], **SETTINGS)
    assert_alike(by_class, by_row)


def test_balanced_classes_have_the_same_weight_together(X, y):
    balanced, by_row, counts = make(), make(), np.bincount(y)
    balanced.fit(X, y, class_weight="balanced", **SETTINGS)
    by_row.fit(X, y, sample_weight=(60 / (3 * counts))[y], **SETTINGS)
    assert_alike(balanced, by_row)
    rare = make()
    few = np.where(y == 2, 0, y)  # a class that does not occur
    rare.fit(X, few, class_weight="balanced", **SETTINGS)
    assert np.isfinite(rare.history_.loss).all()


def test_class_weights_of_two_classes_from_one_output(X, y):
    nets = [fastmlp.Network([4, 1], loss="binary_cross_entropy", dtype="float64") for _ in "ab"]
    nets[0].fit(X, y > 0, class_weight={False: 2.0}, **SETTINGS)
    nets[1].fit(X, y > 0, sample_weight=np.where(y > 0, 1.0, 2.0), **SETTINGS)
    assert_alike(*nets)


def test_class_weights_act_on_eval_sets_as_on_the_training(X, y):
    net, other = make(), np.where(y == 1, 2, y)  # "balanced" is of the training's classes
    counts = np.bincount(y, minlength=3)
    for class_weight, factors in (
        ({0: 9.0}, np.array([9.0, 1.0, 1.0])),
        ("balanced", len(y) / (3 * counts)),
    ):
        history = net.fit(X, y, class_weight=class_weight, eval_set=[(X, other)], epochs=1)
        wanted = net.evaluate(X, other, sample_weight=factors[other])
        assert history.val_loss[0] == pytest.approx(wanted["loss"])
        assert history.val_accuracy[0] == pytest.approx(wanted["accuracy"])


BAD = [
    ({7: 1.0}, errors.LabelError, ["0, 1, 2", "got 7"]),
    ({"0": 1.0}, errors.LabelError, ["0, 1, 2", "got '0'"]),
    ({0: -1}, errors.OptionError, ["class_weight[0] must be >= 0, got -1"]),
    ({0: float("nan")}, errors.OptionError, ["class_weight[0]", "finite", "nan"]),
    ({0: "heavy"}, errors.OptionTypeError, ["class_weight[0]", "'heavy'"]),
    ({0: 0, 1: 0, 2: 0}, errors.DataError, ["class_weight", "a weight above 0"]),
    ({0: 1e39}, errors.FastmlpError, ["class_weight", "float32"]),
    ("balance", errors.OptionTypeError, ["'balanced'", "'balance'"]),
    ([1.0, 2.0, 3.0], errors.OptionTypeError, ["mapping", "[1.0, 2.0, 3.0]"]),
    (2.0, errors.OptionTypeError, ["mapping", "2.0"]),
]


@pytest.mark.parametrize(("class_weight", "error", "fragments"), BAD)
def test_bad_class_weights(net, X, y, state_of, class_weight, error, fragments):
    before = state_of(net)
    with pytest.raises(error) as caught:
        net.fit(X, y, optimizer="sgd", class_weight=class_weight)
    message = str(caught.value)
    assert not [fragment for fragment in fragments if fragment not in message], message
    assert "\n" not in message
    assert state_of(net) == before


@pytest.mark.parametrize(
    ("sizes", "loss", "make_y"),
    [
        ([4, 1], "squared_error", lambda y: y * 1.0),
        ([4, 3], "cross_entropy", lambda y: np.eye(3)[y]),
        ([4, 2], "binary_cross_entropy", lambda y: np.c_[y > 0, y > 1]),
    ],
)
def test_class_weights_need_one_label_a_row(X, y, state_of, sizes, loss, make_y):
    net = fastmlp.Network(sizes, loss=loss)
    before = state_of(net)
    with pytest.raises(errors.OptionError, match=rf"one class label a row.*'{loss}'.*sample_weig"):
        net.fit(X, make_y(y), class_weight="balanced")
    assert state_of(net) == before


BAD_PROBABILITIES = {
    "sum of 0.9": (lambda p: p * 0.9, errors.DataError, ["sum to 1", "0.9 at row 0"]),
    "negative": (lambda p: p - 2 * (p == 0), errors.DataError, ["within 0 and 1", "-2.0 at row 0"]),
    "above 1": (lambda p: p * 3, errors.DataError, ["within 0 and 1", "3.0 at row 0"]),
    "nan": (lambda p: p * np.array([[np.nan, 1, 1]]), errors.DataError, ["nan", "row 0"]),
    "few rows": (lambda p: p[:40], errors.ShapeError, ["40", "60 rows of X"]),
    "many columns": (lambda p: np.c_[p, p], errors.ShapeError, ["(rows, 3)", "(60, 6)"]),
    "text": (lambda p: p.astype(str), errors.DataTypeError, ["numbers", "row 0, column 0"]),
}


@pytest.mark.parametrize("case", BAD_PROBABILITIES)
@pytest.mark.parametrize("use", ["fit", "evaluate", "loss_and_gradients", "eval_set"])
def test_bad_probabilities(net, X, y, state_of, case, use):
    make_bad, error, fragments = BAD_PROBABILITIES[case]
    bad, before = make_bad(np.eye(3)[y]), state_of(net)
    calls = {"eval_set": lambda: net.fit(X, y, epochs=1, eval_set=[(X, bad)])}
    with pytest.raises(error) as caught:
        calls.get(use, lambda: getattr(net, use)(X, bad))()
    message = str(caught.value)
    assert not [fragment for fragment in fragments if fragment not in message], message
    assert ("eval_set[0]" in message) == (use == "eval_set")
    assert state_of(net) == before


# --- several outputs for each target ---------------------------------------------------------


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("n_targets", [1, 2])
def test_quantiles_never_cross_and_are_quantiles(n_targets, dtype):
    rng, q = np.random.default_rng(0), [0.05, 0.5, 0.9]
    X = rng.uniform(-1, 1, (2000, 1))
    y = X + (0.2 + np.abs(X)) * rng.normal(size=(2000, n_targets))
    net = fastmlp.Network([1, 16, 3 * n_targets], loss=losses.quantiles(q), dtype=dtype)
    net.fit(X, y, optimizer=optim.Adam(lr=0.01), epochs=60, batch_size=100)
    predicted = net.predict(X)
    assert predicted.shape == ((2000, 3) if n_targets == 1 else (2000, 2, 3))
    assert (np.diff(predicted, axis=-1) >= 0).all()
    below = (y[:, :, None] <= predicted.reshape(2000, n_targets, 3)).mean(axis=0)
    np.testing.assert_allclose(below, np.tile(q, (n_targets, 1)), atol=0.03)
    far = net.predict(rng.normal(size=(500, 1)) * 1e3)
    assert (np.diff(far, axis=-1) >= 0).all()
    middle = predicted.reshape(2000, n_targets, 3)[:, :, 1]
    r2 = 1 - ((y - middle) ** 2).sum(axis=0) / ((y - y.mean(axis=0)) ** 2).sum(axis=0)
    assert net.evaluate(X, y)["r2"] == pytest.approx(r2.mean(), rel=1e-4)


def test_means_and_deviations_are_those_of_the_data():
    rng = np.random.default_rng(0)
    X = rng.uniform(-1, 1, (4000, 1))
    y = np.hstack([X * 2 + 0.5 * rng.normal(size=X.shape), 3 + 2.0 * rng.normal(size=X.shape)])
    net = fastmlp.Network([1, 16, 4], loss="gaussian_nll", activation="tanh")
    net.fit(X, y, optimizer=optim.Adam(lr=0.01), epochs=60, batch_size=100)
    assert net.predict(X).shape == net.predict_std(X).shape == (4000, 2)
    np.testing.assert_allclose(net.predict_std(X).mean(axis=0), [0.5, 2.0], rtol=0.06)
    np.testing.assert_allclose(net.predict(X)[:, 0], 2 * X[:, 0], atol=0.25)
    one = fastmlp.Network([1, 2], loss="gaussian_nll")
    assert one.predict(X).shape == one.predict_std(X).shape == (4000,)


def test_deviations_need_a_loss_of_variances(net, X):
    with pytest.raises(errors.OptionError, match=r"predict_std .*'cross_entropy'.*gaussian_nll"):
        net.predict_std(X)


@pytest.mark.parametrize(("loss", "n_outputs"), [("quantiles", 3), ("gaussian_nll", 2)])
def test_y_has_one_column_for_each_target(X, loss, n_outputs):
    net = fastmlp.Network([4, n_outputs], loss=loss)
    net.fit(X, X[:, 0], epochs=1)
    with pytest.raises(errors.ShapeError, match=rf"\(60, {n_outputs}\)"):
        net.fit(X, X[:, :n_outputs], epochs=1)
