"""Predictions, scores and gradients of a model that is no network."""

from __future__ import annotations

import numpy as np
import pytest

import fastmlp
from fastmlp import errors
from fastmlp.model import inference
from fastmlp.model.datasets import dataset_for, in_place
from fastmlp.model.model import Model


@pytest.fixture
def model(net, tmp_path):
    """The model in a file of the trained network `net`."""
    net.save(tmp_path / "m.safetensors")
    return Model.load(tmp_path / "m.safetensors")


def test_a_model_answers_as_the_network_of_the_same_file(model, net, X, y):
    np.testing.assert_array_equal(inference.predict(model, X), net.predict(X))
    np.testing.assert_array_equal(inference.predict_proba(model, X), net.predict_proba(X))
    assert inference.evaluate(model, X, y) == net.evaluate(X, y)
    weights = np.arange(60)
    assert inference.evaluate(model, X, y, weights, ["log_loss"]) == net.evaluate(
        X, y, weights, ["log_loss"]
    )
    for found, wanted in zip(inference.trace(model, X), net.trace(X), strict=True):
        np.testing.assert_array_equal(found, wanted)
    loss, dweights, dbiases = inference.loss_and_gradients(model, X, y, weights)
    wanted_loss, wanted_weights, wanted_biases = net.loss_and_gradients(X, y, weights)
    assert loss == wanted_loss
    for found, wanted in zip([*dweights, *dbiases], [*wanted_weights, *wanted_biases], strict=True):
        np.testing.assert_array_equal(found, wanted)
    all_loss, gradients = inference.loss_and_all_gradients(model, X, y, weights)
    assert all_loss == loss
    np.testing.assert_array_equal(gradients.weights[0], dweights[0])


def test_an_answer_is_written_where_it_is_wanted(model, X):
    out = np.empty((60, 3), np.float32)
    assert inference.predict_proba(model, X, out) is out
    np.testing.assert_array_equal(out, inference.predict_proba(model, X))


def test_questions_that_a_loss_cannot_answer(X):
    model = fastmlp.Network([4, 2])
    with pytest.raises(errors.OptionError, match="predict_proba needs a loss"):
        inference.predict_proba(model, X)
    with pytest.raises(errors.OptionError, match="predict_std needs a loss of variances"):
        inference.predict_std(model, X)


def test_a_dataset_has_the_rows_and_the_classes_of_a_model(model, X):
    labels = np.array(["c", "a", "b"] * 20)
    new = fastmlp.Network([4, 8, 3], loss="cross_entropy")
    data, classes = dataset_for(new, X, labels, None, None)
    assert classes.tolist() == ["a", "b", "c"]
    assert new.classes_ is None
    assert len(data.X) == 60
    with pytest.raises(errors.LabelError, match="y of here"):
        dataset_for(model, X, labels, None, np.array(["x", "y", "z"]), " of here")


class OnGpu:
    """An array that says that it lies on a GPU."""

    shape = (60, 4)

    def __dlpack_device__(self):
        return 2, 0


def test_an_array_on_a_gpu_is_refused_by_a_model_on_the_cpu(model, X):
    assert in_place(model, X) is X
    with pytest.raises(errors.DeviceError, match=r"X must lie in the memory of the host.*X\.cpu"):
        in_place(model, OnGpu())
    with pytest.raises(errors.DeviceError, match="y of a must lie in the memory of the host"):
        dataset_for(model, X, OnGpu(), None, None, " of a")
    for ask in (inference.predict, inference.trace):
        with pytest.raises(errors.DeviceError, match="X must lie in the memory of the host"):
            ask(model, OnGpu())
