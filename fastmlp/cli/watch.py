"""What is watched and written while a training runs: metrics, early stopping, logs, checkpoints."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from fastmlp.callbacks import Callback, Checkpoint, CSVLog, EarlyStopping, JSONLinesLog
from fastmlp.checks import integer, name_among, real
from fastmlp.cli.defaults import PATIENCE
from fastmlp.cli.train_options import TrainOptions
from fastmlp.errors import OptionError
from fastmlp.model.network import Network
from fastmlp.preparation import TablePreparation
from fastmlp.training.metrics import Scoring
from fastmlp.training.scoring import Metric, as_metrics

_VAL_LOSS = "val_loss"
# In a folder that --checkpoint names.
_ONE_FILE, _MANY_FILES = "checkpoint.safetensors", "checkpoint-{epoch:06d}.safetensors"


class Watch:
    """The callbacks that options ask for, and what they have in force.

    Raises OptionError for options that stand alone.
    """

    def __init__(self, options: TrainOptions) -> None:
        self.monitor = options.monitor or _VAL_LOSS
        self.stopping: EarlyStopping | None = None
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
        self._resume = options.resume
        if options.force and not options.resume:
            raise OptionError("--force is about how to resume, got no --resume; give it too")
        self.checkpoint = _checkpoint(options, self.monitor)
        logs: Sequence[Callback | None] = (
            self.stopping,
            CSVLog(options.log_csv) if options.log_csv is not None else None,
            JSONLinesLog(options.log_json) if options.log_json is not None else None,
        )
        self.callbacks = [callback for callback in logs if callback is not None]

    @property
    def resumed(self) -> Path | None:
        """The file of a training that is gone on with, if any."""
        return self.checkpoint.latest() if self.checkpoint is not None and self._resume else None

    def in_force(self) -> dict[str, Any]:
        """Values of the options, as a run file repeats them."""
        stopping, checkpoint = self.stopping, self.checkpoint
        by_epochs = checkpoint is not None and checkpoint.every_s is None
        return {
            "monitor": None if stopping is None else self.monitor,
            "patience": None if stopping is None else stopping.patience,
            "min_delta": None if stopping is None else stopping.min_delta,
            "checkpoint_every": checkpoint.every_n_epochs if checkpoint and by_epochs else None,
        }


def _checkpoint(options: TrainOptions, monitor: str) -> Checkpoint | None:
    """That of --checkpoint; OptionError for options about one that is not there, or at odds."""
    every, every_s, keep = (
        options.checkpoint_every,
        options.checkpoint_seconds,
        options.checkpoint_keep,
    )
    if options.checkpoint is None:
        about = {
            "--checkpoint-every": every is not None,
            "--checkpoint-seconds": every_s is not None,
            "--checkpoint-keep": keep is not None,
            "--checkpoint-best": options.checkpoint_best,
        }
        for name in (name for name, is_given in about.items() if is_given):
            raise OptionError(f"{name} needs a file to write, got no --checkpoint; give it too")
        if options.resume:
            raise OptionError(
                "--resume needs a file to go on from, got no --checkpoint; give it too"
            )
        return None
    if every_s is not None:
        real("--checkpoint-seconds", every_s, 0.0, low_open=True)
        for name, is_given in (("every", every is not None), ("best", options.checkpoint_best)):
            if is_given:
                raise OptionError(
                    f"--checkpoint-seconds saves in mid-epoch and --checkpoint-{name} after an "
                    "epoch, got both; leave one of them out"
                )
    path = options.checkpoint
    if Path(path).is_dir():
        path = str(Path(path, _ONE_FILE if keep is None else _MANY_FILES))
    if keep is not None:
        integer("--checkpoint-keep", keep, 1)
        if "{epoch" not in path:
            raise OptionError(
                f"--checkpoint-keep needs {{epoch}} in the name of --checkpoint, got {path}; name "
                "them for example run-{epoch:03d}.safetensors"
            )
    return Checkpoint(
        path,
        monitor=monitor,
        save_best_only=options.checkpoint_best,
        every_n_epochs=1 if every is None else integer("--checkpoint-every", every, 1),
        every_s=every_s,
        keep=keep,
    )


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
