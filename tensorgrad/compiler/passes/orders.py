"""The order of axes in memory, where it spares a copy."""

from __future__ import annotations

import numpy as np

from tensorgrad.compiler.program import (
    TURNS,
    Instruction,
    Program,
    found_in,
    has_out,
    is_elementwise,
    turned,
    users_of,
)


def orders(program: Program) -> Program:
    """What is transposed and then copied into a matrix, such as what the heads of an attention
    answer, is made in the order of that copy, which is a view of it then."""
    users = users_of(program)
    shown = {x for out in program.outputs for x in found_in(out)}

    def free(x: Instruction, user: Instruction) -> bool:
        """Whether it may lie in any order, for this user: others go entry by entry."""
        made = (is_elementwise(x) or x.function is np.matmul) and not x.order
        return made and all(y is user or into_buffer(y) for y in users[x])

    def into_buffer(x: Instruction) -> bool:
        """Whether it goes entry by entry into an array in C's order, whatever that of its operands:
        what is added up later is so in the same order."""
        return is_elementwise(x) and has_out(x) and x not in shown

    for i in program.body:
        view = i.args[0] if i.function is np.reshape and not i.kwargs else None
        if not isinstance(view, Instruction) or view.function not in TURNS:
            continue
        source = view.args[0]
        if not isinstance(source, Instruction) or not free(source, view):
            continue
        order = turned(view)
        if {user.function for user in users[view]} != {np.reshape} or order[-1] != len(order) - 1:
            continue
        waiting = [source]
        while waiting:
            x = waiting.pop()
            x.order = tuple(order)
            if is_elementwise(x):
                waiting += [y for y in x.operands if y.shape == x.shape and free(y, x)]
    return program
