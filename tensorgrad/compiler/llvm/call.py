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
from tensorgrad.compiler.llvm.mathematics import BOOL, I64
from tensorgrad.compiler.llvm.products import Gemm
from tensorgrad.compiler.llvm.scatter import Scatter
from tensorgrad.compiler.llvm.squares import Squares
from tensorgrad.compiler.program import (
    ROWS_ADDED,
    Instruction,
    Program,
    of_matrices,
    sum_of_squares,
)

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


TYPES = (*np.typecodes["AllInteger"], *"?efd")
"""Dtypes of which NumPy has numbers that kernels are given."""
SHARED = "tensorgrad_arguments"
ARGUMENTS = f"""
@types = global [{len(TYPES)} x ptr] zeroinitializer

define i1 @{SHARED}(ptr %given, ptr %table, i64 %count, ptr %pointers) {{
entry:
  br label %argument
argument:
  %k = phi i64 [0, %entry], [%k.next, %found]
  %t = phi ptr [%table, %entry], [%t.next, %found]
  %done = icmp eq i64 %k, %count
  br i1 %done, label %yes, label %object
object:
  %x.at = getelementptr ptr, ptr %given, i64 %k
  %x = load ptr, ptr %x.at
  %ndim = load i64, ptr %t
  %mask.at = getelementptr i64, ptr %t, i64 1
  %mask = load i64, ptr %mask.at
  %rest = getelementptr i64, ptr %t, i64 2
  %inside = getelementptr i8, ptr %x, i64 {HEAD}
  %is.float = icmp eq i64 %ndim, -1
  br i1 %is.float, label %found, label %numpy
numpy:
  %data = load ptr, ptr %inside
  %no.axes = icmp eq i64 %ndim, 0
  br i1 %no.axes, label %number, label %array
number:
  %which = load i64, ptr %rest
  %after.number = getelementptr i64, ptr %rest, i64 1
  %scalar.at = getelementptr ptr, ptr @types, i64 %which
  %scalar = load ptr, ptr %scalar.at
  %type.at = getelementptr i8, ptr %inside, i64 -8
  %type = load ptr, ptr %type.at
  %is.scalar = icmp eq ptr %type, %scalar
  %own = select i1 %is.scalar, ptr %inside, ptr %data
  br label %aligned
array:
  %axes.at = getelementptr i8, ptr %inside, i64 8
  %axes = load i32, ptr %axes.at
  %axes.wide = sext i32 %axes to i64
  %as.many = icmp eq i64 %axes.wide, %ndim
  br i1 %as.many, label %layout, label %no
layout:
  %sizes.at = getelementptr i8, ptr %inside, i64 16
  %sizes = load ptr, ptr %sizes.at
  %steps.at = getelementptr i8, ptr %inside, i64 24
  %steps = load ptr, ptr %steps.at
  br label %axis
axis:
  %a = phi i64 [0, %layout], [%a.next, %next]
  %r = phi ptr [%rest, %layout], [%r.next, %next]
  %all = icmp eq i64 %a, %ndim
  br i1 %all, label %aligned, label %size
size:
  %size.at = getelementptr i64, ptr %sizes, i64 %a
  %size.is = load i64, ptr %size.at
  %size.was = load i64, ptr %r
  %same.size = icmp eq i64 %size.is, %size.was
  br i1 %same.size, label %step, label %no
step:
  %step.at = getelementptr i64, ptr %steps, i64 %a
  %step.is = load i64, ptr %step.at
  %step.was.at = getelementptr i64, ptr %r, i64 1
  %step.was = load i64, ptr %step.was.at
  %same.step = icmp eq i64 %step.is, %step.was
  %one = icmp eq i64 %size.is, 1
  %fits = or i1 %same.step, %one
  br i1 %fits, label %next, label %no
next:
  %a.next = add i64 %a, 1
  %r.next = getelementptr i64, ptr %r, i64 2
  br label %axis
aligned:
  %p = phi ptr [%own, %number], [%data, %axis]
  %t.after = phi ptr [%after.number, %number], [%r, %axis]
  %address = ptrtoint ptr %p to i64
  %odd = and i64 %address, %mask
  %even = icmp eq i64 %odd, 0
  br i1 %even, label %found, label %no
found:
  %pointer = phi ptr [%inside, %object], [%p, %aligned]
  %t.next = phi ptr [%rest, %object], [%t.after, %aligned]
  %pointer.at = getelementptr ptr, ptr %pointers, i64 %k
  store ptr %pointer, ptr %pointer.at
  %k.next = add i64 %k, 1
  br label %argument
yes:
  ret i1 true
no:
  ret i1 false
}}
"""
"""Of all kernels: whether arguments lie as a `table` says, and where their numbers are. Its rows:
how many axes an argument has, -1 for a Python float; the size of its numbers less 1; then size and
step of each axis, or, where there is none, which one of `TYPES` it is of. In a function of its own
LLVM reads it once, not half its time for each kernel."""


def row(i: Instruction, strides: Sequence[int]) -> list[int]:
    """What the table says of an argument."""
    dtype, shape = np.dtype(i.dtype), i.shape or ()
    if i.dtype is float:
        return [-1, 0]
    if not shape:
        return [0, dtype.itemsize - 1, TYPES.index(dtype.char)]
    axes = [x for n, step in zip(shape, strides) for x in (n, step * dtype.itemsize)]
    return [len(shape), dtype.itemsize - 1, *axes]


def written(
    program: Program, layout: Sequence[tuple[int, ...]], name: str, features: Collection[str] = ()
) -> str:
    """The module of a kernel: a function of that name, of itself, the arguments, and how many they
    are. `layout`: the strides of each, in entries; `features`: what the processor has."""
    module = ir.Module()
    module.features = features
    last = program.body[-1].function if program.body else None
    kind: Any = {ROWS_ADDED: Scatter, sum_of_squares: Squares}.get(last, Nest)
    kind = Gemm if program.body and of_matrices(program.body[-1]) else kind
    nest = kind(program, layout, module, f"{name}.loops")
    function = ir.Function(module, ir.FunctionType(POINTER, [POINTER, POINTER, I64]), name)
    this, given, count = function.args
    b = ir.IRBuilder(function.append_basic_block())
    some, right, other = (function.append_basic_block() for _ in range(3))
    n = ir.Constant(I64, len(layout))
    rows = [x for i, steps in zip(arguments(program), layout) for x in row(i, steps)]
    numbers = ir.ArrayType(I64, len(rows))
    table = ir.GlobalVariable(module, numbers, f"{name}.table")
    table.initializer, table.global_constant = ir.Constant(numbers, rows), True
    pointers = b.alloca(POINTER, n)
    b.cbranch(b.icmp_unsigned("==", count, n), some, other)
    b.position_at_end(some)
    looks = ir.FunctionType(ir.IntType(1), [POINTER, POINTER, I64, POINTER])
    found = b.call(ir.Function(module, looks, SHARED), [given, table, n, pointers])
    b.cbranch(found, right, other)
    b.position_at_end(right)
    places = [
        b.gep(pointers, [ir.Constant(I64, k)], source_etype=POINTER) for k in range(len(layout))
    ]
    large = nest.cost > LARGE
    if large:
        state = b.call(python(module, "PyEval_SaveThread"), [])
    done = b.call(nest.function, [b.load(place, typ=POINTER) for place in places])
    if large:
        b.call(python(module, "PyEval_RestoreThread"), [state])
    if done.type == BOOL:
        there = function.append_basic_block()
        b.cbranch(done, there, other)
        b.position_at_end(there)
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
