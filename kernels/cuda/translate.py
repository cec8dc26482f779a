"""Generated source text as LLVM IR, for kernels that numba would take seconds to type.

A generated kernel names hundreds of variables, one for each sum that a thread keeps in a register.
numba infers the type of each of them by a search; here the type of a variable is the type of its
first value, and each statement becomes its instructions at once. The text is the same that the
simulator runs as Python, so there is one source for both.

What the text may have: arguments and names of its namespace; `=`, `+=` and the like, tuples on both
sides; `if`, `while`, `for` over a `range`, `return` without a value; comparisons, `and`, `or`,
`not`, `a if c else b`; `T(x)`, `float(x)`, `int(x)` and their like, `min(a, b)` and `max(a, b)`;
elements of arrays; threads and blocks of `cuda`; functions of `math`; and calls of device functions
and intrinsics, which numba compiles. As with numba, float32 beside float64 is float64, and so is an
integer beside a float. All parts of `and`, `or` and `a if c else b` are computed, so they must not
read memory. Indices and operands of `//` and `%` must not be negative.
"""

from __future__ import annotations

import ast
import builtins
from collections.abc import Callable
from typing import Any, NamedTuple

from llvmlite import ir
from numba.cuda import cgutils, types
from numba.cuda.cudadrv.nvvm import ADDRSPACE_SHARED
from numba.cuda.cudaimpl import _generic_array
from numba.cuda.extending import intrinsic
from numba.cuda.np import numpy_support
from numba.cuda.nvvmutils import call_sreg

from . import ptx

_SPECIAL = {
    f"cuda.{name}.{axis}": f"{register}.{axis}"
    for name, register in (
        ("threadIdx", "tid"), ("blockIdx", "ctaid"), ("blockDim", "ntid"), ("gridDim", "nctaid"),
    )
    for axis in "xyz"
}  # fmt: skip
_WHOLE = {ast.Add: "add", ast.Sub: "sub", ast.Mult: "mul", ast.FloorDiv: "udiv", ast.Mod: "urem",
          ast.BitAnd: "and_", ast.BitOr: "or_", ast.LShift: "shl", ast.RShift: "lshr"}  # fmt: skip
_REAL = {ast.Add: "fadd", ast.Sub: "fsub", ast.Mult: "fmul", ast.Div: "fdiv"}
_CASTS = {"float": types.float64, "float64": types.float64, "int": types.int64,
          "np.int64": types.int64}  # fmt: skip
_PURE = {*_CASTS, "T", "min", "max", "abs", "math.exp", "math.log1p"}  # calls that read no memory
_ORDER = {ast.Lt: "<", ast.LtE: "<=", ast.Gt: ">", ast.GtE: ">=", ast.Eq: "==", ast.NotEq: "!="}


class Value(NamedTuple):
    """A value and its type as numba knows it."""

    type: Any
    value: Any


def kernel_body(arguments: str, text: str, namespace: dict[str, Any]) -> Callable:
    """A function of the kernel's arguments that does what the text's function does."""

    def describe(typingctx: Any, given: tuple[Any, ...]) -> tuple[Any, Callable]:
        def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
            (tree,) = ast.parse(text).body
            assert isinstance(tree, ast.FunctionDef)
            names = (argument.arg for argument in tree.args.args)
            values = dict(zip(names, map(Value, sig.args, args), strict=True))
            _Translation(typingctx, context, builder, namespace, values).function(tree)
            return context.get_dummy_value()

        return types.void(*given), codegen

    named: dict[str, Any] = {"describe": describe}
    text_of_body = (
        f"def body(typingctx, {arguments}):\n    return describe(typingctx, ({arguments},))"
    )
    exec(text_of_body, named)
    return intrinsic(named["body"])


class _Translation:
    """The statements of one function, appended to the block where `builder` stands."""

    def __init__(
        self, typingctx: Any, context: Any, builder: Any, namespace: dict[str, Any],
        arguments: dict[str, Value],
    ) -> None:  # fmt: skip
        self.typingctx, self.context, self.builder = typingctx, context, builder
        self.namespace, self.arguments = namespace, arguments
        self.variables: dict[str, Value] = {}  # pointers to where they are kept
        self.n_shared = 0  # arrays in shared memory
        self.known: dict[Any, tuple[Any, Any]] = {}  # functions by their arguments' types

    def function(self, tree: ast.FunctionDef) -> None:
        self.end = self.builder.append_basic_block("end")
        self.block(tree.body)
        self.go_to(self.end)
        self.builder.position_at_end(self.end)

    # ---- statements --------------------------------------------------------------------------

    def block(self, statements: list[ast.stmt]) -> None:
        for statement in statements:
            getattr(self, f"do_{type(statement).__name__}", self.refuse)(statement)

    def refuse(self, node: ast.AST) -> Any:
        raise SyntaxError(f"generated kernels have no {type(node).__name__}: {ast.unparse(node)}")

    def do_Assign(self, node: ast.Assign) -> None:
        value = self.value(node.value)
        for target in node.targets:
            self.assign(target, value)

    def do_AugAssign(self, node: ast.AugAssign) -> None:
        read = ast.parse(ast.unparse(node.target), mode="eval").body
        self.assign(node.target, self.operate(node, self.value(read), self.value(node.value)))

    def do_Expr(self, node: ast.Expr) -> None:
        self.value(node.value)

    def do_Return(self, node: ast.Return) -> None:
        if node.value is not None:
            self.refuse(node)
        self.go_to(self.end)
        self.builder.position_at_end(self.builder.append_basic_block("after"))

    def do_If(self, node: ast.If) -> None:
        then, other, after = (self.builder.append_basic_block(n) for n in ("then", "else", "endif"))
        self.builder.cbranch(self.truth(node.test), then, other)
        for start, statements in ((then, node.body), (other, node.orelse)):
            self.builder.position_at_end(start)
            self.block(statements)
            self.go_to(after)
        self.builder.position_at_end(after)

    def do_While(self, node: ast.While) -> None:
        look, body, after = (self.builder.append_basic_block(n) for n in ("look", "body", "done"))
        self.builder.branch(look)
        self.builder.position_at_end(look)
        self.builder.cbranch(self.truth(node.test), body, after)
        self.builder.position_at_end(body)
        self.block(node.body)
        self.go_to(look)
        self.builder.position_at_end(after)

    def do_For(self, node: ast.For) -> None:
        call = node.iter
        if not (isinstance(call, ast.Call) and ast.unparse(call.func) == "range") or node.orelse:
            self.refuse(node)
        bounds = [self.value(argument) for argument in call.args]  # type: ignore[attr-defined]
        if len(bounds) == 1:
            bounds = [self.whole(0), *bounds]
        start, stop, step = (*bounds, self.whole(1))[:3]
        # A step that is no constant is positive.
        goes_down = isinstance(step.value, ir.Constant) and step.value.constant < 0
        look, body, after = (self.builder.append_basic_block(n) for n in ("look", "body", "done"))
        at = cgutils.alloca_once(self.builder, start.value.type)  # what the body assigns is not it
        self.builder.store(start.value, at)
        self.builder.branch(look)
        self.builder.position_at_end(look)
        now = self.builder.load(at)
        goes_on = self.builder.icmp_signed(">" if goes_down else "<", now, stop.value)
        self.builder.cbranch(goes_on, body, after)
        self.builder.position_at_end(body)
        self.assign(node.target, Value(start.type, now))
        self.block(node.body)
        self.builder.store(self.builder.add(self.builder.load(at), step.value), at)
        self.builder.branch(look)
        self.builder.position_at_end(after)

    def go_to(self, block: Any) -> None:
        if not self.builder.block.is_terminated:
            self.builder.branch(block)

    def assign(self, target: ast.expr, value: Any) -> None:
        if isinstance(target, ast.Tuple):
            if not isinstance(value, tuple) or isinstance(value, Value):
                self.refuse(target)
            for part, each in zip(target.elts, value, strict=True):
                self.assign(part, each)
        elif isinstance(target, ast.Subscript):
            array, at = self.value(target.value), self.value(target.slice)
            self.call(ptx.store1, [array, at, value])
        elif isinstance(target, ast.Name):
            kept = self.variables.get(target.id)
            if kept is None:
                place = cgutils.alloca_once(self.builder, value.value.type, name=target.id)
                kept = self.variables[target.id] = Value(value.type, place)
            if self.common(kept.type, value.type) != kept.type:
                raise TypeError(f"{target.id} was {kept.type} and becomes {value.type}")
            self.builder.store(self.converted(value, kept.type).value, kept.value)
        else:
            self.refuse(target)

    # ---- values ------------------------------------------------------------------------------

    def value(self, node: ast.expr) -> Any:
        return getattr(self, f"of_{type(node).__name__}", self.refuse)(node)

    def of_Name(self, node: ast.Name) -> Any:
        if node.id in self.variables:
            kept = self.variables[node.id]
            return Value(kept.type, self.builder.load(kept.value))
        if node.id in self.arguments:
            return self.arguments[node.id]
        return self.constant(self.namespace[node.id])

    def of_Constant(self, node: ast.Constant) -> Value:
        return self.constant(node.value)

    def of_Attribute(self, node: ast.Attribute) -> Value:
        name = ast.unparse(node)
        if name in _SPECIAL:
            register = call_sreg(self.builder, _SPECIAL[name])
            return Value(types.int64, self.builder.zext(register, ir.IntType(64)))
        return self.constant(getattr(self.namespace[ast.unparse(node.value)], node.attr))

    def constant(self, value: Any) -> Value:
        if isinstance(value, int) and not isinstance(value, bool):
            return self.whole(value)
        kind = self.typingctx.resolve_value_type(value)
        return Value(kind, self.context.get_constant(kind, value))

    def whole(self, value: int) -> Value:
        return Value(types.int64, ir.Constant(ir.IntType(64), value))

    def of_Tuple(self, node: ast.Tuple) -> tuple[Any, ...]:
        return tuple(self.value(part) for part in node.elts)

    def of_Subscript(self, node: ast.Subscript) -> Any:
        return self.call(ptx.load1, [self.value(node.value), self.value(node.slice)])

    def of_BinOp(self, node: ast.BinOp) -> Value:
        return self.operate(node, self.value(node.left), self.value(node.right))

    def common(self, left: Any, right: Any) -> Any:
        """The type that numba gives what values of these make together; None: there is none."""
        if left == right:
            return left
        if not all(isinstance(kind, types.Float | types.Integer) for kind in (left, right)):
            return None
        is_float = isinstance(left, types.Float) or isinstance(right, types.Float)
        return types.float64 if is_float else types.int64

    def alike(self, left: Value, right: Value, node: ast.AST) -> tuple[Value, Value]:
        kind = self.common(left.type, right.type)
        if kind is None:
            raise TypeError(f"{left.type} and {right.type} in {ast.unparse(node)}")
        return self.converted(left, kind), self.converted(right, kind)

    def operate(self, node: ast.BinOp | ast.AugAssign, left: Value, right: Value) -> Value:
        left, right = self.alike(left, right, node)
        if isinstance(node.op, ast.Div) and not isinstance(left.type, types.Float):
            left, right = (self.converted(part, types.float64) for part in (left, right))
        table = _REAL if isinstance(left.type, types.Float) else _WHOLE
        name = table.get(type(node.op))
        if name is None:
            self.refuse(node)
        return Value(left.type, getattr(self.builder, str(name))(left.value, right.value))

    def of_UnaryOp(self, node: ast.UnaryOp) -> Value:
        if isinstance(node.op, ast.USub) and isinstance(node.operand, ast.Constant):
            return self.constant(-node.operand.value)  # type: ignore[operator]
        operand = self.value(node.operand)
        if isinstance(node.op, ast.Not):
            return Value(types.boolean, self.builder.not_(self.truth(node.operand)))
        if not isinstance(node.op, ast.USub):
            self.refuse(node)
        if not isinstance(operand.type, types.Float):
            return Value(operand.type, self.builder.neg(operand.value))
        zero = ir.Constant(operand.value.type, -0.0)  # NVVM's dialect has no fneg
        return Value(operand.type, self.builder.fsub(zero, operand.value))

    def of_BoolOp(self, node: ast.BoolOp) -> Value:
        join = self.builder.and_ if isinstance(node.op, ast.And) else self.builder.or_
        self.reads_nothing(node)
        first, *others = map(self.truth, node.values)
        for other in others:
            first = join(first, other)
        return Value(types.boolean, first)

    def of_Compare(self, node: ast.Compare) -> Value:
        operands = [self.value(part) for part in (node.left, *node.comparators)]
        result = None
        for op, first, second in zip(node.ops, operands, operands[1:], strict=False):
            left, right = self.alike(first, second, node)
            sign = _ORDER.get(type(op)) or self.refuse(node)
            if not isinstance(left.type, types.Float):
                compare = self.builder.icmp_signed
            else:  # of a NaN only != holds
                compare = self.builder.fcmp_unordered if sign == "!=" else self.builder.fcmp_ordered
            holds = compare(sign, left.value, right.value)
            result = holds if result is None else self.builder.and_(result, holds)
        return Value(types.boolean, result)

    def of_IfExp(self, node: ast.IfExp) -> Value:
        self.reads_nothing(node)
        yes, no = self.alike(self.value(node.body), self.value(node.orelse), node)
        return Value(yes.type, self.builder.select(self.truth(node.test), yes.value, no.value))

    def reads_nothing(self, node: ast.expr) -> None:
        for part in ast.walk(node):
            calls = isinstance(part, ast.Call) and ast.unparse(part.func) not in _PURE
            # A division by zero is undefined, also where its result is not taken.
            if calls or isinstance(part, ast.Subscript | ast.FloorDiv | ast.Mod):
                self.refuse(node)

    def truth(self, node: ast.expr) -> Any:
        value = self.value(node)
        if value.type != types.boolean:
            raise TypeError(f"{ast.unparse(node)} must be a condition, is {value.type}")
        return value.value

    def of_Call(self, node: ast.Call) -> Any:
        if node.keywords:
            self.refuse(node)
        name = ast.unparse(node.func)
        if name == "cuda.shared.array":
            return self.shared(node)
        arguments = [self.value(argument) for argument in node.args]
        if name in _CASTS or name == "T":
            wanted = _CASTS.get(name) or numpy_support.from_dtype(self.namespace["T"])
            return self.converted(arguments[0], wanted)
        if name in ("min", "max"):
            left, right = self.alike(arguments[0], arguments[1], node)
            return self.extreme(name, left, right)
        root, *attributes = name.split(".")
        function = self.namespace[root] if root in self.namespace else getattr(builtins, root)
        for attribute in attributes:
            function = getattr(function, attribute)
        return self.call(function, arguments)

    def converted(self, value: Value, wanted: Any) -> Value:
        if value.type == wanted:
            return value
        return Value(wanted, self.context.cast(self.builder, value.value, value.type, wanted))

    def extreme(self, name: str, left: Value, right: Value) -> Value:
        """As Python's: the first, unless the second is beyond it."""
        sign = "<" if name == "min" else ">"
        is_float = isinstance(left.type, types.Float)
        compare = self.builder.fcmp_ordered if is_float else self.builder.icmp_signed
        beyond = compare(sign, right.value, left.value)
        return Value(left.type, self.builder.select(beyond, right.value, left.value))

    def shared(self, node: ast.Call) -> Value:
        n, kind = (eval(ast.unparse(part), dict(self.namespace)) for part in node.args)
        element, name = numpy_support.from_dtype(kind), f"_fastmlp_shared_{self.n_shared}"
        self.n_shared += 1
        array = _generic_array(
            self.context, self.builder, shape=(n,), dtype=element, symbol_name=name,
            addrspace=ADDRSPACE_SHARED, alignment=ptx.VECTOR_BYTES,
        )  # fmt: skip
        return Value(types.Array(element, 1, "C"), array)

    def call(self, function: Any, arguments: list[Value]) -> Any:
        """A device function or intrinsic; a tuple of values where it gives one."""
        kinds = tuple(argument.type for argument in arguments)
        if (function, kinds) not in self.known:
            callee = self.typingctx.resolve_value_type(function)
            signature = self.typingctx.resolve_function_type(callee, kinds, {})
            made = self.context.get_function(callee, signature)
            self.context.add_linking_libs(getattr(made, "libs", ()))
            self.known[function, kinds] = signature, made
        signature, made = self.known[function, kinds]
        values = [
            self.context.cast(self.builder, argument.value, argument.type, kind)
            for argument, kind in zip(arguments, signature.args, strict=True)
        ]
        result = made(self.builder, values)
        kind = signature.return_type
        if not isinstance(kind, types.BaseTuple):
            return Value(kind, result)
        return tuple(map(Value, kind.types, cgutils.unpack_tuple(self.builder, result, len(kind))))
