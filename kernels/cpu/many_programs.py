"""Several programs in one call: networks that predict the same rows one after another.

The loop is called through the C address of its machine code, which is there already: an entry that
called it by name would hold a second copy of all of it for each element type, and take as long to
compile. Programs of both element types can so stand in one list.
"""

from llvmlite import ir
from numba.core import types
from numba.extending import intrinsic

from ..jit import entry
from .records import WORD_BYTES

# A row of the list: the address of the loop for an element type, 1 where that is float64, and the
# address of the program's table.
LOOP, IS_DOUBLE, PROGRAM, N_WORDS = 0, 1, 2, 3

_INT = ir.IntType(64)
_NUMBERS = {0: ir.FloatType(), 1: ir.DoubleType()}


@intrinsic
def _word(typingctx, address, number):
    """The word `number` behind an address."""

    def codegen(context, builder, sig, args):
        at = builder.add(args[0], builder.mul(args[1], _INT(WORD_BYTES)))
        return builder.load(builder.inttoptr(at, _INT.as_pointer()))

    return types.int64(types.int64, types.int64), codegen


def _caller(is_double):
    """call(loop, program): void loop(int64 program, int64 thread, T zero) as thread 0."""
    number = _NUMBERS[is_double]

    @intrinsic
    def call(typingctx, loop, program):
        def codegen(context, builder, sig, args):
            function = ir.FunctionType(ir.VoidType(), [_INT, _INT, number])
            pointer = builder.inttoptr(args[0], function.as_pointer())
            builder.call(pointer, [args[1], _INT(0), number(0.0)])
            return context.get_dummy_value()

        return types.void(types.int64, types.int64), codegen

    return call


_run_single, _run_double = _caller(0), _caller(1)


@entry
def run_each(address, n):
    """Run the n programs of the list at `address`, each as its only thread."""
    for i in range(n):
        at = i * N_WORDS
        loop, program = _word(address, at + LOOP), _word(address, at + PROGRAM)
        if _word(address, at + IS_DOUBLE) != 0:
            _run_double(loop, program)
        else:
            _run_single(loop, program)
