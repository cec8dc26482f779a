"""Writes the tables of docs/functions.md whose rows are records.

python -m tests.functions_page [docs/functions.md]

A section's first table gets the rows that its records give; the sentences around it, and the tables
that have no records, are written by hand and stay as they are.
"""

from __future__ import annotations

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
    # SciPy's has no kernel.
    yield (
        "`lbfgs`", "`LBFGS`",
        r"all rows in every step: $w \leftarrow w - \alpha H g$, $H$ the inverse curvature as the "
        r"last `memory` steps show it, $\alpha$ from a line search",
        "Liu and Nocedal, 1989; SciPy's L-BFGS-B", '`solver="lbfgs"`', "`optim.LBFGS`", NONE,
    )  # fmt: skip


def what_auto_draws() -> str:
    """The cell of `auto` among the initialisers, glorot_uniform left to "else"."""
    rules: dict[str, list[str]] = {}
    for name, record in activations.TABLE.items():
        rules.setdefault(record.init, []).append(name)
    del rules["glorot_uniform"]
    named = "".join(f"`{rule}` for {', '.join(rules[rule])}; " for rule in sorted(rules))
    rest = "else, and for the output layer, `glorot_uniform`"
    return f"the rule that fits the activation: {named}{rest}"


# The sections whose rows are records.
TABLES: dict[str, Callable[[], Iterable[tuple[str, ...]]]] = {
    "Activations": of_activations,
    "Losses": of_losses,
    "Optimizers": of_rules,
}


def with_rows(text: str, section: str, rows: Iterable[tuple[str, ...]]) -> str:
    """The page with these rows under the first header of a table in a section."""
    before, heading, rest = text.partition(f"\n## {section}\n")
    assert heading, f"the page has no section {section}"
    lines = "".join(f"| {' | '.join(cells)} |\n".replace("|  |", "| |") for cells in rows)
    made, n = re.subn(
        r"(^\|---.*\n)(?:\|.*\n)+", lambda found: found[1] + lines, rest, count=1, flags=re.M
    )
    assert n == 1, f"the section {section} has no table"
    return before + heading + made


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
