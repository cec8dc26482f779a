"""The files that a training leaves: where its folder takes them no more, another does."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

from fastmlp.errors import ModelFileError


class Results:
    """Writes the files of a run into `folder`, or into a new one that can be written.

    A training may take hours, in which a disk fills or a folder goes away.
    """

    def __init__(self, folder: Path) -> None:
        self._asked = self._folder = folder
        self._reason = ""

    def write(self, name: str, write: Callable[[Path], object]) -> Path:
        """Have `write` make the file `name`; returns its path.

        After a failure this and all further files go into a new folder beside the first, or else
        into one for temporary files. Raises OSError where none of them takes the file.
        """
        tried = []
        for folder in self._places():
            try:
                write(folder / name)
            except (OSError, ModelFileError) as error:
                tried.append(str(folder))
                self._reason = self._reason or str(error.__cause__ or error)
                if folder != self._folder:  # made above, for this file alone
                    shutil.rmtree(folder, ignore_errors=True)
                continue
            self._folder = folder
            return folder / name
        raise OSError(
            f"{name} of the trained network must be written, and was nowhere, tried "
            f"{', '.join(tried)}: {self._reason}; free space and train again (what could be "
            f"written is in {self._folder})"
        )

    def check(self) -> None:
        """Raise OSError where files had to go elsewhere."""
        if self._folder != self._asked:
            raise OSError(
                f"--out must be a folder that can be written to the end, got {self._asked}: "
                f"{self._reason}; what it did not take is in {self._folder}, move it from there"
            )

    def _places(self) -> Iterator[Path]:
        yield self._folder
        asked = self._asked.absolute()
        for parent in (asked.parent, Path(tempfile.gettempdir())):
            try:
                yield Path(tempfile.mkdtemp(prefix=f"{asked.name}-", dir=parent))
            except OSError:
                continue
