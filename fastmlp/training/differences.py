"""How a fit differs from the one that it goes on with, in settings and data."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from fastmlp.errors import OptionError

# What to do where a fit cannot go on.
REMEDY = "pass what was passed then, or leave resume out and train on"
_MOST_SHOWN = 8
_DIGEST_CHARS = 64  # of a fingerprint; nobody reads them
# Of a network: without these the weights of a file mean nothing.
_OF_WEIGHTS = ("sizes", "norm", "embeddings", "dtype", "loss.name")


@dataclass(frozen=True)
class Difference:
    """One value: `name`, such as optimizer.lr, what it was then, and what it is now, as shown."""

    name: str
    then: str
    now: str

    def __str__(self) -> str:
        return f"{self.name}: {self.then} then, {self.now} now"


@dataclass(frozen=True)
class Differences:
    """All of them: those of the settings, and those of the data."""

    settings: tuple[Difference, ...] = ()
    data: tuple[Difference, ...] = ()

    @classmethod
    def between(cls, then: dict[str, Any], now: dict[str, Any]) -> Differences:
        """Of states of fits: both with "settings" and "data"."""
        return cls(
            *(tuple(_differences(then[what], now[what], "")) for what in ("settings", "data"))
        )

    def __bool__(self) -> bool:
        return bool(self.settings or self.data)

    def are_of(self, *names: str) -> bool:
        """Whether there is one in a setting of these names, or in a part of it."""
        return any(_is_part(found.name, name) for found in self.settings for name in names)

    def are_beyond(self, *names: str) -> bool:
        """Whether there is one in settings of other names."""
        return any(not any(_is_part(found.name, name) for name in names) for found in self.settings)

    def are_in_data(self, part: str) -> bool:
        """Whether there is one in the data of this name, such as training."""
        return any(_is_part(found.name, part) for found in self.data)

    def listed(self) -> list[str]:
        """One text for each."""
        return [str(found) for found in (*self.settings, *self.data)]

    def __str__(self) -> str:
        return one_line(self.listed())

    def refuse(self) -> None:
        """Raise OptionError that names the first one, if any."""
        for what, found in (("settings", self.settings), ("data", self.data)):
            for first in found[:1]:
                raise _refusal(what, first, f"{REMEDY}, or go on with force")

    def refuse_other_weights(self) -> None:
        """Raise OptionError where weights of then mean nothing in the network of now."""
        for found in self.settings:
            if any(_is_part(found.name, f"network.{name}") for name in _OF_WEIGHTS):
                raise OptionError(
                    "resume with force goes on with the weights of the file, which need a network "
                    f"of the same {', '.join(_OF_WEIGHTS)}, got another {found}; make the network "
                    "so, or leave resume out and train a new one"
                )


def one_line(texts: list[str]) -> str:
    """Those of `Differences.listed`; of many the first ones.

    >>> one_line(["epochs: 4 then, 5 now", "batch_size: 20 then, 30 now"])
    'epochs: 4 then, 5 now; batch_size: 20 then, 30 now'
    """
    rest = len(texts) - _MOST_SHOWN
    return "; ".join([*texts[:_MOST_SHOWN], *([f"{rest} more"] if rest > 0 else [])])


def check_same(saved: Any, now: Any, what: str, remedy: str) -> None:
    """Raise OptionError that names the first difference."""
    for found in _differences(saved, now, ""):
        raise _refusal(what, found, remedy)


def _refusal(what: str, found: Difference, remedy: str) -> OptionError:
    return OptionError(
        f"resume needs the {what} that the fit began with, got another {found.name or what}: "
        f"{found.then} then, {found.now} now; {remedy}"
    )


def _is_part(name: str, whole: str) -> bool:
    return name == whole or name.startswith((f"{whole}.", f"{whole}["))


def _differences(saved: Any, now: Any, name: str) -> Iterator[Difference]:
    if isinstance(saved, dict) and isinstance(now, dict):
        keys = [*saved, *(key for key in now if key not in saved)]
        if "name" in keys and saved.get("name") != now.get("name"):
            keys = ["name"]  # another kind of thing: its numbers mean something else
        for key in keys:
            inner = f"{name}.{key}" if name else key
            yield from _differences(saved.get(key), now.get(key), inner)
    elif isinstance(saved, list) and isinstance(now, list) and len(saved) == len(now):
        for i, (a, b) in enumerate(zip(saved, now, strict=True)):
            yield from _differences(a, b, f"{name}[{i}]")
    elif saved != now or isinstance(saved, bool) != isinstance(now, bool):
        yield Difference(name, shortened(saved), shortened(now))


def shortened(value: Any) -> str:
    """How a value is shown."""
    if isinstance(value, str) and len(value) == _DIGEST_CHARS:
        value = f"{value[:8]}..."
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:28]}...{text[-28:]}"
