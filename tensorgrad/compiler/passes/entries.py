"""Sums of arrays that are 0 but for an entry, as gradients of `x[0] * x[1]` add up."""

from __future__ import annotations

import operator
from typing import Any

import numpy as np

from tensorgrad.compiler.passes.rewrite import is_array, uses
from tensorgrad.compiler.passes.slices import zero
from tensorgrad.compiler.program import Instruction, Program, with_items

MANY = 16
"""How many terms are worth it."""
Index = tuple[int, ...]


def sums_of_entries(program: Program) -> Program:
    """Of many arrays that are 0 but for an entry, added up, what goes to the same one is first, as
    numbers, which `rolling` finds alike. Only -0. + 0. is another number."""
    if sum(i.function is with_items for i in program.body) < MANY:
        return program
    read = uses(program)
    read.update(program.guards)
    chains: dict[Instruction, list[Any]] = {}
    for i in program.body:
        if is_sum(i):
            long, short = (chains.pop(x) if x in chains and read[x] == 1 else [x] for x in i.args)
            if len(long) < len(short):
                long, short = short, long
            long += short
            chains[i] = long
    body = []
    for i in program.body:
        if len(chains.get(i, ())) >= MANY:
            body += gathered(i, chains[i])
        body.append(i)
    return program.with_body(body, {})


def is_sum(i: Instruction) -> bool:
    """Whether it adds two arrays of one shape and dtype."""
    if i.function not in (operator.add, np.add) or i.kwargs or not is_array(i):
        return False
    return all(is_array(x) and (x.shape, x.dtype) == (i.shape, i.dtype) for x in i.args)


def entry(x: Instruction) -> tuple[Index, Instruction] | None:
    """Where an array is not 0, and what is there."""
    if x.function is not with_items or not zero(x.args[0], x):
        return None
    _, index, value = x.args
    found = index if type(index) is tuple else (index,)
    number = isinstance(value, Instruction) and (value.shape, value.dtype) == ((), x.dtype)
    shape = x.shape or ()
    if not number or len(found) != len(shape) or not all(type(k) is int for k in found):
        return None
    return tuple(k % n for k, n in zip(found, shape)), value


def gathered(i: Instruction, terms: list[Instruction]) -> list[Instruction]:
    """What a sum, which becomes the last of it, is made of now."""
    totals: dict[Index, Instruction] = {}
    others, made = [], []

    def write(f: Any, args: Any, shape: Any) -> Instruction:
        new = Instruction(f, args, None, shape, i.dtype, i.name, i.scope)
        made.append(new)
        return new

    for x in terms:
        found = entry(x)
        if found is None:
            others.append(x)
            continue
        index, value = found
        before = totals.get(index)
        totals[index] = value if before is None else write(operator.add, (before, value), ())
    if len(terms) - len(others) < MANY:
        return []
    whole = write(np.zeros, (i.shape, i.dtype), i.shape)
    for index, total in totals.items():
        whole = write(with_items, (whole, index, total), i.shape)
    for x in others:
        whole = write(np.add, (whole, x), i.shape)
    i.become(made.pop())
    return made
