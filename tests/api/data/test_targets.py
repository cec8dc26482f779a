"""Labels, classes, probabilities and values on the way in and out."""

import numpy as np
import pandas as pd
import polars as pl
import pytest

import fastmlp
from fastmlp import errors
from fastmlp.data.targets import as_labels, class_indices, learn_classes

KINDS = {
    "indices": (np.arange(3), np.arange(3)),
    "small integers": (np.arange(3, dtype=np.uint8), np.arange(3)),
    "other integers": (np.array([-5, 2, 9]), np.array([-5, 2, 9])),
    "whole floats": (np.array([0.0, 1.0, 2.0]), np.array([0.0, 1.0, 2.0])),
    "text": (np.array(["bird", "cat", "ox"]), np.array(["bird", "cat", "ox"])),
    "objects": (np.array(["bird", "cat", "ox"], dtype=object), np.array(["bird", "cat", "ox"])),
    "object integers": (np.array([1, 5, 7], dtype=object), np.array([1, 5, 7])),
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("container", [np.asarray, pd.Series, pl.Series, list])
def test_labels_come_back_as_they_were(X, y, kind, container):
    names, classes = KINDS[kind]
    labels = names[y].tolist() if container is pl.Series else names[y]
    given = container(labels)
    net = fastmlp.Network([4, 16, 3], loss="cross_entropy")
    net.fit(X, given, optimizer=fastmlp.optim.Adam(lr=0.01), epochs=300, batch_size=60)
    assert net.classes_.tolist() == classes.tolist()
    predicted = net.predict(X)
    assert set(predicted.tolist()) <= set(classes.tolist())
    assert np.mean(predicted == names[y].astype(classes.dtype)) == pytest.approx(
        net.evaluate(X, given)["accuracy"]
    )
    np.testing.assert_array_equal(predicted, net.classes_[net.predict_proba(X).argmax(axis=1)])


def test_categories(X, y):
    series = pd.Series(pd.Categorical.from_codes(y, ["x", "y", "z"]))
    net = fastmlp.Network([4, 3], loss="cross_entropy")
    net.fit(X, series, epochs=1)
    assert net.classes_.tolist() == ["x", "y", "z"]


def test_nullable_numbers(X, y):
    for dtype in ("Int64", "boolean", "Float32"):
        series = pd.Series(y > 0 if dtype == "boolean" else y, dtype=dtype)
        net = fastmlp.Network([4, 2 if dtype == "boolean" else 3], loss="cross_entropy")
        net.fit(X, series, epochs=1)
        assert net.classes_.dtype == series.dtype.numpy_dtype
    net = fastmlp.Network([4, 1])
    net.fit(X, pd.Series(X[:, 0], dtype="Float64"), epochs=1)


def test_indices_stand_for_themselves_even_when_some_do_not_occur():
    y = as_labels([0, 2, 2, 0], 4)
    assert learn_classes("multiclass", y, 4).tolist() == [0, 1, 2, 3]
    assert learn_classes("binary", as_labels([1, 1], 2), 1).tolist() == [0, 1]
    assert learn_classes("binary", as_labels([True, True], 2), 1).tolist() == [False, True]
    assert class_indices(y, np.arange(4)).tolist() == [0, 2, 2, 0]


def test_indices_are_int32_and_contiguous():
    for y in (np.arange(6)[::2] // 2, np.array([3.0, 5.0, 9.0]), np.array(["a", "b", "c"])):
        classes = np.unique(y)
        indices = class_indices(as_labels(y, 3), classes)
        assert indices.dtype == np.int32
        assert indices.flags.c_contiguous
        assert indices.tolist() == [0, 1, 2]


def test_unknown_label_above_all_classes():
    with pytest.raises(errors.LabelError, match=r"\(2, 5\), got 9 at row 1"):
        class_indices(np.array([2, 9]), np.array([2, 5]))
    with pytest.raises(errors.LabelError, match=r"got 3 at row 0"):
        class_indices(np.array([3, 5]), np.array([2, 5]))


def test_many_classes_are_listed_in_part():
    with pytest.raises(errors.LabelError, match=r"\(0, 1, .*, 9, \.\.\.\), got 100"):
        class_indices(np.array([100]), np.arange(100))


@pytest.mark.parametrize(
    ("labels", "classes"),
    [([0, 1], [0, 1]), (["no", "yes"], ["no", "yes"]), ([False, True], [False, True])],
)
def test_two_classes_from_one_output(X, labels, classes):
    y = np.array(labels)[(X[:, 0] > 0).astype(int)]
    net = fastmlp.Network([4, 1], loss="binary_cross_entropy")
    history = net.fit(X, y, optimizer=fastmlp.optim.Adam(lr=0.1), epochs=100, eval_set=[(X, y)])
    assert net.classes_.tolist() == classes
    assert history.val_accuracy[-1] > 0.95
    probabilities = net.predict_proba(X)
    assert probabilities.shape == (60, 2)
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, rtol=1e-6)
    z = net.trace(X)[-1][:, 0]
    np.testing.assert_allclose(probabilities[:, 1], 1 / (1 + np.exp(-z)), rtol=1e-5)
    np.testing.assert_array_equal(net.predict(X), net.classes_[(z > 0).astype(int)])


def test_several_yes_or_no_outputs(X):
    y = (X[:, :2] > 0).astype(int)
    net = fastmlp.Network([4, 2], loss="binary_cross_entropy")
    net.fit(X, y, optimizer=fastmlp.optim.Adam(lr=0.1), epochs=100)
    predicted = net.predict(X)
    assert predicted.shape == (60, 2)
    assert predicted.dtype == np.int64
    assert net.evaluate(X, y)["accuracy"] == pytest.approx((predicted == y).all(axis=1).mean())
    assert net.predict_proba(X).shape == (60, 2)
    np.testing.assert_array_equal(net.predict_proba(X) > 0.5, predicted == 1)
    net.fit(X, y * 0.8 + 0.1, epochs=1)


def test_probabilities_do_not_overflow(X):
    for sizes, loss in (([4, 3], "cross_entropy"), ([4, 1], "binary_cross_entropy")):
        net = fastmlp.Network(sizes, loss=loss)
        net.weights = [net.weights[0] * 1e4]
        probabilities = net.predict_proba(X)
        assert np.isfinite(probabilities).all()
        np.testing.assert_allclose(probabilities.sum(axis=1), 1, rtol=1e-6)


def test_before_the_first_fit_labels_are_indices(X, y):
    net = fastmlp.Network([4, 3], loss="cross_entropy")
    assert net.classes_ is None
    np.testing.assert_array_equal(net.predict(X), net.predict_proba(X).argmax(axis=1))
    assert set(net.evaluate(X, y)) == {"loss", "accuracy"}
    assert net.classes_ is None


@pytest.mark.parametrize("y_shape", [(60,), (60, 1)])
def test_values_of_one_output(X, y_shape):
    y = X @ [1, 2, 3, 4]
    net = fastmlp.Network([4, 1])
    net.fit(X, y.reshape(y_shape), optimizer=fastmlp.optim.Adam(lr=0.1), epochs=300)
    assert net.predict(X).shape == (60,)
    assert net.predict(X).dtype == np.float32
    assert net.classes_ is None
    np.testing.assert_allclose(net.predict(X), y, atol=0.05)


def test_values_of_several_outputs_and_frames(X):
    y = pd.DataFrame(X[:, :2], columns=["a", "b"])
    net = fastmlp.Network([4, 2], dtype="float64")
    net.fit(pl.DataFrame(X), y, optimizer=fastmlp.optim.Adam(lr=0.1), epochs=300)
    assert net.predict(X).shape == (60, 2)
    assert net.predict(X).dtype == np.float64
    np.testing.assert_allclose(net.predict(X), y, atol=0.05)


def test_poisson_predicts_rates(X):
    net = fastmlp.Network([4, 1], loss="poisson")
    np.testing.assert_allclose(net.predict(X), np.exp(net.trace(X)[-1][:, 0]), rtol=1e-6)
    net.biases = [np.array([100.0])]
    assert np.isinf(net.predict(X)).any()
