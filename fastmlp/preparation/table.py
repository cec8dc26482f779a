"""All that was learnt of a table, as it lies in the model file; and its use from Python."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np

from fastmlp.errors import ColumnError, ModelFileError, TableError
from fastmlp.model.model import Model
from fastmlp.preparation.choice import Choice, Wishes, aligned, choose, open_checked
from fastmlp.preparation.inputs import Inputs
from fastmlp.preparation.learn import learn_inputs
from fastmlp.preparation.moments import Moments
from fastmlp.preparation.rows import TableRows
from fastmlp.preparation.stored import check_network, check_stored
from fastmlp.preparation.target import Target, read_like, read_target
from fastmlp.tables.source import NUMBER, TEXT, Source, check_columns
from fastmlp.tables.sources import open_source

_VERSION = 2


@dataclass(frozen=True)
class TablePreparation:
    """From a table to what a network learns from, and back.

    Made by `learn`; what was learnt is plain values that `fastmlp train` keeps in the model file.
    Columns of numbers are standardised, missing ones become the mean, with an input that says so.
    Columns of text are categories: up to 15 become one-hot inputs, more an embedding.

    Attributes
    ----------
    features : list of str
        The columns that are learnt from.
    inputs_of : Inputs
        What was learnt of each.
    target, task : str
        The target's name; "classification" or "regression".
    target_mean, target_scale : float
        Of the values in training; 0 and 1 for classes and where the target is left as it is.
    whole_labels : bool
        Whether the classes are whole numbers.

    Examples
    --------
    >>> import numpy as np, pandas as pd, fastmlp
    >>> rng = np.random.default_rng(0)
    >>> frame = pd.DataFrame({"sex": rng.choice(["female", "male"], 400)})
    >>> frame["age"] = rng.integers(1, 80, 400).astype(float)
    >>> frame["survived"] = np.where((frame.sex == "female") | (frame.age < 10), "yes", "no")
    >>> frame.loc[rng.random(400) < 0.1, "age"] = None
    >>> table = fastmlp.TablePreparation.learn(frame, "survived")
    >>> X, y = table.arrays(frame)
    >>> net = fastmlp.Network(
    ...     [X.shape[1], 16, 2], loss="cross_entropy", embeddings=table.embeddings
    ... )
    >>> history = net.fit(X, y, epochs=100, batch_size=32)
    >>> net.evaluate(X, y)["accuracy"] > 0.9
    True
    >>> net.predict(table.inputs(pd.DataFrame({"age": [40.0, None], "sex": ["female", "male"]})))
    array(['yes', 'no'], dtype='<U3')
    """

    features: list[str]
    inputs_of: Inputs
    target: str
    task: str
    target_mean: float = 0.0
    target_scale: float = 1.0
    whole_labels: bool = True

    @classmethod
    def learn(
        cls,
        data: Any,
        target: str | None = None,
        *,
        task: str = "auto",
        drop: Collection[str] = (),
        categorical: Collection[str] = (),
        one_hot: Collection[str] = (),
        embed: Collection[str] | Mapping[str, int | None] = (),
        header: str = "auto",
        scale_target: bool = True,
    ) -> Self:
        """Learn from all rows of `data`: pass only the rows to train a network on.

        Parameters
        ----------
        data : a path to a CSV, Parquet, Arrow, NPY, NPZ, SVMlight or IDX file, a bundled name, a
            pandas or polars frame, a pyarrow table.
        target : the column to learn; None for a format that has one of its own.
        task : "classification", "regression", or "auto": text and few whole numbers are classes.
        drop : columns to leave out.
        categorical : columns whose numbers are categories.
        one_hot, embed : columns of categories to be one-hot inputs, or embeddings (a mapping
            gives their widths), whatever the number of categories.
        header : "yes", "no" or "auto", for CSV.
        scale_target : whether values are standardised; False for loss="poisson".

        Raises
        ------
        TableError
            Names the columns that cannot be learnt from, and what to do.
        OptionError, OptionTypeError
            A setting that is not allowed.
        """
        wishes = Wishes.make(drop, categorical, one_hot, embed)
        choice = choose(data, target, wishes, task=task, header=header)
        read = read_target(choice.source, choice.target, task)
        rows = np.arange(choice.source.n_rows)
        features = feature_rows(choice.source, choice.features)
        return cls.of_rows(choice, features, read, rows, scale_target)

    @classmethod
    def of_rows(
        cls,
        choice: Choice,
        rows: TableRows,
        target: Target,
        train: np.ndarray,
        scale_target: bool = True,
    ) -> Self:
        """Learn from the rows `train` (ascending row numbers) alone."""
        inputs = learn_inputs(rows, train, choice.wishes)
        mean, scale = [0.0], [1.0]
        if scale_target and target.task == "regression":
            moments = Moments(1)
            moments.add(target.values[train][:, None])
            mean, scale = moments.mean_and_scale([target.name])
        return cls(
            choice.features, inputs, target.name, target.task, mean[0], scale[0], target.is_whole
        )

    @property
    def embeddings(self) -> dict[int, tuple[int, int]]:
        """What `fastmlp.Network` takes as `embeddings`; empty where no column is embedded."""
        return self.inputs_of.embeddings

    def inputs(self, data: Any, *, dtype: str = "float32", unknown: str = "error") -> np.ndarray:
        """The inputs (n, n_inputs) of a table of `data`, as `learn` takes it.

        Columns are found by name, others are left out. A category that was not learnt is a
        TableError with unknown="error"; "ignore" takes it as none of those that were.
        """
        return np.concatenate(list(self.blocks(data, dtype=dtype, unknown=unknown)))

    def arrays(
        self, data: Any, *, dtype: str = "float32", unknown: str = "error"
    ) -> tuple[np.ndarray, np.ndarray]:
        """X and y of a table with a target: `inputs`, and class labels or standardised values."""
        source = open_checked(
            data,
            lambda source: check_columns([self.target], source.columns, source.where, "target"),
            expected=[*self.features, self.target],
            categorical=[self.target] if self.task == "classification" else [],
        )
        y = read_like(source, self.target, self.task, self.whole_labels)
        X = self.inputs(data, dtype=dtype, unknown=unknown)
        return X, self.outputs(y) if self.task == "regression" else y

    def blocks(
        self, data: Any, *, dtype: str, unknown: str = "error", header: str = "auto"
    ) -> Iterator[np.ndarray]:
        """The inputs of consecutive rows, so that a table need not fit memory."""
        rows = self.rows(data, header)
        for block in rows:
            yield self.inputs_of.array(block, dtype, rows.source.where, unknown)

    def rows(self, data: Any, header: str = "auto") -> TableRows:
        """The columns that are learnt from in another table; TableError where one is missing."""
        source = open_source(data, header=header, expected=self.features)
        columns = aligned(source, self.features)
        labels = [columns[name] for name in self.inputs_of.labels]
        if labels and not _are_text(source, labels):
            source = open_source(data, header=header, expected=self.features, categorical=labels)
        try:
            source.check(columns.values())
        except ColumnError as error:
            # What a training can do without, a model cannot.
            raise TableError(error.fault) from None
        return TableRows(source, self.inputs_of.numbers, self.inputs_of.labels, column_of=columns)

    def outputs(self, y: np.ndarray) -> np.ndarray:
        """Target values as the network learns them."""
        return (y - self.target_mean) / self.target_scale

    def values(self, outputs: np.ndarray) -> np.ndarray:
        """What the network puts out, in the target's own units."""
        return outputs.astype(np.float64) * self.target_scale + self.target_mean

    def begin(self, network: Model) -> None:
        """Make the vectors of unknown categories zero before the first fit.

        No row to train on has code 0 unless a cell is missing, and its drawn vector would stay a
        category that nobody has seen; zero is the middle of those that are learnt.
        """
        tables = network.embeddings
        for table in tables:
            table[0] = 0.0
        network.embeddings = tables

    def to_extra(self) -> dict[str, Any]:
        """Plain values for `Network.extra`, so that ``fastmlp predict`` takes the raw table."""
        values = {name: getattr(self, name) for name in _PLAIN}
        return {"preparation": {"version": _VERSION, **values, "inputs": self.inputs_of.to_json()}}

    @classmethod
    def of_network(cls, network: Model, path: str) -> Self:
        """What `to_extra` gave, of a network that takes what it makes; ModelFileError."""
        preparation = cls.from_extra(network.extra, path)
        try:
            check_network(preparation, network)
        except ValueError as error:
            raise _damaged(path, error) from error
        return preparation

    @classmethod
    def from_extra(cls, extra: dict[str, Any], path: str) -> Self:
        """What `to_extra` gave; ModelFileError where the model in `path` holds none."""
        found = extra.get("preparation")
        if not found:
            raise ModelFileError(
                f"{path!r} must be a model that 'fastmlp train' wrote, got one without a "
                "preparation of tables; use it from Python with fastmlp.Network.load"
            )
        version = found.get("version") if isinstance(found, dict) else None
        if version not in (1, _VERSION):
            raise ModelFileError(
                f"the preparation in {path!r} must have version {_VERSION} or older, got "
                f"{version}; use the fastmlp that wrote it, or train again"
            )
        try:
            return cls._of_version(version, {k: v for k, v in found.items() if k != "version"})
        except (TypeError, KeyError, AttributeError, ValueError, OverflowError) as error:
            raise _damaged(path, error) from error

    @classmethod
    def _of_version(cls, version: int, stored: dict[str, Any]) -> Self:
        if version == 1:
            # It knew finite numbers alone.
            features, whole = stored["features"], stored.get("whole_labels", True)
            inputs = Inputs(features, stored.pop("mean"), stored.pop("scale")).to_json()
            stored = {**stored, "inputs": inputs, "whole_labels": whole}
        check_stored(stored)
        # JSON may write 1e3 as 1000, and has whole numbers that no array takes.
        stored |= {name: float(stored[name]) for name in ("target_mean", "target_scale")}
        return cls(inputs_of=Inputs.from_json(stored.pop("inputs")), **stored)


_PLAIN = ("features", "target", "task", "target_mean", "target_scale", "whole_labels")


def feature_rows(source: Source, features: Sequence[str]) -> TableRows:
    """The columns `features` of `source`, by their kinds."""
    numbers, labels = (
        [name for name in features if source.kinds[name] == kind] for kind in (NUMBER, TEXT)
    )
    return TableRows(source, numbers, labels)


def _damaged(path: str, error: Exception) -> ModelFileError:
    return ModelFileError(
        f"the preparation in {path!r} must be as fastmlp wrote it, and is damaged: "
        f"{type(error).__name__}: {error}; save or copy the file again, or train again"
    )


def _are_text(source: Source, columns: list[str]) -> bool:
    """Whether columns are read as text as they are: labels may all look like numbers or dates."""
    try:
        source.check(columns)
    except ColumnError:
        return False
    return all(source.kinds[column] == TEXT for column in columns)
