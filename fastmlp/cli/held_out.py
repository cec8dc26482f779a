"""What a training is worth: its scores on rows that had no part in it."""

from __future__ import annotations

import warnings

import numpy as np

from fastmlp.cli.training_table import Part
from fastmlp.model.network import Network
from fastmlp.preparation import TablePreparation, Target
from fastmlp.training.scoring import Metric


def held_out_score(
    network: Network, preparation: TablePreparation, test: Part, metrics: list[Metric]
) -> dict[str, float]:
    """The score on rows that had no part in the training; empty where none were held out.

    "accuracy" for classes; for values "r2", and "rmse" in the target's own units; and `metrics`.
    """
    X, y, weights = test.X, test.y, test.weights
    if not len(X):
        return {}
    scores = network.evaluate(X, y, weights)
    del scores["loss"]
    if "r2" in scores:
        predicted = network.predict(X)
        if len(network.loss.suffixes) > 1:
            predicted = predicted[:, network.loss.middle]
        errors = preparation.values(predicted) - preparation.values(y)
        scores["rmse"] = float(np.sqrt(np.average(errors**2, weights=weights)))
    if metrics:
        measured = network.evaluate(X, y, weights, metrics=metrics)
        del measured["loss"]
        scores |= measured
    return scores


def check_scores(network: Network, target: Target, test: Part, metrics: list[Metric]) -> None:
    """Raise before the training where metrics or weights forbid to score the test part."""
    is_plain = not metrics and test.weights is None
    if is_plain or not len(test.y):
        return
    y = test.y
    if target.task == "classification":
        # Before its first fit a network knows no labels.
        y = np.searchsorted(np.unique(target.values), y)
    with warnings.catch_warnings():
        # What is ill-defined for an untrained network need not be so later.
        warnings.simplefilter("ignore")
        network.evaluate(test.X, y, test.weights, metrics=metrics or None)
