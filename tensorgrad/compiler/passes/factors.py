"""Constant factors and signs, of which rules of gradients leave many: one each is enough."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from tensorgrad.compiler.passes.products import uses
from tensorgrad.compiler.passes.rewrite import changed, is_array, rewritten
from tensorgrad.compiler.program import Instruction, Program

FAR = 2.0**60
"""How large a factor may be, or how small, for a product of two to be far from the ends."""


def factors(program: Program) -> Program:
    """c (d x) is (c d) x, -(c x) is (-c) x, x + -y is x - y, and 1 x is x, where nobody else reads
    what stands in brackets. The products are rounded once less."""
    read = uses(program)

    def inner(x: Any, function: Any) -> bool:
        return is_array(x) and x.function is function and read[x] == 1 and not x.kwargs

    def rule(i: Instruction) -> Any:
        if not is_array(i) or np.dtype(i.dtype).kind != "f" or i.kwargs:
            return i
        if i.function is np.negative and inner(i.args[0], np.multiply):
            c, x = factor(i.args[0])
            return i if c is None else scaled(i, -c, x)
        if i.function is np.multiply:
            return product(i)
        if i.function in (np.add, np.subtract):
            return total(i)
        return i

    def product(i: Instruction) -> Any:
        c, x = factor(i)
        if c is not None:
            if c == 1:
                return x
            if inner(x, np.negative):
                return scaled(i, -c, x.args[0])
            d, y = factor(x) if inner(x, np.multiply) else (None, x)
            return i if d is None else scaled(i, c * d, y)
        for x, y in (i.args, i.args[::-1]):
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

    return rewritten(program, rule)


def factor(i: Instruction) -> tuple[Any, Any]:
    """A number and an array whose product it is; None if it is no such product."""
    for c, x in (i.args, i.args[::-1]):
        number = isinstance(c, (np.ndarray, np.generic)) and not c.ndim and c.dtype == i.dtype
        if number and is_array(x) and (x.shape, x.dtype) == (i.shape, i.dtype):
            plain = 1 / FAR < math.fabs(c) < FAR
            return (c, x) if plain else (None, i)
    return None, i


def scaled(i: Instruction, c: Any, x: Any) -> Instruction:
    return changed(i, np.multiply, (np.array(c, i.dtype), x), {})
