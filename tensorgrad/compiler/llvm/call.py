"""The function that Python calls, around the loops of a kernel.

It is one of Python's own kind: called in 30 ns, where ctypes takes 250 and would have to be given
pointers. It reads from each array where its numbers are, and sees that they lie as they did when it
was written; if not, it calls a Python function with the same arguments.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

import numpy as np
from llvmlite import ir

from tensorgrad.compiler.llvm.kernel import POINTER, Nest, arguments
from tensorgrad.compiler.llvm.mathematics import I32, I64
from tensorgrad.compiler.program import Program

HEAD = object.__basicsize__
"""The bytes of an object before what is its own; the last of them say its type."""
LARGE = 30_000
"""From so many operations on other threads run meanwhile."""
FUNCTIONS = {
    "PyObject_Vectorcall": (POINTER, [POINTER, POINTER, I64, POINTER]),
    "PyEval_SaveThread": (POINTER, []),
    "PyEval_RestoreThread": (ir.VoidType(), [POINTER]),
    "Py_IncRef": (ir.VoidType(), [POINTER]),
}
"""What the code calls of Python."""


def written(
    program: Program, layout: Sequence[tuple[int, ...]], name: str, features: Collection[str] = ()
) -> str:
    """The module of a kernel: a function of that name, of itself, the arguments, and how many they
    are. `layout`: the strides of each, in entries; `features`: what the processor has."""
    module = ir.Module()
    module.features = features
    nest = Nest(program, layout, module, f"{name}.loops")
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

    sees(count, len(layout), I64)
    pointers = []
    for k, (i, strides) in enumerate(zip(arguments(program), layout)):
        dtype, shape = i.dtype, i.shape or ()
        x = at(given, 8 * k, POINTER)
        inside = after(x, HEAD)
        if dtype is float:
            pointers.append(inside)
            continue
        pointer = at(x, HEAD, POINTER)
        if not shape:  # a number, or an array without axes
            scalar = b.load(type_of(module, name, dtype), typ=POINTER)
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
    return str(module)


def python(module: Any, name: str) -> Any:
    """One of `FUNCTIONS`."""
    found = module.globals.get(name)
    return found or ir.Function(module, ir.FunctionType(*FUNCTIONS[name]), name)


def type_of(module: Any, name: str, dtype: Any) -> Any:
    """Where the address of the type of NumPy's numbers of this dtype is written."""
    name = f"{name}.{np.dtype(dtype).name}"
    found = module.globals.get(name)
    if found is None:
        found = ir.GlobalVariable(module, POINTER, name)
        found.initializer = ir.Constant(POINTER, None)
    return found


def types(program: Program) -> set[str]:
    """The dtypes of which that is asked: those of numbers, and of arrays without axes."""
    return {
        np.dtype(i.dtype).name for i in arguments(program) if not i.shape and i.dtype is not float
    }
