"""Threads that meet: a barrier of our own, words that Python reads and writes, and a clock.

The barrier spins a bounded number of times and then sleeps: a thread that spins (or yields, and
is scheduled at once again) keeps its core, and the thread it waits for stays in the queue of a
core that another process has; a sleeping one gives its core away.
"""

from __future__ import annotations

from llvmlite import ir
from numba.core import cgutils, types
from numba.core.registry import cpu_target
from numba.extending import intrinsic

from ..jit import njit
from ..structs import Sync
from .simd import data_pointer

I64 = ir.IntType(64)


@intrinsic
def atomic_load(typingctx, words, index):
    def codegen(context, builder, sig, args):
        pointer = data_pointer(context, builder, sig.args[0], args[0], args[1], I64)
        return builder.load_atomic(pointer, "acquire", 8)

    return types.int64(words, types.intp), codegen


@intrinsic
def atomic_store(typingctx, words, index, value):
    def codegen(context, builder, sig, args):
        pointer = data_pointer(context, builder, sig.args[0], args[0], args[1], I64)
        builder.store_atomic(args[2], pointer, "release", 8)
        return context.get_dummy_value()

    return types.void(words, types.intp, types.int64), codegen


@intrinsic
def atomic_add(typingctx, words, index, value):
    """words[index] += value; the value before."""

    def codegen(context, builder, sig, args):
        pointer = data_pointer(context, builder, sig.args[0], args[0], args[1], I64)
        return builder.atomic_rmw("add", pointer, args[2], "acq_rel")

    return types.int64(words, types.intp, types.int64), codegen


@intrinsic
def relax(typingctx):
    """Tell the core that this is a spin loop, where its instruction set has a word for it."""

    def codegen(context, builder, sig, args):
        if cpu_target.target_context.codegen().magic_tuple()[0].startswith(("x86", "i686")):
            function_type = ir.FunctionType(ir.VoidType(), [])
            pause = builder.module.declare_intrinsic("llvm.x86.sse2.pause", fnty=function_type)
            builder.call(pause, [])
        return context.get_dummy_value()

    return types.void(), codegen


def _c_function(builder, name, result, arguments):
    function_type = ir.FunctionType(result, arguments)
    module = builder.module
    return module.globals.get(name) or ir.Function(module, function_type, name)


@intrinsic
def nap(typingctx):
    """Sleep for the shortest time that the system knows (POSIX nanosleep, some 50 us)."""

    def codegen(context, builder, sig, args):
        pair = ir.ArrayType(I64, 2)
        wanted = cgutils.alloca_once_value(builder, ir.Constant(pair, [0, 1]))
        sleep = _c_function(
            builder, "nanosleep", ir.IntType(32), [pair.as_pointer(), pair.as_pointer()]
        )
        builder.call(sleep, [wanted, ir.Constant(pair.as_pointer(), None)])
        return context.get_dummy_value()

    return types.void(), codegen


@intrinsic
def monotonic_s(typingctx):
    """Seconds of the monotonic clock (POSIX clock_gettime)."""

    def codegen(context, builder, sig, args):
        pair = ir.ArrayType(I64, 2)
        at = cgutils.alloca_once(builder, pair)
        clock = _c_function(
            builder, "clock_gettime", ir.IntType(32), [ir.IntType(32), pair.as_pointer()]
        )
        builder.call(clock, [ir.IntType(32)(1), at])
        whole, nano = (
            builder.sitofp(builder.extract_value(builder.load(at), i), ir.DoubleType())
            for i in (0, 1)
        )
        return builder.fadd(whole, builder.fmul(nano, ir.DoubleType()(1e-9)))

    return types.float64(), codegen


@njit
def barrier(sync, n_threads):
    """Wait until all threads are here; what they wrote before is visible after."""
    if n_threads == 1:
        return
    generation = atomic_load(sync, Sync.GENERATION)
    if atomic_add(sync, Sync.ARRIVED, 1) == n_threads - 1:
        atomic_store(sync, Sync.ARRIVED, 0)
        atomic_store(sync, Sync.GENERATION, generation + 1)
        return
    spins = 0
    while atomic_load(sync, Sync.GENERATION) == generation:
        spins += 1
        if spins < sync[Sync.SPINS]:
            relax()
        else:
            nap()
