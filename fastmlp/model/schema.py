"""What the text of a model file may be: names and kinds of values, before anything is made of them.

Ranges are the matter of those who take the values, such as `NetworkSpec.make`.
"""

from __future__ import annotations

from typing import Any

from fastmlp.json_kinds import (
    a_dict,
    a_list,
    boolean,
    count,
    either,
    list_of,
    mapping,
    name,
    number,
    of,
    optional,
    text,
)


def check_content(content: Any) -> None:
    """Raise ValueError that names the first value of another kind than `write_model` wrote."""
    _CONTENT(content, "it")


def _embedding(value: Any, where: str) -> None:
    a_dict(value, where)
    for column, pair in value.items():
        if not column.isdecimal() or len(column) > 19:
            raise ValueError(f"{where} must have numbers of columns, got {column[:40]!r}")
        list_of(count)(pair, f"{where}[{column}]")
        if len(pair) != 2:
            raise ValueError(f"{where}[{column}] must be (categories, width), got {pair}")


_numbers, _names = list_of(number), list_of(name)

_SPEC = mapping(
    {
        "sizes": list_of(count),
        "activation": _names,
        "loss": mapping({"name": name, "parameters": _numbers}),
    },
    {
        "dropout": _numbers,
        "input_dropout": number,
        "norm": _names,
        "residual": list_of(boolean),
        "embeddings": _embedding,
        "l1": number,
        "l2": number,
        "init": name,
        "dtype": name,
        "seed": of(int, "a whole number"),
        "device": name,
        "n_threads": optional(count),
    },
)
_HISTORY = mapping(
    {
        "series": list_of(text),
        "stopped_by": optional(text),
        "best_epoch": optional(count),
        "shuffle": optional(text),
    },
)
_FIT = mapping(
    {
        "settings": a_dict,
        "data": a_dict,
        "metrics_failed": boolean,
        "told": mapping(
            {
                "n_of_steps": count,
                "is_evaluated": boolean,
                "is_scheduled": boolean,
                "n_of_epoch": count,
                "stopped_by": optional(text),
            }
        ),
    },
    {  # of LBFGS there is no more
        "shuffle": either(boolean, a_dict),
        "loop": mapping({"done": count, "step": count}),
        "schedule": a_dict,
    },
    rest=a_dict,  # of a callback
)
_CONTENT = mapping(
    {
        "format_version": count,
        "spec": _SPEC,
        "n_epochs": count,
        "n_steps": count,
        "n_layers": count,
        "n_slots": count,
        "classes": optional(mapping({"dtype": text, "labels": a_list})),
        "optimizer": optional(a_dict),
        "extra": a_dict,
    },
    {
        "optimizer_steps": count,
        "optimizer_rate": number,
        "history": optional(_HISTORY),
        "fit": optional(_FIT),
    },
)
