"""Constant factors and signs, of which rules of gradients leave many: one each is enough."""

from __future__ import annotations

from typing import Any

import numpy as np

from tensorgrad.compiler.passes.rewrite import changed, is_array, rewritten, uses
from tensorgrad.compiler.program import Instruction, Program

SCALES = np.multiply, np.true_divide


def factors(program: Program) -> Program:
    """c (d x) is (c d) x, (d x) / c is (d / c) x, -(c x) is (-c) x, x + -y is x - y, and 1 x is x,
    where nobody else reads what stands in brackets. The products are rounded once less."""
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
        for x, y in (i.args, i.args[::-1]) if i.function is np.multiply else ():
            if inner(x, np.negative) and (x.shape, x.dtype) == (i.shape, i.dtype):
                both = Instruction(np.multiply, (x.args[0], y), None, i.shape, i.dtype)
                return changed(i, np.negative, (both,), {})
        return i

    def total(i: Instruction) -> Any:
        x, y = i.args
        plus = i.function is np.add
        if inner(y, np.negative):
            return changed(i, np.subtract if plus else np.add, (x, y.args[0]), {})
        if plus and inner(x, np.negative):
            return changed(i, np.subtract, (y, x.args[0]), {})
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


def times(i: Instruction, c: Any, x: Any) -> Instruction:
    """c x, for what `i` makes."""
    return changed(i, np.multiply, (np.array(c, i.dtype), x), {})
