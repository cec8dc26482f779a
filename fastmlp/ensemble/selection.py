"""Greedy selection of members, with replacement, from trained networks.

Caruana, Niculescu-Mizil, Crew and Ksikes, Ensemble selection from libraries of models (2004):
https://doi.org/10.1145/1015330.1015432
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from fastmlp.ensemble.answers import Members
from fastmlp.ensemble.members import Agreed
from fastmlp.ensemble.scores import Judge
from fastmlp.monitor import BestSoFar, Monitor
from fastmlp.training.metrics import Scoring, metric_of

if TYPE_CHECKING:
    from fastmlp.engine.cpu.together import Outputs


@dataclass(frozen=True)
class Selection:
    """What was chosen.

    counts: (networks,) how often each; chosen: the networks in the order of the rounds; scores:
    that of the ensemble after each round, the last one being the best.
    """

    counts: np.ndarray
    chosen: list[int]
    scores: list[float]


def choose(
    members: Members,
    agreed: Agreed,
    X: Any,
    y: Any,
    sample_weight: Any,
    metric: Any,
    mode: str,
    n_rounds: int,
    n_start: int,
) -> Selection:
    """Among trained networks by their predictions for the rows of X; as `Ensemble.select`."""
    judge = Judge(members.networks, agreed)
    scoring, name = _scoring(judge, metric)
    monitor = Monitor.make("Ensemble.select", name, mode)
    monitor.begin(scoring.directions)  # refuses before anything is predicted
    data = judge.dataset(X, y, sample_weight, members.spec_of(1))
    convert, n_columns = members.moments
    # As wide as the networks' own numbers: nothing is lost, and there may be many networks.
    are_wide = members.have_deviations or any(n.dtype == "float64" for n in members.networks)
    dtype = "float64" if are_wide else "float32"
    values = np.empty((len(members.networks), len(data.X), n_columns), dtype)

    together = members.together()

    def use(start: int, rows: np.ndarray, outputs: Outputs) -> None:
        found = members.values(together.groups, outputs, convert)
        values[:, start : start + len(rows)] = found

    together.predict(data.X, use)
    return select(
        values,
        lambda mean: judge.of_mean(mean, data, scoring)[name],
        lambda: monitor.begin(scoring.directions),
        n_rounds,
        n_start,
    )


def _scoring(judge: Judge, metric: Any) -> tuple[Scoring, str]:
    """What to compute, and which of it counts."""
    if metric == "loss":
        return judge.scoring([]), "loss"
    default = metric_of(judge.task)
    if metric == default:
        return judge.scoring(None), default
    scoring = judge.scoring([metric])
    assert scoring.metrics is not None
    return scoring, scoring.metrics[0].name


def select(
    values: np.ndarray,
    score_of: Callable[[np.ndarray], float],
    watch: Callable[[], BestSoFar],
    n_rounds: int,
    n_start: int,
) -> Selection:
    """Begin with the `n_start` best networks, then add the one that helps most, round by round.

    values: (networks, rows, V), of which an ensemble has the mean; `score_of` judges one of these;
    `watch` makes what tells which score is better. A network may be added again. Of all rounds the
    best counts, the first of equal ones, so the outcome is no worse than the best single network.
    """
    alone = [score_of(part.astype(np.float64)) for part in values]
    order = _ranked(alone, watch)
    chosen, scores = [order[0]], [alone[order[0]]]
    total = values[order[0]].astype(np.float64)
    for number in order[1:n_start]:
        total += values[number]
        chosen.append(number)
        scores.append(score_of(total / len(chosen)))
    while len(chosen) < n_rounds:
        best, found = watch(), order[0]
        for number, part in enumerate(values):
            if best.improves(score_of((total + part) / (len(chosen) + 1))):
                found = number
        total += values[found]
        chosen.append(found)
        scores.append(score_of(total / len(chosen)))
    best, n_kept = watch(), 1
    for number, score in enumerate(scores):
        if best.improves(score):
            n_kept = number + 1
    counts = np.bincount(chosen[:n_kept], minlength=len(values))
    return Selection(counts, chosen[:n_kept], scores[:n_kept])


def _ranked(scores: list[float], watch: Callable[[], BestSoFar]) -> list[int]:
    """Numbers of the scores, the best first; of equal ones the first, nan last."""

    def key(number: int) -> tuple[bool, float]:
        single = watch()
        is_number = single.improves(scores[number])
        return not is_number, single.lowest

    return sorted(range(len(scores)), key=key)
