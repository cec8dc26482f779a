"""Clipping, averages and the other options of optimizers in fits, files and copies."""

import copy
import dataclasses
import pickle

import numpy as np
import pytest

import fastmlp
from fastmlp import errors, optim
from fastmlp.callbacks import EarlyStopping

OPTIMIZERS = {
    "average": optim.Adam(lr=0.01, ema=0.9),
    "clipped": optim.SGD(lr=0.1, momentum=0.9, clip_norm=0.1),
    "three states": optim.AMSGrad(lr=0.01),
    "three states, all": optim.AMSGrad(
        lr=0.01, ema=0.8, clip_norm=0.5, clip_value=0.1, max_norm=1.0, weight_decay=0.1,
        decay_biases=True, layer_lr=(0.5, 2.0),
    ),
    "nadam": optim.NAdam(ema=0.9),
    "radam": optim.RAdam(clip_norm=0.2),
    "rmsprop": optim.RMSprop(lr=1e-3, momentum=0.5, max_norm=0.8),
    "adagrad": optim.Adagrad(weight_decay=0.2),
    "lion": optim.Lion(ema=0.99, weight_decay=1.0),
    "muon": optim.Muon(lr=0.02, nesterov=False, ns_steps=3, adam_lr=0.01),
    "muon, all": optim.Muon(
        ema=0.8, clip_norm=0.5, clip_value=0.1, max_norm=1.0, decay_biases=True,
        layer_lr=(0.5, 2.0), adjust_lr="match_rms_adamw",
    ),
}  # fmt: skip
_named = {type(optimizer) for optimizer in OPTIMIZERS.values()} | {optim.LBFGS}
OPTIMIZERS |= {name: kind() for name, kind in optim.BY_NAME.items() if kind not in _named}
each_optimizer = pytest.mark.parametrize("optimizer", OPTIMIZERS.values(), ids=OPTIMIZERS)


def make(**settings):
    return fastmlp.Network([4, 17, 3], loss="cross_entropy", dropout=0.2, **settings)


def through_a_file(net, folder):
    net.save(folder / "m.safetensors")
    return fastmlp.Network.load(folder / "m.safetensors")


COPIES = {
    "file": through_a_file,
    "pickle": lambda net, folder: pickle.loads(pickle.dumps(net)),
    "deepcopy": lambda net, folder: copy.deepcopy(net),
}


@each_optimizer
@pytest.mark.parametrize("way", COPIES)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_copy_goes_on_as_the_one_it_was_made_of(
    X, y, tmp_path, same_weights, optimizer, way, dtype
):
    net = make(dtype=dtype)
    net.fit(X, y, epochs=3, batch_size=16, optimizer=optimizer)
    other = COPIES[way](net, tmp_path)
    assert other.optimizer == net.optimizer == optimizer
    assert same_weights(net, other)
    np.testing.assert_array_equal(net.predict_proba(X), other.predict_proba(X))
    for each in (net, other):
        each.fit(X, y, epochs=2, batch_size=16)
    assert same_weights(net, other)
    trained, its = (each.engine.get_training_parameters().named() for each in (net, other))
    for name in trained:
        np.testing.assert_array_equal(trained[name], its[name])


@each_optimizer
def test_two_fits_are_one(X, y, same_weights, optimizer):
    whole, parts = make(), make()
    whole.fit(X, y, epochs=5, batch_size=16, optimizer=optimizer)
    parts.fit(X, y, epochs=2, batch_size=16, optimizer=optimizer)
    parts.fit(X, y, epochs=3, batch_size=16)
    assert same_weights(whole, parts)


def test_an_average_is_what_predicts_is_evaluated_and_seen(X, y):
    """One step from known weights: the mean of the weights before and after it."""
    averaged, plain, start = make(), make(), make()
    averaged.fit(X, y, epochs=1, batch_size=60, optimizer=optim.SGD(lr=0.5, ema=0.75))
    plain.fit(X, y, epochs=1, batch_size=60, optimizer=optim.SGD(lr=0.5))
    for mean, before, after in zip(averaged.weights, start.weights, plain.weights, strict=True):
        np.testing.assert_allclose(mean, 0.75 * before + 0.25 * after, atol=1e-6)
    same = make()
    same.set_parameters(averaged.weights, averaged.biases)
    np.testing.assert_array_equal(same.predict_proba(X), averaged.predict_proba(X))
    np.testing.assert_array_equal(same.trace(X)[1], averaged.trace(X)[1])
    assert same.evaluate(X, y) == averaged.evaluate(X, y)
    assert same.loss_and_gradients(X, y)[0] == averaged.loss_and_gradients(X, y)[0]


def test_weights_that_are_set_are_averaged_from_there(X, y, same_weights):
    net, optimizer = make(), optim.SGD(lr=0.5, ema=0.75)
    net.fit(X, y, epochs=2, batch_size=16, optimizer=optimizer)
    net.set_parameters([w * 0 for w in net.weights], [b * 0 for b in net.biases])
    assert all((w == 0).all() for w in [*net.weights, *net.biases])
    assert all((w == 0).all() for w in net.engine.get_training_parameters().named().values())


@pytest.mark.parametrize("ema", [None, 0.9])
def test_early_stopping_puts_back_what_was_best_by_its_own_evaluation(X, y, ema):
    net, seen = make(), {}

    def keep(run):
        seen[run.epoch] = (run.logs["val_loss"], run.network.get_parameters())

    history = net.fit(
        X, y, epochs=200, batch_size=16, optimizer=optim.Adam(lr=0.05, ema=ema),
        eval_set=[(X[::-1], y)], callbacks=[keep, EarlyStopping(patience=4)],
    )  # fmt: skip
    assert history.stopped_by == "early_stopping"
    best = min(seen, key=lambda epoch: seen[epoch][0])
    assert history.best_epoch == best
    for found, wanted in zip(net.get_parameters(), seen[best][1], strict=True):
        for a, b in zip(found, wanted, strict=True):
            np.testing.assert_array_equal(a, b)
    assert net.evaluate(X[::-1], y)["loss"] == pytest.approx(seen[best][0])
    assert len(net.fit(X, y, epochs=1)) == 1


def test_layer_rates_of_another_number_of_layers_change_nothing(net, X, y, state_of):
    before = state_of(net)
    with pytest.raises(errors.OptionError, match=r"layer_lr of SGD .* 2 layers, got 3"):
        net.fit(X, y, optimizer=optim.SGD(layer_lr=[1, 1, 1]))
    assert state_of(net) == before


def test_options_serve_networks_without_hidden_layers(X, y):
    for optimizer in OPTIMIZERS.values():
        net = fastmlp.Network([4, 3], loss="focal")
        if not optimizer.layer_lr:
            history = net.fit(X, y, epochs=3, optimizer=optimizer)
            assert np.isfinite(history.loss).all()


def test_no_option_is_on_unless_it_is_asked_for():
    off = optim.UpdateOptions(0.0, False, 0.0, 0.0, 0.0, 0.0, ())
    assert off == optim.UpdateOptions()
    for name, kind in optim.BY_NAME.items():
        if kind is not optim.LBFGS:
            decay = kind().weight_decay  # of AdamW and Muon it is a part
            assert kind().options == dataclasses.replace(off, weight_decay=decay), name
            assert bool(decay) == (kind in (optim.AdamW, optim.Muon)), name


@pytest.mark.parametrize(
    ("option", "taken", "refused"),
    [
        ("weight_decay", [0.0, 0.1, 3.0], [-0.1, float("inf")]),
        ("decay_biases", [True, False], []),
        ("clip_norm", [None, 0.1, 5.0], [0.0, -1.0]),
        ("clip_value", [None, 0.1, 5.0], [0.0, -1.0]),
        ("max_norm", [None, 0.1, 5.0], [0.0, -1.0]),
        ("ema", [None, 0.001, 0.999], [0.0, 1.0, 1.5]),
        ("layer_lr", [(), (0.0, 2.0)], [(-0.1, 1.0)]),
    ],
)
def test_the_ends_of_every_option(option, taken, refused):
    for value in taken:
        kept = getattr(optim.SGD(**{option: value}).options, option)
        assert kept == (0.0 if value is None else value)
    for value in refused:
        with pytest.raises(errors.OptionError, match=rf"^{option}(\[0\])? of SGD must be"):
            optim.SGD(**{option: value})


@pytest.mark.parametrize(
    ("kind", "name"),
    [(optim.SGD, "momentum"), (optim.Adam, "beta1"), (optim.Adam, "beta2")],
)
def test_the_ends_of_a_rate(kind, name):
    for value in (0.0, 0.999):
        assert getattr(kind(**{name: value}), name) == value
    for value in (-0.001, 1.0, 1.5):
        with pytest.raises(errors.OptionError, match=f"^{name} of {kind.__name__} must be >= 0"):
            kind(**{name: value})


@pytest.mark.parametrize("kind", [kind for kind in optim.BY_NAME.values() if kind != optim.LBFGS])
def test_the_ends_of_the_learning_rate(kind):
    assert kind(lr=1e-30).lr == 1e-30
    for value in (0.0, -1.0, float("inf"), float("nan")):
        with pytest.raises(errors.OptionError, match=f"^lr of {kind.__name__} must be"):
            kind(lr=value)
    with pytest.raises(errors.OptionTypeError, match=f"^lr of {kind.__name__} must be"):
        kind(lr=None)


def test_an_optimizer_of_ones_own_names_its_rule():
    class Own(optim.Optimizer):
        pass

    with pytest.raises(NotImplementedError):
        Own(lr=0.1).rule  # noqa: B018
