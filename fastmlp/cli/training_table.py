"""The table of one training: read, split, learnt from, and its parts prepared."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from fastmlp.cli.weights import read_weights
from fastmlp.errors import TableError
from fastmlp.preparation import Split, TablePreparation, Target, read_target, split_rows
from fastmlp.preparation.choice import Choice
from fastmlp.preparation.held import HeldSource
from fastmlp.preparation.parts import fits_memory, prepared_parts
from fastmlp.preparation.rows import TableRows
from fastmlp.preparation.table import feature_rows
from fastmlp.preparation.target import read_like


@dataclass
class Part:
    """Prepared rows: `X` (n, n_inputs), `y` (n,) as the network learns it, and weights (n,) of the
    rows, None where all are alike."""

    X: np.ndarray
    y: np.ndarray
    weights: np.ndarray | None = None


class TrainingTable:
    """What a training reads; call `split_rows`, `learn` and `parts` in this order.

    Parameters
    ----------
    in_memory : whether the rows are held in memory, None to decide by their size.
    """

    split: Split
    preparation: TablePreparation

    def __init__(self, choice: Choice, task: str, in_memory: bool | None) -> None:
        source = choice.source
        self._in_memory = in_memory
        self._held: HeldSource | None = None
        self._weight = choice.wishes.weight
        columns = [*choice.features, choice.target]
        if self._weight is not None:
            columns.append(self._weight)
        # An array that is all numbers is in memory, or mapped, as it is.
        if source.matrix(choice.features) is None and self.fits(8 * source.n_rows * len(columns)):
            self._held = HeldSource(source, columns)
            choice = replace(choice, source=self._held)
        self._choice = choice
        self.name, self.features, self.n_rows = source.name, choice.features, source.n_rows
        self.target: Target = read_target(choice.source, choice.target, task)
        self._weights = read_weights(choice.source, self._weight)
        self._rows = feature_rows(choice.source, choice.features)
        self._test: np.ndarray | None = None

    def split_rows(self, val_fraction: float, test_fraction: float, seed: int) -> Split:
        """As `preparation.split_rows`, but that rows the format keeps for a test are the test part.

        There is none with a fraction of 0.
        """
        source = self._choice.source
        if source.test is None or not test_fraction:
            self.split = split_rows(self.target, val_fraction, test_fraction, seed)
            return self.split
        labels = self.target
        self._test = read_like(source.test, labels.name, labels.task, labels.is_whole)
        new = set(self._test.tolist()) - set(labels.values.tolist())
        if new and labels.task == "classification":
            raise TableError(
                f"{source.test.where} must have classes of {source.where} alone, got "
                f"{min(new)!r}; leave its rows out"
            )
        split = split_rows(self.target, val_fraction, 0.0, seed)
        self.split = Split(split.train, split.validation, np.arange(source.test.n_rows))
        return self.split

    def learn(self, scale_target: bool) -> TablePreparation:
        """Learn the preparation from the training part."""
        self.preparation = TablePreparation.of_rows(
            self._choice, self._rows, self.target, self.split.train, scale_target
        )
        return self.preparation

    def use(self, preparation: TablePreparation) -> TablePreparation:
        """Take what was learnt of another table instead; TableError where that had other
        columns."""
        inputs, rows = preparation.inputs_of, self._rows
        target = self.target
        then = {
            "numbers in the columns": inputs.numbers,
            "text in the columns": inputs.labels,
            "the target": [preparation.target, preparation.task],
        }
        now = [rows.numbers, rows.labels, [target.name, target.task]]
        for (what, wanted), found in zip(then.items(), now, strict=True):
            if sorted(wanted) != sorted(found):
                raise TableError(
                    f"--force prepares {self.name} as the table of then, which needs {what} "
                    f"{', '.join(wanted) or '(none)'}, got {', '.join(found) or '(none)'}; mend "
                    "the table, or leave --resume out and train anew"
                )
        self._rows = TableRows(self._choice.source, inputs.numbers, inputs.labels)
        self.preparation = preparation
        return preparation

    def parts(self, folder: Path, dtype: str) -> tuple[Part, Part, Part]:
        """The prepared rows for training, validation and test.

        What is not held in memory is mapped from files without names on the disk of `folder`.
        """
        split = self.split
        n_rows = len(split.train) + len(split.validation) + len(split.test)
        n_bytes = n_rows * self.preparation.inputs_of.n_inputs * np.dtype(dtype).itemsize
        parts = self._prepared(None if self.fits(n_bytes) else folder, dtype)
        if self._held is not None:
            self._held.release()
        return parts

    def fits(self, n_bytes: int) -> bool:
        """Whether so much is held in memory."""
        return fits_memory(n_bytes) if self._in_memory is None else self._in_memory

    def _prepared(self, folder: Path | None, dtype: str) -> tuple[Part, Part, Part]:
        inputs, values = self.preparation.inputs_of, self.target.values
        train, validation, test = self.split.train, self.split.validation, self.split.test
        if self._test is None:
            X = prepared_parts(self._rows, inputs, [train, validation, test], dtype, folder)
            test_values = values[test]
        else:
            X = prepared_parts(self._rows, inputs, [train, validation], dtype, folder)
            assert self._choice.source.test is not None
            rows = TableRows(self._choice.source.test, self._rows.numbers, self._rows.labels)
            X += prepared_parts(rows, inputs, [test], dtype, folder)
            test_values = self._test
        y = [values[train], values[validation], test_values]
        own = [train, validation, *([test] if self._test is None else [])]
        weights = [None if self._weights is None else self._weights[rows] for rows in own]
        if self._test is not None:
            assert self._choice.source.test is not None
            weights.append(read_weights(self._choice.source.test, self._weight))
        if self.target.task == "regression":
            y = [self.preparation.outputs(part) for part in y]
        first, second, third = (Part(*part) for part in zip(X, y, weights, strict=True))
        return first, second, third
