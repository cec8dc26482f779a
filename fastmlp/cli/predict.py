"""``fastmlp predict``: a raw table in, a CSV file of predictions out."""

from __future__ import annotations

import csv
import math
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import TextIO

import click
import numpy as np

from fastmlp.cli.output import Output
from fastmlp.csv_file import HEADERS
from fastmlp.errors import OptionError
from fastmlp.network import Network
from fastmlp.preparation import Preparation
from fastmlp.tables import read_table


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
@click.option("--json", "as_json", is_flag=True, help="Report as a JSON object; needs --out.")
def predict(model: str, data: str, out: str, header: str, as_json: bool) -> None:
    """Predict the target of every row of DATA with MODEL, a file that 'fastmlp train' wrote.

    DATA has the columns that the model was trained on, in any order, raw; other columns are left
    out. The predictions are in the order of the rows: for classes the label and the probability
    of each class, for values the value.
    """
    if as_json and out == "-":
        raise OptionError("--json needs --out FILE, as the predictions would go to stdout too")
    network = Network.load(model)
    preparation = Preparation.from_extra(network.extra, model)
    table = read_table(data, features=preparation.features, header=header)
    X = preparation.inputs(table.X, network.dtype)
    names, columns = _columns(network, preparation, X)
    rows = zip(*columns, strict=True)
    if out == "-":
        _write(sys.stdout, names, rows)
        return
    try:
        with Path(out).open("w", newline="", encoding="utf-8") as file:
            _write(file, names, rows)
    except OSError as error:
        raise OptionError(
            f"--out must be a file that can be written, got {out}: {error.strerror}"
        ) from None
    values = {"rows": len(X), "out": out, "columns": names}
    Output(as_json).event("predicted", f"{len(X)} predictions in {out}", values)


def _columns(
    network: Network, preparation: Preparation, X: np.ndarray
) -> tuple[list[str], list[list[str]]]:
    """Names and cells of the columns to write."""
    if preparation.task == "regression":
        return _value_columns(network, preparation, X)
    probabilities = network.predict_proba(X)
    classes = network.classes_
    assert classes is not None, "the command line saves trained networks only"
    labels = classes[probabilities.argmax(axis=1)]
    names = [preparation.target, *(f"p_{label}" for label in classes)]
    columns = [_cells(column, network.dtype) for column in probabilities.T]
    return names, [labels.astype(str).tolist(), *columns]


def _value_columns(
    network: Network, preparation: Preparation, X: np.ndarray
) -> tuple[list[str], list[list[str]]]:
    """The value; for quantiles one column each, for gaussian_nll its standard deviation too."""
    target, values = preparation.target, preparation.values(network.predict(X))
    if network.loss.name == "quantiles":
        names = [f"{target}_q{level:g}" for level in network.loss.parameters]
        return names, [
            _value_cells(column, preparation, network.dtype)
            for column in values.reshape(len(X), -1).T
        ]
    columns = [_value_cells(values, preparation, network.dtype)]
    if network.loss.name == "gaussian_nll":
        deviations = network.predict_std(X) * preparation.target_scale
        return [target, f"{target}_std"], [*columns, _cells(deviations, network.dtype)]
    return [target], columns


def _value_cells(values: np.ndarray, preparation: Preparation, dtype: str) -> list[str]:
    """Values with as many decimals as the network computes of the target's own spread.

    The network computes deviations from the mean: a target of 1.7e9 +- 3 has more digits than its
    dtype holds.
    """
    n_digits = np.finfo(dtype).precision + 1
    decimals = n_digits - math.ceil(math.log10(preparation.target_scale))
    return np.round(values.astype(np.float64), decimals).astype(str).tolist()


def _cells(values: np.ndarray, dtype: str) -> list[str]:
    """Numbers with as many digits as the network computes."""
    return values.astype(dtype).astype(str).tolist()


def _write(file: TextIO, names: list[str], rows: Iterable[tuple]) -> None:
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(names)
    writer.writerows(rows)
