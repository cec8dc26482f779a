"""The table of one training: read, split, learnt from, and its parts prepared."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from fastmlp.errors import TableError
from fastmlp.preparation import Split, TablePreparation, Target, read_target, split_rows
from fastmlp.preparation.choice import Choice
from fastmlp.preparation.parts import fits_memory, prepared_parts
from fastmlp.preparation.table import feature_rows
from fastmlp.preparation.target import read_like


@dataclass
class Part:
    """Prepared rows: `X` (n, n_inputs), and `y` (n,) as the network learns it."""

    X: np.ndarray
    y: np.ndarray


class TrainingTable:
    """What a training reads; call `split`, `learn` and `parts` in this order.

    Parameters
    ----------
    in_memory : whether the rows are held in memory, None to decide by their size.
    """

    split: Split
    preparation: TablePreparation

    def __init__(self, choice: Choice, task: str, in_memory: bool | None) -> None:
        source = choice.source
        self._choice, self._in_memory = choice, in_memory
        self.name, self.features, self.n_rows = source.name, choice.features, source.n_rows
        self.target: Target = read_target(source, choice.target, task)
        raw_bytes = 8 * source.n_rows * len(choice.features)
        hold = fits_memory(raw_bytes) if in_memory is None else in_memory
        self._rows = feature_rows(choice.source, choice.features, hold=hold)
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

    @contextmanager
    def parts(self, folder: Path, dtype: str) -> Iterator[tuple[Part, Part, Part]]:
        """The prepared rows for training, validation and test.

        What is not held in memory lies in files in `folder` until the end of the context.
        """
        split = self.split
        n_rows = len(split.train) + len(split.validation) + len(split.test)
        n_bytes = n_rows * self.preparation.inputs_of.n_inputs * np.dtype(dtype).itemsize
        in_memory = fits_memory(n_bytes) if self._in_memory is None else self._in_memory
        if in_memory:
            yield self._prepared(None, dtype)
            return
        with tempfile.TemporaryDirectory(prefix=".prepared-", dir=folder) as files:
            yield self._prepared(Path(files), dtype)

    def _prepared(self, files: Path | None, dtype: str) -> tuple[Part, Part, Part]:
        inputs, values = self.preparation.inputs_of, self.target.values
        train, validation, test = self.split.train, self.split.validation, self.split.test
        if self._test is None:
            X = prepared_parts(self._rows, inputs, [train, validation, test], dtype, files)
            test_values = values[test]
        else:
            X = prepared_parts(self._rows, inputs, [train, validation], dtype, files)
            if files is not None:
                files /= "test"
                files.mkdir()
            assert self._choice.source.test is not None
            rows = feature_rows(self._choice.source.test, self._choice.features)
            X += prepared_parts(rows, inputs, [test], dtype, files)
            test_values = self._test
        y = [values[train], values[validation], test_values]
        if self.target.task == "regression":
            y = [self.preparation.outputs(part) for part in y]
        first, second, third = (Part(*part) for part in zip(X, y, strict=True))
        return first, second, third
