"""What a program says of itself: which part of a step each instruction is, and in the call of which
Module it was written; and names of what it makes, after the user's variables and layers.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Any, NamedTuple

from tensorgrad.compiler.program import Instruction, Program, converted, is_count, users_of
from tensorgrad.compiler.tracer import Tracer
from tensorgrad.engine.backprop import Sweep
from tensorgrad.engine.node import Array, Node, Scope, data_of
from tensorgrad.engine.rules import Reading
from tensorgrad.value import Value

STEPS = FORWARD, BACKWARD, UPDATE = "forward", "backward", "update"


class Part(NamedTuple):
    """`step`: forward, backward or update; `module`: what the user calls the Module, "" where it is
    the function itself; `kind`: its class."""

    step: str
    module: str = ""
    kind: str = ""

    def __repr__(self) -> str:
        words = f"{self.module} ({self.kind})".split()  # in one line, for comments
        return " ".join(words) if self.module else ""


def part_of_all(members: Iterable[Instruction]) -> Part | None:
    """The part that several instructions are in; of several the last one of the first step."""
    found = [i.scope for i in members if i.scope is not None]
    return min(found[::-1], key=lambda part: STEPS.index(part.step), default=None)


class Watch(Reading):
    """Notes in a program where a sweep came to which node, what the gradients are called, and the
    variables of the function that is traced."""

    reads = False

    def __init__(self, program: Program, f: Callable[..., Any]) -> None:
        while isinstance(f, partial):
            f = f.func
        self.code = getattr(getattr(f, "__func__", f), "__code__", None)
        self.program, self.frame = program, None
        self.cotangents: list[tuple[Any, Any]] = []  # of what, as the instructions that make them

    def reached(self, node: Node, g: Array, sweep: Sweep) -> None:
        self.program.swept.append((len(self.program.body), node))
        self.completed(node, g, sweep)
        frame: Any = sys._getframe(1) if self.frame is None else None
        while frame is not None and frame.f_code is not self.code:
            frame = frame.f_back
        self.frame = frame or self.frame

    def completed(self, node: Node, g: Array, sweep: Sweep) -> None:
        self.cotangents.append((made_by(node.data), made_by(g)))

    def variables(self) -> dict[str, Any]:
        """The function's variables, as they were when it returned."""
        frame, self.frame = self.frame, None
        return {} if frame is None else dict(frame.f_locals)


def made_by(x: Any) -> Instruction | None:
    """What makes the numbers of an array or Value, if a tracer is there; a copy does not."""
    data = x if type(x) is Tracer else data_of(x)
    return original(data.instruction) if type(data) is Tracer else None


def original(i: Instruction) -> Instruction:
    """What a copy is of."""
    while i.function is converted and i.args[0].dtype == i.dtype and i.shape:
        i = i.args[0]
    return i


def describe(
    program: Program,
    watch: Watch,
    modules: Mapping[int, str],
    new: Iterable[tuple[str, Any]],
) -> None:
    """Give the instructions of a program that was just written their parts and names.

    `modules`: what Modules are called, by their ids; `new`: what is written where something was
    read, by what that is called.
    """
    parts_of(program, modules)
    for name, x in new:
        call(f"new.{name}", made_by(x))
    for name, x in watch.variables().items():
        if isinstance(x, (Value, Tracer)):
            call(name, made_by(x))
    arrays = [i for i in program.body if i.shape and i.scope.step == FORWARD and i.scope.module]
    users = users_of(program) if arrays else {}
    last: dict[Any, Instruction] = {}
    for i in arrays:
        within = all(user.scope == i.scope for user in users.get(i, []))
        if not (within and i in users):
            last[i.scope] = i
    for part, i in last.items():
        call(part.module, original(i))
    for x, g in watch.cotangents:
        if x is not None and x.name:
            call(f"d.{x.name}", g)


def call(name: str, i: Instruction | None) -> None:
    """Name what has no name, and is computed."""
    if i is not None and i.function is not None and not i.name:
        i.name = name


def parts_of(program: Program, modules: Mapping[int, str]) -> None:
    """In place of the calls of Modules, the parts of the step."""
    steps = [FORWARD] * len(program.body)
    homes: list[Any] = [i.scope for i in program.body]
    valued = {made_by(node.data) for _, node in program.swept if node is not None}
    valued.update(i for i in program.checks if is_count(i))
    ends = [*(start for start, _ in program.swept[1:]), len(program.body)]
    for (start, node), end in zip(program.swept, ends):
        if node is not None:
            steps[start:end] = [BACKWARD] * (end - start)
            homes[start:end] = [node.scope] * (end - start)
    after, read, elsewhere = "", set[Instruction](), set[Instruction]()  # by backward, by others
    for k in reversed(range(len(steps))):  # the seed
        i = program.body[k]
        if after == BACKWARD and i in read and i not in elsewhere:
            steps[k] = BACKWARD
        after = steps[k]
        (read if after == BACKWARD else elsewhere).update(i.operands)
    plain = [home is None and i not in valued for i, home in zip(program.body, homes)]
    later: set[Instruction] = set()  # than a sweep
    for k, i in enumerate(program.body):
        if plain[k] and steps[k] == FORWARD and not later.isdisjoint(i.operands):
            steps[k] = UPDATE
        if steps[k] != FORWARD:
            later.add(i)
    forward: set[Instruction] = set()  # what it needs
    for k in reversed(range(len(steps))):
        i = program.body[k]
        if steps[k] == FORWARD and plain[k] and later and i not in forward:
            steps[k] = UPDATE
        if steps[k] != UPDATE:
            forward.update(i.operands)
    known: dict[Any, Part] = {}
    for i, step, home in zip(program.body, steps, homes):
        where = step, id(home)
        if where not in known:
            known[where] = part_in(step, home, modules)
        i.scope = known[where]


def part_in(step: str, home: Any, modules: Mapping[int, str]) -> Part:
    """The part of what was written in the call of a Module."""
    while isinstance(home, Scope) and id(home.module) not in modules and home.parent:
        home = home.parent
    if step == UPDATE or not isinstance(home, Scope):
        return Part(step)
    kind = type(home.module).__name__
    return Part(step, modules.get(id(home.module), kind), kind)
