"""A fit of a model by itself: what is checked, what changes when, and what callbacks see."""

from __future__ import annotations

import re

import numpy as np
import pytest

import fastmlp
from fastmlp import errors
from fastmlp.model.fit import Fit, FitData
from fastmlp.model.model import Model
from fastmlp.spec.network import NetworkSpec


@pytest.fixture
def model():
    return Model(NetworkSpec.make(sizes=[4, 8, 3], loss="cross_entropy"))


def run(fit):
    with fit.model.being_trained():
        return fit.begin().run()


def test_a_model_trains_as_a_network_does(model, X, y):
    network = fastmlp.Network([4, 8, 3], loss="cross_entropy")
    settings = {"epochs": 3, "batch_size": 16, "verbose": False}
    seen = []
    history = run(
        Fit.make(model, X, y, callbacks=[lambda run: seen.append(run.network)], **settings)
    )
    assert history.loss == network.fit(X, y, **settings).loss
    for found, wanted in zip(model.weights, network.weights, strict=True):
        np.testing.assert_array_equal(found, wanted)
    assert seen == [model] * 3
    assert model.history_ is history
    assert model.classes_.tolist() == [0, 1, 2]
    assert (model.n_epochs_, model.n_steps_) == (3, 12)
    assert run(Fit.make(model, X, y, epochs=1)).epochs == [4]


@pytest.mark.parametrize("optimizer", [fastmlp.optim.SGD(), "lbfgs"])
def test_a_warning_names_the_line_that_ran_the_trainer(optimizer):
    """Also where SciPy stands between; the metric has no value below -1."""
    X = np.linspace(-1, 1, 80)[:, None]
    y = np.where(X[:, 0] > 0, 5.0, 0.0)
    model = Model(NetworkSpec.make(sizes=[1, 1]))
    model.set_parameters([[[0.0]]], [[0.0]])
    metrics = {"eval_set": [(X - 3, y)], "metrics": ["mean_squared_log_error"]}
    fit = Fit.make(model, X, y, optimizer=optimizer, epochs=99, **metrics)
    trainer = fit.begin()
    with pytest.warns(errors.MetricWarning) as caught:
        trainer.run()
    assert [warning.filename for warning in caught] == [__file__]


def test_making_a_fit_changes_nothing(model, X, y):
    before = model.weights
    fit = Fit.make(model, X, y, optimizer="sgd", eval_set=[(X, y)], metrics=["log_loss"])
    assert fit.options.optimizer == fastmlp.optim.SGD()
    assert fit.data.eval_sets.keys() == {"val"}
    assert (model.classes_, model.history_, model.optimizer) == (None, None, None)
    trainer = fit.begin()
    assert model.classes_.tolist() == [0, 1, 2]
    assert model.history_ is trainer.history
    assert model.optimizer == fit.options.optimizer
    assert model.n_steps_ == 0
    for found, wanted in zip(model.weights, before, strict=True):
        np.testing.assert_array_equal(found, wanted)


class Short(fastmlp.optim.Adam):
    """Has too few numbers."""

    @property
    def hyper(self):
        return (self.beta1, self.beta2)


class Long(fastmlp.optim.SGD):
    """Has too many numbers."""

    @property
    def hyper(self):
        return (0.9,)


class Unknown(fastmlp.optim.Adam):
    """Has a rule that there is not."""

    @property
    def rule(self):
        return "adan"


@pytest.mark.parametrize(
    ("optimizer", "text"),
    [
        (
            Short(),
            "hyper of Short must have 3 numbers for the rule 'adam' (beta1, beta2, eps), "
            "got (0.9, 0.999)",
        ),
        (Long(), "hyper of Long must have 0 numbers for the rule 'sgd', got (0.9,)"),
        (Unknown(), "rule of Unknown must be one of"),
    ],
)
def test_an_optimizer_without_the_numbers_of_its_rule_changes_nothing(model, X, y, optimizer, text):
    with pytest.raises(errors.OptionError, match=re.escape(text)):
        Fit.make(model, X, y, optimizer=optimizer)
    with pytest.raises(errors.OptionError, match=re.escape(text)):
        model.use_optimizer(optimizer)
    assert (model.classes_, model.history_, model.optimizer) == (None, None, None)
    estimator = fastmlp.MLPClassifier([5], solver=optimizer)
    with pytest.raises(errors.OptionError, match=re.escape(text)):
        estimator.fit(X, y)
    assert not hasattr(estimator, "classes_")


def test_a_refusal_of_begin_changes_nothing(model, X, y):
    def refuse(run):
        raise ValueError("no")

    callback = fastmlp.callbacks.Callback()
    callback.on_fit_begin = refuse
    fit = Fit.make(model, X, y, callbacks=[callback])
    with pytest.raises(ValueError, match="no"):
        fit.begin()
    assert (model.classes_, model.history_, model.optimizer) == (None, None, None)


@pytest.mark.parametrize(
    ("settings", "text"),
    [
        ({"epochs": 0}, "epochs must be >= 1, got 0"),
        ({"verbose": "no"}, "verbose must be True, False or 'auto', got 'no'"),
        ({"metrics": ["log_loss"]}, r"got \['log_loss'\] and no eval_set"),
        ({"optimizer": "sdg"}, "did you mean 'sgd'"),
    ],
)
def test_settings_are_refused(model, X, y, settings, text):
    with pytest.raises(errors.OptionError, match=text):
        Fit.make(model, X, y, **settings)


def test_the_optimizer_of_before_goes_on(model, X, y):
    assert Fit.make(model, X, y).options.optimizer == fastmlp.optim.Adam()
    model.use_optimizer(fastmlp.optim.SGD(lr=0.5))
    assert Fit.make(model, X, y).options.optimizer == fastmlp.optim.SGD(lr=0.5)


def test_weights_of_classes_reach_the_eval_sets(model, X, y):
    labels = np.repeat(["a", "b", "c"], [40, 10, 10])
    data = FitData.make(
        model,
        X,
        labels,
        eval_set={"test": (X, labels)},
        class_weight={"a": 1.0, "b": 2.0, "c": 3.0},
    )
    assert data.classes.tolist() == ["a", "b", "c"]
    wanted = np.repeat([1.0, 2.0, 3.0], [40, 10, 10])
    np.testing.assert_array_equal(data.train.weights, wanted)
    np.testing.assert_array_equal(data.eval_sets["test"].weights, wanted)


class Counting(fastmlp.Network):
    """A user's network with methods of its own in the place of some."""

    def __init__(self, *args, **settings):
        self.calls = []
        super().__init__(*args, **settings)

    def being_trained(self):
        self.calls.append("being_trained")
        return super().being_trained()

    def use_optimizer(self, optimizer):
        self.calls.append("use_optimizer")
        super().use_optimizer(optimizer)

    def set_parameters(self, weights, biases):
        self.calls.append("set_parameters")
        super().set_parameters(weights, biases)

    def predict(self, X, *, out=None):
        return super().predict(X, out=out) + 100


def test_methods_that_a_user_overrides_are_called(X, y, tmp_path):
    network = Counting([4, 1], init=[np.ones((4, 1))])
    assert network.calls == ["set_parameters"]
    seen = []
    network.fit(X, X[:, 0], epochs=1, callbacks=[lambda run: seen.append(run.network.predict(X))])
    assert network.calls == ["set_parameters", "being_trained", "use_optimizer"]
    np.testing.assert_array_equal(seen[0], network.predict(X))
    assert seen[0].min() > 50
    network.save(tmp_path / "m.safetensors")
    loaded = Counting.load(tmp_path / "m.safetensors")
    assert type(loaded) is Counting
    np.testing.assert_array_equal(loaded.predict(X), network.predict(X))
    assert not hasattr(loaded, "calls")  # a file has no attributes of a user's class
