"""What of a program becomes machine code."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from tensorgrad.compiler.llvm.kernel import admits
from tensorgrad.compiler.llvm.load import kernels
from tensorgrad.compiler.llvm.operations import price
from tensorgrad.compiler.passes.fusion import groups
from tensorgrad.compiler.passes.rewrite import changed, is_array, rewritten
from tensorgrad.compiler.program import (
    Fused,
    Instruction,
    Program,
    converted,
    is_reduction,
    replaced,
)

SMALL = 1 << 14
"""The entries up to which a single operation takes less time as a kernel than as NumPy's."""


def is_worth_it(members: Sequence[Instruction]) -> bool:
    """Whether these, together, are quicker as a kernel."""
    first = members[0]
    single = is_reduction(first.function) or price(first.function) > 1
    return len(members) > 1 or single or math.prod(first.shape or ()) <= SMALL


def machine_code(program: Program) -> Program:
    """Operations on arrays entry by entry, and sums, run in groups as machine code."""
    program = groups(rewritten(program, as_sum), admits, is_worth_it)
    found = [i for i in program.body if isinstance(i.function, Fused)]
    for i in found:
        with_numbers(i)
    found += watch(program)
    for i, run in zip(found, kernels([i.function.program for i in found])):
        i.function.run = run
    return program


def as_sum(i: Instruction) -> Instruction:
    """A product of two arrays as vectors is a sum, which may be part of a group."""
    if i.function is not np.vdot or i.kwargs or not all(map(is_array, i.args)):
        return i
    x, y = i.args
    if x.shape != y.shape or x.dtype.kind != "f" or not x.dtype == y.dtype == i.dtype:
        return i
    products = Instruction(np.multiply, (x, y), None, x.shape, x.dtype, scope=i.scope)
    return changed(i, np.add.reduce, (products,), {"axis": None})


def watch(program: Program) -> list[Instruction]:
    """See that what is to be finite is so by a kernel, which takes the sum of all squares."""
    guards = [*dict.fromkeys(program.guards)]
    kinds = {np.dtype(x.dtype) for x in guards}
    if not guards or not kinds <= {np.dtype(np.float32), np.dtype(np.float64)}:
        return []
    if not all(x.shape and math.prod(x.shape) for x in guards):
        return []
    inputs = [Instruction(None, (), None, x.shape, x.dtype, x.name, order=x.order) for x in guards]
    body: list[Instruction] = []

    def add(f: Any, args: Any, shape: Any, dtype: Any = np.float64, **kwargs: Any) -> Instruction:
        body.append(Instruction(f, args, kwargs, shape, np.dtype(dtype)))
        return body[-1]

    total: Any = 0.0
    for x in inputs:
        wide = add(converted, (x, np.float64), x.shape)  # in which no square is too large
        squares = add(np.multiply, (wide, wide), x.shape)
        total = add(np.add, (add(np.add.reduce, (squares,), (), axis=None), total), ())
    narrow = min(kinds, key=lambda dtype: dtype.itemsize)
    total = add(converted, (total, narrow), (), narrow)
    fused = Fused(Program(inputs, body, [total]))
    i = Instruction(fused, tuple(guards), None, (), narrow, "squares")
    program.body.append(i)
    program.checks, program.factors = [i], []
    return [i]


def with_numbers(i: Instruction) -> None:
    """Write constant numbers into the group."""
    program = i.function.program
    number = {x: y for x, y in zip(program.inputs, i.args) if not isinstance(y, Instruction)}
    number = {x: y for x, y in number.items() if not np.ndim(y)}
    for x in program.body:
        x.call(x.function, replaced(x.args, number), replaced(x.kwargs, number))
    args = [y for x, y in zip(program.inputs, i.args) if x not in number]
    program.inputs = [x for x in program.inputs if x not in number]
    i.call(i.function, tuple(args), i.kwargs)
