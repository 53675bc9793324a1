"""Kernels as Python functions: compiled, loaded, and called with arrays.

A function of Python's own kind is called in 30 ns, where ctypes takes 250 and would have to be
given pointers. It reads from each array where its numbers are, and sees that they lie as they did
when it was written; if not, it calls a Python function with the same arguments.
"""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

import llvmlite
import llvmlite.binding as llvm
import numpy as np
from llvmlite import ir

from tensorgrad.compiler.llvm.cache import cached
from tensorgrad.compiler.llvm.kernel import POINTER, Nest, strides_of
from tensorgrad.compiler.llvm.mathematics import I32, I64
from tensorgrad.compiler.program import Instruction, Program

HEAD = object.__basicsize__
"""The bytes of an object before what is its own; the last of them say its type."""
LARGE = 30_000
"""From so many operations on other threads run meanwhile."""
FASTCALL = 0x80  # METH_FASTCALL
FUNCTIONS = {
    "PyObject_Vectorcall": (POINTER, [POINTER, POINTER, I64, POINTER]),
    "PyEval_SaveThread": (POINTER, []),
    "PyEval_RestoreThread": (ir.VoidType(), [POINTER]),
    "Py_IncRef": (ir.VoidType(), [POINTER]),
}
"""What the code calls of Python."""

Array = tuple[Any, tuple[int, ...], tuple[int, ...]]
"""The dtype, the shape and the strides, in entries, of an argument."""


class Method(ctypes.Structure):
    """PyMethodDef."""

    _fields_ = [
        ("name", ctypes.c_char_p),
        ("function", ctypes.c_void_p),
        ("flags", ctypes.c_int),
        ("doc", ctypes.c_char_p),
    ]


@cache
def begin() -> None:
    """Get LLVM ready. RuntimeError if objects of this Python, or arrays of this NumPy, are not as
    the code expects them."""
    x, number = np.arange(6.0, dtype=np.float32).reshape(2, 3), np.float32(1.5)

    def field(of: Any, offset: int, kind: Any) -> Any:
        return kind.from_address(id(of) + HEAD + offset).value

    found = (
        field(x, 0, ctypes.c_void_p) == x.ctypes.data
        and field(x, 8, ctypes.c_int) == 2
        and field(x, -8, ctypes.c_void_p) == id(np.ndarray)
        and field(number, 0, ctypes.c_float) == 1.5
        and field(2.5, 0, ctypes.c_double) == 2.5
        and (ctypes.c_int64 * 2).from_address(field(x, 16, ctypes.c_void_p))[:] == [2, 3]
        and (ctypes.c_int64 * 2).from_address(field(x, 24, ctypes.c_void_p))[:] == [12, 4]
    )
    if not found or sys.byteorder != "little":
        raise RuntimeError("arrays of this NumPy lie otherwise in memory")
    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    for name in FUNCTIONS:
        function = getattr(ctypes.pythonapi, name)
        llvm.add_symbol(name, ctypes.cast(function, ctypes.c_void_p).value)


def machine() -> Any:
    """What code is made for: this processor."""
    begin()
    return llvm.Target.from_default_triple().create_target_machine(
        cpu=llvm.get_host_cpu_name(), features=features(), opt=3, jit=True
    )


def features() -> str:
    return str(llvm.get_host_cpu_features().flatten())


OPTIONS = "1"
"""Another one where `optimised` does something else: machine code on disk is then made anew."""


def optimised(source: str) -> bytes:
    """The machine code of a module."""
    module = llvm.parse_assembly(source)
    module.verify()
    options = llvm.create_pipeline_tuning_options(speed_level=3)
    options.loop_vectorization = True
    target = machine()
    builder = llvm.create_pass_builder(target, options)
    builder.getModulePassManager().run(module, builder)
    code: bytes = target.emit_object(module)
    return code


def kernels(programs: Sequence[Program]) -> list[Callable[..., None]]:
    """For each program a function of its inputs and of the arrays that its outputs go to. Refused
    if one is none for a kernel."""
    layouts = [[strides_of(i) for i in arguments(p)] for p in programs]
    return loaded(programs, layouts)


def arguments(program: Program) -> list[Instruction]:
    return [*program.inputs, *program.outputs]


def loaded(programs: Sequence[Program], layouts: Sequence[Any]) -> list[Callable[..., None]]:
    module = ir.Module()
    for k, (program, layout) in enumerate(zip(programs, layouts)):
        nest = Nest(program, layout, module, f"loops{k}")
        arrays = [
            (i.dtype, i.shape or (), strides) for i, strides in zip(arguments(program), layout)
        ]
        write_entry(module, f"kernel{k}", nest, arrays)
    source = str(module)
    depends = (
        *(source, llvm.get_default_triple(), llvm.get_host_cpu_name(), features()),
        *(llvmlite.__version__, OPTIONS),
    )
    code = cached("\n".join(depends), lambda: optimised(source))
    engine = llvm.create_mcjit_compiler(llvm.parse_assembly(""), machine())
    engine.add_object_file(llvm.ObjectFileRef.from_data(code))
    engine.finalize_object()
    for name in module.globals:
        if name.startswith("type."):
            at = engine.get_global_value_address(name)
            ctypes.c_void_p.from_address(at).value = id(np.dtype(name[5:]).type)
    return [function_of(engine, f"kernel{k}", program) for k, program in enumerate(programs)]


def function_of(engine: Any, name: str, program: Program) -> Callable[..., None]:
    """The function, which holds the engine that it is in."""
    method = Method(b"kernel", engine.get_function_address(name), FASTCALL, None)
    others = Others(program, (engine, method))
    new = ctypes.pythonapi.PyCFunction_NewEx
    new.argtypes = [ctypes.c_void_p, ctypes.py_object, ctypes.c_void_p]
    new.restype = ctypes.py_object
    made: Callable[..., None] = new(ctypes.addressof(method), others, None)
    return made


MANY = 4
"""For so many layouts there is code of their own; others are copied."""


class Others:
    """Runs a kernel's program on arrays that lie otherwise than it expects."""

    def __init__(self, program: Program, held: Any) -> None:
        self.program, self.held = program, held
        self.known: dict[Any, Callable[..., None]] = {}

    def __call__(self, *given: Any) -> None:
        expected = arguments(self.program)
        if len(given) != len(expected):
            raise TypeError(f"a kernel of {len(expected)} arrays, not {len(given)}")
        for x, i in zip(given, expected):
            if np.shape(x) != (i.shape or ()) or np.result_type(x) != i.dtype:
                raise ValueError(f"{i!r} is expected, not {x!r:.60}")
        layout = [*map(layout_of, given)]
        run = self.known.get(tuple(layout))
        if run is None:
            if len(self.known) == MANY or None in layout:
                self.copied(given, expected)
                return
            (run,) = loaded([self.program], [layout])
            self.known[tuple(layout)] = run
        run(*given)

    def copied(self, given: Sequence[Any], expected: Sequence[Instruction]) -> None:
        arrays = [np.array(x, order="C") for x in given]
        plain = tuple(map(layout_of, arrays))
        if plain not in self.known:
            (self.known[plain],) = loaded([self.program], [plain])
        self.known[plain](*arrays)
        for x, new in zip(given[len(self.program.inputs) :], arrays[len(self.program.inputs) :]):
            x[...] = new


def layout_of(x: Any) -> Any:
    """The strides of an array, in entries; None if its numbers lie between those of others."""
    if not np.ndim(x):
        return ()
    if any(n % x.itemsize for n in x.strides) or x.ctypes.data % x.itemsize:
        return None
    return tuple(step // x.itemsize if n > 1 else 0 for n, step in zip(x.shape, x.strides))


def write_entry(module: Any, name: str, nest: Nest, arrays: Sequence[Array]) -> None:
    """Write the function that Python calls: self, the arguments, and how many they are."""
    function = ir.Function(module, ir.FunctionType(POINTER, [POINTER, POINTER, I64]), name)
    this, given, count = function.args
    b = ir.IRBuilder(function.append_basic_block())
    other = function.append_basic_block()

    def after(x: Any, offset: int) -> Any:
        return b.gep(x, [ir.Constant(I64, offset)], source_etype=ir.IntType(8))

    def at(x: Any, offset: int, kind: Any) -> Any:
        return b.load(after(x, offset), typ=kind)

    def sees(x: Any, value: int, kind: Any) -> None:
        """Go on if `x` is that."""
        block = function.append_basic_block()
        b.cbranch(b.icmp_unsigned("==", x, ir.Constant(kind, value)), block, other)
        b.position_at_end(block)

    sees(count, len(arrays), I64)
    pointers = []
    for k, (dtype, shape, strides) in enumerate(arrays):
        x = at(given, 8 * k, POINTER)
        inside = after(x, HEAD)
        if dtype is float:
            pointers.append(inside)
            continue
        pointer = at(x, HEAD, POINTER)
        if not shape:  # a number, or an array without axes
            scalar = b.load(type_of(module, dtype), typ=POINTER)
            is_scalar = b.icmp_unsigned("==", at(x, HEAD - 8, POINTER), scalar)
            pointer = b.select(is_scalar, inside, pointer)
        else:
            sees(at(x, HEAD + 8, I32), len(shape), I32)
            sizes, steps = at(x, HEAD + 16, POINTER), at(x, HEAD + 24, POINTER)
            for axis, (n, step) in enumerate(zip(shape, strides)):
                sees(at(sizes, 8 * axis, I64), n, I64)
                if n > 1:
                    sees(at(steps, 8 * axis, I64), step * np.dtype(dtype).itemsize, I64)
        rest = b.and_(b.ptrtoint(pointer, I64), ir.Constant(I64, np.dtype(dtype).itemsize - 1))
        sees(rest, 0, I64)
        pointers.append(pointer)
    large = nest.cost > LARGE
    if large:
        state = b.call(python(module, "PyEval_SaveThread"), [])
    b.call(nest.function, pointers)
    if large:
        b.call(python(module, "PyEval_RestoreThread"), [state])
    b.call(python(module, "Py_IncRef"), [this])
    b.ret(this)
    b.position_at_end(other)
    null = ir.Constant(POINTER, None)
    b.ret(b.call(python(module, "PyObject_Vectorcall"), [this, given, count, null]))


def python(module: Any, name: str) -> Any:
    """One of `FUNCTIONS`."""
    found = module.globals.get(name)
    return found or ir.Function(module, ir.FunctionType(*FUNCTIONS[name]), name)


def type_of(module: Any, dtype: Any) -> Any:
    """Where the address of the type of NumPy's numbers of this dtype is written."""
    name = f"type.{np.dtype(dtype).name}"
    found = module.globals.get(name)
    if found is None:
        found = ir.GlobalVariable(module, POINTER, name)
        found.initializer = ir.Constant(POINTER, None)
    return found
