"""The largest entries of windows.

The function of the operation is one instruction (`LARGEST`, and `TO_LARGEST`, its gradient), until
it is written as maxima of slices, or becomes part of a kernel.
"""

from __future__ import annotations

import operator
from functools import reduce
from typing import Any

import numpy as np

from tensorgrad.compiler.passes.rewrite import changed, is_array, rewritten, shape_of
from tensorgrad.compiler.passes.tidy import is_zero
from tensorgrad.compiler.program import Instruction, Program, axes_of, is_reduction, users_of
from tensorgrad.ops.nn.pooling import at, each_axis, largest, slices, to_largest

LARGEST, TO_LARGEST = (f.__wrapped__ for f in (largest, to_largest))  # type: ignore[attr-defined]


def pooling(program: Program) -> Program:
    """A ReLU before the largest entries of windows is one of these, and so is the mask of its
    gradient: a quarter of the numbers."""
    users = users_of(program)
    moved: dict[Instruction, Any] = {}  # what is made otherwise
    shown = {x for x in (*program.outputs, *program.guards) if isinstance(x, Instruction)}
    for i in program.body:
        x = i.args[0] if i.function is LARGEST else None
        if not isinstance(x, Instruction) or x.function is not np.maximum or x in shown:
            continue
        if not is_zero(x.args[1]) or not is_array(x.args[0]) or x.args[0].dtype != x.dtype:
            continue
        masked = [gradient for y in users[x] if (gradient := masked_by(y, i, users))]
        masks = {where.args[0] for where in masked}
        gradients = {where.args[1] for where in masked}
        if {*users[x]} == {i, *masks, *gradients} and shown.isdisjoint((*masks, *gradients)):
            moved[i] = x
            moved.update(dict.fromkeys(masked, i))
    of: dict[Instruction, Instruction] = {}

    def rule(i: Instruction) -> Any:
        if i not in moved:
            return i
        if i.function is LARGEST:
            source = i.args[0].args[0]
            of[i] = largest_of = changed(i, LARGEST, (source,), i.kwargs)
            return changed(i, np.maximum, (largest_of, *i.args[0].args[1:]), {})
        mask, (g, x, out), kwargs = i.args[0], i.args[1].args, i.args[1].kwargs
        most = of[moved[i]]
        positive = made(np.greater, (most, mask.args[1]), out.shape, i, out.order)
        positive.dtype = mask.dtype
        g = made(np.where, (positive, g, 0), out.shape, i, out.order)
        return changed(i, TO_LARGEST, (g, x.args[0], most), kwargs)

    return rewritten(program, rule) if moved else program


def masked_by(i: Instruction, out: Instruction, users: Any) -> Instruction | None:
    """Where the gradient `i` of the largest entries `out` is masked as that of the ReLU before."""
    if i.function is not TO_LARGEST or i.args[1:] != (out.args[0], out) or i.kwargs != out.kwargs:
        return None
    if len(users.get(i, ())) != 1:
        return None
    (where,) = users[i]
    if where.function is not np.where or where.args[1] is not i or not is_zero(where.args[2]):
        return None
    mask = where.args[0]
    if not isinstance(mask, Instruction) or mask.function is not np.greater:
        return None
    fits = mask.args[0] is out.args[0] and is_zero(mask.args[1]) and {*users[mask]} == {where}
    return where if fits else None


def sums_of_windows(program: Program) -> Program:
    """The sum of a gradient that windows share, such as that of a bias, is the sum of theirs."""

    def rule(i: Instruction) -> Any:
        x = i.args[0] if is_reduction(i.function) and i.function.__self__ is np.add else None
        if not isinstance(x, Instruction) or x.function is not TO_LARGEST:
            return i
        n = len(shape_of(x))
        windows = {*range(n - len(x.kwargs["kernel_size"]), n)}
        if not windows <= axes_of(i) or i.kwargs.keys() - {"axis", "keepdims"}:
            return i
        return changed(i, i.function, (x.args[0], *i.args[1:]), i.kwargs)

    return rewritten(program, rule)


def windows(program: Program) -> Program:
    """The largest entries of windows are maxima of slices."""
    return rewritten(program, as_slices)


def as_slices(i: Instruction) -> Instruction:
    if i.function is not LARGEST or max(i.kwargs["kernel_size"]) == 1:
        return i
    x = i.args[0]
    for axis, window in each_axis(**i.kwargs):
        taken = []
        for part in slices(x.shape[axis], *window):
            n = len(range(*part.indices(x.shape[axis])))
            end = len(x.shape) + axis
            shape = (*x.shape[:end], n, *x.shape[end + 1 :])
            taken.append(made(operator.getitem, (x, at(axis, part)), shape, i, i.order))
        x = reduce(lambda x, y: made(np.maximum, (x, y), x.shape, i, i.order), taken)
    return changed(i, x.function, x.args, {})


def made(
    function: Any, args: Any, shape: Any, like: Instruction, order: tuple[int, ...]
) -> Instruction:
    return Instruction(function, args, None, shape, like.dtype, "", like.scope, order)
