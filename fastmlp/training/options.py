"""The settings of a fit: declared, and checked."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, TypedDict

from fastmlp.callbacks import Callback, Checkpoint, as_callbacks
from fastmlp.checks import flag, integer, name_among, real, shown
from fastmlp.data.shuffle import as_shuffle
from fastmlp.errors import OptionError, OptionTypeError
from fastmlp.names import RULES
from fastmlp.optim import LBFGS, Adam, Optimizer, as_optimizer
from fastmlp.schedules import as_schedule
from fastmlp.setting import Option, Setting, alone, made_by, settings_in, with_defaults

ROLLBACK = "rollback"
ON_DIVERGENCE = ("stop", ROLLBACK)


def _optimizer(given: Any) -> Optimizer:
    optimizer = as_optimizer(given)
    check_rule(optimizer)
    return optimizer


def check_rule(optimizer: Optimizer) -> None:
    """OptionError where an optimizer of a user's class does not have the numbers of its rule.

    >>> check_rule(Adam())
    """
    if isinstance(optimizer, LBFGS):
        return
    kind = type(optimizer).__name__
    numbers = RULES[name_among(f"rule of {kind}", optimizer.rule, RULES)].numbers
    if len(optimizer.hyper) != len(numbers):
        names = ", ".join(name or "0" for name in numbers)
        raise OptionError(
            f"hyper of {kind} must have {len(numbers)} numbers for the rule {optimizer.rule!r}"
            f"{names and f' ({names})'}, got {optimizer.hyper}"
        )


def _verbose(what: str, given: Any) -> bool | str:
    if not (isinstance(given, bool) or (isinstance(given, str) and given == "auto")):
        raise OptionError(f"{what} must be True, False or 'auto', got {shown(given)}")
    return given


def _checkpoint(what: str, given: Any) -> Checkpoint | None:
    if given is not None and not isinstance(given, Checkpoint):
        raise OptionTypeError(
            f"{what} must be a fastmlp.callbacks.Checkpoint, got {shown(given)}; write "
            "checkpoint=fastmlp.callbacks.Checkpoint(path)"
        )
    return given


def _resume(what: str, given: Any) -> bool | Path:
    if isinstance(given, bool):
        return given
    if isinstance(given, str | os.PathLike):
        return Path(given)
    raise OptionTypeError(f"{what} must be True, False or the name of a file, got {shown(given)}")


class FitSettings(TypedDict, total=False):
    """What a fit can be given beside data; `Network.fit` documents each.

    A new one is a line here and one in `FitOptions`.
    """

    optimizer: Annotated[
        str | Optimizer | None,
        Setting(
            None,
            made_by(_optimizer),
            "Optimizer or str or None",
            "Of `fastmlp.optim`; None keeps the last fit's, at first Adam(lr=1e-3). The same rule "
            "goes on with its momenta and step count, another begins anew.",
        ),
    ]
    epochs: Annotated[
        int,
        Setting(
            10,
            alone(integer, 1),
            "int",
            "Passes over the data; iterations of LBFGS.",
            option=Option("whole", "Most passes over the rows to train on.", "N", default=300),
        ),
    ]
    batch_size: Annotated[
        int | None,
        Setting(
            None,
            alone(integer, 1, or_none=True),
            "int or None",
            "Rows in a step, 128 unless said; LBFGS takes all.",
            option=Option(
                "whole", "Rows in a step.  [default: a fiftieth of the rows, from 32 to 256]", "N"
            ),
        ),
    ]
    schedule: Annotated[
        Any,
        Setting(
            None,
            made_by(as_schedule),
            "callable",
            "``(step, n_steps) -> factor`` on the learning rate; see `fastmlp.schedules`.",
        ),
    ]
    callbacks: Annotated[
        Sequence[Any],
        Setting(
            (),
            made_by(as_callbacks),
            "list",
            "Of `fastmlp.callbacks`, or functions called with the run after every epoch.",
        ),
    ]
    checkpoint: Annotated[
        Checkpoint | None,
        Setting(
            None,
            alone(_checkpoint),
            "callbacks.Checkpoint",
            "Where to save the network and where the fit stands, from time to time.",
        ),
    ]
    resume: Annotated[
        bool | str | os.PathLike[str],
        Setting(
            False,
            alone(_resume),
            "bool or path",
            "Go on where a fit with the same arguments stood, in the file of `checkpoint` (True; "
            "where there is none yet the fit begins) or in another one. Weights, history and the "
            "last epoch are bitwise those of a fit that was never interrupted.",
        ),
    ]
    force: Annotated[
        bool,
        Setting(
            False,
            alone(flag),
            "bool",
            "With resume: go on though data or settings are others than those of the fit, with a "
            "ResumedWarning that names them. Weights, optimizer, epochs and history are those of "
            "the file; sizes, norm, embeddings, dtype and loss must be the same.",
        ),
    ]
    shuffle: Annotated[
        bool | str,
        Setting(
            "auto",
            made_by(as_shuffle),
            'bool or "auto" or "blocks"',
            'True takes the rows in another order in every epoch, False as they lie. "blocks" is '
            "for files larger than memory: blocks of consecutive rows (256 KB) in another order, "
            'and rows in any order within 64 MB of them. "auto" is "blocks" for a memory map '
            "larger than half of the free memory, False where one minibatch has all rows, else "
            "True; `History.shuffle` says which it was.",
        ),
    ]
    max_time_s: Annotated[
        float | None,
        Setting(
            None,
            alone(real, 0.0, low_open=True, or_none=True),
            "float or None",
            "Seconds after which to stop, in mid-epoch if need be.",
            option=Option("number", "Stop after this time.", "SECONDS", name="max_time"),
        ),
    ]
    on_divergence: Annotated[
        str,
        Setting(
            "stop",
            alone(name_among, ON_DIVERGENCE),
            "str",
            'What to do where a loss or an update is nan or infinite: "stop" raises '
            '`TrainingDivergedError`. "rollback" goes back to the state with which the last good '
            "epoch began (weights, optimizer, running statistics), and on from there at half the "
            "learning rate; after ten times it stops, in that state. Good is an epoch whose loss "
            "is finite and at most |lowest| above the lowest until then. Epochs gone back on do "
            "not count to `epochs`, but stay in the history, whose `rollbacks` counts. Takes the "
            "room of two more copies of weights and optimizer state. Not for LBFGS.",
            option=Option(
                "choice",
                "What to do where the loss becomes nan or infinite: stop, or go back to the last "
                "good epoch and on at half the learning rate.",
                choices=ON_DIVERGENCE,
            ),
        ),
    ]
    verbose: Annotated[
        bool | str,
        Setting(
            "auto",
            alone(_verbose),
            'bool or "auto"',
            '"auto" shows progress on a terminal only, True plain lines elsewhere too.',
        ),
    ]


FIT_SETTINGS = settings_in(FitSettings)


@dataclass(frozen=True)
class FitOptions:
    """The checked settings of a fit; make them with `make`."""

    optimizer: Optimizer
    epochs: int
    batch_size: int | None
    schedule: Callable[[int, int], Any]
    callbacks: list[Callback]  # those last that save what the others have noted
    checkpoint: Checkpoint | None
    resume: bool | Path
    force: bool
    shuffle: bool | str
    max_time_s: float | None
    on_divergence: str
    verbose: bool | str

    @property
    def goes_back(self) -> bool:
        """Whether the fit goes on from a good epoch where its numbers are not finite."""
        return self.on_divergence == ROLLBACK

    @classmethod
    def make(cls, last: Optimizer | None = None, **settings: object) -> FitOptions:
        """Options from a user's settings, those of `FitSettings`.

        `last` is the optimizer of the fit before. Raises OptionError or OptionTypeError that names
        the first wrong one, TypeError for a name that is none.
        """
        given = with_defaults("fit", FIT_SETTINGS, settings)
        if given["optimizer"] is None:
            given["optimizer"] = last or Adam()
        known: dict[str, Any] = {}
        for name, setting in FIT_SETTINGS.items():
            known[name] = setting.check(name, given[name], known)
        callbacks = known["callbacks"]
        if known["checkpoint"] is not None:
            callbacks.append(known["checkpoint"])
        elif known["resume"] is True:
            raise OptionError(
                "resume=True goes on from the file of `checkpoint`, got none; pass checkpoint, or "
                "the name of a file as resume"
            )
        if known["force"] and known["resume"] is False:
            raise OptionError(
                "force is about how to resume, got no resume; pass resume too, or leave force out"
            )
        callbacks.sort(key=lambda callback: isinstance(callback, Checkpoint))
        return cls(**known)
