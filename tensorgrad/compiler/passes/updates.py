"""What an optimiser's rule does with each parameter, in place of the one instruction that it was:
passes before look at it once for all parameters of a kind, which may be half of a program.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Sequence
from typing import Any

from tensorgrad.compiler.passes.rewrite import shape_of
from tensorgrad.compiler.passes.tidy import (
    common_subexpressions,
    constants,
    dead_code,
    numbers,
    ufuncs,
)
from tensorgrad.compiler.program import Instruction, Program, Rule, replaced

TIDY = ufuncs, constants, common_subexpressions, numbers, dead_code
"""What is done to a rule by itself."""


def updates(program: Program, tidy: Sequence[Callable[[Program], Program]] = ()) -> Program:
    """The instructions of rules, which are simplified by these passes before."""
    rules = {i.function for i in program.body if isinstance(i.function, Rule)}
    if not rules:
        return program
    simple: dict[Any, Program] = {}
    for rule in rules:
        simple[rule] = rule.program.copy()
        for run in tidy:
            simple[rule] = run(simple[rule])
    parts: dict[Instruction, dict[int, Instruction]] = {}
    for i in program.body:
        whole = i.args[0] if i.function is operator.getitem else None
        if isinstance(whole, Instruction) and whole.function in rules:
            parts.setdefault(whole, {})[i.args[1]] = i
    gone = {i for several in parts.values() for i in several.values()}
    body: list[Instruction] = []
    shared: dict[Any, Instruction] = {}
    for i in program.body:
        if i.function in rules:
            body += written_out(i, simple[i.function], parts.get(i, {}), shared)
        elif i not in gone:
            body.append(i)
    return program.with_body(body, {})


def written_out(
    whole: Instruction, rule: Program, parts: dict[int, Instruction], shared: dict[Any, Any]
) -> list[Instruction]:
    """What a rule does with one parameter. `parts` become what makes them; `shared`: numbers that
    several parameters have in common, such as what is made of the learning rate."""
    made: dict[Instruction, Any] = dict(zip(rule.inputs, whole.args))
    shape = shape_of(whole.args[0])
    results: dict[Any, list[Instruction]] = {}
    for k, part in parts.items():
        results.setdefault(rule.outputs[k], []).append(part)
    body: list[Instruction] = []
    for i in rule.body:
        args, kwargs = replaced((i.args, i.kwargs), made)
        known = None if i.shape or kwargs or i in results else (i.function, *map(like, args))
        if known in shared and known is not None:
            made[i] = shared[known]
            continue
        own = results.get(i)
        if own:
            made[i] = own[0]
            own[0].call(i.function, args, kwargs)
        else:
            size = shape if i.shape else ()
            made[i] = Instruction(i.function, args, kwargs, size, i.dtype, "", whole.scope, i.order)
            if known is not None:
                shared[known] = made[i]
        body.append(made[i])
    return body


def like(x: Any) -> Any:
    """What tells an argument from others."""
    return x if isinstance(x, Instruction) else (type(x), repr(x))
