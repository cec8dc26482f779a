"""A setting in one place: its check, its default, its sentence, and its option of the command line.

Those of a function are declared in a TypedDict, which type checkers read as the names and types
that it takes, each with a `Setting` in its annotation; those of a dataclass in its fields. From
there come the signature and the documentation, what is checked, and the options of
``fastmlp train``.
"""

from __future__ import annotations

import inspect
import re
import textwrap
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from types import MappingProxyType
from typing import Any, Literal, TypeVar, get_type_hints

from fastmlp.checks import suggestion

T = TypeVar("T", bound=Callable[..., Any])
# What it is called in a message, what a user gave, and the settings that are checked already.
Check = Callable[[str, Any, Mapping[str, Any]], Any]

# How a command line writes a value: `names`, `shares` and `flags` are one for all hidden layers,
# or one for each with commas; `factors` are one for each layer; `call` is a name with numbers;
# `switch` is one option for yes and one, with no- before its name, for no.
Kind = Literal[
    "whole", "number", "text", "choice", "names", "shares", "flags", "factors", "call", "switch"
]

# At run time, ``**settings`` in a docstring is replaced by an entry for each setting.
_PLACE = "**settings\n"
_WIDTH = 100
_QUOTED = re.compile("``.*?``")


@dataclass(frozen=True)
class Option:
    """The option of ``fastmlp train`` for a setting.

    Attributes
    ----------
    kind : str
        How its value is written; see `Kind`.
    help : str
        What ``--help`` says. "[default: ...]" in it says the default in its own words.
    metavar : str or None
        What stands for a value there; None for that of the kind.
    name : str
        With underscores; "" for the name of the setting.
    choices : tuple of str
        Of a "choice".
    default : object
        Where it is not the setting's; None where it depends on the data.
    """

    kind: Kind
    help: str
    metavar: str | None = None
    name: str = ""
    choices: tuple[str, ...] = ()
    default: Any = ...


@dataclass(frozen=True)
class Setting:
    """One setting of a network, of a fit or of an optimizer.

    Attributes
    ----------
    default : object
        Where a user gives none; None where it is another one in each class.
    check : callable
        ``check(what, given, known)``: the value to keep, or an OptionError, OptionTypeError or
        DeviceError that begins with `what`; `known` has what was checked before it.
    type : str
        As documentation writes it.
    text : str
        What it does. Neighbours of the same type and text are documented together.
    kept_as : str
        The name of what is kept, where `check` makes several values of one.
    option : Option or None
        None where the command line has none, or one of its own making.
    """

    default: Any
    check: Check
    type: str
    text: str
    kept_as: str = ""
    option: Option | None = None


def alone(check: Callable[..., Any], *limits: Any, or_none: bool = False, **more: Any) -> Check:
    """The check ``check(what, given, *limits, **more)``, which asks for no other setting.

    With `or_none`, None is kept as it is.

    >>> from fastmlp.checks import integer
    >>> alone(integer, 1, or_none=True)("rows", 3, {})
    3
    """

    def checked(what: str, given: Any, known: Mapping[str, Any]) -> Any:
        return None if or_none and given is None else check(what, given, *limits, **more)

    return checked


def made_by(make: Callable[[Any], Any]) -> Check:
    """The check ``make(given)``, whose messages know the setting's name."""
    return lambda what, given, known: make(given)


def settings_in(declared: type) -> Mapping[str, Setting]:
    """The settings of a TypedDict by name, in its order."""
    hints = get_type_hints(declared, include_extras=True)
    return MappingProxyType({name: hint.__metadata__[0] for name, hint in hints.items()})


def settings_of(kind: type) -> Mapping[str, Setting]:
    """The settings in the metadata of a dataclass's fields, by name."""
    found = {field.name: field.metadata.get("setting") for field in fields(kind)}
    return MappingProxyType({name: s for name, s in found.items() if s is not None})


def with_defaults(
    function: str, settings: Mapping[str, Setting], given: Mapping[str, Any]
) -> dict[str, Any]:
    """All settings, those given in place of their defaults; TypeError for an unknown name.

    >>> with_defaults("f", {"rate": Setting(0.5, lambda what, got, known: got, "float", "")}, {})
    {'rate': 0.5}
    """
    for name in given:
        if name not in settings:
            raise TypeError(
                f"{function}() got an unexpected keyword argument {name!r}"
                f"{suggestion(name, settings)}"
            )
    return {name: setting.default for name, setting in settings.items()} | dict(given)


def takes(declared: type) -> Callable[[T], T]:
    """Give a function of ``**settings`` their names, types, defaults and sentences at run time.

    For a class, those of its constructor.
    """

    def described(what: T) -> T:
        function: Any = what.__init__ if inspect.isclass(what) else what
        # Annotations of the source are strings: evaluated, as the settings' types are.
        signature = inspect.signature(function, eval_str=True)
        named = [p for p in signature.parameters.values() if p.kind is not p.VAR_KEYWORD]
        types = get_type_hints(declared)
        settings = settings_in(declared)
        for name, setting in settings.items():
            named.append(
                inspect.Parameter(
                    name,
                    inspect.Parameter.KEYWORD_ONLY,
                    default=setting.default,
                    annotation=types[name],
                )
            )
        function.__signature__ = signature.replace(parameters=named)
        hints = {parameter.name: parameter.annotation for parameter in named}
        hints["return"] = signature.return_annotation
        function.__annotations__ = {
            name: hint for name, hint in hints.items() if hint is not signature.empty
        }
        if what.__doc__ is not None:  # python -OO leaves none
            what.__doc__ = documented(what.__doc__, settings)
        return what

    return described


def documented(text: str, settings: Mapping[str, Setting]) -> str:
    """The docstring `text` with each setting where it says ``**settings``."""
    before, place, after = text.partition(_PLACE)
    if not place:
        return text
    indent = before.rpartition("\n")[2]
    # The lines below, deeper than the place, are for readers of the source.
    rest = after.splitlines(keepends=True)
    while rest and rest[0].startswith(f"{indent} "):
        del rest[0]
    return before.removesuffix(indent) + _section(settings, indent) + "".join(rest)


def _section(settings: Mapping[str, Setting], indent: str) -> str:
    entries: list[tuple[str, Setting]] = []
    for name, setting in settings.items():
        if entries and (entries[-1][1].type, entries[-1][1].text) == (setting.type, setting.text):
            entries[-1] = (f"{entries[-1][0]}, {name}", setting)
        else:
            entries.append((name, setting))
    deeper = f"{indent}    "
    return "".join(
        f"{indent}{names} : {setting.type}\n{wrapped(setting.text, deeper, deeper)}"
        for names, setting in entries
    )


def wrapped(text: str, first: str, later: str) -> str:
    """The lines of a paragraph of a docstring, with what the first and the others begin with."""
    # What stands in double backquotes stays in one line.
    whole = _QUOTED.sub(lambda found: found[0].replace(" ", "\0"), text)
    lines = textwrap.wrap(
        whole,
        _WIDTH,
        initial_indent=first,
        subsequent_indent=later,
        break_long_words=False,
        break_on_hyphens=False,
    )
    return "".join(f"{line}\n" for line in lines).replace("\0", " ")
