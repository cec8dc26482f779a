"""The worked examples of docs/extending.md, and a copy of the tree with some of them applied.

python -m tests.extending FOLDER [NAME ...]

A section of the page is headed by the kind and the name of what it adds. Its blocks of language
`diff` are one change of the tree, its blocks `python copy` are programs for the changed copy.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "extending.md"
_BLOCK = r"^```{language}\n(.*?)^```$"


class ExampleError(Exception):
    """An example that does not apply to the tree as it is."""


@dataclass(frozen=True)
class Hunk:
    """Lines that stand in a file, and what stands there after the change."""

    before: tuple[str, ...]
    after: tuple[str, ...]

    def applied(self, lines: list[str], where: str) -> list[str]:
        """The lines after the change. Line numbers play no part: `before` must stand in the file
        once and once only."""
        n = len(self.before)
        places = [i for i in range(len(lines) - n + 1) if tuple(lines[i : i + n]) == self.before]
        if len(places) != 1:
            shown = "\n".join(f"  {line}" for line in self.before)
            raise ExampleError(
                f"{where} must have these lines once, has them {len(places)} times; "
                f"mend the example:\n{shown}"
            )
        return [*lines[: places[0]], *self.after, *lines[places[0] + n :]]


@dataclass(frozen=True)
class Change:
    """What a diff does to one file; `is_new` where the diff makes it."""

    path: str
    is_new: bool
    hunks: tuple[Hunk, ...]

    def apply(self, root: Path) -> None:
        """Write the changed file below `root`; ExampleError where a hunk does not fit."""
        file = root / self.path
        if self.is_new == file.exists():
            raise ExampleError(f"{self.path} {'is already there' if self.is_new else 'is missing'}")
        if self.is_new:
            lines = [line for hunk in self.hunks for line in hunk.after]
        else:
            lines = file.read_text().splitlines()
            for hunk in self.hunks:
                lines = hunk.applied(lines, self.path)
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text("\n".join(lines) + "\n")


@dataclass(frozen=True)
class Example:
    """A section of the page."""

    kind: str
    name: str
    changes: tuple[Change, ...]
    programs: tuple[str, ...]

    @property
    def files(self) -> set[str]:
        """The files that a person edits."""
        return {change.path for change in self.changes}


def changes_of(diff: str) -> Iterator[Change]:
    """The files of a unified diff, whose hunks may begin with a bare @@."""
    parts = re.split(r"^--- (.*)\n\+\+\+ b/(.*)\n", diff, flags=re.MULTILINE)
    for old, path, body in zip(parts[1::3], parts[2::3], parts[3::3], strict=True):
        hunks = re.split(r"^@@.*\n", body, flags=re.MULTILINE)[1:]
        yield Change(path, old == "/dev/null", tuple(map(_hunk, hunks)))


def _hunk(text: str) -> Hunk:
    lines = text.rstrip("\n").splitlines()
    # An editor takes the blank off an empty line of context.
    before = (line[1:] for line in lines if line[:1] in ("", " ", "-"))
    return Hunk(tuple(before), tuple(line[1:] for line in lines if line[:1] in ("", " ", "+")))


def examples(text: str) -> dict[str, Example]:
    """The examples of a page, by the name of what they add."""
    found = {}
    sections = re.split(r"^## An? (.*): `(\w+)`\n", text, flags=re.MULTILINE)
    for kind, name, body in zip(sections[1::3], sections[2::3], sections[3::3], strict=True):
        diffs = _blocks(body, "diff")
        changes = tuple(change for diff in diffs for change in changes_of(diff))
        found[name] = Example(kind, name, changes, tuple(_blocks(body, "python copy")))
    return found


def _blocks(text: str, language: str) -> list[str]:
    return re.findall(_BLOCK.format(language=language), text, re.MULTILINE | re.DOTALL)


def copy_tree(folder: Path) -> None:
    """The files of the tree as they are now, committed or not, into a new folder."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT, capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    for name in filter(None, listed.split("\0")):
        source, target = ROOT / name, folder / name
        if source.is_symlink() or source.is_file():  # not one that is deleted, or a repository
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(source, target, follow_symlinks=False)


def changed_copy(folder: Path, chosen: Iterable[Example]) -> None:
    """A copy of the tree with examples applied one after another, and the pages that commands
    write written by them."""
    copy_tree(folder)
    for example in chosen:
        for change in example.changes:
            change.apply(folder)
    subprocess.run([sys.executable, "-m", "tests.functions_page"], cwd=folder, check=True)


def main() -> None:
    folder, names = Path(sys.argv[1]), sys.argv[2:]
    known = examples(PAGE.read_text())
    changed_copy(folder, [known[name] for name in names or known])


if __name__ == "__main__":
    main()
