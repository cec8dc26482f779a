"""Small wrong changes of Python source: each gives a mutant, which some test must notice."""

from __future__ import annotations

import ast
import collections
import copy
from collections.abc import Iterator
from typing import NamedTuple

ARITHMETIC: dict[type, type] = {
    ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Div, ast.Div: ast.Mult,
    ast.FloorDiv: ast.Mult, ast.Mod: ast.Mult, ast.Pow: ast.Mult, ast.LShift: ast.RShift,
    ast.RShift: ast.LShift, ast.BitAnd: ast.BitOr, ast.BitOr: ast.BitAnd, ast.BitXor: ast.BitOr,
}  # fmt: skip
COMPARISONS: dict[type, type] = {
    ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt, ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq, ast.Is: ast.IsNot, ast.IsNot: ast.Is, ast.In: ast.NotIn, ast.NotIn: ast.In,
}  # fmt: skip
OPPOSITES = {ast.Eq, ast.NotEq, ast.Is, ast.IsNot, ast.In, ast.NotIn}
# Arguments of different kinds, so that any call would notice their exchange, or of no order.
NOT_SWAPPED = {
    *("isinstance", "issubclass", "getattr", "setattr", "hasattr", "map", "filter"),
    *("max", "min", "maximum", "minimum"),
}


class Mutant(NamedTuple):
    """One change of one file: `old`, which stands at [start, end) of its bytes, becomes `new`."""

    path: str
    function: str
    start: int
    end: int
    old: str
    new: str
    number: int = 1  # among those of the same function and the same words

    @property
    def name(self) -> str:
        """What it is called in reports and lists, whatever stands above it in the file."""
        which = f" #{self.number}" if self.number > 1 else ""
        return f"{self.path}::{self.function}: {_line(self.old)} -> {_line(self.new)}{which}"

    def of(self, source: str) -> str:
        """The file with the change."""
        raw = source.encode()
        assert raw[self.start : self.end].decode() == self.old
        return (raw[: self.start] + self.new.encode() + raw[self.end :]).decode()


def mutants_of(path: str, source: str) -> list[Mutant]:
    """All mutants of a file, in the order of its text."""
    begins = [0]
    for line in source.encode().splitlines(keepends=True):
        begins.append(begins[-1] + len(line))
    found: dict[tuple[int, int, str], Mutant] = {}
    for node, new, function in _changes(ast.parse(source), ""):
        start = begins[node.lineno - 1] + node.col_offset
        end = begins[node.end_lineno - 1] + node.end_col_offset
        old = source.encode()[start:end].decode()
        # In brackets, as an operator of the new one may bind less than those around it.
        text = f"({ast.unparse(new)})" if isinstance(new, ast.expr) else ast.unparse(new)
        found.setdefault((start, end, text), Mutant(path, function, start, end, old, text))
    n_of: collections.Counter[str] = collections.Counter()
    mutants = []
    for mutant in sorted(found.values(), key=lambda mutant: (mutant.start, mutant.end, mutant.new)):
        n_of[mutant.name] += 1
        mutants.append(mutant._replace(number=n_of[mutant.name]))
    return mutants


def _changes(node: ast.AST, function: str) -> Iterator[tuple[ast.AST, ast.AST, str]]:
    """Every node that is changed, what takes its place, and the function that it stands in."""
    for child in _walked(node):
        name = function
        if isinstance(child, ast.FunctionDef | ast.ClassDef):
            name = f"{function}.{child.name}".lstrip(".")
        for new in _in_place_of(child):
            yield child, new, name
        yield from _changes(child, name)


def _walked(node: ast.AST) -> Iterator[ast.AST]:
    """The children whose meaning counts at run time, sentences left out."""
    for field, value in ast.iter_fields(node):
        if field in ("annotation", "returns", "decorator_list", "bases", "keywords") and isinstance(
            node, ast.arg | ast.FunctionDef | ast.ClassDef | ast.AnnAssign
        ):
            continue
        if (
            isinstance(node, ast.Call)
            and isinstance(node.func, ast.Name)
            and node.func.id in ("isinstance", "issubclass")
            and field == "args"
        ):
            value = value[:1]  # the rest are types
        if isinstance(node, ast.keyword) and node.arg == "strict":
            continue  # of zip: an assertion
        if field == "exc":  # which sentence an error has; dropping the raise is another mutant
            continue
        for child in value if isinstance(value, list) else [value]:
            if isinstance(child, ast.AST) and not isinstance(child, ast.JoinedStr | ast.Assert):
                yield child


def _in_place_of(node: ast.AST) -> Iterator[ast.AST]:
    match node:
        case ast.BinOp(op=op) if type(op) in ARITHMETIC:
            yield _with(node, op=ARITHMETIC[type(op)]())
        case ast.AugAssign(op=op) if type(op) in ARITHMETIC:
            yield _with(node, op=ARITHMETIC[type(op)]())
            yield ast.Pass()
        case ast.Compare(ops=[op, *rest]) if type(op) in COMPARISONS:
            yield _with(node, ops=[COMPARISONS[type(op)](), *rest])
        case ast.BoolOp(op=op):
            yield _with(node, op=ast.And() if isinstance(op, ast.Or) else ast.Or())
        case (
            ast.UnaryOp(op=ast.Not(), operand=operand) | ast.UnaryOp(op=ast.USub(), operand=operand)
        ):
            yield operand
        case ast.Constant(value=bool(value)):
            yield ast.Constant(not value)
        case ast.Constant(value=int(value)):
            yield ast.Constant(value + 1)
        case ast.Constant(value=float(value)):
            yield ast.Constant(2.0 * value or 1.0)
        case ast.Expr(value=ast.Call()) | ast.Raise() | ast.Continue() | ast.Break():
            yield ast.Pass()
        case ast.Assign(targets=[ast.Attribute() | ast.Subscript()]):
            yield ast.Pass()
        case ast.Call(func=ast.Name(id="range"), args=[*before, last]) if len(before) < 2:
            for op in (ast.Add(), ast.Sub()):
                ends = ast.BinOp(last, op, ast.Constant(1))
                yield _with(node, args=[*before, ends])
        case ast.Call(func=ast.Name(id=name) | ast.Attribute(attr=name)) if name in NOT_SWAPPED:
            pass
        case ast.Call(args=[first, second, *rest]) if ast.dump(first) != ast.dump(second):
            yield _with(node, args=[second, first, *rest])
    if getattr(node, "is_condition", False):
        yield ast.UnaryOp(ast.Not(), node)
    if isinstance(node, ast.If | ast.While | ast.IfExp | ast.comprehension):
        tests = node.ifs if isinstance(node, ast.comprehension) else [node.test]
        for test in tests:
            # The opposite of the others is there already.
            if not isinstance(test, ast.UnaryOp) and not (
                isinstance(test, ast.Compare) and type(test.ops[0]) in OPPOSITES
            ):
                test.is_condition = True  # type: ignore[attr-defined]


def _with(node: ast.AST, **fields: object) -> ast.AST:
    changed = copy.copy(node)
    for name, value in fields.items():
        setattr(changed, name, value)
    return ast.fix_missing_locations(changed)


def _line(text: str) -> str:
    return " ".join(text.split())
