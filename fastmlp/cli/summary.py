"""What ``fastmlp train`` says before, during and after a training."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from fastmlp.callbacks import Callback, Run
from fastmlp.cli.ending import interrupt_name
from fastmlp.cli.output import Output, command_line, program
from fastmlp.cli.training_table import TrainingTable
from fastmlp.history import History
from fastmlp.model.network import Network
from fastmlp.names import PLAIN
from fastmlp.optim import Optimizer
from fastmlp.preparation.inputs import Inputs
from fastmlp.spec import devices
from fastmlp.tables.source import listed
from fastmlp.training.differences import one_line
from fastmlp.training.progress import duration_text


class Summary(Callback):
    """The events of one training; as a callback of its fit the first of them waits for it.

    `monitor`: what early stopping watches; `is_weighted`: whether rows have weights.
    """

    def __init__(
        self,
        output: Output,
        table: TrainingTable,
        network: Network,
        monitor: str,
        is_weighted: bool,
    ) -> None:
        self._output, self._table, self._target = output, table, table.target
        self._split, self._network, self._monitor = table.split, network, monitor
        self._is_weighted = is_weighted
        self._begin: tuple[str, dict[str, Any]] = ("", {})

    def settings(
        self,
        optimizer: Optimizer,
        batch_size: int,
        seed: int,
        others: dict[str, int],
        device: str,
        resumed: Path | None,
    ) -> None:
        """What to say first: what was understood of the data and the options.

        `others`: rows of the tables that are evaluated beside; `device`: as the user named it;
        `resumed`: the file of a training that is gone on with.
        """
        network, split = self._network, self._split
        sizes = {
            "train": len(split.train),
            "validation": len(split.validation),
            "test": len(split.test),
        }
        n_rows, n_features = self._table.n_rows, len(self._table.features)
        inputs = self._table.preparation.inputs_of
        learnt = f"{self._target.n_classes} classes" if self._is_classes else "values"
        beside = ", ".join(f"{name} ({n} rows)" for name, n in others.items())
        others_text = f"eval     {beside}\n" if others else ""
        text = (
            f"data     {self._table.name}: {n_rows} rows, {n_features} features\n"
            f"columns  {columns_text(inputs)}\n"
            f"split    {', '.join(f'{n} {name}' for name, n in sizes.items() if n)}\n"
            f"{others_text}"
            f"target   {self._target.name}: {learnt}\n"
            f"network  {'-'.join(map(str, network.sizes))}, "
            f"{', '.join(self._layers()) or 'linear'}, {network.loss}, "
            f"{network.dtype}, {network.n_parameters:,} parameters\n"
            f"training {optimizer.rule}, lr {optimizer.lr:g}, batch {batch_size}, "
            f"l2 {network.spec.l2:.3g}, seed {seed}"
        )
        reason = ""
        if device == devices.AUTO:
            reason = devices.choose(network.n_parameters, network.dtype)[1]
        if device != devices.CPU:
            text += f"\ndevice   {network.device}{': ' if reason else ''}{reason}"
        if resumed is not None:
            text += f"\nresume   {resumed}"
        values = {
            "data": self._table.name,
            "rows": sizes,
            "eval": others,
            "features": n_features,
            "inputs": inputs.n_inputs,
            "missing": inputs.indicators,
            "one_hot": {name: len(found) for name, found in inputs.one_hot.items()},
            "embedded": {name: [c.n_codes, c.width] for name, c in inputs.embedded.items()},
            "constant": inputs.constant,
            "target": self._target.name,
            "task": self._target.task,
            "classes": self._target.n_classes if self._is_classes else None,
            **network.spec.to_dict(),
            "parameters": network.n_parameters,
            "optimizer": optimizer.to_dict(),
            "batch_size": batch_size,
            "seed": seed,
            "device": network.device,
            "device_reason": reason,
            "resumed": None if resumed is None else str(resumed),
        }
        self._begin = text, values

    def on_fit_begin(self, run: Run) -> None:
        text, values = self._begin
        if run.differences:
            text += f"\nforced   with another {one_line(run.differences)}"
            values = values | {"differences": run.differences}
        self._output.event("begin", text, values)

    def on_epoch_end(self, run: Run) -> None:
        """One event an epoch, for machines; people see the display of the fit."""
        if self._output.as_json:
            self._output.event("epoch", "", {"epoch": run.epoch, **run.logs})

    def _layers(self) -> list[str]:
        """What the hidden layers have, each once."""
        spec = self._network.spec
        norms = [f"{norm} norm" for norm in dict.fromkeys(spec.norms) if norm != PLAIN]
        return [*dict.fromkeys(spec.activations), *norms, *["residual"] * any(spec.residual)]

    def end(
        self,
        history: History,
        score: dict[str, float],
        path: Path,
        run_file: Path,
        data: str,
        header: str,
        functions: str | None,
    ) -> None:
        """Say how it ended, how good it is, where the model is, how to predict and to repeat it."""
        seconds = sum(history["seconds"]) if len(history) else 0.0
        words: list[str | Path] = ["predict", path, data]
        words += ["--header", header] if header != "auto" else []
        # The other parts of the table may have categories that the part trained on has not.
        words += ["--unknown", "ignore"] if self._table.preparation.inputs_of.labels else []
        words += ["--out", "predictions.csv"]
        words += ["--functions", functions] if functions else []
        command = f"{program()} {command_line(*words)}"
        lines = [f"ended    {self._ending(history)} ({duration_text(seconds)} of training)"]
        if history.best_epoch is not None:
            lines.append(f"weights  those of epoch {history.best_epoch}, {self._best()}")
        lines += [f"test     {self._score_text(score)}", f"model    {path}"]
        repeat = f"{program()} {command_line('train', run_file)}"
        lines += ["repeat with", f"  {repeat}", "predict with", f"  {command}"]
        values = {
            "stopped_by": history.stopped_by,
            "epochs": len(history),
            "best_epoch": history.best_epoch,
            "seconds": seconds,
            **{f"test_{name}": value for name, value in score.items()},
            "model": str(path),
            "run_file": str(run_file),
            "repeat": repeat,
            "predict": command,
        }
        self._output.event("end", "\n".join(lines), values)

    @property
    def _is_classes(self) -> bool:
        return self._target.task == "classification"

    def _ending(self, history: History) -> str:
        n_epochs = len(history)
        return {
            "epochs": f"after all {n_epochs} epochs",
            "early_stopping": f"after {n_epochs} epochs, {self._no_better()}",
            "tolerance": f"after {n_epochs} epochs, at a minimum",
            "line_search": f"after {n_epochs} epochs, no better point was found",
            "max_time": f"by --max-time in epoch {n_epochs}",
            "interrupt": f"by {interrupt_name()} in epoch {n_epochs}, the network is saved as it "
            "stands",
        }[str(history.stopped_by)]

    def _no_better(self) -> str:
        is_usual = self._monitor == "val_loss"
        return "the validation loss fell no more" if is_usual else f"{self._monitor} got no better"

    def _best(self) -> str:
        is_usual = self._monitor == "val_loss"
        return "the best on validation" if is_usual else f"the best by {self._monitor}"

    def _score_text(self, score: dict[str, float]) -> str:
        n_rows = len(self._split.test)
        if not score:
            return "no rows were held out to test on"
        usual = ("accuracy", "r2", "rmse")
        metrics = "".join(f", {name} {x:.4g}" for name, x in score.items() if name not in usual)
        if "rmse" in score:
            error = f"root mean square error {score['rmse']:.4g}"
            error += ", weighted" if self._is_weighted else ""
            return f"R2 {score['r2']:.4f}, {error} ({n_rows} rows){metrics}"
        if self._is_weighted:
            return f"accuracy {score['accuracy']:.2%}, weighted ({n_rows} rows){metrics}"
        n_right = round(score["accuracy"] * n_rows)
        return f"accuracy {score['accuracy']:.2%} ({n_right} of {n_rows} rows){metrics}"


def columns_text(inputs: Inputs) -> str:
    """What is made of the columns, such as ``4 numeric, 2 one-hot (5 inputs)``."""
    parts = []
    if inputs.numbers:
        gaps = f" ({len(inputs.indicators)} with missing values)" if inputs.indicators else ""
        parts.append(f"{len(inputs.numbers)} numeric{gaps}")
    if inputs.one_hot:
        n = sum(len(categories) for categories in inputs.one_hot.values())
        parts.append(f"{len(inputs.one_hot)} one-hot ({n} inputs)")
    if inputs.embedded:
        sizes = ", ".join(
            f"{name} {column.n_codes} x {column.width}" for name, column in inputs.embedded.items()
        )
        parts.append(f"{len(inputs.embedded)} embedded ({sizes})")
    if inputs.constant:
        parts.append(f"constant and of no use: {listed(inputs.constant)}")
    return ", ".join(parts)
