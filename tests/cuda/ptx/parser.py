"""PTX text to a list of instructions, with calls of its own functions written out in line."""

from __future__ import annotations

import bisect
import re
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Any, NamedTuple

from .faults import Unsupported

_WIDTHS = ("8", "16", "32", "64")
SIZES = {
    "pred": 1, **{kind + bits: int(bits) // 8 for kind in "bus" for bits in _WIDTHS},
    "f16": 2, "bf16": 2, "f32": 4, "f64": 8, "f16x2": 4, "bf16x2": 4, "b128": 16,
}  # fmt: skip


class Register(NamedTuple):
    name: str


class Special(NamedTuple):
    """A register that the machine fills, such as %tid.x."""

    name: str


class Immediate(NamedTuple):
    """kind "i" for an integer; "f32" or "f64" for the bits of a number."""

    kind: str
    bits: int


class Symbol(NamedTuple):
    """A variable, a parameter, a label or a function."""

    name: str


class Address(NamedTuple):
    base: Any
    offset: int


class Vector(NamedTuple):
    """{a, b, ...}, (a, b, ...) or a|b."""

    items: tuple[Any, ...]


SINK = Symbol("_")


@dataclass(frozen=True)
class Instruction:
    """`parts`: the opcode between its dots; `predicate`: name of the register, and whether it is
    negated; `target`: of a branch, the number of an instruction."""

    line: int
    text: str
    parts: tuple[str, ...]
    operands: tuple[Any, ...]
    predicate: tuple[str, bool] | None = None
    target: int = -1

    @property
    def opcode(self) -> str:
        return ".".join(self.parts)


@dataclass
class Variable:
    """Of .shared or .global memory; an extern array has no size of its own."""

    n_bytes: int
    alignment: int
    initial: tuple[int, ...] = ()
    item_bytes: int = 1


@dataclass
class Function:
    """A .entry or .func: `parameters` and `returned` are (name, bytes)."""

    name: str
    is_entry: bool
    parameters: list[tuple[str, int]]
    returned: list[tuple[str, int]]
    code: list[Instruction] = field(default_factory=list)
    registers: dict[str, str] = field(default_factory=dict)
    labels: dict[str, int] = field(default_factory=dict)
    shared: dict[str, Variable] = field(default_factory=dict)


@dataclass
class Kernel:
    """One entry: its code with all calls in line, and the memory it names."""

    name: str
    parameters: list[tuple[str, int]]
    code: list[Instruction]
    registers: dict[str, str]
    shared: dict[str, Variable]
    globals: dict[str, Variable]


_HEADER = re.compile(
    r"\.(?P<kind>entry|func)\b\s*(?:\((?P<returned>[^)]*)\)\s*)?(?P<name>[\w$]+)\s*"
    r"(?:\((?P<parameters>[^)]*)\))?[^;{]*(?P<end>[;{])"
)
_STATEMENT = re.compile(
    r"\s*(?:(?P<label>[\w$]+):(?!:)|(?P<brace>[{}])|(?P<text>(?:[^;{}]|\{[^{}]*\})+);)"
)
_VARIABLE = re.compile(
    r"(?:\.\w+\s+)*?\.(?P<space>shared|global|const|local)\s+(?:\.align\s+(?P<align>\d+)\s+)?"
    r"\.(?P<type>\w+)\s+(?P<name>[\w$]+)\s*(?P<array>\[\d*\])?\s*(?:=\s*\{?(?P<values>[^};]*)\}?)?"
)
_PARAMETER = re.compile(r"\.(\w+)\s+(?:\.ptr\b.*\s)?([\w$]+)\s*(?:\[(\d+)\])?$")
_COMMENT = re.compile(r"//[^\n]*|/\*.*?\*/", re.DOTALL)


def parse(text: str, name: str = "") -> Kernel:
    """The only entry of a module; `name` is what faults call it."""
    text = _COMMENT.sub(lambda found: re.sub(r"[^\n]", " ", found[0]), text)
    ends = [found.start() for found in re.finditer("\n", text)]
    functions: dict[str, Function] = {}
    variables: dict[str, dict[str, Variable]] = {"shared": {}, "global": {}, "const": {}}
    position, outside = 0, ""
    while header := _HEADER.search(text, position):
        outside += text[position : header.start()]
        position = header.end()
        if header["end"] == "{":
            made = Function(
                header["name"], header["kind"] == "entry", _parameters(header["parameters"]),
                _parameters(header["returned"]),
            )  # fmt: skip
            position = _read_body(made, text, position, ends)
            functions[made.name] = made
    outside += text[position:]
    for statement in outside.split(";"):
        if found := _VARIABLE.search(statement):
            variables[found["space"]][found["name"]] = _variable(found)
    (entry,) = (function for function in functions.values() if function.is_entry)
    flat = _in_line(entry, functions)
    shared = dict(variables["shared"])
    for function in functions.values():
        shared |= function.shared
    return Kernel(
        name or entry.name, entry.parameters, _with_targets(flat), flat.registers, shared,
        variables["global"] | variables["const"],
    )  # fmt: skip


def _parameters(text: str | None) -> list[tuple[str, int]]:
    found = [_PARAMETER.search(part.strip()) for part in (text or "").split(",") if part.strip()]
    return [(p[2], SIZES[p[1]] * int(p[3] or 1)) for p in found if p]


def _variable(found: re.Match[str]) -> Variable:
    item = SIZES[found["type"]]
    n = int(found["array"][1:-1] or 0) if found["array"] else 1
    values = tuple(int(v, 0) for v in (found["values"] or "").split(",") if v.strip())
    return Variable(n * item, int(found["align"] or item), values, item)


def _read_body(function: Function, text: str, position: int, ends: list[int]) -> int:
    """Statements up to the closing brace; the position behind it."""
    depth = 1
    while depth:
        found = _STATEMENT.match(text, position)
        if found is None:
            raise Unsupported(f"line {bisect.bisect(ends, position) + 1} is not PTX")
        position = found.end()
        if found["brace"]:
            depth += 1 if found["brace"] == "{" else -1
        elif found["label"]:
            function.labels[found["label"]] = len(function.code)
        else:
            line = bisect.bisect_left(ends, found.start("text")) + 1
            _read_statement(function, " ".join(found["text"].split()), line)
    return position


def _read_statement(function: Function, text: str, line: int) -> None:
    if text.startswith(".reg"):
        _, kind, names = text.split(None, 2)
        for name in names.split(","):
            many = re.fullmatch(r"(.*)<(\d+)>", name.strip())
            made = [f"{many[1]}{i}" for i in range(int(many[2]))] if many else [name.strip()]
            for each in made:
                if function.registers.setdefault(each, kind[1:]) != kind[1:]:
                    raise Unsupported(f"line {line} declares {each} again with another type")
    elif text.startswith(".param"):  # of a call: a register of 64 bits holds it
        function.registers[text.split()[-1].split("[")[0]] = "b64"
    elif found := _VARIABLE.match(text):
        if found["space"] != "shared":
            raise Unsupported(f"line {line} declares .{found['space']} memory in a function")
        function.shared[found["name"]] = _variable(found)
    elif not text.startswith("."):
        function.code.append(_instruction(function, text, line))


def _instruction(function: Function, text: str, line: int) -> Instruction:
    predicate, rest = None, text
    if text.startswith("@"):
        guard, rest = text[1:].split(None, 1)
        predicate = (guard.lstrip("!"), guard.startswith("!"))
    opcode, _, operands = rest.partition(" ")
    parsed = tuple(_operand(part, function.registers) for part in _split(operands))
    return Instruction(line, text, tuple(opcode.split(".")), parsed, predicate)


def _split(text: str) -> list[str]:
    """At commas outside of brackets."""
    parts, depth, begin = [], 0, 0
    for position, sign in enumerate(text):
        if sign in "[{(":
            depth += 1
        elif sign in "]})":
            depth -= 1
        elif sign == "," and not depth:
            parts.append(text[begin:position])
            begin = position + 1
    return [part.strip() for part in (*parts, text[begin:]) if part.strip()]


def _operand(text: str, registers: dict[str, str]) -> Any:
    if text in registers:
        return Register(text)
    if text[0] in "{(":
        return Vector(tuple(_operand(part, registers) for part in _split(text[1:-1])))
    if text[0] == "[":
        base, _, offset = text[1:-1].partition("+")
        return Address(_operand(base.strip(), registers), int(offset or "0", 0))
    if "|" in text:
        return Vector(tuple(_operand(part.strip(), registers) for part in text.split("|")))
    return _constant(text)


@lru_cache(maxsize=4096)
def _constant(text: str) -> Any:
    if text[:2] in ("0f", "0F", "0d", "0D"):
        return Immediate("f32" if text[1] in "fF" else "f64", int(text[2:], 16))
    if re.fullmatch(r"-?(0[xX][0-9a-fA-F]+|\d+)U?", text):
        return Immediate("i", int(text.rstrip("U"), 0))
    return Special(text) if text[0] == "%" else Symbol(text)


def _in_line(function: Function, functions: dict[str, Function]) -> Function:
    """A function without calls of others of the module; what it calls outside stays a call."""
    made = replace(function, code=[], labels={}, registers=dict(function.registers))
    at = {}  # where an instruction of the function begins in what is made of it
    for number, instruction in enumerate(function.code):
        at[number] = len(made.code)
        callee = None
        if instruction.parts[0] == "call":
            names = [o.name for o in instruction.operands if isinstance(o, Symbol)]
            callee = functions.get(names[0])
        if callee is None:
            made.code.append(instruction)
        else:
            _write_out(made, instruction, _in_line(callee, functions))
    at[len(function.code)] = len(made.code)
    made.labels |= {label: at[number] for label, number in function.labels.items()}
    return made


def _write_out(made: Function, call: Instruction, callee: Function) -> None:
    """The body of what is called, its names made unique, its parameters those of the call."""
    before = f"{callee.name}@{len(made.code)}:"
    lists = [tuple(s.name for s in o.items) for o in call.operands if isinstance(o, Vector)]
    formal = [name for name, _ in (*callee.returned, *callee.parameters)]
    named = dict(zip(formal, [name for names in lists for name in names], strict=True))
    start, end = len(made.code), f"{before}end"

    def renamed(operand: Any) -> Any:
        if isinstance(operand, Register):
            return Register(before + operand.name)
        if isinstance(operand, Address):
            return Address(renamed(operand.base), operand.offset)
        if isinstance(operand, Vector):
            return Vector(tuple(map(renamed, operand.items)))
        if isinstance(operand, Symbol) and operand.name in callee.labels:
            return Symbol(before + operand.name)
        if isinstance(operand, Symbol) and operand.name in named:
            return Register(named[operand.name])
        return operand

    for instruction in callee.code:
        guard = instruction.predicate
        changed = replace(
            instruction, operands=tuple(map(renamed, instruction.operands)),
            predicate=guard and (before + guard[0], guard[1]),
        )  # fmt: skip
        if changed.parts[0] == "ret":
            changed = replace(changed, parts=("bra",), operands=(Symbol(end),))
        made.code.append(changed)
    made.registers |= {before + name: kind for name, kind in callee.registers.items()}
    made.labels |= {before + label: start + number for label, number in callee.labels.items()}
    made.labels[end] = len(made.code)


def _with_targets(function: Function) -> list[Instruction]:
    return [
        replace(i, target=function.labels[i.operands[-1].name]) if i.parts[0] == "bra" else i
        for i in function.code
    ]
