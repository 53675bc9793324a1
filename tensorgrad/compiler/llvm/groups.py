"""What of a program becomes machine code."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from tensorgrad.compiler.llvm.kernel import admits
from tensorgrad.compiler.llvm.load import kernels
from tensorgrad.compiler.llvm.operations import price
from tensorgrad.compiler.passes.fusion import groups
from tensorgrad.compiler.program import Fused, Instruction, Program, is_reduction

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
    groups_of = [i.function for i in program.body if isinstance(i.function, Fused)]
    for group, run in zip(groups_of, kernels([group.program for group in groups_of])):
        group.run = run
    return program


def may_be_over(program: Program, out: Instruction, x: Instruction) -> bool:
    """Whether an output may be written over an input: each number of it is made of the one in its
    place, after that is read."""
    reads = [i for i in program.body if x in i.operands]
    alone = all(i.shape == x.shape and not is_reduction(i.function) for i in program.body)
    return alone and out.shape == x.shape and bool(reads) and needs(program, out, x)


def needs(program: Program, out: Instruction, x: Instruction) -> Any:
    needed = {out}
    for i in reversed(program.body):
        if i in needed:
            needed.update(i.operands)
    return x in needed
