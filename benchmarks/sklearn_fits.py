"""Whole fits of scikit-learn's estimators and of ours, in turn, in one run.

    python -m benchmarks.sklearn_fits [--case all] [--repeats 5] [--quality] [--into README.md]

The same data, parameters and random_state; every repeat begins a pause after the last product of
scikit-learn, as its BLAS's threads spin for a while and would take our cores. With --quality mean
scores on held-out parts over ten seeds instead, and their standard errors.
"""

from __future__ import annotations

import json
import os
import statistics
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

os.environ.pop("OPENBLAS_CORETYPE", None)

import click
import numpy as np
from sklearn import datasets
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import GridSearchCV, train_test_split
from sklearn.neural_network import MLPClassifier, MLPRegressor
from sklearn.preprocessing import StandardScaler

import fastmlp

from .command import Names, run
from .marks import write_between_marks

PAUSE_S = 0.3
OURS = {MLPClassifier: fastmlp.MLPClassifier, MLPRegressor: fastmlp.MLPRegressor}
GRID = {
    "hidden_layer_sizes": [(50,), (100,), (50, 50)],
    "alpha": [1e-4, 1e-2],
    "learning_rate_init": [1e-3, 1e-2],
    "activation": ["relu", "tanh"],
}


@dataclass(frozen=True)
class Case:
    """An estimator's parameters and the data that it is fitted on."""

    title: str
    theirs: type
    data: Callable[[], tuple[np.ndarray, np.ndarray]]
    parameters: dict[str, Any]
    grid: bool = False


def scaled(load: Callable[..., Any]) -> Callable[[], tuple[np.ndarray, np.ndarray]]:
    def data() -> tuple[np.ndarray, np.ndarray]:
        X, y = load(return_X_y=True)
        return StandardScaler().fit_transform(X), y

    return data


def wide_table() -> tuple[np.ndarray, np.ndarray]:
    X, y = datasets.make_classification(20_000, 100, n_informative=40, n_classes=4, random_state=0)
    return X.astype(np.float32), y


CASES = {
    "digits": Case("digits, defaults", MLPClassifier, scaled(datasets.load_digits), {}),
    "digits_wide": Case(
        "digits, (256, 128), batch 64",
        MLPClassifier,
        scaled(datasets.load_digits),
        {"hidden_layer_sizes": (256, 128), "batch_size": 64},
    ),
    "breast_cancer": Case(
        "breast cancer, defaults", MLPClassifier, scaled(datasets.load_breast_cancer), {}
    ),
    "diabetes": Case("diabetes, defaults", MLPRegressor, scaled(datasets.load_diabetes), {}),
    "table": Case(
        "20,000 x 100 float32, (256, 256, 256), 10 epochs",
        MLPClassifier,
        wide_table,
        {"hidden_layer_sizes": (256, 256, 256), "max_iter": 10},
    ),
    "digits_grid": Case(
        "digits, grid search of 24 candidates, 3 folds",
        MLPClassifier,
        scaled(datasets.load_digits),
        {"max_iter": 100},
        grid=True,
    ),
}


def fit_seconds(case: Case, cls: type, X: np.ndarray, y: np.ndarray, **extra: Any) -> float:
    """Seconds of a whole fit, or of a search over the grid with 3 folds."""
    estimator = cls(random_state=0, **case.parameters, **extra)
    fitted = GridSearchCV(estimator, GRID, cv=3) if case.grid else estimator
    start = time.perf_counter()
    fitted.fit(X, y)
    return time.perf_counter() - start


def measure(name: str, repeats: int) -> dict[str, Any]:
    """The record of a case: seconds of each way, and how many times faster ours are."""
    case = CASES[name]
    X, y = case.data()
    ours = OURS[case.theirs]
    ways: dict[str, Callable[[], float]] = {
        "fastmlp": lambda: fit_seconds(case, ours, X, y),
        "fastmlp float32": lambda: fit_seconds(case, ours, X, y, dtype="float32"),
        "scikit-learn": lambda: fit_seconds(case, case.theirs, X, y),
    }
    found: dict[str, list[float]] = {way: [] for way in ways}
    for way in ("fastmlp", "fastmlp float32"):
        ways[way]()  # what is compiled once, or loaded from the cache
    for _ in range(repeats):
        for way, seconds in ways.items():
            time.sleep(PAUSE_S)
            found[way].append(seconds())
    least = {way: min(seconds) for way, seconds in found.items()}
    middle = {way: statistics.median(seconds) for way, seconds in found.items()}
    return {
        "case": name,
        "seconds_best": {way: round(s, 4) for way, s in least.items()},
        "seconds_median": {way: round(s, 4) for way, s in middle.items()},
        "times_scikit_learn": {way: round(least["scikit-learn"] / least[way], 2) for way in least},
        "times_scikit_learn_median": {
            way: round(middle["scikit-learn"] / middle[way], 2) for way in middle
        },
    }


def quality(name: str, n_seeds: int) -> dict[str, Any]:
    """Mean scores on a held-out third over seeds, with the standard error of their difference."""
    case = CASES[name]
    X, y = case.data()
    scores: dict[str, list[float]] = {"scikit-learn": [], "fastmlp": [], "fastmlp float32": []}
    for seed in range(n_seeds):
        stratify = y if case.theirs is MLPClassifier else None
        parts = train_test_split(X, y, test_size=1 / 3, random_state=seed, stratify=stratify)
        X_train, X_test, y_train, y_test = parts
        for way, cls, extra in (
            ("scikit-learn", case.theirs, {}),
            ("fastmlp", OURS[case.theirs], {}),
            ("fastmlp float32", OURS[case.theirs], {"dtype": "float32"}),
        ):
            model = cls(random_state=seed, **case.parameters, **extra).fit(X_train, y_train)
            scores[way].append(model.score(X_test, y_test))
    error = {way: np.std(s, ddof=1) / len(s) ** 0.5 for way, s in scores.items()}
    return {
        "case": name,
        "mean_score": {way: round(float(np.mean(s)), 4) for way, s in scores.items()},
        "standard_error": {way: round(float(e), 4) for way, e in error.items()},
    }


def table(records: list[dict[str, Any]]) -> str:
    """A row for each case: seconds of each way, and how many times faster ours are."""
    lines = [
        '| fit | scikit-learn | fastmlp | times as fast | with dtype="float32" | times as fast |',
        "|---|---:|---:|---:|---:|---:|",
    ]
    for record in records:
        seconds, times = record["seconds_best"], record["times_scikit_learn"]
        cells = [CASES[record["case"]].title, f"{seconds['scikit-learn']:.3g} s"]
        for way in ("fastmlp", "fastmlp float32"):
            cells += [f"{seconds[way]:.3g} s", f"**{times[way]:.1f}**"]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


@click.command("benchmarks.sklearn_fits")
@click.option("--case", "cases", type=Names(list(CASES)), default="all", show_default=True)
@click.option("--repeats", type=click.IntRange(1), default=5, show_default=True)
@click.option("--quality", "scores", is_flag=True, help="Compare scores, not seconds.")
@click.option("--into", type=click.Path(path_type=Path, exists=True), help="a document with marks")
def sklearn_fits(cases: tuple[str, ...], repeats: int, scores: bool, into: Path | None) -> None:
    """Whole fits beside scikit-learn's, one JSON record a case."""
    warnings.simplefilter("ignore", ConvergenceWarning)
    records = []
    for name in cases:
        if scores and CASES[name].grid:
            continue
        records.append(quality(name, 10) if scores else measure(name, repeats))
        click.echo(json.dumps(records[-1]))
    if into is not None:
        if scores:
            raise click.UsageError("--into goes with seconds, got --quality too; leave one out")
        write_between_marks(into, "sklearn", table(records))


if __name__ == "__main__":
    run(sklearn_fits)
