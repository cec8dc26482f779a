"""The run file that a training leaves behind."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from fastmlp.cli.files import HISTORY, MODEL, RUN_FILE, check_writable
from fastmlp.cli.run_file import is_run_file, may_write_over, write_run_file
from fastmlp.errors import OptionError


class Record:
    """Writes the options of a run with their values in force: run.toml, and where else is said."""

    def __init__(self, context: click.Context, save_config: str | None) -> None:
        self._context = context
        self._also = None if save_config is None else Path(save_config)

    @property
    def read(self) -> list[str]:
        """The run file that the options came from, if any."""
        data = self._context.params["data_or_run"]
        return [data] if is_run_file(data) else []

    @property
    def files(self) -> list[str]:
        """Where else than in the folder of the model a run file goes."""
        return [] if self._also is None else [str(self._also)]

    def check(self, folder: Path, data: str, goes_on: bool = False) -> None:
        """Raise OptionError where a file cannot be written, or somebody's own would be lost.

        `goes_on`: with a training that may have been killed while it wrote its results.
        """
        for name in (data, str(folder), *self._paths()):
            # Bytes of a name that are no UTF-8 come as halves of surrogate pairs.
            if any("\ud800" <= letter <= "\udfff" for letter in name):
                raise OptionError(
                    f"names of files must be UTF-8 to stand in a run file, got {name!r}; rename it"
                )
        path = folder / RUN_FILE
        if not may_write_over(path):
            raise OptionError(
                f"--out must be a folder whose run.toml fastmlp wrote, got {folder}, where a "
                "run.toml of your own would be lost; give it another name or take another folder"
            )
        for name in (MODEL, HISTORY):
            if not (goes_on or path.exists()) and (folder / name).exists():
                raise OptionError(
                    f"--out must be a folder whose {name} fastmlp wrote, got {folder}, where one "
                    f"without a run.toml beside it would be lost; give it another name or take "
                    "another folder"
                )
        if self._also is None:
            return
        if self._also.is_file() and not may_write_over(self._also):
            raise OptionError(
                f"--save-config must be a new file or a run file that fastmlp wrote, got "
                f"{self._also}, which would be lost; give it another name"
            )
        check_writable("--save-config", self._also)

    def write(self, path: Path, in_force: dict[str, Any]) -> None:
        """Write the run file `path`; `in_force` replaces what was typed."""
        values = {**self._context.params, **in_force}
        write_run_file(path, self._context.command.params, values)

    def write_also(self, in_force: dict[str, Any]) -> None:
        """Write the run file of --save-config, where there is one."""
        if self._also is not None:
            self.write(self._also, in_force)

    def _paths(self) -> list[str]:
        """All files and folders among the options."""
        found: list[str] = []
        for param in self._context.command.params:
            value = self._context.params.get(str(param.name))
            if isinstance(param.type, click.Path) and value is not None:
                found += [value] if isinstance(value, str) else value
        return found
