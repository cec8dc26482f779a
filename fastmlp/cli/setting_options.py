"""Options of ``fastmlp train`` that are settings: of a network, of a fit, of an optimizer."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import Any

import click

from fastmlp.checks import share
from fastmlp.cli.kinds import CallKind, EachKind, as_plain, as_text
from fastmlp.errors import OptionError
from fastmlp.setting import Option, Setting

_PLAIN = ("whole", "number")


def setting_options(
    settings: Mapping[str, Setting], usual: Mapping[str, str] = MappingProxyType({})
) -> Callable[[Any], Any]:
    """Add an option for each of the settings that has one, in their order.

    `usual`: what the help says for the default of settings that have none of their own.
    """

    def add(command: Any) -> Any:
        for name, setting in reversed(list(settings.items())):
            if setting.option is not None:
                option = setting.option
                if name in usual:
                    option = replace(option, help=f"{option.help}  [default: {usual[name]}]")
                command = _click_option(name, setting, option)(command)
        return command

    return add


def taken(settings: Mapping[str, Setting], options: dict[str, Any]) -> dict[str, Any]:
    """The settings as typed, by their names, which are taken out of `options`."""
    return {
        name: options.pop(setting.option.name or name)
        for name, setting in settings.items()
        if setting.option is not None
    }


def check_plain(settings: Mapping[str, Setting], typed: Mapping[str, Any]) -> None:
    """Raise OptionError for a number that a setting cannot be, before anything is read."""
    for name, setting in settings.items():
        option = setting.option
        if option is not None and option.kind in _PLAIN and typed[name] is not None:
            setting.check(_flag(name, option), typed[name], {})


def values(settings: Mapping[str, Setting], typed: Mapping[str, Any]) -> dict[str, Any]:
    """The settings as Python takes them; those that are None are left to their defaults."""
    found = {}
    for name, given in typed.items():
        option = settings[name].option
        assert option is not None
        if given is not None:
            found[name] = _value(_flag(name, option), option, given)
    return found


def _click_option(name: str, setting: Setting, option: Option) -> Callable[[Any], Any]:
    default = setting.default if option.default is ... else option.default
    kind = _click_type(option)
    if isinstance(kind, EachKind) and default is not None:
        default = f"{default:g}" if isinstance(default, float) else as_text(default)
    flag = _flag(name, option)
    return click.option(
        f"{flag}/--no-{flag.removeprefix('--')}" if option.kind == "switch" else flag,
        type=kind,
        metavar=option.metavar,
        default=default,
        show_default=default is not None and "[default:" not in option.help,
        help=option.help,
    )


def _flag(name: str, option: Option) -> str:
    return f"--{(option.name or name).replace('_', '-')}"


def _click_type(option: Option) -> click.ParamType:
    kinds: dict[str, click.ParamType] = {
        "whole": click.INT,
        "number": click.FLOAT,
        "text": click.STRING,
        "choice": click.Choice(option.choices),
        "call": CallKind(),
        "switch": click.BOOL,
    }
    return kinds.get(option.kind, EachKind())


def _value(flag: str, option: Option, given: Any) -> Any:
    if option.kind == "names":
        return _one_or_all([part.strip() for part in given.split(",")])
    if option.kind == "shares":
        what = "a rate such as 0.1, or one for each hidden layer"
        return _one_or_all([share(flag, rate) for rate in _numbers(flag, given, what, "0.1,0.2")])
    if option.kind == "factors":
        return _numbers(flag, given, "a factor for each layer", "1,1,0.1")
    if option.kind == "flags":
        flags = [as_plain(part.strip()) for part in given.split(",")]
        if not all(isinstance(value, bool) for value in flags):
            raise OptionError(
                f"{flag} must be true or false, or one for each hidden layer such as false,true, "
                f"got {given!r}"
            )
        return _one_or_all(flags)
    return given


def _one_or_all(parts: list[Any]) -> Any:
    """The one value for all hidden layers, or a list of one for each."""
    return parts[0] if len(parts) == 1 else parts


def _numbers(option: str, text: str, what: str, such_as: str) -> list[float]:
    """Numbers between commas; OptionError says `what` they must be."""
    try:
        return [float(part) for part in text.split(",")]
    except ValueError:
        raise OptionError(f"{option} must be {what} such as {such_as}, got {text!r}") from None
