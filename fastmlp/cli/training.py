"""What ``fastmlp train`` does, from the table to the model file."""

from __future__ import annotations

import json
import warnings
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from fastmlp.cli.columns import wishes_of
from fastmlp.cli.defaults import can_be_shifted, default_batch_size, default_l2, start_at_constant
from fastmlp.cli.ending import exit_code, recorded
from fastmlp.cli.eval_tables import VALIDATION, EvalTables
from fastmlp.cli.files import HISTORY, MODEL, RUN_FILE, check_files, check_room, writable_folder
from fastmlp.cli.held_out import check_scores, held_out_score
from fastmlp.cli.in_force import functions_in_force
from fastmlp.cli.options import (
    check_layer_lr,
    class_weights_for,
    hidden_sizes,
    loss_for,
    optimizer_for,
    schedule_for,
)
from fastmlp.cli.output import Output
from fastmlp.cli.record import Record
from fastmlp.cli.results import Results
from fastmlp.cli.setting_options import values
from fastmlp.cli.summary import Summary
from fastmlp.cli.train_options import TrainOptions
from fastmlp.cli.training_table import Part, TrainingTable
from fastmlp.cli.watch import Watch, check_watched, metrics_for
from fastmlp.errors import OptionError, ResumedWarning, TableError, TrainingInterruptedWarning
from fastmlp.history import History
from fastmlp.interrupts import Terminated
from fastmlp.model.network import Network
from fastmlp.optim import LBFGS, Optimizer
from fastmlp.optim.base import OPTIMIZER_SETTINGS
from fastmlp.preparation import TablePreparation, Target
from fastmlp.preparation.choice import choose
from fastmlp.schedules import Schedule
from fastmlp.spec.losses import Loss
from fastmlp.spec.network import NETWORK_SETTINGS
from fastmlp.training.options import FIT_SETTINGS
from fastmlp.training.scoring import Metric
from fastmlp.whole_files import write_text

_WRITTEN = {"--log-csv": "log_csv", "--log-json": "log_json"}


@dataclass(frozen=True)
class _Training:
    """What is settled before a folder is made and a row prepared."""

    table: TrainingTable  # split, and its preparation learnt
    network: Network  # which predicts a constant
    optimizer: Optimizer
    schedule: Schedule
    watch: Watch
    others: EvalTables
    metrics: list[Metric]
    class_weight: str | dict[Any, float] | None
    batch_size: int


class TrainCommand:
    """One run of the command."""

    def __init__(self, data: str, options: TrainOptions, as_json: bool, record: Record) -> None:
        self._data, self._options, self._record = data, options, record
        self._output = Output(as_json)

    def run(self) -> int:
        """Train, save, report; returns the exit code. Raises FastmlpError for bad input."""
        with ExitStack() as until_end:
            return self._run(until_end)

    def _run(self, until_end: ExitStack) -> int:
        options, job = self._options, self._decide()
        table, network = job.table, job.network
        folder = until_end.enter_context(writable_folder(options.out or f"runs/{table.name}"))
        resumed = job.watch.resumed
        self._check_written(folder, job.watch)
        train, validation, test = table.parts(folder, network.dtype)
        parts = job.others.parts(table, folder, network.dtype)
        if len(validation.y):
            parts = {VALIDATION: validation, **parts}
        # Its weights, and as much of an optimizer's state as two of theirs.
        check_room(folder, 3 * network.n_parameters * np.dtype(network.dtype).itemsize)
        check_scores(network, table.target, test, job.metrics)
        summary = Summary(
            self._output, table, network, job.watch.monitor, options.sample_weight is not None
        )
        summary.settings(
            job.optimizer,
            job.batch_size,
            options.network["seed"],
            job.others.sizes,
            options.network["device"],
            resumed,
        )
        try:
            history = self._fit(job, train, parts, summary)
        except Terminated as signalled:
            history = recorded(network, signalled)
        self._write(job, folder, test, history, summary)
        return exit_code() if history.stopped_by == "interrupt" else 0

    def _decide(self) -> _Training:
        """Read the table, and settle all of the training that does not need a folder."""
        options = self._options
        options.check()
        optimizer = self._optimizer()
        schedule = schedule_for(options.schedule, options.monitor)
        hidden = hidden_sizes(options.hidden)
        check_layer_lr(optimizer, hidden)
        watch = Watch(options)
        table = self._read()
        target = table.target
        split = table.split_rows(
            options.val_fraction, options.test_fraction, options.network["seed"]
        )
        loss = loss_for(options.network["loss"], target.task, target.name)
        class_weight = self._class_weight(target)
        scale_target = target.task == "regression" and can_be_shifted(loss)
        _check_limits(table.target, loss)
        if options.force and watch.resumed is not None:
            path = watch.resumed
            then = Network.load(path, "cpu")
            preparation = table.use(TablePreparation.of_network(then, str(path)))
        else:
            preparation = table.learn(scale_target)
        network = self._network(table, hidden, loss)
        preparation.begin(network)
        network.extra = preparation.to_extra()
        batch_size = self._batch_size(optimizer, len(split.train))
        y = preparation.outputs(target.values) if scale_target else target.values
        start_at_constant(network, y[split.train], class_weight)
        others = EvalTables(
            options.eval_files,
            options.header,
            preparation,
            target,
            len(split.validation),
            options.sample_weight,
        )
        metrics = metrics_for(options.metrics, network, preparation)
        check_watched(options, network, metrics, others.names, len(split.test))
        return _Training(
            table, network, optimizer, schedule, watch, others, metrics, class_weight, batch_size,
        )  # fmt: skip

    def _optimizer(self) -> Optimizer:
        options = self._options
        return optimizer_for(options.optimizer, **values(OPTIMIZER_SETTINGS, options.around_rule))

    def _class_weight(self, target: Target) -> str | dict[Any, float] | None:
        options = self._options
        if options.class_weight is not None and target.task != "classification":
            raise OptionError(
                f"--class-weight needs a target of classes, the target {target.name!r} holds "
                "values; leave it out"
            )
        return class_weights_for(options.class_weight, target.values, target.name)

    def _batch_size(self, optimizer: Optimizer, n_rows: int) -> int:
        given: int | None = self._options.fit["batch_size"]
        if given is not None:
            return given
        return n_rows if isinstance(optimizer, LBFGS) else default_batch_size(n_rows)

    def _check_written(self, folder: Path, watch: Watch) -> None:
        """Refuse to write over what is read, and files that cannot be written."""
        options = self._options
        self._record.check(folder, self._data, goes_on=watch.resumed is not None)
        check_files(
            {name: getattr(options, key) for name, key in _WRITTEN.items()},
            {
                "DATA": [self._data],
                "the run file": self._record.read,
                "that of --eval": options.eval_files,
                "that of --functions": [options.functions] if options.functions else [],
                "that of --save-config": self._record.files,
            },
            folder,
            watch.checkpoint,
        )

    def _fit(
        self, job: _Training, train: Part, parts: dict[str, Part], summary: Summary
    ) -> History:
        options = self._options
        with warnings.catch_warnings():
            # The summary says it in its own words.
            for kind in (TrainingInterruptedWarning, ResumedWarning):
                warnings.simplefilter("ignore", kind)
            return job.network.fit(
                train.X,
                train.y,
                optimizer=job.optimizer,
                eval_set={name: (part.X, part.y, part.weights) for name, part in parts.items()},
                metrics=job.metrics if job.metrics and parts else None,
                # The summary comes last: what refuses has done so before it.
                callbacks=[*job.watch.callbacks, summary],
                checkpoint=job.watch.checkpoint,
                resume=options.resume,
                force=options.force,
                sample_weight=train.weights,
                class_weight=job.class_weight,
                schedule=job.schedule,
                shuffle=options.shuffle_for_fit,
                verbose=options.progress and not self._output.as_json,
                **{**values(FIT_SETTINGS, options.fit), "batch_size": job.batch_size},
            )

    def _write(
        self, job: _Training, folder: Path, test: Part, history: History, summary: Summary
    ) -> None:
        """The model, its history and the run file, and what is said at the end."""
        options, network, target = self._options, job.network, job.table.target
        results = Results(folder)
        path = results.write(MODEL, network.save)
        score = held_out_score(network, job.table.preparation, test, job.metrics)
        text = json.dumps(history.to_dict() | ({"test": score} if score else {})) + "\n"
        results.write(HISTORY, lambda file: write_text(file, text))
        watched = job.watch.in_force()
        settings = {
            "data": self._data,
            "out": str(folder),
            "target": target.name,
            "task": target.task,
            "batch_size": job.batch_size,
            "block_shuffle": {"blocks": True, "rows": False}.get(history.shuffle or ""),
            **watched,
            **functions_in_force(network, job.optimizer, job.schedule, watched["monitor"]),
        }
        run_file = results.write(RUN_FILE, lambda file: self._record.write(file, settings))
        summary.end(history, score, path, run_file, self._data, options.header, options.functions)
        self._record.write_also(settings)
        results.check()

    def _read(self) -> TrainingTable:
        options = self._options
        wishes = wishes_of(options.drop, options.categorical, options.one_hot, options.embed)
        wishes = replace(wishes, weight=options.sample_weight)
        choice = choose(
            self._data, options.target, wishes, task=options.task, header=options.header
        )
        return TrainingTable(choice, options.task, options.in_memory)

    def _network(self, table: TrainingTable, hidden: list[int], loss: Loss) -> Network:
        options, target = self._options, table.target
        inputs = table.preparation.inputs_of
        classes = target.task == "classification"
        n_outputs = target.n_classes if classes else loss.outputs_per_target
        if loss.kind.targets == "yes_no":
            if n_outputs != 2:
                raise OptionError(
                    f"--loss {loss.name} is for two classes, the target {target.name!r} "
                    f"has {n_outputs}; use cross_entropy"
                )
            n_outputs = 1
        settings: dict[str, Any] = {
            "l2": default_l2(len(table.split.train)),
            **values(NETWORK_SETTINGS, options.network),
            "loss": loss,
            "embeddings": inputs.embeddings,
        }
        return Network([inputs.n_inputs, *hidden, n_outputs], **settings)


def _check_limits(target: Target, loss: Loss) -> None:
    """Raise TableError for a value that the loss does not take, such as a negative count."""
    if target.task != "regression" or not loss.kind.is_limited:
        return
    wrong = loss.kind.beyond_limits(target.values)
    if wrong.any():
        row = int(np.argmax(wrong))
        raise TableError(
            f"the target {target.name!r} must be {loss.kind.limits}, got "
            f"{target.values[row]:g} in row {row + 1}; mend it, or take another loss"
        )
