"""What of a program becomes machine code."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from tensorgrad.compiler.llvm.kernel import admits
from tensorgrad.compiler.llvm.load import kernels
from tensorgrad.compiler.llvm.operations import price
from tensorgrad.compiler.passes.fusion import groups
from tensorgrad.compiler.program import Fused, Instruction, Program, is_reduction, replaced

SMALL = 1 << 14
"""The entries up to which a single operation takes less time as a kernel than as NumPy's."""


def is_worth_it(members: Sequence[Instruction]) -> bool:
    """Whether these, together, are quicker as a kernel."""
    first = members[0]
    single = is_reduction(first.function) or price(first.function) > 1
    return len(members) > 1 or single or math.prod(first.shape or ()) <= SMALL


def machine_code(program: Program) -> Program:
    """Operations on arrays entry by entry, and sums, run in groups as machine code."""
    program = groups(program, admits, is_worth_it)
    found = [i for i in program.body if isinstance(i.function, Fused)]
    for i in found:
        with_numbers(i)
    for i, run in zip(found, kernels([i.function.program for i in found])):
        i.function.run = run
    return program


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
