"""The tables of --eval: read as the training table was, prepared as it was."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np

from fastmlp.cli.training_table import Part, TrainingTable
from fastmlp.cli.weights import read_weights
from fastmlp.errors import OptionError, TableError
from fastmlp.preparation import TablePreparation
from fastmlp.preparation.choice import open_checked
from fastmlp.preparation.parts import prepared_parts
from fastmlp.preparation.rows import TableRows
from fastmlp.preparation.target import Target, read_like
from fastmlp.tables.source import Source, check_columns

# Of the part held out of the training table, before its series.
VALIDATION = "val"


class EvalTable:
    """One table beside the training table; categories that training did not have are unknown.

    Attributes
    ----------
    name : str
        Before its series in the history.
    values : ndarray (n_rows,)
        The target, as the table has it.
    n_bytes : int
        Of the prepared inputs, as float64.

    Raises TableError where a column is missing, a row has no target, or a class is new.
    """

    def __init__(
        self,
        path: str,
        header: str,
        preparation: TablePreparation,
        target: Target,
        weight: str | None,
    ) -> None:
        beside = [target.name] if weight is None else [target.name, weight]
        source = open_checked(
            path,
            partial(_check_target, target.name),
            header=header,
            expected=[*preparation.features, *beside],
            categorical=[target.name] if target.task == "classification" else [],
        )
        self._preparation, self._is_values = preparation, target.task == "regression"
        self.name, self.where = source.name, source.where
        self.values = read_like(source, target.name, target.task, target.is_whole)
        self._weights = read_weights(source, weight)
        self._rows: TableRows = preparation.rows(path, header)
        self.n_bytes = 8 * len(self.values) * preparation.inputs_of.n_inputs
        new = set(self.values.tolist()) - set(target.values.tolist())
        if new and not self._is_values:
            raise TableError(
                f"{source.where} must have classes of the training table alone, got "
                f"{min(new)!r} of {target.name!r}; leave its rows out"
            )

    def part(self, folder: Path | None, dtype: str) -> Part:
        """The prepared rows, in memory or in a file without a name on the disk of `folder`."""
        every = np.arange(len(self.values))
        X = prepared_parts(self._rows, self._preparation.inputs_of, [every], dtype, folder)[0]
        y = self._preparation.outputs(self.values) if self._is_values else self.values
        return Part(X, y, self._weights)


class EvalTables:
    """The tables of --eval, each by the name of its file.

    `n_validation`: rows of the validation part, whose name is taken where there are some; `weight`:
    the column of the rows' weights. Raises OptionError where two share a name, and as `EvalTable`.
    """

    def __init__(
        self,
        paths: Sequence[str],
        header: str,
        preparation: TablePreparation,
        target: Target,
        n_validation: int,
        weight: str | None,
    ) -> None:
        self._tables: dict[str, EvalTable] = {}
        for path in paths:
            table = EvalTable(path, header, preparation, target, weight)
            is_taken = n_validation > 0 and table.name == VALIDATION
            if is_taken or table.name in self._tables:
                other = "the validation part" if is_taken else "another"
                raise OptionError(
                    "--eval must be files whose names differ, as their series are called by them, "
                    f"got {path}, and {table.name!r} is {other}; rename the file"
                )
            self._tables[table.name] = table
        self.sizes = {name: len(table.values) for name, table in self._tables.items()}
        self.names = [*[VALIDATION] * (n_validation > 0), *self._tables]

    def parts(self, table: TrainingTable, folder: Path, dtype: str) -> dict[str, Part]:
        """The prepared tables; in files on the disk of `folder` where memory is short.

        `table` knows how short it is.
        """
        n_bytes = sum(other.n_bytes for other in self._tables.values())
        files = None if table.fits(n_bytes) else folder
        return {name: other.part(files, dtype) for name, other in self._tables.items()}


def _check_target(target: str, source: Source) -> None:
    check_columns([target], source.columns, source.where, "target")
