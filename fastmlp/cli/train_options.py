"""The options of ``fastmlp train``, all in one object."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from fastmlp.checks import integer, real
from fastmlp.cli.kinds import Call
from fastmlp.errors import OptionError


@dataclass(frozen=True)
class TrainOptions:
    """The options of the command line, as typed; None where the default depends on the data."""

    target: str | None
    task: str
    drop: tuple[str, ...]
    categorical: tuple[str, ...]
    one_hot: tuple[str, ...]
    embed: tuple[str, ...]
    sample_weight: str | None
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
    block_shuffle: bool | None
    val_fraction: float
    test_fraction: float
    max_time: float | None
    seed: int
    threads: int | None
    dtype: str
    device: str
    out: str | None
    functions: str | None
    metrics: tuple[str, ...]
    eval_files: tuple[str, ...]
    monitor: str | None
    min_delta: float | None
    log_csv: str | None
    log_json: str | None
    checkpoint: str | None
    checkpoint_every: int | None
    checkpoint_best: bool
    progress: bool

    @property
    def shuffle_for_fit(self) -> bool | str:
        """What `Network.fit` takes as `shuffle`."""
        if not self.shuffle or self.block_shuffle is None:
            return "auto" if self.shuffle else False
        return "blocks" if self.block_shuffle else True

    def check(self) -> None:
        """Raise OptionError for numbers out of range that nothing else looks at before the fit."""
        integer("--epochs", self.epochs, 1)
        integer("--seed", self.seed, 0)
        if self.batch_size is not None:
            integer("--batch-size", self.batch_size, 1)
        if self.patience is not None:
            integer("--patience", self.patience, 1)
        if self.threads is not None:
            integer("--threads", self.threads, 1)
        if self.max_time is not None:
            real("--max-time", self.max_time, 0.0, low_open=True)
        if self.block_shuffle and not self.shuffle:
            raise OptionError(
                "--block-shuffle is a way to shuffle, got --no-shuffle too; leave one of them out"
            )
        real("--val-fraction", self.val_fraction, 0.0, 1.0, high_open=True)
        real("--test-fraction", self.test_fraction, 0.0, 1.0, high_open=True)
