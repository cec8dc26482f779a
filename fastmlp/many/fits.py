"""One fit of many: its part of the table, its arguments checked."""

from __future__ import annotations

import copy
from typing import Any

from fastmlp.callbacks import EarlyStopping
from fastmlp.checks import shown
from fastmlp.data.eval_sets import eval_parts
from fastmlp.errors import OptionError, OptionTypeError
from fastmlp.many import arguments
from fastmlp.many.tables import SharedTable
from fastmlp.many.workers import Ending
from fastmlp.model.datasets import dataset_for
from fastmlp.model.fit import Fit, FitData
from fastmlp.model.inference import scoring_of
from fastmlp.model.network import Network
from fastmlp.schedules import ReduceOnPlateau
from fastmlp.training.options import FitOptions


def fit_on(
    table: SharedTable,
    network: Network,
    own: dict[str, Any],
    settings: dict[str, Any],
    eval_set: Any,
    metrics: Any,
    started_s: float,
    ending: Ending,
) -> Fit:
    """The fit of one of many networks on their table; making it changes nothing.

    own: its y, rows, eval_rows, sample_weight and early_stopping; settings: the rest that it is
    given alone; all as `fit_many` takes them, and checked here.
    """
    stopping = own["early_stopping"]
    if stopping is not None and not isinstance(stopping, EarlyStopping):
        raise OptionTypeError(
            f"early_stopping must be a fastmlp.callbacks.EarlyStopping, got {shown(stopping)}"
        )
    if isinstance(settings.get("schedule"), ReduceOnPlateau):
        # It notes what it sees of a fit: one for each of them.
        settings = settings | {"schedule": copy.copy(settings["schedule"])}
    options = FitOptions.make(
        network.optimizer,
        callbacks=[] if stopping is None else [copy.copy(stopping)],
        verbose=False,
        **settings,
    )
    rows = arguments.as_rows("rows", own["rows"], table.n_rows)
    eval_rows = arguments.as_rows("eval_rows", own["eval_rows"], table.n_rows)
    if rows is None and eval_rows is not None:
        rows = arguments.others(eval_rows, table.n_rows)
        if not len(rows):
            raise OptionError("eval_rows must leave rows to train on, got all of them; pass rows")
    train, classes = table.dataset(network, own["y"], own["sample_weight"], rows)
    eval_sets = {}
    if eval_rows is not None:
        eval_sets["val"], _ = table.dataset(network, own["y"], own["sample_weight"], eval_rows)
    for name, where, part in eval_parts(eval_set):
        eval_sets[name], _ = dataset_for(network, *part, classes, f" of {where}")
    if metrics is not None and not eval_sets:
        raise OptionError(
            f"metrics are computed of rows to evaluate, got {shown(metrics)} and none; pass "
            "eval_rows or eval_set too"
        )
    scoring = scoring_of(network, metrics, classes)
    data = FitData(train, classes, eval_sets)
    return Fit(network, options, data, scoring, started_s, ended_outside=ending)
