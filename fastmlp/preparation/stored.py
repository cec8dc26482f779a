"""What the preparation in a model file may be, before it touches a table."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fastmlp.json_kinds import (
    among,
    boolean,
    count,
    different,
    list_of,
    mapping,
    mapping_to,
    number,
    optional,
    positive,
    text,
)


def check_stored(values: Any) -> None:
    """Raise ValueError for what `TablePreparation.to_extra` did not write (its version 2)."""
    _PREPARATION(values, "it")
    inputs = values["inputs"]
    numbers, labels = inputs["numbers"], [*inputs["one_hot"], *inputs["embedded"]]
    if not len(numbers) == len(inputs["mean"]) == len(inputs["scale"]):
        raise ValueError("a mean and a scale are wanted for each column of numbers")
    if sorted([*numbers, *labels]) != sorted(values["features"]):
        raise ValueError("features must be the columns of numbers and of categories")
    _within("indicators", inputs["indicators"], numbers)
    _within("constant", inputs["constant"], values["features"])


def check_network(preparation: Any, network: Any) -> None:
    """Raise ValueError where a network takes other inputs than a preparation makes, or learnt
    something else than its target."""
    n_inputs, embeddings = preparation.inputs_of.n_inputs, preparation.embeddings
    if n_inputs != network.sizes[0]:
        raise ValueError(f"it makes {n_inputs} inputs, the network takes {network.sizes[0]}")
    taken = {column: (n, width) for column, n, width in network.spec.embeddings}
    if embeddings != taken:
        raise ValueError(f"its embedded columns are {embeddings}, the network's {taken}")
    is_classes = preparation.task == "classification"
    if is_classes != (network.task != "regression"):
        raise ValueError(f"its task is {preparation.task}, the network's {network.task}")
    if is_classes and network.classes_ is None:
        raise ValueError("its target has classes, and the network has learnt none")


def _within(what: str, names: list[str], known: list[str]) -> None:
    for name in names:
        if name not in known:
            raise ValueError(f"{what} must be columns that are learnt from, got {name[:40]!r}")


def _embedded(value: Any, where: str) -> None:
    mapping({"categories": different(text), "width": count})(value, where)
    if value["width"] < 1:
        raise ValueError(f"{where}.width must be at least 1, got 0")


_INPUTS: Mapping[str, Any] = {
    "numbers": different(text),
    "mean": list_of(number),
    "scale": list_of(positive),
    "indicators": different(text),
    "one_hot": mapping_to(different(optional(text))),
    "embedded": mapping_to(_embedded),
    "constant": different(text),
}
_PREPARATION = mapping(
    {
        "features": different(text),
        "inputs": mapping(dict(_INPUTS)),
        "target": text,
        "task": among("classification", "regression"),
        "target_mean": number,
        "target_scale": positive,
        "whole_labels": boolean,
    }
)
