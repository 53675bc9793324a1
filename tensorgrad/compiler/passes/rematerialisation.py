"""Memory for time: what is made again instead of being kept."""

from __future__ import annotations

from itertools import pairwise

import numpy as np

from tensorgrad.compiler.lives import views
from tensorgrad.compiler.passes.rewrite import changed
from tensorgrad.compiler.program import Instruction, Program, found_in, nbytes, replaced

LARGE = 1 << 20
"""The bytes of an array that is worth it."""
LONG = 64
"""For how many calls nobody reads it then."""
CHEAP = frozenset({np.add, np.subtract, np.multiply, np.divide, np.maximum, np.minimum})


def rematerialisation(program: Program) -> Program:
    """What one quick call makes, of arrays that are kept longer anyway, is made once more before
    it is read after a long time. In a GELU, x s(x) for the gradient by the weights that follow is a
    third of what is kept."""
    if not any(i.function in CHEAP and nbytes(i) >= LARGE for i in program.body):
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
    again: dict[int, list[Instruction]] = {}  # before which line what is made again
    short: set[Instruction] = set()
    for i in body:
        lines = readers.get(i, [])
        if i.function not in CHEAP or nbytes(i) < LARGE or len(lines) < 2 or i in kept:
            continue
        gap, late = max((b - a, b) for a, b in pairwise(lines))
        sources = {root for x in i.operands if x.shape == i.shape for root in of.get(x, (x,))}
        stay = all(readers.get(x, [0])[-1] >= lines[-1] and x not in short for x in sources)
        if gap > LONG and stay:
            again.setdefault(late, []).append(i)
            short.add(i)
    made: dict[Instruction, Instruction] = {}
    new = []
    for k, i in enumerate(body):
        for x in again.get(k, ()):
            for y in (x, *seen.get(x, ())):
                made[y] = changed(y, y.function, *replaced((y.args, y.kwargs), made))
                made[y].scope = i.scope
                new.append(made[y])
        if not made.keys().isdisjoint(i.operands):
            i.call(i.function, *replaced((i.args, i.kwargs), made))
        new.append(i)
    return program.with_body(new, {})
