"""In which order the lines of a program run, and until when the memory of each result is needed.

What the checks need comes first. Then who reads state comes before what is written over it. An
array may be written over, or used again, after the last line that reads it or a view of it.
"""

from __future__ import annotations

import operator
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np

from tensorgrad.compiler.program import (
    FRESH,
    TURNS,
    Composite,
    Instruction,
    Program,
    added_at,
    found_in,
    has_out,
    is_basic,
    is_elementwise,
    is_part,
    is_reduction,
    joined_in,
    shares,
    urgent,
    users_of,
    vacant,
    viewed,
    with_items,
)


def in_order(
    program: Program, over: Mapping[Instruction, Instruction]
) -> tuple[list[Instruction], int]:
    """The body in an order in which what the checks need, and what is drawn, comes before all else,
    and who reads state before what is written over it; and the number of the first."""
    needed = urgent(program)
    shown, place = views(program.body), {i: k for k, i in enumerate(program.body)}
    readers: dict[Instruction, list[Instruction]] = {x: [] for x in over.values()}
    for i in program.body:
        for root in {root for x in i.operands for root in shown.get(x, (x,))}:
            if root in readers and i not in needed:
                readers[root].append(i)
    rest = {i: x for i, x in over.items() if i in place and i not in needed}
    late = {i for i, x in rest.items() if any(place[y] > place[i] for y in readers[x])}
    before = -1
    while before < len(late):
        before = len(late)
        for i in program.body if late else ():
            if i not in needed and not late.isdisjoint(i.operands):
                late.add(i)
        late.update(i for i, x in rest.items() if not late.isdisjoint(readers[x]))
    first = [i for i in program.body if i in needed]
    soon = [i for i in program.body if i not in needed and i not in late]
    return [*first, *soon, *(i for i in program.body if i in late)], len(first)


QUIET = FRESH.union(TURNS, (np.reshape, np.broadcast_to, np.asarray, viewed, vacant)).difference(
    (operator.getitem, with_items, added_at, np.take, np.take_along_axis)
)


def may_raise(i: Instruction) -> bool:
    """Whether it raises for some numbers: an index out of range, a singular matrix."""
    f = i.function
    if isinstance(f, Composite):
        return any(map(may_raise, f.program.body))
    if f in (operator.getitem, with_items):
        return not (is_part(i) or is_basic(i.args[1]))
    quiet = isinstance(f, np.ufunc) or is_reduction(f) or f in QUIET
    return f is not None and not quiet


WRITES = with_items, added_at


def place_of(i: Instruction) -> Any:
    """What a write goes into."""
    return i.args[1 if i.function is added_at else 0]


def views(
    body: list[Instruction], taken: Collection[Instruction] = ()
) -> dict[Instruction, set[Instruction]]:
    """Whose memory is shown by what may show that of others. `taken`: the writes that go into the
    array itself."""
    of: dict[Instruction, set[Instruction]] = {}
    for i in body:
        if i in taken:
            place = place_of(i)
            of[i] = of.get(place, {place})
        elif shares(i):
            of[i] = {root for x in i.operands for root in of.get(x, (x,))}
    return of


class Lives:
    """Who shows whose memory, and until when it is needed.

    `taken`: the writes that may go into the array itself, for nobody looks at what it was.
    `last`: by array, the line that reads it for the last time, itself or a view; `kept`: those that
    outlive the program. An input ends too.
    """

    def __init__(self, program: Program, body: list[Instruction]) -> None:
        self.taken: set[Instruction] = set()
        self.follow(program, body)
        self.taken = {
            i
            for k, i in enumerate(body)
            if i.function in WRITES and i.shape and self.is_over(place_of(i), k)
        }
        if self.taken:
            self.follow(program, body)

    def is_over(self, x: Any, k: int) -> bool:
        """Whether nobody but line `k` reads what `x` made, nor a view of it, from there on."""
        made_here = isinstance(x, Instruction) and x.function is not None and x not in self.of
        return made_here and self.last[x] == k and x not in self.kept and x not in self.checked

    def follow(self, program: Program, body: list[Instruction]) -> None:
        self.of = of = views(body, self.taken)
        self.last = last = dict.fromkeys(program.inputs, -1)
        for k, i in enumerate(body):
            for x in i.operands:
                if x in of:
                    last.update(dict.fromkeys(of[x], k))
                else:
                    last[x] = k
            if i not in of:
                last[i] = k
        outlive = (x for out in program.outputs for x in found_in(out))
        self.kept = {root for x in outlive for root in self.roots(x)}
        self.checked = {root for x in program.guards for root in self.roots(x)}

    def roots(self, x: Instruction) -> Collection[Instruction]:
        """Whose memory `x` shows: itself, if no other's."""
        return self.of.get(x, (x,))

    def ends(self, checks: int) -> dict[int, list[Instruction]]:
        """By line; what is checked is needed until line `checks`."""
        found: dict[int, list[Instruction]] = {}
        for i, k in self.last.items():
            if i not in self.kept and i.function is not None:
                k = max(k, checks - 1) if i in self.checked else k
                found.setdefault(k, []).append(i)
        return found


def homes_of(
    order: list[Instruction], lives: Lives, over: Collection[Instruction]
) -> dict[Instruction, tuple[Instruction, Any]]:
    """What is made in its place in an array that it is joined to, and at which index there; that
    array lives as long as what is made in it."""
    homes: dict[Instruction, tuple[Instruction, Any]] = {}
    changed = {root for i in lives.taken for root in lives.roots(i)}
    elsewhere = {*over, *lives.kept, *lives.checked, *changed}
    for whole in reversed(order):
        if not has_out(whole) or whole in elsewhere:
            continue
        for x, index in joined_in(whole):
            made = isinstance(x, Instruction) and x.dtype == whole.dtype and has_out(x)
            direct = made and (is_elementwise(x) or is_reduction(x.function) or joined_in(x))
            if direct and x not in homes and x not in elsewhere:
                homes[x] = whole, index
    for x in order:
        if x in homes:
            whole = homes[x][0]
            lives.last[whole] = max(lives.last[whole], lives.last[x])
    return homes


def aims_of(program: Program, over: Collection[Instruction]) -> dict[Instruction, str]:
    """Names of what has none, and goes into an elementwise function alone, which may write its
    result over it: that of the result."""
    users = users_of(program)
    aims: dict[Instruction, str] = {}
    for i in reversed(program.body):
        user, *others = users.get(i, [i])
        if i.name or others or user in over or not is_elementwise(user):
            continue
        same = (user.shape, user.dtype, user.scope) == (i.shape, i.dtype, i.scope)
        plain = not any(map(shares, user.operands))
        if (
            same
            and plain
            and not any(x.function and not x.name for x in user.operands if x is not i)
        ):
            aims[i] = aims.get(user, user.name)
    return aims


def packed(sizes: Sequence[int], busy: Sequence[int]) -> tuple[list[int], int]:
    """Where arrays begin in one memory, in which those that are in use at once, `busy` in one line,
    lie beside each other; and how long it is. The largest comes first, and each goes to the first
    place that is free."""
    sizes = [-(-n // 64) * 64 for n in sizes]  # vectors begin where they would
    starts: dict[int, int] = {}
    for k in sorted(range(len(sizes)), key=lambda k: -sizes[k]):
        start = 0
        for first, j in sorted((starts[j], j) for j in starts if busy[j] & busy[k]):
            if start + sizes[k] <= first:
                break
            start = max(start, first + sizes[j])
        starts[k] = start
    ends = (start + sizes[k] for k, start in starts.items())
    return [starts[k] for k in range(len(sizes))], max(ends, default=0)
