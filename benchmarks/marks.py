"""Generated parts of documents: what stands between two marks is written by a program."""

from __future__ import annotations

import re
from pathlib import Path


def with_part(document: str, name: str, text: str) -> str:
    """The document with `text` between ``<!-- name -->`` and ``<!-- end of name -->``.

    Raises ValueError where the document has no such marks.
    """
    begin, end = f"<!-- {name} -->", f"<!-- end of {name} -->"
    if not re.search(f"{begin}.*?{end}", document, flags=re.DOTALL):
        raise ValueError(f"the document must have the marks {begin} and {end}, got one without")
    # A function, as a replacement text would have its backslashes read.
    return re.sub(
        f"{begin}.*?{end}", lambda _: f"{begin}\n{text}\n{end}", document, flags=re.DOTALL
    )


def part_of(document: str, name: str) -> str:
    """What stands between the marks `name`."""
    found = re.search(f"<!-- {name} -->\n(.*?)\n<!-- end of {name} -->", document, flags=re.DOTALL)
    if found is None:
        raise ValueError(f"the document must have the marks of {name!r}, got one without")
    return found[1]


def write_between_marks(path: Path, name: str, text: str) -> None:
    """Put `text` in the place of what stands between the marks `name` in the file."""
    path.write_text(with_part(path.read_text(), name, text))
