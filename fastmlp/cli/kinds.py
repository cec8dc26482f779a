"""Kinds of options that are more than a number, as a command line or a run file writes them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import click

from fastmlp.checks import shown, suggestion
from fastmlp.errors import OptionError
from fastmlp.tables.csv_file import as_number


@dataclass(frozen=True)
class Call:
    """A name with its parameters: ``huber:2``, ``adam:beta1=0.8,eps=1e-6``."""

    name: str
    numbers: tuple[float, ...] = ()
    named: dict[str, Any] = field(default_factory=dict)

    def __str__(self) -> str:
        parts = [
            *map(as_text, self.numbers),
            *(f"{name}={as_text(value)}" for name, value in self.named.items()),
        ]
        return self.name + (":" + ",".join(parts) if parts else "")

    def bound(self, option: str, names: list[str]) -> dict[str, Any]:
        """The parameters by name, the numbers standing for the first of `names`.

        Raises OptionError for a name that is not among them, for one that is given twice, and for
        more numbers than names.
        """
        takes = f"takes {', '.join(names)}" if names else "takes no parameters"
        if len(self.numbers) > len(names):
            raise OptionError(f"{option} {self.name} {takes}, got {len(self.numbers)} numbers")
        given = dict(zip(names, self.numbers, strict=False))
        for name, value in self.named.items():
            if name not in names:
                raise OptionError(
                    f"{option} {self.name} {takes}, got {name!r}{suggestion(name, names)}"
                )
            if name in given:
                raise OptionError(f"{option} {self.name} must have {name} once, got it twice")
            given[name] = value
        return given


class CallKind(click.ParamType):
    """A `Call`: text, or in a run file also a table with a name."""

    name = "call"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Call:
        option = _called(param)
        if isinstance(value, Call):
            return value
        if isinstance(value, dict):
            named = {key.replace("-", "_"): item for key, item in value.items()}
            name = named.pop("name", None)
            if not isinstance(name, str):
                raise OptionError(
                    f'{option} as a table must have a name such as name = "adam", got {shown(name)}'
                )
            return Call(name, (), named)
        name, colon, rest = str(value).partition(":")
        numbers: list[float] = []
        named = {}
        for part in rest.split(",") if colon else ():
            key, equals, text = part.partition("=")
            if equals:
                key = key.strip().replace("-", "_")
                if key in named:
                    raise OptionError(f"{option} {name} must have {key} once, got it twice")
                named[key] = as_plain(text.strip())
                continue
            number = as_plain(part.strip())
            if isinstance(number, str | bool) or named:
                raise OptionError(
                    f"{option} must have numbers after the colon, then name=value "
                    f"(such as quantile:0.9 or adam:beta1=0.8,eps=1e-6), got {value!r}"
                )
            numbers.append(number)
        return Call(name.strip(), tuple(numbers), named)


class EachKind(click.ParamType):
    """One value or one for each layer: text with commas, or in a run file a list."""

    name = "each"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        if isinstance(value, list):
            return ",".join(map(as_text, value)) or "none"
        return as_text(value)


class WeightsKind(click.ParamType):
    """``balanced``, or a weight for each label: ``cat=2,dog=1``, or in a run file a table."""

    name = "weights"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> str | dict[str, Any]:
        if isinstance(value, dict) or value == "balanced":
            return value
        weights: dict[str, float] = {}
        for part in str(value).split(","):
            label, equals, text = part.rpartition("=")
            weight = as_number(text)
            if not equals or weight is None or label.strip() in weights:
                raise OptionError(
                    f"{_called(param)} must be 'balanced' or a weight for each label once, such as "
                    f"cat=2,dog=0.5, got {value!r}"
                )
            weights[label.strip()] = weight
        return weights


def as_plain(text: str) -> Any:
    """The whole number, the number, or the true or false that `text` is, else the text itself."""
    if text.lower() in ("true", "false"):
        return text.lower() == "true"
    try:
        return int(text)
    except ValueError:
        number = as_number(text)
        return text if number is None else number


def as_text(value: Any) -> str:
    """What `as_plain` reads back as `value`."""
    return str(value).lower() if isinstance(value, bool) else str(value)


def _called(param: click.Parameter | None) -> str:
    return param.opts[-1] if param is not None else "the option"
