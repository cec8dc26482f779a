"""What ``fastmlp train`` does, from the table to the model file."""

from __future__ import annotations

import json
import tempfile
import warnings
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from fastmlp.callbacks import EarlyStopping
from fastmlp.checks import integer, real
from fastmlp.cli.columns import wishes_of
from fastmlp.cli.defaults import PATIENCE, default_batch_size, default_l2, start_at_constant
from fastmlp.cli.in_force import functions_in_force
from fastmlp.cli.kinds import Call
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
from fastmlp.cli.summary import Summary
from fastmlp.cli.training_table import TrainingTable
from fastmlp.errors import OptionError, TableError, TrainingInterruptedWarning
from fastmlp.losses import Loss
from fastmlp.network import Network
from fastmlp.optim import LBFGS
from fastmlp.preparation import TablePreparation
from fastmlp.preparation.choice import choose

_INTERRUPTED = 130


@dataclass(frozen=True)
class TrainOptions:
    """The options of the command line, as typed; None where the default depends on the data."""

    target: str | None
    task: str
    drop: tuple[str, ...]
    categorical: tuple[str, ...]
    one_hot: tuple[str, ...]
    embed: tuple[str, ...]
    in_memory: bool | None
    header: str
    hidden: str
    activation: str
    loss: Call | None
    dropout: str
    input_dropout: float
    norm: str
    residual: str
    l1: float
    l2: float | None
    init: str
    class_weight: str | dict[str, Any] | None
    schedule: Call
    weight_decay: float | None
    decay_biases: bool | None
    clip_norm: float | None
    clip_value: float | None
    max_norm: float | None
    ema: float | None
    layer_lr: str | None
    optimizer: Call
    lr: float | None
    batch_size: int | None
    epochs: int
    patience: int | None
    shuffle: bool
    val_fraction: float
    test_fraction: float
    max_time: float | None
    seed: int
    threads: int | None
    dtype: str
    device: str
    out: str | None

    def check(self) -> None:
        """Raise OptionError for numbers out of range that nothing else looks at before the fit."""
        integer("--epochs", self.epochs, 1)
        integer("--seed", self.seed, 0)
        if self.batch_size is not None:
            integer("--batch-size", self.batch_size, 1)
        if self.max_time is not None:
            real("--max-time", self.max_time, 0.0, low_open=True)
        real("--val-fraction", self.val_fraction, 0.0, 1.0, high_open=True)
        real("--test-fraction", self.test_fraction, 0.0, 1.0, high_open=True)


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
        schedule = schedule_for(options.schedule)
        hidden = hidden_sizes(options.hidden)
        check_layer_lr(optimizer, hidden)
        callbacks = self._stopping()
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
        # A count has a rate, exp(z): it cannot be shifted.
        scale_target = target.task == "regression" and loss.name != "poisson"
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
        folder = _writable_folder(options.out or f"runs/{table.name}")
        self._record.check(folder, self._data)
        summary = Summary(self._output, table, network)
        summary.begin(optimizer, batch_size, options.seed)
        if self._output.as_json:
            callbacks = [*callbacks, summary.epoch]
        train, validation, test = until_end.enter_context(table.parts(folder, options.dtype))
        with warnings.catch_warnings():
            # The summary says it in its own words.
            warnings.simplefilter("ignore", TrainingInterruptedWarning)
            history = network.fit(
                train.X,
                train.y,
                optimizer=optimizer,
                epochs=options.epochs,
                batch_size=batch_size,
                eval_set=[(part.X, part.y) for part in [validation] if len(part.y)],
                callbacks=callbacks,
                class_weight=class_weight,
                schedule=schedule,
                shuffle=options.shuffle,
                max_time_s=options.max_time,
                verbose=not self._output.as_json,
            )
        path = folder / "model.safetensors"
        network.save(path)
        (folder / "history.json").write_text(json.dumps(history.to_dict()) + "\n")
        settings = {
            "data": self._data,
            "out": str(folder),
            "target": target.name,
            "task": target.task,
            "batch_size": batch_size,
            "patience": callbacks[0].patience if options.val_fraction else None,
            **functions_in_force(network, optimizer, schedule),
        }
        run_file = self._record.write(folder, settings)
        score = test_score(network, preparation, test.X, test.y)
        summary.end(history, score, path, run_file, self._data)
        return _INTERRUPTED if history.stopped_by == "interrupt" else 0

    def _stopping(self) -> list[Any]:
        patience, val_fraction = self._options.patience, self._options.val_fraction
        if val_fraction:
            return [EarlyStopping(patience=PATIENCE if patience is None else patience)]
        if patience is not None:
            raise OptionError(
                "--patience needs a validation part to watch, got --val-fraction 0; leave one out"
            )
        return []

    def _read(self) -> TrainingTable:
        options = self._options
        wishes = wishes_of(options.drop, options.categorical, options.one_hot, options.embed)
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


def test_score(
    network: Network, preparation: TablePreparation, X: np.ndarray, y: np.ndarray
) -> dict[str, float]:
    """The score on rows that had no part in the training; empty where none were held back.

    "accuracy" for classes; for values "r2", and "rmse" in the target's own units.
    """
    if not len(X):
        return {}
    scores = network.evaluate(X, y)
    del scores["loss"]
    if "r2" in scores:
        predicted = network.predict(X)
        if network.loss.name == "quantiles":
            predicted = predicted[:, network.loss.middle]
        errors = preparation.values(predicted) - preparation.values(y)
        scores["rmse"] = float(np.sqrt(np.mean(errors**2)))
    return scores


def _check_counts(table: TrainingTable, loss: Loss) -> None:
    """Raise TableError for a negative count."""
    values = table.target.values
    if loss.name == "poisson" and values.min() < 0:
        row = int(np.argmax(values < 0))
        raise TableError(
            f"the target {table.target.name!r} must be >= 0 for the poisson loss, got "
            f"{values[row]:g} in row {row + 1}; mend it, or take another loss"
        )


def _writable_folder(name: str) -> Path:
    """The folder `name`, made if need be; refused before the training if it cannot be written."""
    folder = Path(name)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise OptionError(
            f"--out must be a folder that can be written, got {name}: {error.strerror}"
        ) from None
    return folder
