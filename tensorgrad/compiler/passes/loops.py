"""The step of a `scan` is a program of its own, which is simplified as others are; what is the same
at each step is made before the loop.
"""

from __future__ import annotations

from typing import Any

from tensorgrad.compiler.passes import parts, pooling, tidy
from tensorgrad.compiler.passes.rewrite import changed
from tensorgrad.compiler.program import Instruction, Loop, Program, found_in, replaced

TIDY = (
    *(tidy.ufuncs, tidy.shapes, tidy.reductions, parts.parts, tidy.constants),
    *(tidy.common_subexpressions, tidy.numbers, tidy.masks),
    *(pooling.pooling, pooling.windows, tidy.dead_code),
)
"""What is done to each program, and to a step, at least."""


def loops(program: Program) -> Program:
    """The steps of loops without what NumPy would do for nothing, or again and again."""
    body: list[Instruction] = []
    for i in program.body:
        if isinstance(i.function, Loop):
            loop = i.function
            step = loops(loop.program.copy())
            for run in TIDY:
                step = run(step)
            body += before(i, loop, step)
        body.append(i)
    return program.with_body(body, {})


def before(i: Instruction, loop: Loop, step: Program) -> list[Instruction]:
    """What is made of what the loop `i` reads alone; it reads that as well now."""
    around: dict[Instruction, Any] = dict(zip(step.inputs[: loop.reads], i.args))
    moved: list[Instruction] = []
    stays: list[Instruction] = []
    for x in step.body:
        if x.shape is not None and x.operands and around.keys() >= {*x.operands}:
            args, kwargs = replaced((x.args, x.kwargs), around)
            around[x] = new = changed(x, x.function, args, kwargs)
            new.scope = i.scope
            moved.append(new)
        else:
            stays.append(x)
    read = {x for y in stays for x in y.operands} | {*found_in(step.outputs)}
    new_reads = [x for x in step.body if x in around and x in read]
    inputs = {
        x: Instruction(None, (), None, x.shape, x.dtype, x.name, order=x.order) for x in new_reads
    }
    for x in stays:
        x.call(x.function, *replaced((x.args, x.kwargs), inputs))
    step.inputs = [*step.inputs[: loop.reads], *inputs.values(), *step.inputs[loop.reads :]]
    step = step.with_body(stays, dict(inputs))
    args = (*i.args[: loop.reads], *(around[x] for x in new_reads), *i.args[loop.reads :])
    i.call(Loop(step, loop.reads + len(inputs), loop.carry, loop.times, loop.reverse), args, {})
    return moved
