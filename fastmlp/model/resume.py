"""Where a fit goes on from."""

from __future__ import annotations

from pathlib import Path

from fastmlp.callbacks import Checkpoint
from fastmlp.errors import OptionError
from fastmlp.model.file import ModelState, read_model


def resumed_content(resume: bool | Path, checkpoint: Checkpoint | None) -> ModelState | None:
    """What a fit goes on from; None where it begins anew.

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
            f"resume needs a file that a Checkpoint wrote during a fit, got {str(path)!r} of "
            "Network.save, where no fit stands; load it with fastmlp.Network.load and train on"
        )
    return content
