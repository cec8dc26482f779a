"""What ``fastmlp train`` does, from the table to the model file."""

from __future__ import annotations

import json
import warnings
from contextlib import ExitStack
from dataclasses import replace

import numpy as np

from fastmlp.cli.columns import wishes_of
from fastmlp.cli.defaults import can_be_shifted, default_batch_size, default_l2, start_at_constant
from fastmlp.cli.eval_tables import VALIDATION, EvalTables
from fastmlp.cli.files import HISTORY, MODEL, RUN_FILE, check_files, check_room, writable_folder
from fastmlp.cli.held_back import check_scores, held_back_score
from fastmlp.cli.in_force import functions_in_force
from fastmlp.cli.options import (
    check_layer_lr,
    class_weights_for,
    dropout_rates,
    hidden_sizes,
    layer_factors,
    loss_for,
    one_or_each,
    optimizer_for,
    residual_layers,
    schedule_for,
)
from fastmlp.cli.output import Output
from fastmlp.cli.record import Record
from fastmlp.cli.results import Results
from fastmlp.cli.summary import Summary
from fastmlp.cli.train_options import TrainOptions
from fastmlp.cli.training_table import TrainingTable
from fastmlp.cli.watch import Watch, check_watched, metrics_for
from fastmlp.errors import OptionError, TableError, TrainingInterruptedWarning
from fastmlp.model.network import Network
from fastmlp.optim import LBFGS
from fastmlp.preparation.choice import choose
from fastmlp.spec.losses import Loss

_INTERRUPTED = 130
_WRITTEN = {"--log-csv": "log_csv", "--log-json": "log_json", "--checkpoint": "checkpoint"}


class Job:
    """One run of the command."""

    def __init__(self, data: str, options: TrainOptions, as_json: bool, record: Record) -> None:
        self._data, self._options, self._record = data, options, record
        self._output = Output(as_json)

    def run(self) -> int:
        """Train, save, report; returns the exit code. Raises FastmlpError for bad input."""
        with ExitStack() as until_end:
            return self._run(until_end)

    def _run(self, until_end: ExitStack) -> int:
        options = self._options
        options.check()
        optimizer = optimizer_for(
            options.optimizer,
            lr=options.lr,
            weight_decay=options.weight_decay,
            decay_biases=options.decay_biases,
            clip_norm=options.clip_norm,
            clip_value=options.clip_value,
            max_norm=options.max_norm,
            ema=options.ema,
            layer_lr=layer_factors(options.layer_lr),
        )
        schedule = schedule_for(options.schedule, options.monitor)
        hidden = hidden_sizes(options.hidden)
        check_layer_lr(optimizer, hidden)
        watch = Watch(options)
        table = self._read()
        target = table.target
        split = table.split_rows(options.val_fraction, options.test_fraction, options.seed)
        loss = loss_for(options.loss, target.task, target.name)
        if options.class_weight is not None and target.task != "classification":
            raise OptionError(
                f"--class-weight needs a target of classes, the target {target.name!r} holds "
                "values; leave it out"
            )
        class_weight = class_weights_for(options.class_weight, target.values, target.name)
        scale_target = target.task == "regression" and can_be_shifted(loss)
        _check_counts(table, loss)
        preparation = table.learn(scale_target)
        network = self._network(table, hidden, loss)
        preparation.begin(network)
        network.extra = preparation.to_extra()
        batch_size = options.batch_size
        if batch_size is None and isinstance(optimizer, LBFGS):
            batch_size = len(split.train)
        if batch_size is None:
            batch_size = default_batch_size(len(split.train))
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
        folder = until_end.enter_context(writable_folder(options.out or f"runs/{table.name}"))
        self._record.check(folder, self._data)
        check_files(
            {name: getattr(options, key) for name, key in _WRITTEN.items()},
            {
                "DATA": [self._data],
                "that of --eval": options.eval_files,
                "that of --functions": [options.functions] if options.functions else [],
                "that of --save-config": self._record.files,
            },
            folder,
        )
        train, validation, test = table.parts(folder, options.dtype)
        parts = others.parts(table, folder, options.dtype)
        if len(validation.y):
            parts = {VALIDATION: validation, **parts}
        # Its weights, and as much of an optimizer's state as two of theirs.
        check_room(folder, 3 * network.n_parameters * np.dtype(options.dtype).itemsize)
        check_scores(network, target, test, metrics)
        summary = Summary(
            self._output, table, network, watch.monitor, options.sample_weight is not None
        )
        summary.settings(optimizer, batch_size, options.seed, others.sizes, options.device)
        with warnings.catch_warnings():
            # The summary says it in its own words.
            warnings.simplefilter("ignore", TrainingInterruptedWarning)
            history = network.fit(
                train.X,
                train.y,
                optimizer=optimizer,
                epochs=options.epochs,
                batch_size=batch_size,
                eval_set={name: (part.X, part.y, part.weights) for name, part in parts.items()},
                metrics=metrics if metrics and parts else None,
                # The summary comes last: what refuses has done so before it.
                callbacks=[*watch.callbacks, summary],
                sample_weight=train.weights,
                class_weight=class_weight,
                schedule=schedule,
                shuffle=options.shuffle_for_fit,
                max_time_s=options.max_time,
                verbose=options.progress and not self._output.as_json,
            )
        results = Results(folder)
        path = results.write(MODEL, network.save)
        score = held_back_score(network, preparation, test, metrics)
        text = json.dumps(history.to_dict() | ({"test": score} if score else {})) + "\n"
        results.write(HISTORY, lambda file: file.write_text(text))
        watched = watch.in_force()
        settings = {
            "data": self._data,
            "out": str(folder),
            "target": target.name,
            "task": target.task,
            "batch_size": batch_size,
            "block_shuffle": {"blocks": True, "rows": False}.get(history.shuffle or ""),
            **watched,
            **functions_in_force(network, optimizer, schedule, watched["monitor"]),
        }
        run_file = results.write(RUN_FILE, lambda file: self._record.write(file, settings))
        summary.end(history, score, path, run_file, self._data, options.header, options.functions)
        self._record.write_also(settings)
        results.check()
        return _INTERRUPTED if history.stopped_by == "interrupt" else 0

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
        if loss.name == "binary_cross_entropy":
            if n_outputs != 2:
                raise OptionError(
                    f"--loss binary_cross_entropy is for two classes, the target {target.name!r} "
                    f"has {n_outputs}; use cross_entropy"
                )
            n_outputs = 1
        l2 = default_l2(len(table.split.train)) if options.l2 is None else options.l2
        return Network(
            [inputs.n_inputs, *hidden, n_outputs],
            embeddings=inputs.embeddings,
            activation=one_or_each(options.activation),
            loss=loss,
            dropout=dropout_rates(options.dropout),
            input_dropout=options.input_dropout,
            norm=one_or_each(options.norm),
            residual=residual_layers(options.residual),
            l1=options.l1,
            l2=l2,
            init=options.init,
            dtype=options.dtype,
            device=options.device,
            seed=options.seed,
            n_threads=options.threads,
        )


def _check_counts(table: TrainingTable, loss: Loss) -> None:
    """Raise TableError for a negative count."""
    values = table.target.values
    if loss.name == "poisson" and values.min() < 0:
        row = int(np.argmax(values < 0))
        raise TableError(
            f"the target {table.target.name!r} must be >= 0 for the poisson loss, got "
            f"{values[row]:g} in row {row + 1}; mend it, or take another loss"
        )
