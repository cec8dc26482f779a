"""Where a fit goes on from."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path

from fastmlp.callbacks import Checkpoint
from fastmlp.errors import FastmlpError, OptionError
from fastmlp.model.file import ModelState, check_arrays, read_model
from fastmlp.model.model import Model
from fastmlp.tensor_file import damaged
from fastmlp.training.fit_state import FitState
from fastmlp.training.trainer import Trainer

_OURS = __name__.partition(".")[0]


@dataclass(frozen=True)
class Resumed:
    """What stands in the file of a fit that another goes on with."""

    path: Path
    content: ModelState
    fit: FitState

    def check(self, trainer: Trainer, model: Model) -> None:
        """Raise OptionError where the fit was another one, ModelFileError for a damaged file."""
        trainer.check_state(self.fit)
        with self.understood():
            check_arrays(self.content, model.spec)

    def carry_to(self, trainer: Trainer, model: Model) -> None:
        """Have model and trainer stand where the fit stood; where that fails, the model is as
        before."""
        with unchanged(model):
            with self.understood():
                model.go_on_from(self.content)
                model.history_ = trainer.history
                trainer.go_on(self.fit, self.content.values["history"])
            for callback, give in trainer.states_of_callbacks(self.fit):
                is_ours = type(callback).__module__.partition(".")[0] == _OURS
                with self.understood() if is_ours else nullcontext():
                    give()

    @contextmanager
    def understood(self) -> Iterator[None]:
        """Within it, errors of values that make no sense say that the file is damaged."""
        try:
            yield
        except (FastmlpError, KeyError, TypeError, ValueError, OverflowError) as error:
            raise damaged(self.path, error) from error


@contextmanager
def unchanged(model: Model) -> Iterator[None]:
    """Within it an error leaves the model as it was."""
    before, counters, engine = dict(vars(model)), model.counters, model.engine
    counted, state = (counters.n_epochs, counters.n_steps), engine.training_state()
    try:
        yield
    except BaseException:
        engine.restore_training_state(state)
        counters.set(*counted)
        vars(model).update(before)
        raise


def resumed_fit(resume: bool | Path, checkpoint: Checkpoint | None) -> Resumed | None:
    """What a fit goes on with; None where it begins anew.

    True: the newest file of `checkpoint`, if there is one. Raises OptionError for a file in which
    no fit stands, ModelFileNotFoundError or ModelFileError for one that is none or damaged.
    """
    path = resume
    if path is True and checkpoint is not None:
        path = checkpoint.latest() or False  # the first time that a program runs there is none
    if isinstance(path, bool):
        return None
    content = read_model(path)
    if content.fit is None:
        raise OptionError(
            f"resume needs a file that a Checkpoint wrote during a fit, got {str(path)!r}, where "
            "no fit stands; load it with fastmlp.Network.load and train on"
        )
    return Resumed(path, content, content.fit)
