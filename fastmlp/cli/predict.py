"""``fastmlp predict``: a raw table in, a CSV file of predictions out."""

from __future__ import annotations

import csv
import math
import sys
import uuid
import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from itertools import chain
from pathlib import Path
from typing import TextIO

import click
import numpy as np

from fastmlp.cli.functions import functions_option
from fastmlp.cli.output import Output
from fastmlp.errors import NotRegisteredError, OptionError
from fastmlp.model.network import Network
from fastmlp.preparation import TablePreparation
from fastmlp.preparation.inputs import UNKNOWN
from fastmlp.tables.csv_file import HEADERS

_FLOAT64_DIGITS = 17


@click.command()
@click.argument("model")
@click.argument("data")
@click.option("--out", metavar="FILE", default="-", help="CSV file to write.  [default: stdout]")
@click.option(
    "--header",
    type=click.Choice(HEADERS),
    default="auto",
    show_default=True,
    help="Whether the first row of the file holds the names of the columns.",
)
@click.option(
    "--unknown",
    type=click.Choice(UNKNOWN),
    default="error",
    show_default=True,
    help="What a category is that training did not have: an error, or none of those it had.",
)
@click.option(
    "--device",
    metavar="NAME",
    help="cpu; cuda or cuda:N for an NVIDIA GPU.  [default: what the model was trained on]",
)
@functions_option
@click.option("--json", "as_json", is_flag=True, help="Report as a JSON object; needs --out.")
def predict(
    model: str,
    data: str,
    out: str,
    header: str,
    unknown: str,
    device: str | None,
    functions: str | None,
    as_json: bool,
) -> None:
    """Predict the target of every row of DATA with MODEL, a file that 'fastmlp train' wrote.

    DATA has the columns that the model was trained on, in any order, raw; other columns are left
    out. It is read, predicted and written a block of rows at a time. The predictions are in the
    order of the rows: for classes the label and the probability of each class, for values the
    value.
    """
    if as_json and out == "-":
        raise OptionError("--json needs --out FILE, as the predictions would go to stdout too")
    _check_out(out, model, data)
    network = _loaded(model, functions, device)
    preparation = TablePreparation.of_network(network, model)
    names = _names(network, preparation)
    blocks = preparation.blocks(data, dtype=network.dtype, unknown=unknown, header=header)
    first = _columns(network, preparation, next(blocks))
    # A table that is refused at its beginning prints nothing.
    parts = chain([first], (_columns(network, preparation, X) for X in blocks))
    if out == "-":
        _write(sys.stdout, names, parts)
        return
    try:
        with _replaced(Path(out)) as file:
            n_rows = _write(file, names, parts)
    except OSError as error:
        raise OptionError(
            f"--out must be a file that can be written, got {out}: {error.strerror}"
        ) from None
    values = {"rows": n_rows, "out": out, "columns": names}
    Output(as_json).event("predicted", f"{n_rows} predictions in {out}", values)


def _check_out(out: str, model: str, data: str) -> None:
    """Raise OptionError where the predictions would take the place of what they come from."""
    for what, name in (("table", data), ("model", model)):
        if Path(out).is_file() and Path(name).is_file() and Path(out).samefile(name):
            raise OptionError(
                f"--out must be another file than the {what}, which would be lost, got {out}; "
                "give it a name of its own"
            )


def _loaded(model: str, functions: str | None, device: str | None) -> Network:
    """The network in the file `model`; `functions`, which have been run, for the message alone."""
    try:
        with warnings.catch_warnings(record=True) as told:
            warnings.simplefilter("always")
            network = Network.load(model, device)
        for warning in told:
            click.echo(f"fastmlp: {warning.message}", err=True)
        return network
    except NotRegisteredError as error:
        hint = "give predict the file that does with --functions"
        if functions is not None:
            hint = f"--functions {functions} does not"
        raise NotRegisteredError(f"{error}; {hint}") from None


@contextmanager
def _replaced(path: Path) -> Iterator[TextIO]:
    """A file that takes the place of `path` at the end, or is gone where an error came first.

    What is no plain file, such as a pipe, is written as it stands.
    """
    if path.exists() and not path.is_file():
        with path.open("w", newline="", encoding="utf-8") as file:
            yield file
        return
    path = path.resolve()
    unfinished = path.with_name(f".{path.name}.{uuid.uuid4().hex}")
    try:
        with unfinished.open("x", newline="", encoding="utf-8") as file:
            yield file
        unfinished.replace(path)
    finally:
        unfinished.unlink(missing_ok=True)


def _names(network: Network, preparation: TablePreparation) -> list[str]:
    """The columns to write: labels and probabilities, or all values and standard deviations."""
    target = preparation.target
    if preparation.task == "classification":
        assert network.classes_ is not None, "the command line saves trained networks only"
        return [target, *(f"p_{label}" for label in network.classes_)]
    names = [f"{target}{suffix}" for suffix in network.loss.suffixes]
    return names if network.loss.kind.deviations is None else [*names, f"{target}_std"]


def _columns(network: Network, preparation: TablePreparation, X: np.ndarray) -> list[list[str]]:
    """Cells of the columns to write, for the inputs X of some rows."""
    if preparation.task == "regression":
        return _value_columns(network, preparation, X)
    probabilities = network.predict_proba(X)
    assert network.classes_ is not None
    labels = network.classes_[probabilities.argmax(axis=1)]
    return [labels.astype(str).tolist(), *(_cells(p, network.dtype) for p in probabilities.T)]


def _value_columns(
    network: Network, preparation: TablePreparation, X: np.ndarray
) -> list[list[str]]:
    values = preparation.values(network.predict(X)).reshape(len(X), -1)
    if network.loss.kind.are_rates:
        # Rates, exp(z), have their digits whatever their size.
        return [_cells(column, network.dtype) for column in values.T]
    columns = [_value_cells(column, preparation, network.dtype) for column in values.T]
    if network.loss.kind.deviations is not None:
        deviations = network.predict_std(X) * preparation.target_scale
        columns.append(_cells(deviations, network.dtype))
    return columns


def _value_cells(values: np.ndarray, preparation: TablePreparation, dtype: str) -> list[str]:
    """Values with as many decimals as the network computes of the target's own spread.

    The network computes deviations from the mean: a target of 1.7e9 +- 3 has more digits than its
    dtype holds.
    """
    n_digits = np.finfo(dtype).precision + 1
    decimals = n_digits - math.ceil(math.log10(preparation.target_scale))
    values = values.astype(np.float64)
    largest = np.abs(values).max(initial=0.0)
    # Where float64 has no such digits there is nothing to round, and round() would overflow.
    if 0.0 < largest < math.inf and decimals + math.log10(largest) < _FLOAT64_DIGITS:
        values = np.round(values, decimals)
    return values.astype(str).tolist()


def _cells(values: np.ndarray, dtype: str) -> list[str]:
    """Numbers with as many digits as the network computes."""
    return values.astype(dtype).astype(str).tolist()


def _write(file: TextIO, names: list[str], parts: Iterable[list[list[str]]]) -> int:
    """Write the rows of all parts; returns how many."""
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(names)
    n_rows = 0
    for columns in parts:
        writer.writerows(zip(*columns, strict=True))
        n_rows += len(columns[0])
    return n_rows
