"""The options of ``fastmlp train``, all in one object."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from fastmlp.checks import integer, share
from fastmlp.cli.kinds import Call
from fastmlp.cli.setting_options import check_plain, taken
from fastmlp.errors import OptionError
from fastmlp.optim.base import OPTIMIZER_SETTINGS
from fastmlp.spec.network import NETWORK_SETTINGS
from fastmlp.training.options import FIT_SETTINGS


@dataclass(frozen=True)
class TrainOptions:
    """The options of the command line, as typed; None where the default depends on the data.

    `network`, `fit` and `around_rule` have those that are settings of `NetworkSettings`, of
    `FitSettings` and of every `Optimizer`.
    """

    network: dict[str, Any]
    fit: dict[str, Any]
    around_rule: dict[str, Any]
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
    class_weight: str | dict[str, Any] | None
    schedule: Call
    optimizer: Call
    patience: int | None
    shuffle: bool
    block_shuffle: bool | None
    val_fraction: float
    test_fraction: float
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
    checkpoint_seconds: float | None
    checkpoint_keep: int | None
    checkpoint_best: bool
    resume: bool
    force: bool
    progress: bool

    @classmethod
    def make(cls, options: dict[str, Any]) -> TrainOptions:
        """From the parameters of the command by name."""
        rest = dict(options)
        return cls(
            network=taken(NETWORK_SETTINGS, rest),
            fit=taken(FIT_SETTINGS, rest),
            around_rule=taken(OPTIMIZER_SETTINGS, rest),
            **rest,
        )

    @property
    def shuffle_for_fit(self) -> bool | str:
        """What `Network.fit` takes as `shuffle`."""
        if not self.shuffle or self.block_shuffle is None:
            return "auto" if self.shuffle else False
        return "blocks" if self.block_shuffle else True

    def check(self) -> None:
        """Raise OptionError for numbers out of range that nothing else looks at before the fit."""
        check_plain(NETWORK_SETTINGS, self.network)
        check_plain(FIT_SETTINGS, self.fit)
        if self.patience is not None:
            integer("--patience", self.patience, 1)
        if self.block_shuffle and not self.shuffle:
            raise OptionError(
                "--block-shuffle is a way to shuffle, got --no-shuffle too; leave one of them out"
            )
        share("--val-fraction", self.val_fraction)
        share("--test-fraction", self.test_fraction)
