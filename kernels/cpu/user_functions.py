"""Functions of users: compiled on their own, and called by the loop through their C address.

The loop is one piece of machine code for all networks and is not compiled again for a function
that a user registers. Where a code of `codes.ACTIVATIONS` or `codes.LOSSES` stands, a number
beyond them is the address of such a function; no address is that small.

    void activate(T* act, T* dz, int64 ld, int64 n_rows, int64 n)    act = f(z), dz = f'(z)
    double row_loss(T* z, T* dz, T* y, int64 n)                      mean of l(z, y) and dz

A NaN stays one whatever the user makes of it, and a function that raises gives NaN: a training
that has gone wrong must not look healthy.
"""

import math

from llvmlite import ir
from numba.core import types
from numba.extending import intrinsic

from .. import codes
from ..jit import c_function, njit, user_function
from .simd import ELEMENTS, data_pointer, keep_lanes, lanes_of, like, load, store

N_ACTIVATIONS, N_LOSSES = len(codes.ACTIVATIONS), len(codes.LOSSES)

_ACTIVATE = """
def activate(act, dz, ld, n_rows, n):
    for r in range(n_rows):
        for j in range(r * ld, r * ld + n):
            z = act[j]
            try:
                a, slope = forward(z), derivative(z)
            except Exception:
                a, slope = nan, nan
            act[j] = a if z == z else z
            dz[j] = slope if z == z else z
"""

_ROW_LOSS = """
def row_loss(z, dz, y, n):
    total = 0.0
    for j in range(n):
        v = z[j]
        try:
            value, slope = loss(v, y[j]), derivative(v, y[j])
        except Exception:
            value, slope = nan, nan
        total += value if v == v else v
        dz[j] = (slope if v == v else v) / n
    return total / n
"""


def compile_activation(forward, derivative, dtype):
    """`activate` above for scalar functions f(z) and f'(z), either compiled by `scalar`."""
    elem = types.misc.CPointer(getattr(types, dtype))
    signature = types.void(elem, elem, types.int64, types.int64, types.int64)
    namespace = {"forward": forward, "derivative": derivative, "nan": math.nan}
    return c_function("activate", _ACTIVATE, namespace, signature)


def compile_loss(loss, derivative, dtype):
    """`row_loss` above for scalar functions l(z, y) and dl/dz (z, y), compiled by `scalar`."""
    elem = types.misc.CPointer(getattr(types, dtype))
    signature = types.float64(elem, elem, elem, types.int64)
    namespace = {"loss": loss, "derivative": derivative, "nan": math.nan}
    return c_function("row_loss", _ROW_LOSS, namespace, signature)


def scalar(function, n_args, dtype):
    """A user's function compiled for n_args numbers of `dtype`, and what numba says it returns."""
    compiled = user_function(function)
    numbers = (getattr(types, dtype),) * n_args
    compiled.compile(numbers)
    return compiled, compiled.overloads[numbers].signature.return_type


# ---- called by the loop --------------------------------------------------------------------------


def _call(builder, address, result, args):
    """Call the C function at an integer address."""
    function = ir.FunctionType(result, [arg.type for arg in args])
    return builder.call(builder.inttoptr(address, function.as_pointer()), args)


def _pointers(context, builder, array_type, array, positions):
    """C pointers to elements of an array or pointer."""
    elem = ELEMENTS[array_type.dtype]
    return [data_pointer(context, builder, array_type, array, at, elem) for at in positions]


@intrinsic
def call_activation(typingctx, address, work, act_at, dz_at, ld, n_rows, n):
    def codegen(context, builder, sig, args):
        address, work, act_at, dz_at, *sizes = args
        pointers = _pointers(context, builder, sig.args[1], work, (act_at, dz_at))
        _call(builder, address, ir.VoidType(), [*pointers, *sizes])
        return context.get_dummy_value()

    ints = (types.int64,) * 5
    return types.void(types.int64, work, *ints), codegen


@intrinsic
def call_loss(typingctx, address, z, z_at, dz_at, y, y_at, n):
    def codegen(context, builder, sig, args):
        address, z, z_at, dz_at, y, y_at, n = args
        pointers = _pointers(context, builder, sig.args[1], z, (z_at, dz_at))
        pointers += _pointers(context, builder, sig.args[4], y, (y_at,))
        return _call(builder, address, ir.DoubleType(), [*pointers, n])

    i = types.int64
    return types.float64(i, z, i, i, y, i, i), codegen


@njit
def is_user_activation(code):
    return code >= N_ACTIVATIONS


@njit
def is_user_loss(code):
    return code >= N_LOSSES


@njit
def activate_user(work, act_at, dz_at, ld, r0, r1, n_columns, address):
    """`gemm.activate_block` for a registered function."""
    lanes = lanes_of(work)
    call_activation(address, work, act_at + r0 * ld, dz_at + r0 * ld, ld, r1 - r0, n_columns)
    kept = n_columns % lanes
    if kept > 0:
        zero = like(load(work, act_at), 0.0)
        for at in range(r0 * ld + n_columns - kept, r1 * ld, ld):
            store(work, act_at + at, keep_lanes(load(work, act_at + at), kept, zero))
            store(work, dz_at + at, keep_lanes(load(work, dz_at + at), kept, zero))


@njit
def user_row_loss(address, z, z_at, dz_at, n, y, y_at):
    """`losses.row_loss` for a registered function."""
    value = call_loss(address, z, z_at, dz_at, y, y_at, n)
    lanes = lanes_of(z)
    kept = n % lanes
    if kept > 0:
        last = dz_at + n - kept
        store(z, last, keep_lanes(load(z, last), kept, like(load(z, last), 0.0)))
    return value
