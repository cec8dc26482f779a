"""The series of a history as arrays of a file, and back: as text they would outgrow its limits."""

from __future__ import annotations

from typing import Any

import numpy as np

PREFIX = "history."
_EPOCHS = "epochs"
_PLAIN = ("stopped_by", "best_epoch", "shuffle")


def packed(history: dict[str, Any]) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """What `History.to_dict` gave as plain values, and arrays by name.

    >>> history = {"epochs": [1], "loss": [0.5], "stopped_by": None, "best_epoch": None}
    >>> packed(history | {"shuffle": "rows"})[1]["history.loss"]
    array([0.5])
    """
    names = [name for name in history if name not in (_EPOCHS, *_PLAIN)]
    arrays = {PREFIX + name: np.array(history[name], np.float64) for name in names}
    arrays[PREFIX + _EPOCHS] = np.array(history[_EPOCHS], np.int64)
    return {"series": names} | {name: history[name] for name in _PLAIN}, arrays


def unpacked(plain: dict[str, Any], arrays: dict[str, np.ndarray]) -> dict[str, Any]:
    """The inverse of `packed`; ValueError for arrays that it did not give."""
    expected = {PREFIX + name for name in (*plain["series"], _EPOCHS)}
    if len(expected) != len(plain["series"]) + 1 or expected != arrays.keys():
        raise ValueError("the arrays of the history are not its series")
    epochs = arrays[PREFIX + _EPOCHS]
    for name, array in arrays.items():
        is_epochs = array is epochs
        kind, most = (np.int64, 1) if is_epochs else (np.float64, 2)
        if array.dtype != kind or not 1 <= array.ndim <= most or len(array) != len(epochs):
            raise ValueError(f"{name} is an array {array.shape} of {array.dtype}")
    series = {name: arrays[PREFIX + name].tolist() for name in plain["series"]}
    rest = {name: plain[name] for name in _PLAIN}
    return {_EPOCHS: epochs.tolist()} | series | rest
