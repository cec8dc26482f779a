"""What is said of a setting once: signatures, documentation, defaults and checks follow."""

from __future__ import annotations

import inspect
from dataclasses import fields
from types import NoneType
from typing import Annotated, TypedDict, get_type_hints

import pytest

import fastmlp
from fastmlp.checks import integer
from fastmlp.errors import OptionError
from fastmlp.optim.base import OPTIMIZER_SETTINGS
from fastmlp.setting import Setting, settings_in, takes, with_defaults
from fastmlp.spec.network import NETWORK_SETTINGS, NetworkSpec
from fastmlp.training.options import FIT_SETTINGS, FitOptions

# What a user sees. `takes` makes all of it from the settings: here it is written down once more,
# so that a default or a name is not changed by mistake.
NETWORK_SIGNATURE = {
    "activation": "relu", "loss": "squared_error", "dropout": 0.0, "input_dropout": 0.0,
    "norm": "none", "residual": False, "embeddings": None, "l1": 0.0, "l2": 0.0, "init": "auto",
    "dtype": "float32", "seed": 0, "device": "cpu", "n_threads": None,
}  # fmt: skip
FIT_SIGNATURE = {
    "eval_set": None, "metrics": None, "sample_weight": None, "class_weight": None,
    "optimizer": None, "epochs": 10, "batch_size": None, "schedule": None, "callbacks": (),
    "checkpoint": None, "resume": False, "force": False, "shuffle": "auto", "max_time_s": None,
    "on_divergence": "stop", "verbose": "auto",
}  # fmt: skip
OPTIMIZER_SIGNATURE = {
    "weight_decay": 0.0, "decay_biases": False, "clip_norm": None, "clip_value": None,
    "max_norm": None, "ema": None, "layer_lr": (),
}  # fmt: skip
DECLARED = [
    (fastmlp.Network, ["sizes"], NETWORK_SIGNATURE, NETWORK_SETTINGS),
    (fastmlp.Network.fit, ["self", "X", "y"], FIT_SIGNATURE, FIT_SETTINGS),
]
SENTENCES = [
    (
        fastmlp.Network,
        "l1, l2 : float Penalty ``l1 sum|W| + l2/2 sum W^2`` on the weights, added to the mean "
        "loss. init : str or list of array-like (in, out)",
    ),
    (fastmlp.Network, "input_dropout : float Share of the inputs left out in a training step."),
    (fastmlp.Network.fit, "epochs : int Passes over the data; iterations of LBFGS."),
    (
        fastmlp.Network.fit,
        "max_time_s : float or None Seconds after which to stop, in mid-epoch if need be.",
    ),
]


def words(text):
    return " ".join(text.split())


@pytest.mark.parametrize(("function", "places", "keywords", "settings"), DECLARED)
def test_the_signature_is_the_one_that_users_know(function, places, keywords, settings):
    parameters = inspect.signature(function).parameters
    assert [name for name, p in parameters.items() if p.kind is p.POSITIONAL_OR_KEYWORD] == places
    only = {name: p.default for name, p in parameters.items() if p.kind is p.KEYWORD_ONLY}
    assert list(only.items()) == list(keywords.items())
    assert len(parameters) == len(places) + len(keywords)
    assert list(settings) == list(keywords)[-len(settings) :]


@pytest.mark.parametrize(("function", "places", "keywords", "settings"), DECLARED)
def test_type_hints_are_those_of_the_signature(function, places, keywords, settings):
    shown = inspect.signature(function)
    hints = get_type_hints(function.__init__ if inspect.isclass(function) else function)
    assert list(hints) == [name for name in (*places, *keywords, "return") if name != "self"]
    for name, hint in hints.items():
        if name != "return":
            assert shown.parameters[name].annotation == hint, name
    assert not any(isinstance(p.annotation, str) for p in shown.parameters.values())
    assert not isinstance(shown.return_annotation, str)


def test_types_of_settings_are_those_that_are_declared():
    network, fit = get_type_hints(fastmlp.Network.__init__), get_type_hints(fastmlp.Network.fit)
    assert (network["seed"], network["n_threads"], network["return"]) == (int, int | None, NoneType)
    assert (fit["epochs"], fit["max_time_s"], fit["return"]) == (int, float | None, fastmlp.History)


@pytest.mark.parametrize(("function", "text"), SENTENCES)
def test_sentences_of_the_documentation(function, text):
    assert text in words(function.__doc__)


@pytest.mark.parametrize(("function", "places", "keywords", "settings"), DECLARED)
def test_the_documentation_says_every_setting(function, places, keywords, settings):
    text = words(function.__doc__)
    for setting in settings.values():
        assert words(f"{setting.type} {setting.text}") in text
    assert "**settings" not in function.__doc__
    assert max(map(len, function.__doc__.splitlines())) <= 100


@pytest.mark.parametrize(
    ("kept", "settings", "other"),
    [(NetworkSpec, NETWORK_SETTINGS, ["sizes"]), (FitOptions, FIT_SETTINGS, [])],
)
def test_what_is_kept_has_a_field_for_each_setting(kept, settings, other):
    names = [setting.kept_as or name for name, setting in settings.items()]
    assert [field.name for field in fields(kept)] == [*other, *names]


def test_an_optimizer_documents_and_checks_its_fields():
    text = words(fastmlp.optim.Optimizer.__doc__)
    named = {field.name: field for field in fields(fastmlp.optim.Optimizer)}
    assert list(OPTIMIZER_SETTINGS) == list(named)
    for name, setting in OPTIMIZER_SETTINGS.items():
        assert words(f"{name} : {setting.type} {setting.text}") in text
    by_name = {name: field.default for name, field in named.items() if field.kw_only}
    assert list(by_name.items()) == list(OPTIMIZER_SIGNATURE.items())
    assert set(named) - set(by_name) == {"lr"}
    with pytest.raises(OptionError, match=r"^ema of Adam must be > 0 and < 1, got 2$"):
        fastmlp.optim.Adam(ema=2)
    with pytest.raises(OptionError, match=r"^layer_lr\[1\] of Adam must be >= 0, got -1$"):
        fastmlp.optim.Adam(layer_lr=[1, -1])


def test_a_spec_is_written_with_the_names_of_its_settings():
    spec = fastmlp.Network([4, 8, 3]).spec
    assert list(spec.to_dict()) == ["sizes", *NETWORK_SIGNATURE]
    assert NetworkSpec.from_dict(spec.to_dict()) == spec


def test_what_is_kept_where_nothing_is_given():
    spec = NetworkSpec.make(sizes=[4, 8, 3])
    assert (spec.activations, str(spec.loss), spec.dropout) == (("relu",), "squared_error", (0.0,))
    assert (spec.norms, spec.residual, spec.embeddings) == (("none",), (False,), ())
    assert (spec.dtype, spec.seed, spec.device, spec.n_threads) == ("float32", 0, "cpu", None)
    options = FitOptions.make()
    assert options.optimizer == fastmlp.optim.Adam(lr=1e-3)
    assert (options.epochs, options.batch_size, options.callbacks) == (10, None, [])
    assert (options.shuffle, options.max_time_s, options.verbose) == ("auto", None, "auto")
    last = fastmlp.optim.SGD(0.5)
    assert FitOptions.make(last).optimizer is last
    assert FitOptions.make(last, optimizer="lion").optimizer == fastmlp.optim.Lion()
    with pytest.raises(TypeError, match="unexpected keyword argument 'last_one'"):
        FitOptions.make(last, last_one=last)


@pytest.mark.parametrize(
    ("call", "text"),
    [
        (
            lambda: fastmlp.Network([4, 3], dropuot=0.5),
            r"Network\(\) got an unexpected keyword argument 'dropuot'; did you mean 'dropout'\?",
        ),
        (
            lambda: fastmlp.Network([4, 3]).fit([[0] * 4], [[0] * 3], epoch=3),
            r"fit\(\) got an unexpected keyword argument 'epoch'; did you mean 'epochs'\?",
        ),
        (
            lambda: NetworkSpec.make(sizes=[4, 3], sized=1),
            r"unexpected keyword argument 'sized'",
        ),
    ],
)
def test_a_name_that_is_no_setting(call, text):
    with pytest.raises(TypeError, match=text):
        call()


class Settings(TypedDict, total=False):
    """Those of a function of this test."""

    rows: Annotated[
        int,
        Setting(3, lambda what, got, known: integer(what, got, 1), "int", "Rows of ``the table``."),
    ]
    columns: Annotated[
        int,
        Setting(3, lambda what, got, known: integer(what, got, 1), "int", "Rows of ``the table``."),
    ]
    name: Annotated[str | None, Setting(None, lambda what, got, known: got, "str", "x" * 90)]


@takes(Settings)
def function(first: int, *, beside: int = 0, **settings) -> int:
    """Do it.

    Parameters
    ----------
    first : int
        The first.
    **settings
        Those of `Settings`, by name;
        there are three.

    Returns
    -------
    int
    """
    return first


def test_a_function_of_settings_says_each_of_them():
    assert function(5) == 5
    assert str(inspect.signature(function)) == (
        "(first: int, *, beside: int = 0, rows: int = 3, columns: int = 3, "
        "name: str | None = None) -> int"
    )
    assert get_type_hints(function) == {
        "first": int, "beside": int, "rows": int, "columns": int, "name": str | None, "return": int,
    }  # fmt: skip
    assert inspect.getdoc(function) == "\n".join(
        [
            "Do it.", "", "Parameters", "----------", "first : int", "    The first.",
            "rows, columns : int", "    Rows of ``the table``.", "name : str", f"    {'x' * 90}",
            "", "Returns", "-------", "int",
        ]
    )  # fmt: skip


def test_settings_are_completed_and_checked():
    settings = settings_in(Settings)
    assert with_defaults("f", settings, {"columns": 7}) == {"rows": 3, "columns": 7, "name": None}
    assert settings["rows"].check("--rows", 4, {}) == 4
    with pytest.raises(OptionError, match=r"^--rows must be >= 1, got 0$"):
        settings["rows"].check("--rows", 0, {})
    with pytest.raises(TypeError, match="item assignment"):
        settings["rows"] = settings["name"]
