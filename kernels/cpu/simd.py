"""SIMD vectors as a numba type: `Vector(float32, 16)` behaves like a number of 16 lanes.

Everything hot is written on these vectors, not as scalar loops that the compiler may or may not
vectorise: whether it does would depend on run-time addresses, and with it the bits of a result.
A vector of T has LANES[T] lanes, the width of the host's registers.

    v = load(array, i)        lanes array[i : i + LANES], no alignment needed; a pointer does too
    store(array, i, v)
    splat(array, x)           x in every lane, of the array's element type
    fma(a, b, c)              a * b + c, fused where the processor can
    select(mask, a, b)        lane by lane; `a < b` and the like give masks

like, fma, select, absolute and power_of_two take numbers too, of which there is one lane.
"""

from __future__ import annotations

import operator

from llvmlite import ir
from numba.core import types
from numba.core.typing.templates import AbstractTemplate, infer_global, signature
from numba.extending import intrinsic, lower_builtin, models, register_model

from .width import LANES


class Vector(types.Type):
    """`lanes` elements of `elem` in a register; boolean elements make a mask."""

    def __init__(self, elem: types.Type, lanes: int) -> None:
        self.elem, self.lanes = elem, lanes
        super().__init__(name=f"Vector({elem}, {lanes})")


ELEMENTS = {
    types.float32: ir.FloatType(),
    types.float64: ir.DoubleType(),
    types.boolean: ir.IntType(1),
    types.uint32: ir.IntType(32),
}


def vector_of(elem: types.Type) -> Vector:
    return Vector(elem, LANES[elem.name])


def ir_vector(vector: Vector) -> ir.VectorType:
    return ir.VectorType(ELEMENTS[vector.elem], vector.lanes)


@register_model(Vector)
class _VectorModel(models.PrimitiveModel):
    def __init__(self, dmm, fe_type):
        super().__init__(dmm, fe_type, ir_vector(fe_type))


# ---- memory -------------------------------------------------------------------------------


def data_pointer(context, builder, array_type, array, index, ir_type):
    """A pointer to array[index], typed for `ir_type`."""
    data = array
    if isinstance(array_type, types.Array):
        data = context.make_array(array_type)(context, builder, array).data
    return builder.bitcast(builder.gep(data, [index]), ir_type.as_pointer())


@intrinsic
def load(typingctx, array, index):
    vector = vector_of(array.dtype)

    def codegen(context, builder, sig, args):
        shape = ir_vector(vector)
        pointer = data_pointer(context, builder, sig.args[0], args[0], args[1], shape)
        return builder.load(pointer, align=array.dtype.bitwidth // 8)

    return vector(array, types.intp), codegen


@intrinsic
def store(typingctx, array, index, value):
    def codegen(context, builder, sig, args):
        shape = ir_vector(value)
        pointer = data_pointer(context, builder, sig.args[0], args[0], args[1], shape)
        builder.store(args[2], pointer, align=array.dtype.bitwidth // 8)
        return context.get_dummy_value()

    return types.void(array, types.intp, value), codegen


def broadcast(builder, scalar, lanes):
    """The scalar in every lane."""
    shape = ir.VectorType(scalar.type, lanes)
    one = builder.insert_element(ir.Constant(shape, ir.Undefined), scalar, ir.IntType(32)(0))
    zeros = ir.Constant(ir.VectorType(ir.IntType(32), lanes), [0] * lanes)
    return builder.shuffle_vector(one, ir.Constant(shape, ir.Undefined), zeros)


@intrinsic
def splat(typingctx, array, x):
    vector = vector_of(array.dtype)

    def codegen(context, builder, sig, args):
        return broadcast(builder, args[1], vector.lanes)

    return vector(array, array.dtype), codegen


@intrinsic
def like(typingctx, v, x):
    """x in every lane of a vector like v."""
    if not isinstance(v, Vector):
        return v(v, v), lambda context, builder, sig, args: args[1]

    def codegen(context, builder, sig, args):
        return broadcast(builder, args[1], v.lanes)

    return v(v, v.elem), codegen


@intrinsic
def lanes_of(typingctx, array):
    """LANES of the array's element type, a compile-time constant."""
    lanes = vector_of(array.dtype).lanes
    return types.intp(array), lambda context, builder, sig, args: ir.IntType(64)(lanes)


@intrinsic
def is_double(typingctx, x):
    """Whether x is of float64, a compile-time constant: the other branch costs nothing."""
    elem = getattr(x, "elem", getattr(x, "dtype", x))
    value = int(elem == types.float64)
    return types.boolean(x), lambda context, builder, sig, args: ir.IntType(1)(value)


# ---- arithmetic: the operators of Python, on vectors and vector-scalar pairs -------------------


def _binary(op, make, result=lambda v: v):
    """Give `op` a meaning for (vector, vector), (vector, number) and (number, vector)."""

    @infer_global(op)
    class _Template(AbstractTemplate):
        def generic(self, args, kws):
            if len(args) != 2:
                return None
            a, b = args
            if isinstance(a, Vector) and a == b:
                return signature(result(a), a, a)
            if isinstance(a, Vector) and isinstance(b, types.Number):
                return signature(result(a), a, a.elem)
            if isinstance(b, Vector) and isinstance(a, types.Number):
                return signature(result(b), b.elem, b)
            return None

    def lower(context, builder, sig, args):
        lanes = max(getattr(t, "lanes", 0) for t in sig.args)
        operands = [
            value if isinstance(t, Vector) else broadcast(builder, value, lanes)
            for t, value in zip(sig.args, args, strict=True)
        ]
        return make(builder, *operands)

    for pair in ((Vector, Vector), (Vector, types.Number), (types.Number, Vector)):
        lower_builtin(op, *pair)(lower)


def mask_of(vector):
    return Vector(types.boolean, vector.lanes)


_binary(operator.add, lambda b, x, y: b.fadd(x, y))
_binary(operator.sub, lambda b, x, y: b.fsub(x, y))
_binary(operator.mul, lambda b, x, y: b.fmul(x, y))
_binary(operator.truediv, lambda b, x, y: b.fdiv(x, y))
# Ordered comparisons: false where an operand is NaN.
for _op, _sign in (
    (operator.lt, "<"),
    (operator.le, "<="),
    (operator.gt, ">"),
    (operator.ge, ">="),
    (operator.eq, "=="),
):
    _binary(_op, lambda b, x, y, sign=_sign: b.fcmp_ordered(sign, x, y), mask_of)


@infer_global(operator.neg)
class _Negate(AbstractTemplate):
    def generic(self, args, kws):
        if len(args) == 1 and isinstance(args[0], Vector):
            return signature(args[0], args[0])
        return None


@lower_builtin(operator.neg, Vector)
def _lower_negate(context, builder, sig, args):
    return builder.fneg(args[0])


@intrinsic
def select(typingctx, mask, a, b):
    def codegen(context, builder, sig, args):
        return builder.select(args[0], args[1], args[2])

    return a(mask, a, a), codegen


def _llvm_function(name, n_args):
    """An intrinsic that calls LLVM's `name` lane by lane."""

    def codegen(context, builder, sig, args):
        shape = args[0].type
        lanes = f"v{shape.count}" if isinstance(shape, ir.VectorType) else ""
        suffix = {"float": "f32", "double": "f64"}[str(getattr(shape, "element", shape))]
        function = builder.module.declare_intrinsic(
            f"llvm.{name}.{lanes}{suffix}", fnty=ir.FunctionType(shape, [shape] * n_args)
        )
        return builder.call(function, args)

    if n_args == 1:

        @intrinsic
        def function(typingctx, a):
            return a(a), codegen

        return function

    @intrinsic
    def function3(typingctx, a, b, c):
        return a(a, a, a), codegen

    return function3


sqrt = _llvm_function("sqrt", 1)
absolute = _llvm_function("fabs", 1)
# fmuladd, not fma: a processor without FMA multiplies and adds instead of calling the C library.
fma = _llvm_function("fmuladd", 3)


@intrinsic
def power_of_two(typingctx, t):
    """2**n where t = n + 1.5 * 2**(mantissa bits), n integral.

    That constant puts n into the low bits of the mantissa, so 2**n is those bits plus the bias,
    shifted into the exponent: no conversion, and none of its undefined cases.
    """

    def codegen(context, builder, sig, args):
        elem, lanes = getattr(t, "elem", t), getattr(t, "lanes", None)
        bits, bias = (23, 127) if elem == types.float32 else (52, 1023)
        integer = ir.IntType(elem.bitwidth)
        shape = ir.VectorType(integer, lanes) if lanes else integer

        def all_of(n):
            return broadcast(builder, integer(n), lanes) if lanes else integer(n)

        raw = builder.bitcast(args[0], shape)
        low = builder.add(raw, all_of(bias))
        shifted = builder.shl(low, all_of(bits))
        return builder.bitcast(shifted, args[0].type)

    return t(t), codegen


@intrinsic
def keep_lanes(typingctx, v, n, other):
    """Lane j of v where j < n, else of other: the tail of a row."""

    def codegen(context, builder, sig, args):
        iota = ir.Constant(ir.VectorType(ir.IntType(64), v.lanes), list(range(v.lanes)))
        mask = builder.icmp_signed("<", iota, broadcast(builder, args[1], v.lanes))
        return builder.select(mask, args[0], args[2])

    return v(v, types.int64, v), codegen


def _reduction(combine):
    """Combine all lanes in a fixed order: halves, quarters, eighths, ..."""

    @intrinsic
    def reduce(typingctx, v):
        def codegen(context, builder, sig, args):
            value, count = args[0], v.lanes
            while count > 1:
                count //= 2
                low = ir.Constant(ir.VectorType(ir.IntType(32), count), list(range(count)))
                high = ir.Constant(
                    ir.VectorType(ir.IntType(32), count), list(range(count, 2 * count))
                )
                undefined = ir.Constant(value.type, ir.Undefined)
                value = combine(
                    builder,
                    builder.shuffle_vector(value, undefined, low),
                    builder.shuffle_vector(value, undefined, high),
                )
            return builder.extract_element(value, ir.IntType(32)(0))

        return v.elem(v), codegen

    return reduce


reduce_add = _reduction(lambda b, x, y: b.fadd(x, y))
# A NaN in y stays, one in x stays since the comparison is then false: the maximum of a row with
# a NaN is that NaN or a number, and the sum over the row is NaN in either case.
reduce_max = _reduction(lambda b, x, y: b.select(b.fcmp_ordered(">", y, x), y, x))
