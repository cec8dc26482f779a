"""Makes the model files beside it with the fastmlp that is imported: one folder a format version.

    python -m tests.golden.make FOLDER

A folder of a version that has been released is never made again: its files stand for those that
users have. Version 1 was made with the last fastmlp that wrote it, before files had digests.

Beside each ``NAME.safetensors`` lies ``NAME.npz`` with what it predicts for `X` (`before`) and what
it predicts after one more epoch (`after`); beside ``titanic``, which ``fastmlp train`` wrote with
the preparation of its table, the table and the predictions of ``fastmlp predict``. From version 2
on, ``checkpoint`` is of a fit of 4 epochs after its second one, `after` of the whole fit.
"""

from __future__ import annotations

import csv
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

X = np.stack([np.sin(np.arange(60) * k) for k in (1.0, 1.7, 2.3)], axis=1).astype(np.float32)
# A column of categories 0, 1, 2 beside two of numbers.
X_CODES = X.copy()
X_CODES[:, 0] = np.arange(60) % 3
VALUES = (X[:, 0] - 2 * X[:, 1] + 0.5).astype(np.float64)
COLOURS = np.array(["blau", "grün", "rot"])[np.arange(60) * 7 % 3]
YES = X[:, 2] > 0


@dataclass(frozen=True)
class Case:
    """A network, what it learns, and how."""

    sizes: list[int]
    y: np.ndarray
    settings: dict[str, Any] = field(default_factory=dict)
    optimizer: Any = "adam"
    X: np.ndarray = field(default_factory=lambda: X)

    batch_size: int | None = 16

    def fit(self, network: Any, epochs: int, **options: Any) -> None:
        options.setdefault("optimizer", self.optimizer)
        network.fit(self.X, self.y, epochs=epochs, batch_size=self.batch_size, **options)

    def go_on(self, network: Any) -> None:
        """One epoch more, with the optimizer that the file names."""
        network.fit(self.X, self.y, epochs=1, batch_size=self.batch_size)

    def predictions(self, network: Any) -> np.ndarray:
        is_values = network.task == "regression"
        return network.predict(self.X) if is_values else network.predict_proba(self.X)


def cases() -> dict[str, Case]:
    """By the names of their files."""
    from fastmlp import losses, optim

    classes = {"loss": "cross_entropy"}
    return {
        "plain": Case([3, 6, 1], VALUES),
        "float64": Case([3, 6, 1], VALUES, {"dtype": "float64", "l2": 0.01}, "sgd"),
        "text_classes": Case([3, 6, 3], COLOURS, {**classes, "dropout": 0.2}),
        "bool_classes": Case([3, 6, 1], YES, {"loss": "binary_cross_entropy"}),
        "batch_norm": Case([3, 6, 6, 3], COLOURS, {**classes, "norm": ["batch", "layer"]}),
        "embeddings": Case([3, 6, 1], VALUES, {"embeddings": {0: (3, 2)}}, X=X_CODES),
        "residual": Case([3, 6, 6, 1], VALUES, {"residual": [False, True], "activation": "gelu"}),
        "huber": Case([3, 6, 1], VALUES, {"loss": losses.huber(0.5)}, "rmsprop"),
        "ema": Case([3, 6, 1], VALUES, {}, optim.AdamW(ema=0.9)),
        "muon": Case([3, 8, 8, 1], VALUES, {}, "muon"),
        "lbfgs": Case([3, 6, 1], VALUES, {}, optim.LBFGS(), batch_size=None),
    }


def case_of_checkpoint() -> tuple[Case, dict[str, Any]]:
    """A fit with states of all kinds, and its options."""
    from fastmlp import callbacks, schedules

    case = Case([3, 6, 3], COLOURS, {"loss": "cross_entropy", "dropout": 0.1})
    options = {
        "eval_set": [(X[40:], COLOURS[40:])],
        "schedule": schedules.Cosine(),
        "callbacks": [callbacks.EarlyStopping(patience=9)],
    }
    return case, options


def rows_of_a_table() -> list[list[Any]]:
    """A header and 40 rows: numbers, some missing, one-hot and embedded text, a target of text."""
    rows: list[list[Any]] = [["age", "fare", "port", "name", "survived"]]
    for i in range(40):
        age = "" if i % 7 == 3 else 20 + i
        rows.append([age, i * 1.5, "ABC"[i % 3], f"n{i % 4}", ["no", "yes"][i * 5 % 3 > 0]])
    return rows


def fastmlp_command(*arguments: str) -> None:
    subprocess.run([sys.executable, "-m", "fastmlp", *arguments], check=True)


def make_all(folder: Path) -> None:
    import fastmlp
    from fastmlp.model.file import FORMAT_VERSION

    folder.mkdir(exist_ok=True)
    for name, case in cases().items():
        network = fastmlp.Network(case.sizes, seed=1, **case.settings)
        case.fit(network, 3)
        network.save(folder / f"{name}.safetensors", extra={"made": name})
        before = case.predictions(network)
        case.go_on(network)
        np.savez(folder / f"{name}.npz", before=before, after=case.predictions(network))
    if FORMAT_VERSION >= 2:
        make_checkpoint(folder)
    table, model = folder / "titanic.csv", folder / "titanic.safetensors"
    with table.open("w", newline="") as file:
        csv.writer(file, lineterminator="\n").writerows(rows_of_a_table())
    fastmlp_command(
        "train", str(table), "--target", "survived", "--embed", "name", "--hidden", "5",
        "--epochs", "5", "--out", str(folder / "run"),
    )  # fmt: skip
    (folder / "run" / "model.safetensors").rename(model)
    for path in (folder / "run").iterdir():
        path.unlink()
    (folder / "run").rmdir()
    fastmlp_command("predict", str(model), str(table), "--out", str(folder / "titanic_out.csv"))


def make_checkpoint(folder: Path) -> None:
    import fastmlp

    case, options = case_of_checkpoint()
    network = fastmlp.Network(case.sizes, seed=1, **case.settings)
    saving = fastmlp.callbacks.Checkpoint(folder / "checkpoint{epoch}.safetensors")
    case.fit(network, 4, checkpoint=saving, **options)
    after = case.predictions(network)
    path = folder / "checkpoint2.safetensors"
    before = case.predictions(fastmlp.Network.load(path))
    path.rename(folder / "checkpoint.safetensors")
    np.savez(folder / "checkpoint.npz", before=before, after=after)
    for other in folder.glob("checkpoint[0-9].safetensors"):
        other.unlink()


if __name__ == "__main__":
    make_all(Path(sys.argv[1]))
