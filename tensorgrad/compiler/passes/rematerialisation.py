"""Memory for time: what is made again instead of being kept."""

from __future__ import annotations

from collections.abc import Collection
from itertools import pairwise

import numpy as np

from tensorgrad.compiler.lives import views
from tensorgrad.compiler.passes.rewrite import changed
from tensorgrad.compiler.program import Function, Instruction, Program, found_in, nbytes, replaced

LARGE = 1 << 17
"""The bytes of an array that is worth it."""
SMALL = 16
"""What is so many times smaller may be kept for it."""
LONG = 64
"""For how many calls nobody reads it then."""
DEEP = 3
"""How many calls make it again, at most."""
CHEAP = frozenset({np.add, np.subtract, np.multiply, np.divide, np.maximum, np.minimum})


def rematerialisation(program: Program) -> Program:
    """What a few quick calls make is made again, not kept."""
    return made_again(program, CHEAP, DEEP)


def made_again(program: Program, cheap: Collection[Function], deep: int) -> Program:
    """What a few quick calls make, of arrays that are kept longer anyway, is made once more before
    it is read after a long time. In a GELU, x s(x) for the gradient by the weights that follow is a
    third of what is kept; of a layer norm, what it answers and what that is scaled from are two."""
    if not any(i.function in cheap and nbytes(i) >= LARGE for i in program.body):
        return program
    body, of = program.body, views(program.body)
    readers: dict[Instruction, list[int]] = {}
    seen: dict[Instruction, list[Instruction]] = {}  # by array, its views
    kept = {root for x in found_in([*program.outputs, *program.guards]) for root in of.get(x, (x,))}
    for k, i in enumerate(body):
        for root in {root for x in i.operands for root in of.get(x, (x,))}:
            if i in of:
                seen.setdefault(root, []).append(i)
            else:
                readers.setdefault(root, []).append(k)
        if len(of.get(i, ())) > 1:
            kept |= of[i]
    short: set[Instruction] = set()

    def recipe(i: Instruction, late: int, calls: int = deep) -> list[Instruction]:
        """What makes it again before a line, of what is there; nothing, if that is too much."""
        steps: list[Instruction] = []
        for x in i.operands if i.function in cheap else ():
            stays = nbytes(x) * SMALL <= nbytes(i) or all(
                root.function is None or (readers.get(root, [0])[-1] >= late and root not in short)
                for root in of.get(x, (x,))
            )
            if not stays and x not in steps:
                more = recipe(x, late, calls - 1 - len(steps)) if x not in of else []
                if not more:
                    return []
                steps += [y for y in more if y not in steps]
        return [*steps, i] if i.function in cheap and len(steps) < calls else []

    again: dict[int, list[Instruction]] = {}  # before which line what is made again
    for i in body:
        lines = readers.get(i, [])
        if nbytes(i) < LARGE or len(lines) < 2 or i in kept:
            continue
        gap, late = max((b - a, b) for a, b in pairwise(lines))
        steps = recipe(i, late) if gap > LONG else []
        if steps:
            again.setdefault(late, []).extend(steps)
            short.add(i)
    made: dict[Instruction, Instruction] = {}
    new = []
    for k, i in enumerate(body):
        for x in again.get(k, ()):
            for y in (x, *seen.get(x, ())) if x not in made else ():
                made[y] = changed(y, y.function, *replaced((y.args, y.kwargs), made))
                made[y].scope = i.scope or y.scope  # of the part that needs it
                new.append(made[y])
        if not made.keys().isdisjoint(i.operands):
            i.call(i.function, *replaced((i.args, i.kwargs), made))
        new.append(i)
    return program.with_body(new, {})
