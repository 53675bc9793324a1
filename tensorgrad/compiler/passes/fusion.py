"""Groups of operations that run as one, on blocks of rows that stay in the cache, or as machine
code: each is an instruction whose function is a `Fused`.

A group goes through the *rows* of arrays, the entries of their first axis, all of one length: row r
of what a member makes needs row r, and no other, of what other members made. What it needs in whole
(a vector that is broadcast along the rows, a number) comes from outside, and so does what depends
on a sum over the rows, with which a group may end.
"""

from __future__ import annotations

import operator
from collections import Counter
from collections.abc import Callable, Collection, Iterator
from typing import Any

import numpy as np

from tensorgrad.compiler.names import BACKWARD, part_of_all
from tensorgrad.compiler.passes.rewrite import changed, shape_of
from tensorgrad.compiler.program import (
    IMPURE,
    Fused,
    Instruction,
    Program,
    axes_of,
    converted,
    each,
    is_elementwise,
    is_reduction,
    nbytes,
    replaced,
    shares,
    sum_of_slices,
    urgent,
    users_of,
)

Joins = Callable[[Instruction], bool]
"""Whether a back end runs an instruction in a group."""
Worth = Callable[[list[Instruction]], bool]
"""Whether it is quicker if these are a group."""


def several(members: list[Instruction]) -> bool:
    return len(members) > 1


def follows(i: Instruction, x: Instruction) -> bool:
    """Whether row r of what `i` makes needs row r, and no other, of its operand `x`."""
    if not x.shape:
        return False
    if i.function is sum_of_slices:
        return True
    if is_product(i):
        return x is i.args[0] or (x is i.args[1] and ends(i))
    if is_reduction(i.function):
        return x is i.args[0]
    return len(x.shape) == len(i.shape or ()) and x.shape[0] == i.shape[0]  # type: ignore[index]


def ends(i: Instruction) -> bool:
    """Whether it goes along the rows, so that nobody can go on before all of them are done."""
    if is_product(i):
        return i.function is np.vdot or len(shape_of(i.args[0])) == 1
    if i.function is sum_of_slices:
        return True
    return is_reduction(i.function) and 0 in axes_of(i)


def added_by(i: Instruction) -> np.ufunc:
    """What makes one result of those of blocks of rows."""
    return np.add if is_product(i) else i.function.__self__


def rows_of(i: Instruction) -> int:
    """How many rows it goes through."""
    if i.function is sum_of_slices:
        return shape_of(i.args[2][0])[0]
    shape = shape_of(i.args[0] if is_reduction(i.function) or is_product(i) else i)
    return shape[0] if shape else 0


def is_product(i: Instruction) -> bool:
    """Whether it is a product with a vector, or of two arrays as vectors."""
    if i.function is np.vdot:
        return len({*map(shape_of, i.args)} - {()}) == 1 and not i.kwargs
    if i.function not in (np.matmul, np.dot, operator.matmul) or i.kwargs or len(i.args) != 2:
        return False
    x, y = map(shape_of, i.args)
    return (len(x), len(y)) in ((2, 1), (1, 2), (1, 1))


def groups(program: Program, joins: Joins, worth: Worth = several) -> Program:
    """The program with what can run as one in groups, where that is worth it.

    Each instruction has a *level*, no lower than those of its operands, and higher than those of
    operands that may be in a group, and not in its own. Members of a group are on one level, so
    that no two groups wait for each other.
    """
    level: dict[Instruction, int] = {}
    rows: dict[Instruction, int] = {}
    beside: dict[Instruction, list[Instruction]] = {}  # operands that may be in the same group
    late = late_of(program)
    drawn = None
    for i in program.body:
        rows[i] = n = rows_of(i) if joins(i) else 0
        within = []
        deep = level[drawn] + 1 if drawn and i.function in IMPURE else 0
        for x in i.operands:
            if x in level:
                one = n and rows[x] == n and follows(i, x) and not ends(x)
                one = one and (x in late) == (i in late)
                deep = max(deep, level[x] + bool(rows[x] and not one))
                within += [x] if one else []
        level[i], beside[i] = deep, within
        drawn = i if i.function in IMPURE else drawn
    sink(program, level, rows, late)
    sets = Sets()
    first: dict[Any, Instruction] = {}  # by level and operand
    for i in program.body:
        for x in beside[i]:
            if level[x] == level[i]:
                sets.join(x, i)
        for x in i.operands if rows[i] else ():  # who reads the same rows
            if follows(i, x):
                sets.join(first.setdefault((level[i], rows[i], i in late, x), i), i)
    return gathered(program, sets, [i for i in program.body if rows[i]], worth)


def sink(
    program: Program,
    level: dict[Instruction, int],
    rows: dict[Instruction, int],
    late: Collection[Instruction],
) -> None:
    """What only a later group needs is made there, if to read what it is made of takes no longer
    than to write it and to read it."""
    users = users_of(program)
    shown = {x for x in (*program.outputs, *program.guards) if isinstance(x, Instruction)}
    early = backward_of(program)
    for i in reversed(program.body):
        if i in early and i in users and i not in shown and (rows[i] or shares(i)):
            level[i] = max(level[i], min(below(i, user, level, rows) for user in users[i]))
            continue
        around = users.get(i, ())
        n, deep = rows[i], {level[user] for user in around}
        entrywise = is_elementwise(i) or i.function in (np.where, converted)
        if not n or i in shown or len(deep) != 1 or not entrywise:
            continue
        (to,) = deep
        if to == level[i] or any(
            rows[user] != n or not follows(user, i) or (user in late) != (i in late)
            for user in around
        ):
            continue
        read = [
            x
            for x in {*i.operands}
            if not any(level[y] == to and rows[y] == n for y in users[x] if y is not i)
        ]
        in_memory = not any(rows.get(x) for x in read)  # and not left within a group
        if in_memory and sum(map(nbytes, read)) <= 2 * nbytes(i):
            level[i] = to


def below(
    i: Instruction, user: Instruction, level: dict[Instruction, int], rows: dict[Instruction, int]
) -> int:
    """The level on which it may be for this user."""
    one = rows[user] == rows[i] and follows(user, i) and not ends(i)
    return level[user] - (bool(rows[i]) and not one)


def backward_of(program: Program) -> set[Instruction]:
    """What the backward pass makes of what the forward pass knew: it can be made there, instead of
    being kept until then."""
    found: set[Instruction] = set()
    after: set[Instruction] = set()
    for i in program.body:
        if i.scope is None or i.scope.step != BACKWARD:
            continue
        whole = [x for x in i.operands if nbytes(x) == nbytes(i)]
        if whole and all(x in found or x not in after for x in whole):
            found.add(i)
        else:
            after.add(i)
    return found


class Sets:
    """Disjoint sets of instructions."""

    def __init__(self) -> None:
        self.parent: dict[Instruction, Instruction] = {}

    def root(self, i: Instruction) -> Instruction:
        path = []
        while (up := self.parent.get(i, i)) is not i:
            path.append(i)
            i = up
        self.parent.update(dict.fromkeys(path, i))
        return i

    def join(self, a: Instruction, b: Instruction) -> None:
        a, b = self.root(a), self.root(b)
        if a is not b:
            self.parent[b] = a


def late_of(program: Program) -> set[Instruction]:
    """What may be written over state, and what needs it: it must wait for the checks."""
    if not program.guards:
        return set()
    old = {(x.shape, x.dtype) for x in program.inputs}
    new = {x for x in program.outputs if isinstance(x, Instruction)}
    first = urgent(program)
    late = {x for x in new if x.shape and (x.shape, x.dtype) in old} - first
    for i in program.body:
        if not late.isdisjoint(i.operands):
            late.add(i)
    users = users_of(program)
    for i in reversed(program.body):  # what only they need can wait too
        if i not in new and i in users and late.issuperset(users[i]):
            late.add(i)
    return late - first


def gathered(program: Program, sets: Sets, members: list[Instruction], worth: Worth) -> Program:
    """The program with an instruction for each set that is worth it."""
    parts: dict[Instruction, list[Instruction]] = {}
    for i in members:
        parts.setdefault(sets.root(i), []).append(i)
    group = {i: part for part in parts.values() if worth(part) for i in part}
    shown = {x for x in (*program.outputs, *program.guards) if isinstance(x, Instruction)}
    for i in program.body:
        own = group.get(i)
        shown.update(x for x in i.operands if own is None or group.get(x) is not own)
    made: dict[Instruction, Any] = {}
    body: list[Instruction] = []
    for i in in_turn(program, group):
        if i not in group:
            new = i
            if not made.keys().isdisjoint(i.operands):
                new = made[i] = changed(i, i.function, *replaced((i.args, i.kwargs), made))
            body.append(new)
        elif outs := [x for x in group[i] if x in shown]:
            whole, *results = one_of(group[i], outs, made)
            body += [whole, *results]
            made.update(zip(outs, results or [whole]))
    return program.with_body(body, made)


def in_turn(program: Program, group: dict[Instruction, list[Instruction]]) -> Iterator[Instruction]:
    """The body in an order in which the members of a group can stand together: of each group the
    last member, where it stood or where the first needs it who does not belong to it. What is
    drawn stays in its order."""
    done: set[Instruction] = set()
    before: dict[Instruction, Instruction] = {}
    impure = [i for i in program.body if i.function in IMPURE]
    before.update(zip(impure[1:], impure))
    for i in program.body:
        if i in group and i is not group[i][-1]:
            continue
        todo = [i]
        while todo:
            i = todo[-1]
            own = group.get(i, (i,))
            i = own[-1]
            if i in done:
                todo.pop()
                continue
            needs = [x for y in own for x in y.operands if x.function is not None]
            needs += [before[i]] if i in before else []
            needs = [x for x in needs if x not in done and group.get(x) is not group.get(i, own)]
            if needs:
                todo += reversed(needs)
                continue
            todo.pop()
            done.update(own)
            yield i


def one_of(
    members: list[Instruction], outs: list[Instruction], made: dict[Instruction, Any]
) -> list[Instruction]:
    """One instruction for these, and if it makes several arrays, one for each of them."""
    inside: dict[Any, Instruction] = {}
    given: list[Any] = []
    inputs: list[Instruction] = []

    def within(x: Any) -> Any:
        """What stands in the group for an instruction or array from outside."""
        key = x if isinstance(x, Instruction) else id(x)
        if key not in inside:
            like = (x.name, None, x.order) if isinstance(x, Instruction) else ("k",)
            inside[key] = Instruction(None, (), None, x.shape, x.dtype, *like)
            inputs.append(inside[key])
            given.append(made.get(x, x) if isinstance(x, Instruction) else x)
        return inside[key]

    needed = {*outs}
    for i in reversed(members):
        if i in needed:
            needed.update(i.operands)
    body = []
    for i in members:
        if i not in needed:
            continue
        inside[i] = changed(
            i, i.function, *each(within, (Instruction, np.ndarray), (i.args, i.kwargs))
        )
        body.append(inside[i])
    fused = Fused(Program(inputs, body, [inside[x] for x in outs]))
    args = tuple(given)
    scope = part_of_all(members)
    if len(outs) == 1:
        (out,) = outs
        return [Instruction(fused, args, None, out.shape, out.dtype, out.name, scope, out.order)]
    whole = Instruction(fused, args, None, None, scope=scope)
    return [whole, *(changed(x, operator.getitem, (whole, k), {}) for k, x in enumerate(outs))]


SMALL = 1 << 21
"""The bytes of an array up to which blocks save nothing: a processor's last cache holds several
such arrays, and whole ones are fewer calls. (A transformer's step, with arrays of 1.5 MB, takes 4 %
more in blocks; GELU takes as long at 3 MB, .9 at 6 and .8 at 12.)"""


def chains(program: Program) -> Program:
    """What is computed entry by entry, of arrays that the cache does not hold, goes through it in
    blocks."""
    return in_blocks(program, is_chained)


def fusion(program: Program) -> Program:
    """The same, and sums over entries or rows, which are added in another order."""
    return in_blocks(program, lambda i: is_chained(i) or is_summed(i))


def in_blocks(program: Program, joins: Joins) -> Program:
    """Groups in which something is large: what has as many rows as that is looked at alone."""
    large = {x for x in (*program.inputs, *program.body) if nbytes(x) > SMALL}
    seen = {i for i in program.body if not large.isdisjoint((i, *i.operands)) and joins(i)}
    rows = {*map(rows_of, seen)}
    members = {i for i in program.body if rows_of(i) in rows and joins(i)} if seen else {*seen}
    met = Counter(x for i in members for x in {i, *i.operands})
    if not any(met[x] > 1 for i in seen for x in (i, *i.operands)):  # each is alone
        return program
    worth = lambda those: several(those) and not seen.isdisjoint(those)
    return groups(program, members.__contains__, worth)


def is_chained(i: Instruction) -> bool:
    """Whether it is computed entry by entry, in real numbers."""
    plain = is_elementwise(i) and i.function.nout == 1
    if not (plain or i.function in (np.where, converted)) or "where" in i.kwargs or not i.shape:
        return False
    return is_plain(i)


SUMS = frozenset({np.add, np.multiply, np.maximum, np.minimum, np.logical_or, np.logical_and})


def is_summed(i: Instruction) -> bool:
    """Whether it is a sum, or the like, of what the cache may hold in part."""
    if i.function is sum_of_slices:
        return is_plain(i) and len({shape_of(x)[0] for x in i.args[2]}) == 1
    if is_product(i):
        return is_plain(i) and all(isinstance(x, (Instruction, np.ndarray)) for x in i.args)
    sums = is_reduction(i.function) and i.function.__self__ in SUMS
    return (
        sums
        and bool(shape_of(i.args[0]))
        and not i.kwargs.keys() - {"axis", "keepdims"}
        and len(i.args) == 1
        and is_plain(i)
    )


def is_plain(i: Instruction) -> bool:
    """Whether its arrays are of real numbers, and in C's order."""
    return all(np.dtype(x.dtype).kind in "biuf" and not x.order for x in (i, *i.operands))
