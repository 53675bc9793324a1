"""How a pass makes a new program of one."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Sequence
from itertools import chain
from typing import Any

import numpy as np

from tensorgrad.compiler.program import Instruction, Program, replaced


def rewritten(
    program: Program,
    rule: Callable[[Instruction], Any],
    functions: Collection[Any] | None = None,
) -> Program:
    """The program with what `rule` makes of each instruction: itself, a new one (of others that may
    be new too), one from before, or a constant. `functions`: the rule is asked about calls of these
    alone.

    An instruction becomes what is new, so that others, which go on naming it, stay as they are: the
    program that was given is used up.
    """
    if functions is not None and not any(i.function in functions for i in program.body):
        return program
    made: dict[Instruction, Any] = {}
    fresh = made.keys().isdisjoint
    body = dict.fromkeys(program.inputs)
    for i in program.body:
        if made and not fresh(i.operands):
            i.call(i.function, replaced(i.args, made), replaced(i.kwargs, made))
        if functions is None or i.function in functions:
            new = rule(i)
            if new is not i:
                if not isinstance(new, Instruction) or new in body:
                    made[i] = new
                    continue
                add(new.operands, body)
                i.become(new)
                made[new] = i
        body[i] = None
    return program.with_body([*body][len(program.inputs) :], made)


def add(those: Sequence[Instruction], body: dict[Instruction, None]) -> None:
    """Append instructions that are new, each after those of its operands that are."""
    waiting = [x for x in those if x not in body]
    while waiting:
        missing = [x for x in waiting[-1].operands if x not in body]
        if missing:
            waiting += missing
        else:
            body[waiting.pop()] = None


def changed(i: Instruction, function: Any, args: Any, kwargs: Any) -> Instruction:
    """Another instruction for what `i` makes."""
    return Instruction(function, args, kwargs, i.shape, i.dtype, i.name, i.scope, i.order)


def uses(program: Program) -> Counter[Instruction]:
    """How often each instruction is read, or returned."""
    read = Counter(chain.from_iterable([i.operands for i in program.body]))
    read.update(x for x in program.outputs if isinstance(x, Instruction))
    return read


def shape_of(x: Any) -> tuple[int, ...]:
    return (x.shape or ()) if isinstance(x, Instruction) else np.shape(x)


def is_array(x: Any) -> bool:
    """Whether an instruction makes an array with axes."""
    return isinstance(x, Instruction) and isinstance(x.dtype, np.dtype) and bool(x.shape)


def keyed(x: Any) -> Any:
    """What tells whether two arguments are the same, hashable."""
    kind = type(x)
    if kind is Instruction:
        return x
    if kind is tuple or kind is list:
        return kind, *[y if type(y) is Instruction else keyed(y) for y in x]
    if kind is dict:
        return kind, *x, *map(keyed, x.values())
    if kind is slice:
        return kind, keyed(x.start), keyed(x.stop), keyed(x.step)
    if kind is float or kind is complex:
        return kind, repr(x)  # 0.0 is not -0.0
    if isinstance(x, np.generic):
        return x.dtype.str, x.tobytes()
    return (np.ndarray, id(x)) if isinstance(x, np.ndarray) else (kind, x)
