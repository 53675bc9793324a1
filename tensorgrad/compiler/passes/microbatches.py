"""A batch goes through a step in two halves, one after the other, in the memory of one.

What a forward keeps for the backward is kept for one half at a time, and gradients are added up as
they are made. What is split, and where, halves.py finds out.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from tensorgrad.compiler.passes import tidy
from tensorgrad.compiler.passes.halves import (
    Half,
    Place,
    Split,
    ends_of,
    halved,
    in_blocks,
    instead,
    region_of,
    work,
)
from tensorgrad.compiler.passes.rewrite import shape_of
from tensorgrad.compiler.program import (
    Instruction,
    Loop,
    Program,
)


def microbatches(program: Program, rest: Sequence[Callable[[Program], Program]] = ()) -> Program:
    """What is done for each example is done for one half of the batch, and then for the other.
    `rest`: the passes that follow, through which the program of a half goes too."""
    program = tidy.dead_code(program)
    given = [x for x in program.inputs[: program.arguments] if x.shape]
    regions = [
        region_of(program, {x: Place(0) for x in given if (x.shape or ())[0] == n})
        for n in dict.fromkeys((x.shape or ())[0] for x in given)
        if n and n % 2 == 0
    ]
    region = max(regions, key=lambda region: sum(map(work, region)), default={})
    return in_turn(program, region, rest)


def in_turn(
    program: Program,
    region: dict[Instruction, Split],
    rest: Sequence[Callable[[Program], Program]],
) -> Program:
    """The program with this region in a loop over the two halves."""
    outs, later = ends_of(program, region)
    if not outs:
        return program
    sums = [i for i in outs if region[i].place is None]
    stacked = [i for i in outs if region[i].place is not None]
    carry = [Instruction(None, (), None, i.shape, i.dtype, i.name) for i in sums]
    before_it, totals = dict(zip(sums, carry)), dict[Instruction, Instruction]()
    half = Half(region, later)
    for i, split in region.items():
        made = half.take(i, split)
        if i in before_it:  # added up at once: what it is made of is free then
            totals[i] = half.add(i, (before_it[i], made), {}, i.shape, np.add)
    given = [*zip(half.inputs, half.args, half.axes)]
    reads = [x for x, _, axis in given if axis is None]
    tables = [x for x, _, axis in given if axis is not None]
    ends = [*(totals[i] for i in sums), *(half.made[i] for i in stacked)]
    step = Program([*reads, *carry, *tables], half.body, ends)
    for run in rest:
        step = run(step)
    before = [*half.before]
    zeros = [zero(i, before) for i in sums]
    entries = [in_two(x, axis, before) for _, x, axis in given if axis is not None]
    args = *(x for _, x, axis in given if axis is None), *zeros, *entries
    loop = Instruction(Loop(step, len(reads), len(carry), 2, False), args, None, None)
    after, whole = [loop], dict[Instruction, Any]()

    def new(i: Instruction, f: Any, args: Any, shape: Any) -> Instruction:
        after.append(Instruction(f, args, None, shape, i.dtype, i.name, i.scope))
        return after[-1]

    for k, i in enumerate([*sums, *stacked]):
        place, shape = region[i].place, i.shape or ()
        if place is None:
            whole[i] = new(i, operator.getitem, (loop, k), shape)
            continue
        x = new(i, operator.getitem, (loop, k), (2, *halved(shape, place)))
        axis = place.axis + (place.blocks > 1)
        part = halved(in_blocks(shape, place), Place(axis))
        if place.blocks > 1:
            x = new(i, np.reshape, (x, (2, *part)), (2, *part))
        if axis:
            x = new(i, np.moveaxis, (x, 0, axis), (*part[:axis], 2, *part[axis:]))
        whole[i] = new(i, np.reshape, (x, shape), shape)
    return instead(program, region, [*before, *after], whole)


def zero(i: Instruction, before: list[Instruction]) -> Any:
    """What a sum begins with."""
    if not i.shape:
        return np.zeros((), i.dtype)[()]
    how = {"dtype": np.dtype(i.dtype)}
    before.append(Instruction(np.full, (i.shape, 0), how, i.shape, i.dtype))
    return before[-1]


def in_two(x: Any, axis: int, before: list[Instruction]) -> Any:
    """An array with the parts along an axis as its two entries."""
    shape = shape_of(x)
    apart = (*shape[:axis], 2, shape[axis] // 2, *shape[axis + 1 :])
    turned = (2, *apart[:axis], *apart[axis + 1 :])
    if not isinstance(x, Instruction):
        return np.moveaxis(x.reshape(apart), axis, 0)
    before.append(Instruction(np.reshape, (x, apart), None, apart, x.dtype, x.name))
    if axis:
        args = before[-1], axis, 0
        before.append(Instruction(np.moveaxis, args, None, turned, x.dtype, x.name))
    return before[-1]
