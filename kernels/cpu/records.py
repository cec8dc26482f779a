"""A program and the rows of its tables, as records in memory: one pointer each.

A record's fields are words of 8 bytes, read where they are used. Handed around is the pointer
alone: tuples of 26 pointers and 27 numbers took a third of the time of compiling the loop, and a
call passed them in memory. What no thread writes while the loop runs is loaded as invariant: LLVM
then keeps it in a register across stores, which may point anywhere as far as it knows.
"""

from __future__ import annotations

import operator

from llvmlite import ir
from numba.core import types
from numba.core.typing.templates import (
    AbstractTemplate,
    AttributeTemplate,
    infer_getattr,
    infer_global,
    signature,
)
from numba.extending import (
    intrinsic,
    lower_builtin,
    lower_getattr_generic,
    models,
    register_model,
)

from ..jit import njit
from ..structs import ELEMENT_TYPES, READ_ONLY, Embedding, Layer, Program, WeightTask
from .simd import data_pointer

WORD_BYTES = 8
_BYTE_POINTER = ir.IntType(8).as_pointer()


class ReadOnly(types.Type):
    """Pointer to elements that nobody writes while the loop runs; indexes like an array."""

    def __init__(self, dtype: types.Type) -> None:
        self.dtype = dtype
        super().__init__(name=f"ReadOnly({dtype})")


class Record(types.Type):
    """Pointer to a record whose fields have these numba types, one word each."""

    def __init__(self, name: str, fields: dict[str, types.Type]) -> None:
        self.fields = fields
        super().__init__(name=f"Record({name})")


@register_model(ReadOnly)
class _ReadOnlyModel(models.PrimitiveModel):
    def __init__(self, dmm, fe_type):
        element = dmm.lookup(fe_type.dtype).get_data_type()
        super().__init__(dmm, fe_type, element.as_pointer())


@register_model(Record)
class _RecordModel(models.PrimitiveModel):
    def __init__(self, dmm, fe_type):
        super().__init__(dmm, fe_type, _BYTE_POINTER)


def _load_invariant(builder, pointer):
    value = builder.load(pointer)
    value.set_metadata("invariant.load", builder.module.add_metadata([]))
    return value


@infer_global(operator.getitem)
class _ReadOnlyGetItem(AbstractTemplate):
    def generic(self, args, kws):
        pointer, index = args
        if isinstance(pointer, ReadOnly) and isinstance(index, types.Integer):
            return signature(pointer.dtype, pointer, types.intp)
        return None


@lower_builtin(operator.getitem, ReadOnly, types.intp)
def _read_only_item(context, builder, sig, args):
    return _load_invariant(builder, builder.gep(args[0], [args[1]]))


@infer_getattr
class _RecordAttributes(AttributeTemplate):
    key = Record

    def generic_resolve(self, record, name):
        return record.fields.get(name)


@lower_getattr_generic(Record)
def _record_field(context, builder, record, value, name):
    offset = WORD_BYTES * list(record.fields).index(name)
    field = builder.gep(value, [ir.IntType(64)(offset)])
    shape = context.get_value_type(record.fields[name])
    return _load_invariant(builder, builder.bitcast(field, shape.as_pointer()))


def _row_type(row):
    return Record(row.__name__, dict.fromkeys(row._fields, types.int64))


def _program_type(elem):
    fields = {}
    for name in Program._fields:
        dtype = getattr(types, ELEMENT_TYPES[name]) if name in ELEMENT_TYPES else elem
        fields[name] = ReadOnly(dtype) if name in READ_ONLY else types.misc.CPointer(dtype)
    return Record(f"Program, {elem}", fields)


@intrinsic
def program_at(typingctx, address, zero):
    """The program whose arrays' addresses stand at `address`; zero: a number of its type T."""
    program = _program_type(zero)

    def codegen(context, builder, sig, args):
        return builder.inttoptr(args[0], _BYTE_POINTER)

    return program(types.int64, zero), codegen


def _row_reader(row):
    """reader(table, number): row `number` of a table of these rows."""
    record = _row_type(row)

    @intrinsic
    def reader(typingctx, table, number):
        def codegen(context, builder, sig, args):
            at = builder.mul(args[1], ir.IntType(64)(len(row._fields)))
            return data_pointer(context, builder, sig.args[0], args[0], at, ir.IntType(8))

        return record(table, types.int64), codegen

    return reader


_layer, _task, _embedding = map(_row_reader, (Layer, WeightTask, Embedding))


@njit
def layer_at(p, number):
    """Row `number` of p.layers."""
    return _layer(p.layers, number)


@njit
def task_at(p, number):
    """Row `number` of p.tasks."""
    return _task(p.tasks, number)


@njit
def embedding_at(p, number):
    """Row `number` of p.embeddings."""
    return _embedding(p.embeddings, number)


@njit
def panel_vectors(layer, column, lanes):
    """Width in vectors of the panel at `column`: 2, or 1 for a last one that suffices so."""
    return 2 if layer.out_pad - column >= 2 * lanes else 1


@njit
def vector_at(layer, part):
    """Where the vectors of a layer begin in params: the bias, then those of its kind."""
    return layer.bias if part == 0 else layer.scale + (part - 1) * layer.out_pad
