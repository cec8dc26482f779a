"""Writes the tables of docs/functions.md whose rows are records.

python -m tests.functions_page [docs/functions.md]

In a section's first table, names that have a record get the row that it gives, in the order of the
records; all else is written by hand and stays as it is.
"""

from __future__ import annotations

import itertools
import re
import sys
from collections.abc import Callable, Iterable
from pathlib import Path

from fastmlp.kernels import activations, rules
from fastmlp.spec import loss_table

PAGE = Path(__file__).parents[1] / "docs" / "functions.md"
NONE = "\N{EN DASH}"


def expression(cell: str) -> str | None:
    """The Python that a cell hides behind its formula."""
    found = re.search(r"<!-- (.*) -->", cell)
    return found and found[1]


def numbers(parameters: tuple[float, ...]) -> dict[str, float]:
    """The names of a loss's parameters in its formulas: q, and q1, q2, ... where it has several."""
    found = {f"q{i}": number for i, number in enumerate(parameters, 1)}
    return found | {"q": found["q1"]} if found else found


def peer(expression: str) -> str:
    """`nn.GELU(approximate="tanh")` as a cell has it: the class, then what it is called with."""
    name, _, arguments = expression.removesuffix(")").partition("(")
    with_arguments = f" with `{arguments}`" if arguments else ""
    return f"`{name}`{with_arguments}" if name else NONE


def of_activations() -> Iterable[tuple[str, ...]]:
    for name, a in activations.TABLE.items():
        others = (a.sklearn or NONE, peer(a.pytorch), a.keras or NONE)
        yield (f"`{name}`", a.value, a.slope, a.source, *others)


def of_losses() -> Iterable[tuple[str, ...]]:
    for kind in loss_table.TABLE.values():
        assert kind.described is not None, f"{kind.name} must be described, got None"
        yield kind.described.cells(kind.name)
        if kind.probabilities is not None:
            yield kind.probabilities.described.cells(kind.probabilities.kernel)


def of_rules() -> Iterable[tuple[str, ...]]:
    for name, r in rules.RULES.items():
        others = (r.sklearn or NONE, r.pytorch or NONE, r.keras or NONE)
        yield (f"`{name}`", r.optimizer, r.formula, r.source, *others)


def what_auto_draws() -> str:
    """The cell of `auto` among the initialisers, glorot_uniform left to "else"."""
    drawn: dict[str, list[str]] = {}
    for name, record in activations.TABLE.items():
        drawn.setdefault(record.init, []).append(name)
    del drawn["glorot_uniform"]
    named = "".join(f"`{rule}` for {', '.join(drawn[rule])}; " for rule in sorted(drawn))
    rest = "else, and for the output layer, `glorot_uniform`"
    return f"the rule that fits the activation: {named}{rest}"


# The sections whose rows are records.
TABLES: dict[str, Callable[[], Iterable[tuple[str, ...]]]] = {
    "Activations": of_activations,
    "Losses": of_losses,
    "Optimizers": of_rules,
}


def with_rows(text: str, section: str, rows: Iterable[tuple[str, ...]]) -> str:
    """The page with these rows in the first table of a section, where the first of them was; rows
    of other names stay."""
    before, heading, rest = text.partition(f"\n## {section}\n")
    assert heading, f"the page has no section {section}"
    made = {cells[0]: f"| {' | '.join(cells)} |".replace("|  |", "| |") for cells in rows}

    def replaced(found: re.Match[str]) -> str:
        lines = found[2].splitlines()
        others = [line.split("|")[1].strip() not in made for line in lines]
        at, kept = (*others, False).index(False), [*itertools.compress(lines, others)]
        return found[1] + "\n".join([*kept[:at], *made.values(), *kept[at:]]) + "\n"

    text, n = re.subn(r"(^\|---.*\n)((?:\|.*\n)+)", replaced, rest, count=1, flags=re.MULTILINE)
    assert n == 1, f"the section {section} has no table"
    return before + heading + text


def with_cell(text: str, name: str, cell: str) -> str:
    """The page with this second cell in the row of a name."""
    made, n = re.subn(
        rf"(^\| `{name}` \| )[^|]*( \|)", lambda found: found[1] + cell + found[2], text, flags=re.M
    )
    assert n == 1, f"{name} has {n} rows"
    return made


def page(text: str) -> str:
    """The page, its tables written anew from the records."""
    for section, rows in TABLES.items():
        text = with_rows(text, section, rows())
    return with_cell(text, "auto", what_auto_draws())


def main() -> None:
    path = Path(sys.argv[1]) if len(sys.argv) > 1 else PAGE
    path.write_text(page(path.read_text()))


if __name__ == "__main__":
    main()
