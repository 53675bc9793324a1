"""Constant factors and signs, of which rules of gradients leave many: one each is enough."""

from __future__ import annotations

from typing import Any

import numpy as np

from tensorgrad.compiler.passes.rewrite import changed, is_array, rewritten, uses
from tensorgrad.compiler.program import Instruction, Program

SCALES = np.multiply, np.true_divide


def factors(program: Program) -> Program:
    """c (d x) is (c d) x, (d x) / c is (d / c) x, -(c x) is (-c) x, x + -y is x - y, 1 x is x, and
    c x + c y is c (x + y), where nobody else reads what stands in brackets, or is multiplied. The
    products are rounded once less. x (c y) is c (x y) where c is 2, 4 or 8, which rounds nothing.
    None of it overflows where what was written does not; a sum of 0 may be -0."""
    read = uses(program)

    def inner(x: Any, *functions: Any) -> bool:
        one = is_array(x) and x.function in functions and read[x] == 1 and not x.kwargs
        return one and x.dtype.kind == "f"  # an unsigned -y is no number below 0

    def rule(i: Instruction) -> Any:
        if not is_array(i) or np.dtype(i.dtype).kind != "f" or i.kwargs:
            return i
        if i.function is np.negative and inner(i.args[0], *SCALES):
            c, x = constant_factor(i.args[0])
            return i if c is None else times(i, -c, x)
        if i.function in SCALES:
            return product(i)
        if i.function in (np.add, np.subtract):
            return total(i)
        return i

    def product(i: Instruction) -> Any:
        c, x = constant_factor(i)
        if c is not None:
            if c == 1:
                return x
            if inner(x, np.negative):
                return times(i, -c, x.args[0])
            d, y = constant_factor(x) if inner(x, *SCALES) else (None, x)
            if d is not None and is_normal(c, d):
                return times(i, c * d, y)
            return i
        if i.function is np.true_divide:
            return i
        (c, x), (d, y) = (taken_out(x, i) for x in i.args)
        if x is i.args[0] and y is i.args[1]:
            return i
        if abs(c * d) > 1:
            return times(i, c * d, both(i, x, y))
        if c == d:
            return changed(i, np.multiply, (x, y), {})
        return changed(i, np.negative, (both(i, x, y),), {})

    def taken_out(x: Any, i: Instruction) -> tuple[Any, Any]:
        """A sign, or a power of 2, of a factor `x` of `i`, and the rest of it."""
        c, y = None, x
        if inner(x, np.negative):
            c, y = -1, x.args[0]
        elif inner(x, *SCALES):
            c, y = constant_factor(x)
        known = c is not None and abs(c) in (1, 2, 4, 8)
        return (c, y) if known and (y.shape, y.dtype) == (i.shape, i.dtype) else (1, x)

    def total(i: Instruction) -> Any:
        x, y = i.args
        plus = i.function is np.add
        if inner(y, np.negative):
            return changed(i, np.subtract if plus else np.add, (x, y.args[0]), {})
        if plus and inner(x, np.negative):
            return changed(i, np.subtract, (y, x.args[0]), {})
        if inner(x, *SCALES) and inner(y, *SCALES) and x.shape == y.shape and x.dtype == y.dtype:
            (c, u), (d, v) = map(constant_factor, (x, y))
            if c is not None and d is not None and abs(c) == abs(d) >= 1:
                plus = plus == (c == d)
                return times(i, c, both(i, u, v, np.add if plus else np.subtract))
        return i

    return rewritten(program, rule, {*SCALES, np.add, np.subtract, np.negative})


def constant_factor(i: Instruction) -> tuple[Any, Any]:
    """A constant and an array whose product it is; None if it is no such product."""
    for c, x in (i.args, i.args[::-1]) if i.function is np.multiply else [i.args[::-1]]:
        number = isinstance(c, (np.ndarray, np.generic)) and not c.ndim and c.dtype == i.dtype
        if number and is_array(x) and (x.shape, x.dtype) == (i.shape, i.dtype):
            if i.function is np.multiply:
                return c, x
            return (1 / c, x) if c and is_normal(1 / c, c / c) else (None, i)
    return None, i


def is_normal(c: Any, d: Any) -> bool:
    """Whether c d has all its digits: then nothing overflows or vanishes that did not."""
    with np.errstate(all="ignore"):
        size = abs(c * d)
    return bool(np.finfo(size.dtype).tiny <= size < np.inf)


def both(i: Instruction, x: Any, y: Any, function: Any = np.multiply) -> Instruction:
    """x y, or another function of them, of the shape of what `i` makes."""
    return Instruction(function, (x, y), None, i.shape, i.dtype)


def times(i: Instruction, c: Any, x: Any) -> Instruction:
    """c x, for what `i` makes."""
    return changed(i, np.multiply, (np.array(c, i.dtype), x), {})
