"""The step of a `scan` is a program of its own, which is simplified as others are."""

from __future__ import annotations

from tensorgrad.compiler.passes import parts, tidy
from tensorgrad.compiler.program import Loop, Program

STEP = (
    *(tidy.ufuncs, tidy.shapes, tidy.reductions, parts.parts, tidy.constants),
    *(tidy.common_subexpressions, tidy.numbers, tidy.dead_code),
)


def loops(program: Program) -> Program:
    """The steps of loops without what NumPy would do for nothing."""
    for i in program.body:
        if isinstance(i.function, Loop):
            loop = i.function
            step = loops(loop.program.copy())
            for run in STEP:
                step = run(step)
            i.function = Loop(step, loop.reads, loop.carry, loop.steps, loop.reverse)
    return program
