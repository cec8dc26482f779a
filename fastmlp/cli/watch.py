"""What is watched and written while a training runs: metrics, early stopping, logs, checkpoints."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from fastmlp.callbacks import Callback, Checkpoint, CSVLog, EarlyStopping, JSONLinesLog
from fastmlp.checks import integer, name_among
from fastmlp.cli.defaults import PATIENCE
from fastmlp.cli.train_options import TrainOptions
from fastmlp.errors import OptionError
from fastmlp.model.network import Network
from fastmlp.preparation import TablePreparation
from fastmlp.training.metrics import Scoring
from fastmlp.training.scoring import Metric, as_metrics

_VAL_LOSS = "val_loss"


class Watch:
    """The callbacks that options ask for, and what they have in force.

    Raises OptionError for options that stand alone.
    """

    def __init__(self, options: TrainOptions) -> None:
        self.monitor = options.monitor or _VAL_LOSS
        self.stopping: EarlyStopping | None = None
        self.checkpoint: Checkpoint | None = None
        if options.val_fraction or options.monitor:
            self.stopping = EarlyStopping(
                self.monitor,
                PATIENCE if options.patience is None else options.patience,
                0.0 if options.min_delta is None else options.min_delta,
            )
        else:
            for name, value in (("patience", options.patience), ("min-delta", options.min_delta)):
                if value is not None:
                    raise OptionError(
                        f"--{name} needs a validation part to watch, got --val-fraction 0; leave "
                        "one out, or say with --monitor what to watch"
                    )
        if options.checkpoint is not None:
            every = 1 if options.checkpoint_every is None else options.checkpoint_every
            self.checkpoint = Checkpoint(
                options.checkpoint,
                monitor=self.monitor,
                save_best_only=options.checkpoint_best,
                every_n_epochs=integer("--checkpoint-every", every, 1),
            )
        elif options.checkpoint_every is not None or options.checkpoint_best:
            name = "best" if options.checkpoint_every is None else "every"
            raise OptionError(
                f"--checkpoint-{name} needs a file to write, got no --checkpoint; give it too"
            )
        logs: Sequence[Callback | None] = (
            self.stopping,
            self.checkpoint,
            CSVLog(options.log_csv) if options.log_csv is not None else None,
            JSONLinesLog(options.log_json) if options.log_json is not None else None,
        )
        self.callbacks = [callback for callback in logs if callback is not None]

    def in_force(self) -> dict[str, Any]:
        """Values of the options, as a run file repeats them."""
        stopping, checkpoint = self.stopping, self.checkpoint
        return {
            "monitor": None if stopping is None else self.monitor,
            "patience": None if stopping is None else stopping.patience,
            "min_delta": None if stopping is None else stopping.min_delta,
            "checkpoint_every": None if checkpoint is None else checkpoint.every_n_epochs,
        }


def check_watched(
    options: TrainOptions,
    network: Network,
    metrics: list[Metric],
    eval_names: Sequence[str],
    n_test: int,
) -> None:
    """Raise OptionError where no eval set has what --monitor says, or no rows are for metrics."""
    if metrics and not eval_names and not n_test:
        raise OptionError(
            "--metric needs rows to measure, got --val-fraction 0 and --test-fraction 0; hold some "
            "back, or name a table with --eval"
        )
    if options.monitor is None:
        return
    scores = Scoring(network.task, metrics or None).directions
    series = ["loss", *(f"{name}_{score}" for name in eval_names for score in scores)]
    name_among("--monitor", options.monitor, series)


def metrics_for(
    names: Sequence[str], network: Network, preparation: TablePreparation
) -> list[Metric]:
    """The metrics of --metric; those of values are computed in the target's own units.

    Raises OptionError for a name that is not known or does not fit the network.
    """
    found = as_metrics(list(names), network.task, network.loss, network.sizes[-1]) or []
    if network.task != "regression":
        return found
    return [replace(m, function=_in_units(m.function, preparation)) for m in found]


def _in_units(function: Callable[..., Any], preparation: TablePreparation) -> Callable[..., Any]:
    @functools.wraps(function)
    def measured(y_true: Any, y_pred: Any, **settings: Any) -> Any:
        return function(preparation.values(y_true), preparation.values(y_pred), **settings)

    return measured
