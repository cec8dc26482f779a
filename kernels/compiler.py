"""How numba is made to compile a tree of some 150 helpers in a few seconds.

numba is built for one function at a time: it searches each for array expressions, closures,
with-blocks and much else that kernels do not have, optimises it together with all that it calls,
and does so again in whatever calls it. Here a helper takes the passes that it needs, and becomes
text; its `entry` is what is parsed, linked, optimised and emitted, once.
"""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import llvmlite.binding as llvm
from numba.core import cgutils, ir, lowering, typed_passes, types, untyped_passes
from numba.core.codegen import JITCodeLibrary
from numba.core.compiler import CompilerBase
from numba.core.compiler_lock import global_compiler_lock
from numba.core.ir_utils import build_definitions
from numba.core.registry import CPUDispatcher
from numba.core.runtime import rtsys
from numba.core.ssa import reconstruct_ssa

_TRANSLATE, _REWRITE = untyped_passes.TranslateByteCode(), untyped_passes.GenericRewrites()
_INFER, _STRIP_PHIS = typed_passes.NopythonTypeInference(), typed_passes.PreLowerStripPhis()
_FINISH = typed_passes.NoPythonBackend()


def _shorten(blocks: dict[int, ir.Block]) -> None:
    """Take out what has a value already, before it is typed, lowered and optimised away.

    `Job.KIND` is that number, not a tuple of all positions and one taken from it; and a branch
    needs no call of `bool`, as it converts what it is given.
    """
    for block in blocks.values():
        tuples: dict[str, Any] = {}
        calls_of_bool: dict[str, ir.Assign] = {}
        taken = set()
        for statement in block.body:
            if isinstance(statement, ir.Branch):
                call = calls_of_bool.get(statement.cond.name)
                if call is not None:
                    taken.add(call.value.func.name)
                    call.value = call.value.args[0]
                continue
            if not isinstance(statement, ir.Assign):
                continue
            target, value = statement.target.name, statement.value
            if isinstance(value, ir.Global | ir.FreeVar):
                if target.startswith("$") and (
                    hasattr(value.value, "_fields") or value.value is bool
                ):
                    tuples[target] = value.value
            elif isinstance(value, ir.Expr) and value.op == "call":
                if tuples.get(value.func.name) is bool:
                    calls_of_bool[target] = statement
            elif isinstance(value, ir.Expr) and value.op == "getattr":
                number = getattr(tuples.get(value.value.name), value.attr, None)
                if type(number) is int:
                    taken.add(value.value.name)
                    statement.value = ir.Global(value.attr, number, value.loc)
        block.body = [
            statement for statement in block.body
            if not (isinstance(statement, ir.Assign) and statement.target.name in taken)
        ]  # fmt: skip


class _Lower(lowering.Lower):
    """numba's, less what it does for debuggers, counted references and exceptions."""

    def emit_environment_object(self) -> None:
        if not self.flags.no_cpython_wrapper:
            super().emit_environment_object()

    def alloca(self, name: str, kind: types.Type) -> Any:
        return cgutils.alloca_once(self.builder, self.context.get_value_type(kind), name=name)

    def storevar(self, value: Any, name: str, argidx: int | None = None) -> None:
        if name in self._singly_assigned_vars:
            self._blk_local_varmap[name] = value
        else:
            self.builder.store(value, self.getvar(name))


class _Lowering(typed_passes.BaseNativeLowering):
    _name = "kernel_lowering"
    lowering_class = _Lower


_LOWER = _Lowering()


class _Passes:
    """Stands for numba's PassManager, which formats messages and tells listeners of each pass."""

    pipeline_name = "kernel"

    def __init__(self) -> None:
        self.exec_times: dict[str, Any] = {}

    def run(self, state: Any) -> None:
        state.type_annotation = None
        _TRANSLATE.run_pass(state)
        _shorten(state.func_ir.blocks)
        state.func_ir._definitions = build_definitions(state.func_ir.blocks)
        _REWRITE.run_pass(state)
        state.func_ir = reconstruct_ssa(state.func_ir)
        state.func_ir._definitions = build_definitions(state.func_ir.blocks)
        _INFER.run_pass(state)
        state.func_ir = _STRIP_PHIS._strip_phi_nodes(state.func_ir)
        if state.flags.no_cpython_wrapper:
            self._become_part(state)
        else:
            _LOWER.run_pass(state)
        _FINISH.run_pass(state)

    def _become_part(self, state: Any) -> None:
        """Lower a helper, whose code has no address and nothing for Python."""
        state.library = _PartLibrary(state.targetctx.codegen(), state.func_id.func_qualname)
        state.flags.no_compile = True
        _LOWER.run_pass(state)
        # What numba takes for the function's address is but a key to it.
        state.cr = state.cr._replace(cfunc=state.library)
        state.targetctx.insert_user_function(state.library, state.cr.fndesc, [state.library])


class KernelCompiler(CompilerBase):
    """Only what kernels need: no closures, exceptions, array expressions, counted references."""

    def define_pipelines(self) -> list[_Passes]:
        return [_Passes()]


class _PartLibrary(JITCodeLibrary):
    """The code of a helper: text, until something that is to be run needs it."""

    def __init__(self, codegen: Any, name: str) -> None:
        super().__init__(codegen, name)
        self._shared_module: Any = None
        self.texts: list[str] = []  # the function, then its wrappers where it has any

    def add_ir_module(self, ir_module: Any) -> None:
        for function in ir_module.functions:
            # To be inlined or dropped once all that calls it is seen.
            if not function.is_declaration and not function.linkage:
                function.linkage = "linkonce_odr"
        self.texts.append(cgutils.normalize_ir_text(str(ir_module)))

    def add_linking_library(self, library: Any) -> None:
        self._linking_libraries.append(library)

    def finalize(self) -> None:
        self._finalized = True

    def _get_module_for_linking(self) -> Any:
        # Asked for by what is not an entry: a helper may be called by any function of numba.
        if self._shared_module is None:
            # Not linked into an empty module, which would leave out what it does not call.
            self._shared_module = llvm.parse_assembly(self.texts[0])
            _link_parts(self, self._shared_module)
        return self._shared_module


def _link_parts(library: JITCodeLibrary, module: Any) -> None:
    """Link all that a library calls into its module, each part once, callers first."""
    seen, waiting = {library}, [library]
    while waiting:
        for part in waiting.pop()._linking_libraries:
            if part in seen:
                continue
            seen.add(part)
            if isinstance(part, _PartLibrary):
                for text in part.texts:
                    module.link_in(llvm.parse_assembly(text))
                waiting.append(part)
            else:
                module.link_in(part._get_module_for_linking(), preserve=True)


class _EntryLibrary(JITCodeLibrary):
    """The code of an entry and of all that it calls."""

    def add_linking_library(self, library: Any) -> None:
        self._linking_libraries.append(library)

    def finalize(self) -> None:
        _link_parts(self, self._final_module)
        self._linking_libraries.clear()
        super().finalize()

    def _optimize_final_module(self) -> None:
        # Not numba's two rounds: the first brings together what counts references.
        builder = self._codegen._pass_builder()
        builder.getModulePassManager().run(self._final_module, builder)


@contextmanager
def no_garbage_collection() -> Iterator[None]:
    """Python's collector looks at all objects again and again while a compiler makes millions of
    them that live on: a ninth of the time of compiling the loop.
    """
    were_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if were_on:
            gc.enable()


class Helper(CPUDispatcher):
    """A dispatcher of a function that is part of what calls it."""

    def __init__(self, function: Any, options: dict[str, Any]) -> None:
        super().__init__(function, targetoptions=options, pipeline_class=KernelCompiler)

    def compile(self, sig: Any) -> Any:
        # numba would start two timers first, at every call of it.
        return None if sig in self.overloads else super().compile(sig)

    def add_overload(self, cres: Any) -> None:
        # Not told to the C part of the dispatcher: Python cannot call it.
        self.overloads[tuple(cres.signature.args)] = cres


@contextmanager
def _replaced(*replacements: tuple[Any, str, Any]) -> Iterator[None]:
    """(owner, name, value): values of attributes, until the end of the block."""
    before = [vars(owner).get(name) for owner, name, _ in replacements]
    try:
        for owner, name, value in replacements:
            setattr(owner, name, value)
        yield
    finally:
        for (owner, name, _), value in zip(replacements, before, strict=True):
            if value is None:
                delattr(owner, name)
            else:
                setattr(owner, name, value)


_FUNCTIONS = (types.functions.BaseFunction, types.Dispatcher)


def _remembering(resolve: Any) -> Any:
    """Which of a function's meanings is the one for arguments of some types is asked ten times,
    and numba tries a dozen each time.
    """
    known: dict[Any, Any] = {}

    def remembered(function: Any, context: Any, args: Any, kws: Any) -> Any:
        if kws or not all(isinstance(arg, types.Type) for arg in args):
            return resolve(function, context, args, kws)
        key = function, tuple(args)
        signature = known.get(key)
        if signature is None:
            signature = known[key] = resolve(function, context, args, kws)
        return signature

    return remembered


class Entry(CPUDispatcher):
    """A dispatcher whose helpers are compiled as parts of it."""

    def __init__(self, function: Any, options: dict[str, Any]) -> None:
        super().__init__(function, targetoptions=options, pipeline_class=KernelCompiler)

    def is_kept(self, sig: Any) -> bool:
        """Whether the disk cache has the machine code for a signature."""
        return self._cache.holds(sig, self.targetctx)

    def load(self, sig: Any) -> bool:
        """Take the machine code for a signature from the disk cache; whether it was there.

        Nothing may interrupt it, which the caller sees to: LLVM and numba's tables would be left
        half filled, and a later call would find code without what it refers to.
        """
        with global_compiler_lock:
            if tuple(sig) in self.overloads:
                return True
            result = self._cache.load_overload(sig, self.targetctx)
            if result is None:
                return False
            self._cache_hits[sig] += 1
            self.targetctx.insert_user_function(result.entry_point, result.fndesc, [result.library])
            self.add_overload(result)
            return True

    def alone(self, sig: Any) -> AbstractContextManager[None]:
        """To look at the cache again and compile in, while no other process does for `sig`."""
        waiting: AbstractContextManager[None] = self._cache.alone(sig, self.targetctx)
        return waiting

    def compile(self, sig: Any) -> Any:
        codegen = self.targetctx.codegen()
        own_name = self.py_func.__qualname__
        environments: list[tuple[str, Any]] = []

        def create(name: str, **options: Any) -> Any:
            kind = _EntryLibrary if name == own_name else _PartLibrary
            return kind(codegen, name, **options)

        # A part's symbols have no address before its entry has been emitted.
        def keep_env(name: str, environment: Any) -> None:
            environments.append((name, environment))

        with global_compiler_lock, no_garbage_collection():
            # Compiled for all of numba, as numba has it.
            rtsys.initialize(self.targetctx)
            with _replaced(
                (codegen, "create_library", create),
                (codegen, "set_env", keep_env),
                *((kind, "get_call_type", _remembering(kind.get_call_type)) for kind in _FUNCTIONS),
            ):
                address = super().compile(sig)
            for name, environment in environments:
                if codegen._engine.is_symbol_defined(name):
                    codegen.set_env(name, environment)
            return address
