"""Minibatches from the user's table: any element type, any strides, converted as they are read.

The table is passed as an address and two strides in bytes, so one compiled loop serves every
type and layout, and nothing is copied but the rows of the minibatch.
"""

from __future__ import annotations

from llvmlite import ir
from numba.core import types
from numba.extending import intrinsic

from .. import codes
from ..jit import njit, njit_source
from ..structs import TARGET_LABELS, TARGET_VALUES, Job
from .simd import broadcast, ir_vector, lanes_of, store, vector_of

I64 = ir.IntType(64)
LINE_BYTES = 64
# Cache lines asked for at a time. Fewer leave rows of many lines waiting for their page and their
# first line, more queue up: measured by benchmarks/rows.py from 8 to 1,000.
LINES_AHEAD = 48


def _half_bits_to_float(builder, bits, spread):
    """float32 values of float16 bits, without the F16C instructions: moving exponent and mantissa
    in place leaves the value 2^112 too small, for normal and subnormal numbers alike."""
    u32 = ir.IntType(32)

    def constant(value):
        return spread(u32(value))

    wide = builder.zext(bits, constant(0).type)
    magnitude = builder.shl(builder.and_(wide, constant(0x7FFF)), constant(13))
    sign = builder.shl(builder.and_(wide, constant(0x8000)), constant(16))
    single = ir.FloatType()
    scale = spread(single(2.0**112))
    value = builder.fmul(builder.bitcast(magnitude, scale.type), scale)
    raw = builder.or_(builder.bitcast(value, wide.type), sign)
    return builder.bitcast(raw, scale.type)


def _ir_source(name):
    if name.startswith("float"):
        return {"float16": ir.IntType(16), "float32": ir.FloatType(), "float64": ir.DoubleType()}[
            name
        ]
    return ir.IntType(int(name.removeprefix("u").removeprefix("int")))


def _convert(builder, name, value, target, spread):
    """`value` (scalar or vector of the source type) as `target`."""
    if name == "float16":
        value = _half_bits_to_float(builder, value, spread)
        name = "float32"
    if not name.startswith("float"):
        return (builder.uitofp if name.startswith("u") else builder.sitofp)(value, target)
    element = getattr(target, "element", target)
    source_bits = int(name.removeprefix("float"))
    target_bits = 32 if str(element) == "float" else 64
    if source_bits == target_bits:
        return value
    return (builder.fpext if source_bits < target_bits else builder.fptrunc)(value, target)


def _pointer(builder, address, offset, ir_type):
    base = builder.inttoptr(address, ir.IntType(8).as_pointer())
    return builder.bitcast(builder.gep(base, [offset]), ir_type.as_pointer())


def _readers(name):
    """read_vector and read_scalar(array, address, offset_bytes) for one source type."""

    @intrinsic
    def read_vector(typingctx, array, address, offset):
        vector = vector_of(array.dtype)

        def codegen(context, builder, sig, args):
            shape = ir.VectorType(_ir_source(name), vector.lanes)
            raw = builder.load(_pointer(builder, args[1], args[2], shape), align=1)

            def spread(value):
                return broadcast(builder, value, vector.lanes)

            return _convert(builder, name, raw, ir_vector(vector), spread)

        return vector(array, types.int64, types.int64), codegen

    @intrinsic
    def read_scalar(typingctx, array, address, offset):
        def codegen(context, builder, sig, args):
            source = _ir_source(name)
            raw = builder.load(_pointer(builder, args[1], args[2], source), align=1)
            target = context.get_value_type(array.dtype)
            return _convert(builder, name, raw, target, lambda value: value)

        return array.dtype(array, types.int64, types.int64), codegen

    return read_vector, read_scalar


_COPY_ROW = """
def {name}(out, out_at, n, address, column_bytes):
    j = 0
    if column_bytes == {size}:
        lanes = lanes_of(out)
        while j + lanes <= n:
            store(out, out_at + j, read_vector(out, address, j * {size}))
            j += lanes
    while j < n:
        out[out_at + j] = read_scalar(out, address, j * column_bytes)
        j += 1
"""


def _copy_row(name):
    """copy_row of one source type: out[out_at : out_at + n] = the row at `address`."""
    read_vector, read_scalar = _readers(name)
    namespace = {
        "read_vector": read_vector, "read_scalar": read_scalar, "store": store,
        "lanes_of": lanes_of,
    }  # fmt: skip
    function = f"copy_row_{name}"
    size = int(name.lstrip("uintfloa")) // 8
    return njit_source(function, _COPY_ROW.format(name=function, size=size), namespace)


def _rows_source():
    lines = ["def gather_rows(out, out_at, ld, n_columns, rows, r0, r1, job):"]
    lines.append("    source = job[Job.X_TYPE]")
    for code, name in enumerate(codes.SOURCE_TYPES):
        lines += [
            f"    if source == {code}:",
            "        for r in range(r0, r1):",
            "            address = job[Job.X_ADDRESS] + rows[r] * job[Job.X_ROW_BYTES]",
            f"            copy_row_{name}(",
            "                out, out_at + r * ld, n_columns, address, job[Job.X_COLUMN_BYTES])",
        ]
    return "\n".join(lines) + "\n"


# gather_rows(out, out_at, ld, n_columns, rows, r0, r1, job):
#   out[out_at + r * ld + j] = X[rows[r], j] for r0 <= r < r1.
gather_rows = njit_source(
    "gather_rows",
    _rows_source(),
    {"Job": Job} | {f"copy_row_{name}": _copy_row(name) for name in codes.SOURCE_TYPES},
)


def _prefetch(builder, pointer):
    """llvm.prefetch for reading, to be kept in all levels, of data."""
    line, flag = ir.IntType(8).as_pointer(), ir.IntType(32)
    function = builder.module.declare_intrinsic(
        "llvm.prefetch", [line], ir.FunctionType(ir.VoidType(), [line, flag, flag, flag])
    )
    builder.call(function, [builder.bitcast(pointer, line), flag(0), flag(3), flag(1)])


@intrinsic
def prefetch_address(typingctx, address):
    """Ask for the cache line at `address`."""

    def codegen(context, builder, sig, args):
        _prefetch(builder, builder.inttoptr(args[0], ir.IntType(8).as_pointer()))
        return context.get_dummy_value()

    return types.void(types.int64), codegen


@intrinsic
def prefetch(typingctx, pointer, index):
    """Ask for the cache line of pointer[index], an array of a program."""

    def codegen(context, builder, sig, args):
        _prefetch(builder, builder.gep(args[0], [args[1]]))
        return context.get_dummy_value()

    return types.void(pointer, types.intp), codegen


@njit
def prefetch_rows(n_columns, rows, r0, r1, job):
    """Ask for the lines of X that hold the rows rows[r0 : r1]."""
    column_bytes = job[Job.X_COLUMN_BYTES]
    # As many columns share a line, whichever way they run.
    step = max(1, LINE_BYTES // max(1, abs(column_bytes)))
    for r in range(r0, r1):
        address = job[Job.X_ADDRESS] + rows[r] * job[Job.X_ROW_BYTES]
        for j in range(0, n_columns, step):
            prefetch_address(address + j * column_bytes)
        prefetch_address(address + (n_columns - 1) * column_bytes)


@njit
def gather_ahead(out, out_at, ld, n_columns, rows, r0, r1, job):
    """gather_rows of rows that lie anywhere in the table, which the caches cannot foresee.

    A few rows are asked for while those before them are read: many misses then overlap, and the
    cost of a row grows little with the table.
    """
    row_lines = abs(job[Job.X_COLUMN_BYTES]) * n_columns // LINE_BYTES + 2
    row_lines = min(row_lines, n_columns + 1)
    group = max(1, LINES_AHEAD // row_lines)
    prefetch_rows(n_columns, rows, r0, min(r0 + group, r1), job)
    for first in range(r0, r1, group):
        end = min(first + group, r1)
        prefetch_rows(n_columns, rows, end, min(end + group, r1), job)
        gather_rows(out, out_at, ld, n_columns, rows, first, end, job)


@njit
def gather_targets(out, out_at, ld, n_columns, rows, r0, r1, targets):
    """out[out_at + r * ld + j] = targets[rows[r] * n_columns + j] for r0 <= r < r1."""
    for r in range(r0, r1):
        for j in range(n_columns):
            out[out_at + r * ld + j] = targets[rows[r] * n_columns + j]


@njit
def prefetch_targets(p, r0, r1):
    """Ask for what the loss will read of rows r0 to r1; it comes during the forward pass."""
    kind, n_targets, has_weights = (
        p.job[Job.TARGET_KIND], p.job[Job.N_TARGETS], p.job[Job.HAS_WEIGHTS]
    )  # fmt: skip
    for r in range(r0, r1):
        row = p.rows[r]
        if kind == TARGET_LABELS:
            prefetch(p.labels, row)
        if kind == TARGET_VALUES:
            prefetch(p.targets, row * n_targets)
        if has_weights:
            prefetch(p.weights, row)
