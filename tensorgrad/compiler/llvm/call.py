"""The function that Python calls, for all kernels one.

It is one of Python's own kind: called in 30 ns, where ctypes takes 250 and would have to be given
pointers. It reads from each array where its numbers are, and sees that they lie as they did when
the kernel was written; if not, it calls a Python function with the same arguments.
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
PYTHONS = "PyObject_Vectorcall", "PyEval_SaveThread", "PyEval_RestoreThread", "Py_IncRef"
"""What the code calls of Python."""
TYPES = (*np.typecodes["AllInteger"], *"?efd")
"""Dtypes of which NumPy has numbers that kernels are given."""
ENTRY = "tensorgrad_entry"
ENTRY_CODE = f"""
@types = global [{len(TYPES)} x ptr] zeroinitializer

define internal i1 @arguments(ptr %given, ptr %table, i64 %count, ptr %pointers) {{
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

declare ptr @PyObject_Vectorcall(ptr, ptr, i64, ptr)
declare ptr @PyEval_SaveThread()
declare void @PyEval_RestoreThread(ptr)
declare void @Py_IncRef(ptr)

define ptr @{ENTRY}(ptr %this, ptr %given, i64 %count) {{
entry:
  %slot = getelementptr i8, ptr %this, i64 {HEAD}
  %places = load ptr, ptr %slot
  %places.at = getelementptr i8, ptr %places, i64 {HEAD}
  %kernel.at = load ptr, ptr %places.at
  %table.at = getelementptr ptr, ptr %kernel.at, i64 1
  %kernel = load ptr, ptr %kernel.at
  %table = load ptr, ptr %table.at
  %n = load i64, ptr %table
  %large.at = getelementptr i64, ptr %table, i64 1
  %large = load i64, ptr %large.at
  %length.at = getelementptr i64, ptr %table, i64 2
  %length = load i64, ptr %length.at
  %rows = getelementptr i64, ptr %table, i64 3
  %as.many = icmp eq i64 %count, %n
  br i1 %as.many, label %some, label %other
some:
  %pointers = alloca ptr, i64 %n
  %found = call i1 @arguments(ptr %given, ptr %rows, i64 %n, ptr %pointers)
  br i1 %found, label %right, label %other
right:
  %quick = icmp eq i64 %large, 0
  br i1 %quick, label %alone, label %beside
alone:
  %done.alone = call i1 %kernel(ptr %pointers, i64 %length)
  br label %after
beside:
  %state = call ptr @PyEval_SaveThread()
  %done.beside = call i1 %kernel(ptr %pointers, i64 %length)
  call void @PyEval_RestoreThread(ptr %state)
  br label %after
after:
  %done = phi i1 [%done.alone, %alone], [%done.beside, %beside]
  br i1 %done, label %yes, label %other
yes:
  call void @Py_IncRef(ptr %this)
  ret ptr %this
other:
  %answer = call ptr @PyObject_Vectorcall(ptr %this, ptr %given, i64 %count, ptr null)
  ret ptr %answer
}}
"""
"""What Python calls. `this` has, in its first slot, an array: where a kernel is, and its `table`:
how many arguments it has, whether other threads run meanwhile, and how long its loop is if it has
one for arrays of any size; then of each argument how many axes it has, -1 for a Python float; the
size of its numbers less 1; and size and step of each axis, or, where there is none, which one of
`TYPES` it is of."""


def table_of(program: Program, layout: Sequence[tuple[int, ...]], cost: int, length: int) -> Any:
    """The table of a kernel. `cost`: of all that it does."""
    rows = [x for i, steps in zip(arguments(program), layout) for x in row(i, steps)]
    return np.array([len(layout), cost > LARGE, length, *rows], np.int64)


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
    """The module of a kernel: a function of that name, of an array of pointers to the arguments and
    of the length of its loop, which answers whether it is done; and what it costs.

    `layout`: the strides of each argument, in entries; `features`: what the processor has."""
    module = ir.Module()
    module.features = features
    last = program.body[-1].function if program.body else None
    kind: Any = {ROWS_ADDED: Scatter, sum_of_squares: Squares}.get(last, Nest)
    kind = Gemm if program.body and of_matrices(program.body[-1]) else kind
    nest = kind(program, layout, module, f"{name}.loops")
    function = ir.Function(module, ir.FunctionType(BOOL, [POINTER, I64]), name)
    pointers, length = function.args
    b = ir.IRBuilder(function.append_basic_block())
    places = [
        b.gep(pointers, [ir.Constant(I64, k)], source_etype=POINTER) for k in range(len(layout))
    ]
    given = [*(b.load(place, typ=POINTER) for place in places), length]
    done = b.call(nest.function, given[: len(nest.function.args)])
    b.ret(done if done.type == BOOL else ir.Constant(BOOL, 1))
    cost = ir.GlobalVariable(module, I64, cost_of(name))
    cost.initializer, cost.global_constant = ir.Constant(I64, nest.cost), True
    return str(module)


def cost_of(name: str) -> str:
    """What the cost of a kernel is called in its module."""
    return f"{name}.cost"
