"""Threads that meet: a barrier of our own, words that Python reads and writes, and a clock.

The barrier spins for a bounded time and then sleeps: a thread that spins (or yields, and is
scheduled at once again) keeps its core, and the thread it waits for stays in the queue of a core
that another process has; a sleeping one gives its core away. It wakes up late, though, and then
the others wait for it at the next barrier, so it spins for longer than threads of like speed
differ in a step.

A virtual machine takes thousands of pauses less than 128 cycles apart for a thread that waits in
vain, and gives its core away: a spinning thread pauses only now and then.
"""

from __future__ import annotations

import sys

from llvmlite import ir
from numba.core import cgutils, types
from numba.core.registry import cpu_target
from numba.extending import intrinsic

from ..jit import njit
from ..structs import Sync, ThreadWord
from .simd import data_pointer

I64 = ir.IntType(64)
# Turns of a spinning thread between two pauses, and between two looks at the clock (some us).
TURNS_PER_PAUSE, TURNS_PER_LOOK = 256, 4096
STAY_NS = 6_000_000  # a thread leaves its processor at most this often


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
def nap(typingctx, wanted_ns):
    """Sleep for wanted_ns < 10^9, and the 50 us that it takes (POSIX nanosleep)."""

    def codegen(context, builder, sig, args):
        pair = ir.ArrayType(I64, 2)
        wanted = cgutils.alloca_once(builder, pair)
        whole = builder.insert_value(ir.Constant(pair, [0, 0]), args[0], 1)
        builder.store(whole, wanted)
        sleep = _c_function(
            builder, "nanosleep", ir.IntType(32), [pair.as_pointer(), pair.as_pointer()]
        )
        builder.call(sleep, [wanted, ir.Constant(pair.as_pointer(), None)])
        return context.get_dummy_value()

    return types.void(types.int64), codegen


@intrinsic
def monotonic_ns(typingctx):
    """Nanoseconds of the monotonic clock (POSIX clock_gettime)."""

    def codegen(context, builder, sig, args):
        pair = ir.ArrayType(I64, 2)
        at = cgutils.alloca_once(builder, pair)
        clock = _c_function(
            builder, "clock_gettime", ir.IntType(32), [ir.IntType(32), pair.as_pointer()]
        )
        builder.call(clock, [ir.IntType(32)(1), at])
        seconds, rest = (builder.extract_value(builder.load(at), i) for i in (0, 1))
        return builder.add(builder.mul(seconds, I64(1_000_000_000)), rest)

    return types.int64(), codegen


@njit
def monotonic_s():
    """Seconds of the monotonic clock."""
    return monotonic_ns() * 1e-9


CPU_SET_WORDS = 16  # cpu_set_t of Linux: 1,024 bits


def _affinity(builder, verb, mask):
    call = _c_function(
        builder, f"sched_{verb}affinity", ir.IntType(32), [ir.IntType(32), I64, I64.as_pointer()]
    )
    return builder.call(call, [ir.IntType(32)(0), I64(8 * CPU_SET_WORDS), mask])


@intrinsic
def current_cpu(typingctx):
    """Number of the processor that this thread is on; -1 where the system does not tell."""

    def codegen(context, builder, sig, args):
        if not sys.platform.startswith("linux"):
            return I64(-1)
        get = _c_function(builder, "sched_getcpu", ir.IntType(32), [])
        return builder.sext(builder.call(get, []), I64)

    return types.int64(), codegen


@intrinsic
def leave_cpu(typingctx, cpu):
    """Move this thread to another processor than `cpu`, of those that it may use.

    Its affinity is another for a moment only: the scheduler may move it on afterwards.
    """

    def codegen(context, builder, sig, args):
        if not sys.platform.startswith("linux"):
            return context.get_dummy_value()
        words = ir.ArrayType(I64, CPU_SET_WORDS)
        zeros = ir.Constant(words, [0] * CPU_SET_WORDS)
        first = [ir.IntType(32)(0), ir.IntType(32)(0)]
        allowed = builder.gep(cgutils.alloca_once_value(builder, zeros), first)
        others = builder.gep(cgutils.alloca_once_value(builder, zeros), first)
        known = builder.icmp_signed(">", _affinity(builder, "get", allowed), ir.IntType(32)(0))
        inside = builder.icmp_unsigned("<", args[0], I64(64 * CPU_SET_WORDS))
        with builder.if_then(builder.and_(known, inside)):
            whole = builder.load(builder.bitcast(allowed, words.as_pointer()))
            builder.store(whole, builder.bitcast(others, words.as_pointer()))
            word = builder.gep(others, [builder.lshr(args[0], I64(6))])
            bit = builder.shl(I64(1), builder.and_(args[0], I64(63)))
            builder.store(builder.and_(builder.load(word), builder.not_(bit)), word)
            # Refused, and without effect, where no other processor is allowed.
            _affinity(builder, "set", others)
            _affinity(builder, "set", allowed)
        return context.get_dummy_value()

    return types.void(types.int64), codegen


@njit
def arrive(sync, n_threads, generation):
    """Count this thread in; whether it is the last one, which lets the others go on."""
    if atomic_add(sync, Sync.ARRIVED, 1) != n_threads - 1:
        return False
    atomic_store(sync, Sync.ARRIVED, 0)
    atomic_store(sync, Sync.GENERATION, generation + 1)
    return True


@njit
def waiting(sync, generation):
    """Spin for a while; whether the others are still not here."""
    for turn in range(TURNS_PER_LOOK):
        if atomic_load(sync, Sync.GENERATION) != generation:
            return False
        if turn % TURNS_PER_PAUSE == 0:
            relax()
    return True


@njit
def barrier(sync, n_threads):
    """Wait until all threads are here; what they wrote before is visible after."""
    if n_threads == 1:
        return
    generation = atomic_load(sync, Sync.GENERATION)
    if arrive(sync, n_threads, generation):
        return
    deadline_ns = monotonic_ns() + sync[Sync.SPIN_NS]
    while waiting(sync, generation):
        if monotonic_ns() >= deadline_ns:
            nap(1)


@njit
def shares_cpu(sync, n_threads, thread, words_at, cpu):
    """Whether another thread was on this processor when it last came to a barrier."""
    for other in range(n_threads):
        if other != thread and atomic_load(sync, words_at + 8 * other + ThreadWord.CPU) == cpu:
            return True
    return False


@njit
def barrier_apart(sync, n_threads, thread, words_at):
    """`barrier` for a few times a step, which keeps the threads on processors of their own, and
    adds up how long this one waited.

    words_at: in sync, of the lines of `ThreadWord`.
    Schedulers leave two threads on one processor and another idle for long, as neither ever sleeps;
    and while one spins there, the one that it waits for cannot run. Where the other processor is
    taken by another program, going there would be worse: so seldom, and else it sleeps at once.
    """
    if n_threads == 1:
        return
    generation = atomic_load(sync, Sync.GENERATION)
    own = words_at + 8 * thread
    atomic_store(sync, own + ThreadWord.CPU, current_cpu())
    if arrive(sync, n_threads, generation):
        return
    began_ns, spin_ns = monotonic_ns(), sync[Sync.SPIN_NS]
    while waiting(sync, generation):
        now_ns, cpu = monotonic_ns(), current_cpu()
        if not shares_cpu(sync, n_threads, thread, words_at, cpu):
            if now_ns - began_ns >= spin_ns:
                nap(1)
        elif now_ns - sync[own + ThreadWord.LEFT_NS] > STAY_NS and spin_ns > 0:
            sync[own + ThreadWord.LEFT_NS] = now_ns
            leave_cpu(cpu)
        else:
            nap(1)
    waited_ns = sync[own + ThreadWord.WAITED_NS] + monotonic_ns() - began_ns
    atomic_store(sync, own + ThreadWord.WAITED_NS, waited_ns)
