"""What is said of a setting once: signatures, documentation, defaults and checks follow."""

from __future__ import annotations

import inspect
from dataclasses import fields
from typing import Annotated, TypedDict

import pytest

import fastmlp
from fastmlp.checks import integer
from fastmlp.errors import OptionError
from fastmlp.optim.base import OPTIMIZER_SETTINGS
from fastmlp.setting import Setting, settings_in, takes, with_defaults
from fastmlp.spec.network import NETWORK_SETTINGS, NetworkSettings, NetworkSpec
from fastmlp.training.options import FIT_SETTINGS, FitOptions, FitSettings

DECLARED = [
    (fastmlp.Network, fastmlp.Network, NetworkSettings, NETWORK_SETTINGS),
    (fastmlp.Network.fit, fastmlp.Network.fit, FitSettings, FIT_SETTINGS),
]


def words(text):
    return " ".join(text.split())


@pytest.mark.parametrize(("function", "documented", "declared", "settings"), DECLARED)
def test_names_defaults_and_sentences_agree(function, documented, declared, settings):
    parameters = inspect.signature(function).parameters
    assert list(settings) == list(declared.__annotations__)
    assert [name for name in parameters if name in settings] == list(settings)
    text = words(documented.__doc__)
    for name, setting in settings.items():
        assert parameters[name].kind is inspect.Parameter.KEYWORD_ONLY
        assert parameters[name].default == setting.default
        assert words(f"{setting.type} {setting.text}") in text, name
    assert "**settings" not in documented.__doc__
    assert not [p for p in parameters.values() if p.kind is p.VAR_KEYWORD]
    assert max(map(len, documented.__doc__.splitlines())) <= 100


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
        assert setting.default == (None if name == "lr" else named[name].default)
    with pytest.raises(OptionError, match=r"^ema of Adam must be > 0 and < 1, got 2$"):
        fastmlp.optim.Adam(ema=2)
    with pytest.raises(OptionError, match=r"^layer_lr\[1\] of Adam must be >= 0, got -1$"):
        fastmlp.optim.Adam(layer_lr=[1, -1])


def test_a_default_is_what_it_would_be_if_it_were_given():
    given = {name: setting.default for name, setting in NETWORK_SETTINGS.items()}
    assert NetworkSpec.make(sizes=[4, 8, 3], **given) == fastmlp.Network([4, 8, 3]).spec
    spec = fastmlp.Network([4, 8, 3]).spec
    assert list(spec.to_dict()) == ["sizes", *NETWORK_SETTINGS]
    assert NetworkSpec.from_dict(spec.to_dict()) == spec
    options = {name: setting.default for name, setting in FIT_SETTINGS.items()}
    assert FitOptions.make(**options) == FitOptions.make()


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
        "(first: 'int', *, beside: 'int' = 0, rows: int = 3, columns: int = 3, "
        "name: str | None = None) -> 'int'"
    )
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
