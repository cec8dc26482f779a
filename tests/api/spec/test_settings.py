"""What networks, losses and optimizers are made of: names and ranges."""

import math
import pickle

import numpy as np
import pytest

import fastmlp
from fastmlp import errors, losses, optim
from fastmlp.spec import allowed
from fastmlp.spec.network import NetworkSpec

BAD_SPECS = [
    ({"sizes": [4]}, errors.OptionError, ["at least 2", "[4]"]),
    ({"sizes": [4, 0, 3]}, errors.OptionError, ["sizes[1] must be >= 1, got 0"]),
    ({"sizes": [4, -2, 3]}, errors.OptionError, ["sizes[1]", "-2"]),
    ({"sizes": [4, 2.5, 3]}, errors.OptionTypeError, ["sizes[1]", "2.5"]),
    ({"sizes": [4, True, 3]}, errors.OptionTypeError, ["sizes[1]", "True"]),
    ({"sizes": 4}, errors.OptionTypeError, ["list", "4"]),
    ({"sizes": "4,3"}, errors.OptionTypeError, ["list", "'4,3'"]),
    ({"sizes": [10**9, 10**9]}, errors.OptionError, ["1,000,000,001,000,000,000"]),
    ({"activation": "rellu"}, errors.OptionError, ["'rellu'", "'gelu'", "mean 'relu'"]),
    ({"activation": None}, errors.OptionTypeError, ["activation", "None"]),
    ({"activation": ["relu", "tanh"]}, errors.OptionError, ["1 hidden", "2 names"]),
    ({"activation": ["sine"]}, errors.OptionError, ["activation[0]", "'sine'"]),
    ({"loss": "cross_entopy"}, errors.OptionError, ["'cross_entopy'", "mean 'cross_entropy'"]),
    ({"loss": 3}, errors.OptionTypeError, ["fastmlp.losses", "3"]),
    ({"sizes": [4, 1], "loss": "cross_entropy"}, errors.OptionError, ["'binary_cross_entropy'"]),
    ({"loss": "soft_cross_entropy"}, errors.OptionError, ["mean 'cross_entropy'"]),
    ({"sizes": [4, 1], "loss": "focal"}, errors.OptionError, ["'focal'", "got 1"]),
    ({"sizes": [4, 4], "loss": "quantiles"}, errors.OptionError, ["3 outputs", "got 4"]),
    ({"sizes": [4, 3], "loss": "gaussian_nll"}, errors.OptionError, ["2 outputs", "got 3"]),
    ({"dropout": 1.0}, errors.OptionError, ["dropout must be >= 0 and < 1, got 1"]),
    ({"dropout": -0.1}, errors.OptionError, ["dropout", "-0.1"]),
    ({"dropout": [0.1, 0.2]}, errors.OptionError, ["1 hidden", "2 rates"]),
    ({"dropout": [2]}, errors.OptionError, ["dropout[0]", "2"]),
    ({"dropout": "high"}, errors.OptionTypeError, ["dropout", "'high'"]),
    ({"sizes": [4, 3], "dropout": 0.5}, errors.OptionError, ["hidden", "0.5"]),
    ({"l1": -1}, errors.OptionError, ["l1 must be >= 0, got -1"]),
    ({"l2": math.nan}, errors.OptionError, ["l2 must be finite", "nan"]),
    ({"l2": math.inf}, errors.OptionError, ["l2 must be finite", "inf"]),
    ({"init": "he"}, errors.OptionError, ["'he'", "'he_normal'"]),
    ({"dtype": "float16"}, errors.OptionError, ["'float32', 'float64'", "'float16'"]),
    ({"dtype": np.int32}, errors.OptionError, ["'int32'"]),
    ({"seed": -1}, errors.OptionError, ["seed", "-1"]),
    ({"seed": 2**64}, errors.OptionError, ["seed", str(2**64)]),
    ({"seed": None}, errors.OptionTypeError, ["seed", "None"]),
    ({"device": "cuda:99"}, errors.DeviceError, ["'cuda:99' cannot be used", "; "]),
    ({"device": "cuda:-1"}, errors.DeviceError, ["'cuda:N'", "'cuda:-1'"]),
    ({"device": "tpu"}, errors.DeviceError, ["'auto', 'cpu', 'cuda'", "'tpu'"]),
    ({"device": 0}, errors.DeviceError, ["'auto', 'cpu', 'cuda'", "0"]),
    ({"n_threads": 0}, errors.OptionError, ["n_threads", "0"]),
    ({"n_threads": 1.5}, errors.OptionTypeError, ["n_threads", "1.5"]),
]


@pytest.mark.parametrize(("settings", "error", "fragments"), BAD_SPECS)
def test_bad_network_settings(settings, error, fragments):
    settings = {"sizes": [4, 8, 3], **settings}
    with pytest.raises(error) as caught:
        fastmlp.Network(**settings)
    message = str(caught.value)
    assert not [fragment for fragment in fragments if fragment not in message], message


def test_spec_takes_names_sequences_and_numpy_values():
    spec = NetworkSpec.make(
        sizes=np.array([4, 8, 6, 3]),
        activation=["relu", "tanh"],
        dropout=(0.0, 0.5),
        dtype=np.float64,
        seed=np.uint64(2**64 - 1),
        device="auto",
        n_threads=np.int8(2),
        l2=np.float32(0.5),
        loss=losses.huber(2),
    )
    assert spec.sizes == (4, 8, 6, 3)
    assert spec.activations == ("relu", "tanh")
    assert spec.dropout == (0.0, 0.5)
    assert (spec.dtype, spec.seed, spec.device, spec.n_threads) == ("float64", 2**64 - 1, "cpu", 2)
    assert all(type(size) is int for size in spec.sizes)
    assert type(spec.l2) is float
    assert spec.n_parameters == 4 * 8 + 8 + 8 * 6 + 6 + 6 * 3 + 3
    assert NetworkSpec.from_dict(spec.to_dict()) == spec


def test_one_name_and_rate_serve_all_hidden_layers():
    spec = NetworkSpec.make(sizes=[4, 8, 6, 3], activation="gelu", dropout=0.25)
    assert spec.activations == ("gelu", "gelu")
    assert spec.dropout == (0.25, 0.25)
    assert NetworkSpec.make(sizes=[4, 3]).activations == ()


@pytest.mark.parametrize(
    ("make", "fragments"),
    [
        (lambda: losses.huber(0), ["delta", "> 0", "got 0"]),
        (lambda: losses.quantile(1), ["q of", "< 1", "got 1"]),
        (lambda: losses.quantile(0.0), ["q of", "> 0", "got 0"]),
        (lambda: losses.Loss("poisson", (1.0,)), ["'poisson'", "0 parameters", "(1.0,)"]),
        (lambda: losses.Loss("huber", (1.0, 2.0)), ["'huber'", "1 parameters", "(1.0, 2.0)"]),
        (lambda: losses.quantiles([0.0, 0.5]), ["q of the quantiles loss", "> 0", "got 0"]),
        (lambda: losses.quantiles([0.5, 1.0]), ["q of the quantiles loss", "< 1", "got 1"]),
        (lambda: losses.quantiles([0.5, 0.1]), ["must rise", "[0.5, 0.1]"]),
        (lambda: losses.quantiles([0.1, 0.1]), ["must rise", "[0.1, 0.1]"]),
        (lambda: losses.cross_entropy(1.0), ["label_smoothing", "< 1", "got 1"]),
        (lambda: losses.cross_entropy(-0.1), ["label_smoothing", ">= 0", "got -0.1"]),
        (lambda: losses.focal(-1), ["focusing", ">= 0", "got -1"]),
        (lambda: optim.Adam(lr=0), ["lr of Adam must be > 0, got 0"]),
        (lambda: optim.Adam(lr=math.inf), ["lr of Adam must be finite", "inf"]),
        (lambda: optim.Adam(beta1=1), ["beta1", "< 1", "got 1"]),
        (lambda: optim.Adam(beta2=-0.1), ["beta2", "-0.1"]),
        (lambda: optim.Adam(eps=0), ["eps", "1e-37", "got 0"]),
        (lambda: optim.AdamW(weight_decay=-1), ["weight_decay of AdamW", "-1"]),
        (lambda: optim.AdamW(beta1=2), ["beta1 of AdamW", "2"]),
        (lambda: optim.SGD(momentum=1.0), ["momentum of SGD", "got 1"]),
        (lambda: optim.RMSprop(alpha=1), ["alpha of RMSprop", "< 1", "got 1"]),
        (lambda: optim.RMSprop(momentum=-1), ["momentum of RMSprop", ">= 0", "got -1"]),
        (lambda: optim.RAdam(beta2=0.6), ["beta2 of RAdam", "> 0.6", "got 0.6"]),
        (lambda: optim.Adagrad(eps=0), ["eps of Adagrad", "1e-37", "got 0"]),
        (lambda: optim.Lion(beta1=1), ["beta1 of Lion", "< 1", "got 1"]),
        (lambda: optim.Muon(lr=0), ["lr of Muon must be > 0, got 0"]),
        (lambda: optim.Muon(adam_lr=0), ["adam_lr of Muon must be > 0, got 0"]),
        (lambda: optim.Muon(momentum=1), ["momentum of Muon", "< 1", "got 1"]),
        (lambda: optim.Muon(beta2=1), ["beta2 of Muon", "< 1", "got 1"]),
        (lambda: optim.Muon(eps=0), ["eps of Muon", "1e-37", "got 0"]),
        (lambda: optim.Muon(adam_eps=0), ["adam_eps of Muon", "1e-37", "got 0"]),
        (lambda: optim.Muon(ns_steps=0), ["ns_steps of Muon must be between 1 and 99, got 0"]),
        (lambda: optim.Muon(ns_steps=100), ["ns_steps of Muon", "got 100"]),
        (lambda: optim.Muon(adjust_lr="none"), ["adjust_lr of Muon", "'original'", "'none'"]),
        (lambda: optim.SGD(clip_norm=0), ["clip_norm of SGD must be > 0, got 0"]),
        (lambda: optim.SGD(clip_norm=-2), ["clip_norm of SGD must be > 0, got -2"]),
        (lambda: optim.SGD(clip_norm=math.nan), ["clip_norm of SGD", "finite", "nan"]),
        (lambda: optim.SGD(clip_value=0), ["clip_value of SGD must be > 0, got 0"]),
        (lambda: optim.SGD(max_norm=0), ["max_norm of SGD must be > 0, got 0"]),
        (lambda: optim.Lion(ema=0), ["ema of Lion must be > 0 and < 1, got 0"]),
        (lambda: optim.Lion(ema=1), ["ema of Lion must be > 0 and < 1, got 1"]),
        (lambda: optim.SGD(weight_decay=-1), ["weight_decay of SGD must be >= 0, got -1"]),
        (lambda: optim.SGD(layer_lr=[1, -1]), ["layer_lr[1] of SGD must be >= 0, got -1"]),
        (lambda: optim.SGD(nesterov=True), ["momentum", "nesterov=True", "0.9"]),
    ],
)
def test_bad_numbers(make, fragments):
    with pytest.raises(errors.OptionError) as caught:
        make()
    message = str(caught.value)
    assert not [fragment for fragment in fragments if fragment not in message], message


def test_numbers_of_the_wrong_type():
    with pytest.raises(errors.OptionTypeError, match=r"lr of SGD must be a number > 0, got '0.1'"):
        optim.SGD(lr="0.1")
    with pytest.raises(errors.OptionTypeError, match="nesterov of SGD must be True or False"):
        optim.SGD(momentum=0.9, nesterov=1)
    with pytest.raises(errors.OptionTypeError, match=r"ns_steps of Muon must be an integer .* 2.5"):
        optim.Muon(ns_steps=2.5)
    with pytest.raises(errors.OptionTypeError, match=r"adjust_lr of Muon must be one of .* None"):
        optim.Muon(adjust_lr=None)
    with pytest.raises(errors.OptionTypeError, match=r"layer_lr of SGD .* each layer, got 1.0"):
        optim.SGD(layer_lr=1.0)
    with pytest.raises(errors.OptionTypeError, match=r"layer_lr\[0\] of SGD .* got 'a'"):
        optim.SGD(layer_lr=["a", 1.0])
    with pytest.raises(errors.OptionTypeError, match=r"decay_biases of SGD .* got 1"):
        optim.SGD(decay_biases=1)
    with pytest.raises(errors.OptionTypeError, match=r"ema of SGD .* got 'long'"):
        optim.SGD(ema="long")
    with pytest.raises(errors.OptionTypeError, match=r"q of the quantiles loss .* got 0\.5"):
        losses.quantiles(0.5)
    with pytest.raises(errors.OptionTypeError, match=r"1\.0"):
        losses.Loss("huber", 1.0)


def test_loss_by_name_has_a_usual_parameter():
    assert losses.as_loss("huber") == losses.huber(1.0)
    assert losses.as_loss("quantile") == losses.quantile(0.5)
    assert losses.as_loss("quantiles") == losses.quantiles([0.1, 0.5, 0.9])
    assert losses.as_loss("quantiles") == losses.quantiles(np.array([0.1, 0.5, 0.9]))
    assert losses.as_loss("cross_entropy") == losses.cross_entropy(0.0)
    assert losses.as_loss("focal") == losses.focal(2.0)
    assert losses.as_loss("poisson").parameters == ()
    assert str(losses.quantile(0.9)) == "quantile(0.9)"
    assert str(losses.as_loss("poisson")) == "poisson"


@pytest.mark.parametrize(
    ("optimizer", "rule", "hyper"),
    [
        (optim.SGD(), "sgd", ()),
        (optim.SGD(momentum=0.9), "momentum", (0.9,)),
        (optim.SGD(momentum=0.8, nesterov=True), "nesterov", (0.8,)),
        (optim.Adam(), "adam", (0.9, 0.999, 1e-8)),
        (optim.AdamW(weight_decay=0.1), "adam", (0.9, 0.999, 1e-8)),
        (optim.AMSGrad(clip_norm=1), "amsgrad", (0.9, 0.999, 1e-8)),
        (optim.NAdam(ema=0.9), "nadam", (0.9, 0.999, 1e-8)),
        (optim.RAdam(layer_lr=[1, 0.5]), "radam", (0.9, 0.999, 1e-8)),
        (optim.RMSprop(max_norm=2), "rmsprop", (0.99, 0.0, 1e-8)),
        (optim.Adagrad(decay_biases=True), "adagrad", (0.0, 0.0, 1e-10)),
        (optim.Lion(weight_decay=1), "lion", (0.9, 0.99)),
        (
            optim.Muon(lr=0.5, adam_lr=0.25, ns_steps=4),
            "muon",
            (0.9, 0.999, 1e-8, 0.95, 0.95, 4.0, 1e-7, 0.0, 0.5),
        ),
        (
            optim.Muon(nesterov=False, adjust_lr="match_rms_adamw"),
            "muon",
            (0.9, 0.999, 1e-8, 0.95, 1.0, 5.0, 1e-7, 1.0, 1.0),
        ),
    ],
)
def test_rule_and_numbers_for_the_engine(optimizer, rule, hyper):
    assert (optimizer.rule, optimizer.hyper) == (rule, hyper)
    assert optim.optimizer_from_dict(optimizer.to_dict()) == optimizer
    assert pickle.loads(pickle.dumps(optimizer)) == optimizer


def test_optimizer_names_stand_for_their_defaults():
    assert optim.as_optimizer("adam") == optim.Adam()
    assert optim.as_optimizer("adamw") == optim.AdamW() != optim.Adam()
    assert optim.as_optimizer("lion") == optim.Lion()
    assert optim.as_optimizer("sgd") == optim.SGD()


def test_optimizer_from_other_fields_is_refused():
    with pytest.raises(errors.OptionError, match=r"SGD must have .*, got \['lr', 'rho'\]"):
        optim.optimizer_from_dict({"name": "SGD", "lr": 0.1, "rho": 1})


def test_settings_cannot_be_changed_afterwards():
    with pytest.raises(AttributeError):
        optim.Adam().lr = 5
    with pytest.raises(AttributeError):
        fastmlp.Network([4, 3]).sizes = [4, 2]


def test_a_device_is_chosen_for_all_the_weights(monkeypatch):
    asked = []

    def checked(device, n_weights, dtype):
        asked.append((device, n_weights, dtype))
        return "cpu"

    monkeypatch.setattr(allowed.devices, "checked", checked)
    NetworkSpec.make(sizes=[4, 8, 3], device="auto", dtype="float64")
    assert asked == [("auto", (4 + 1) * 8 + (8 + 1) * 3, "float64")]


def test_the_most_parameters():
    assert NetworkSpec.make(sizes=[2**20 - 1, 2**20]).n_parameters == 2**40
    for sizes in ([2**20, 2**20], [2**20 - 1, 2**20, 1]):
        with pytest.raises(errors.OptionError, match="at most 1,099,511,627,776 weights and bias"):
            NetworkSpec.make(sizes=sizes)
