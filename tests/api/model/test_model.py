"""A model by itself, without the methods of a network: what it is, keeps and writes."""

from __future__ import annotations

import copy
import pickle

import numpy as np
import pytest

import fastmlp
from fastmlp import errors
from fastmlp.model.content import carry, classes_in, content_of, counters_in
from fastmlp.model.model import Model
from fastmlp.optim import LBFGS, Adam
from fastmlp.spec.network import NetworkSpec


def a_model(**settings):
    return Model(NetworkSpec.make(sizes=[4, 8, 3], **{"loss": "cross_entropy", **settings}))


def same(a, b):
    named, others = a.engine.parameters().named(), b.engine.parameters().named()
    return named.keys() == others.keys() and all(
        np.array_equal(named[name], others[name]) for name in named
    )


def test_a_new_model_is_that_of_a_new_network():
    model, network = a_model(seed=3), fastmlp.Network([4, 8, 3], loss="cross_entropy", seed=3)
    assert isinstance(network, Model)
    assert same(model, network)
    assert (model.spec, model.task, model.summary()) == (
        network.spec, network.task, network.summary(),
    )  # fmt: skip
    assert repr(model) == repr(network).replace("Network(", "Model(")
    assert (model.classes_, model.history_, model.optimizer, model.extra) == (None, None, None, {})
    assert not hasattr(model, "fit")
    assert not hasattr(model, "predict")


def test_a_model_reads_what_a_network_wrote_and_the_other_way_round(net, tmp_path):
    net.save(tmp_path / "net.safetensors", extra={"a": [1]})
    model = Model.load(tmp_path / "net.safetensors")
    assert type(model) is Model
    assert same(model, net)
    assert (model.n_epochs_, model.n_steps_, model.extra) == (
        net.n_epochs_,
        net.n_steps_,
        {"a": [1]},
    )
    assert model.optimizer == net.optimizer
    model.save(tmp_path / "model.safetensors")
    files = [(tmp_path / f"{name}.safetensors").read_bytes() for name in ("net", "model")]
    assert files[0] == files[1]
    again = fastmlp.Network.load(tmp_path / "model.safetensors")
    assert type(again) is fastmlp.Network
    assert again.classes_.tolist() == net.classes_.tolist()


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda model: pickle.loads(pickle.dumps(model))])
def test_a_copy_shares_nothing(copied):
    model = a_model(norm="batch")
    model.use_optimizer(Adam(lr=0.5, ema=0.9))
    model.counters.set(2, 30)
    model.extra["names"] = ["a"]
    other = copied(model)
    assert type(other) is Model
    assert same(model, other)
    assert (other.optimizer, other.counters) == (model.optimizer, model.counters)
    other.weights = [np.zeros((4, 8)), np.zeros((8, 3))]
    other.counters.set(3, 31)
    other.extra["names"].append("b")
    assert not same(model, other)
    assert (model.n_epochs_, model.n_steps_, model.extra) == (2, 30, {"names": ["a"]})


def test_an_optimizer_of_full_batches_keeps_no_state():
    model = a_model()
    model.use_optimizer(Adam())
    assert model.engine.get_optimizer_state().slots
    model.use_optimizer(LBFGS())
    assert not model.engine.get_optimizer_state().slots
    assert model.optimizer == LBFGS()


def test_a_model_is_held_by_one_training_at_a_time():
    model = a_model()
    with model.being_trained(), pytest.raises(errors.NetworkBusyError), model.being_trained():
        pass
    with model.being_trained():
        pass


def test_a_content_gives_another_engine_all_of_it():
    model, other = a_model(norm="layer"), a_model(norm="layer", seed=9)
    model.use_optimizer(Adam(lr=0.25, ema=0.5))
    labels = np.array(["a", "b", "c"])
    content = content_of(model.engine, model.counters, model.optimizer, labels, {"k": 1})
    assert len(content.slots) == 3  # Adam's two, and what the averages follow
    assert not same(model, other)
    assert carry(content, other.engine) == model.optimizer
    assert same(model, other)
    assert counters_in(content) == model.counters
    assert classes_in(content, 3) is labels
    with pytest.raises(ValueError, match="for 2"):
        classes_in(content, 2)
    content.slots.pop()
    with pytest.raises(ValueError, match="2 state arrays of adam"):
        carry(content, other.engine)


def test_a_snapshot_of_another_kind_of_model_is_refused():
    model = a_model()
    kept = model.snapshot()
    model.weights = [np.ones((4, 8)), np.ones((8, 3))]
    model.restore(kept)
    assert same(model, a_model())
    with pytest.raises(errors.ShapeError, match=r"like this one, Model\(\[4, 8, 3\]"):
        model.restore(a_model(dtype="float64").snapshot())
