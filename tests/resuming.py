"""Fits that are stopped and resumed: what they are given, and what must be the same at the end.

``python -m tests.resuming NAME FOLDER`` makes one of them in a process that may be killed, or goes
on with it; its last words are what it ended with.
"""

from __future__ import annotations

import hashlib
import json
import sys
from pathlib import Path

import numpy as np

import fastmlp
from fastmlp import callbacks, optim, schedules

ROWS = np.random.default_rng(0).normal(size=(90, 5))
VALUES = ROWS[:, 0] * ROWS[:, 1] + ROWS[:, 2]
CLASSES = np.array(["a", "b", "c"])[np.digitize(VALUES, [-0.5, 0.5])]
EVAL = [(ROWS[:30], CLASSES[:30]), (ROWS[30:60], CLASSES[30:60], np.arange(30.0) + 1.0)]


def halving(step: int, n_steps: int) -> float:
    """A user's own schedule; of no step beyond the fit."""
    assert 0 <= step < n_steps
    return 0.5 ** (step // 5)


def network(sizes=(5, 8, 6, 3), **settings) -> fastmlp.Network:
    return fastmlp.Network(sizes, **{"loss": "cross_entropy", "seed": 3, **settings})


def end_of(net: fastmlp.Network, log: Path | None = None) -> dict:
    """All of a network that a fit changes, and its history, times apart; plain values."""
    state = net.engine.get_optimizer_state()
    parts = [net.engine.parameters(), net.engine.get_training_parameters(), *state.slots]
    digest = hashlib.sha256()
    for part in parts:
        for name, array in part.named().items():
            digest.update(name.encode() + np.ascontiguousarray(array).tobytes())
    for mean, variance in net.running_statistics.values():
        digest.update(mean.tobytes() + variance.tobytes())
    history = net.history_.to_dict()
    assert all(seconds > 0.0 for seconds in history.pop("seconds"))
    lines = [] if log is None else [line.split(",") for line in log.read_text().splitlines()]
    at = lines[0].index("seconds") if lines else 0
    return {
        "arrays": digest.hexdigest(),
        "counted": [net.n_epochs_, net.n_steps_, state.n_steps, state.last_rate],
        "history": repr(history),  # nan is not itself
        "log": [line[:at] + line[at + 1 :] for line in lines],
        "classes": None if net.classes_ is None else net.classes_.tolist(),
    }


# Large enough that some seconds pass, and that threads look at the time in the midst of an epoch.
_MANY = np.random.default_rng(1).normal(size=(20_000, 20)).astype(np.float32)
_LEVELS = np.sin(_MANY[:, 0]) + _MANY[:, 1] * _MANY[:, 2]


SCHEDULES = {
    "step": schedules.Step(every_n_steps=700),
    "exponential": schedules.Exponential(every_n_steps=900),
    "restarts": schedules.CosineRestarts(300, growth=1.5),
    "polynomial": schedules.Polynomial(2.0),
    "one cycle": schedules.OneCycle(),
    "inverse": schedules.InverseScaling(),
}


def killable(name: str, folder: Path) -> fastmlp.Network:
    """Make the fit `name` or go on with it; returns the network at the end."""
    log = callbacks.CSVLog(folder / "log.csv")
    X, y = _MANY, _LEVELS
    settings = {"eval_set": [(X[:2000], y[:2000])], "callbacks": [log], "epochs": 40}
    made = {"sizes": [20, 32, 1], "loss": "squared_error"}
    path, every = folder / "fit.safetensors", {"every_n_epochs": 1}
    if name == "stopping":
        stopping = callbacks.EarlyStopping(patience=4, min_delta=0.003)
        settings |= {"callbacks": [stopping, log], "epochs": 60}
        settings |= {"optimizer": optim.Adam(0.02, ema=0.95), "batch_size": 500}
        made |= {"dropout": 0.2, "norm": "batch"}
    elif name == "plateau":
        settings |= {"schedule": schedules.ReduceOnPlateau(patience=1, factor=0.5, min_delta=0.01)}
        settings |= {"optimizer": optim.NAdam(0.01), "batch_size": 400}
        path, every = folder / "fit{epoch:03d}.safetensors", {"keep": 2}
    elif name == "mid-epoch":
        settings |= {"epochs": 4, "batch_size": 100, "schedule": schedules.Cosine()}
        settings |= {"optimizer": optim.SGD(0.01, momentum=0.9, clip_norm=1.0)}
        made |= {"sizes": [20, 200, 200, 1], "input_dropout": 0.1}
        every = {"every_s": 0.05}
    elif name == "lbfgs":
        stopping = callbacks.EarlyStopping(patience=6)
        settings |= {"optimizer": optim.LBFGS(loss_tolerance=0.0), "callbacks": [stopping, log]}
        settings |= {"epochs": 120}
        made |= {"sizes": [20, 24, 1], "norm": "layer", "l2": 1e-4}
    elif name == "rollback":
        settings |= {"epochs": 12, "on_divergence": "rollback", "batch_size": 200}
        settings |= {"optimizer": optim.SGD(2.0, momentum=0.9), "verbose": True}
        made |= {"sizes": [20, 100, 1]}
        every = {"every_s": 0.02}
    else:
        settings |= {"schedule": SCHEDULES[name], "optimizer": optim.AdamW(0.01)}
    net = fastmlp.Network(**made, seed=11)
    net.fit(X, y, **settings, checkpoint=callbacks.Checkpoint(path, **every), resume=True)
    return net


if __name__ == "__main__":
    folder = Path(sys.argv[2])
    print("begins", flush=True)
    print(json.dumps(end_of(killable(sys.argv[1], folder), folder / "log.csv")), flush=True)
