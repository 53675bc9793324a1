"""Passes for products of matrices, which BLAS adds up in another order: what is a product with
something else around it becomes one call.
"""

from __future__ import annotations

import operator
from collections import Counter
from typing import Any

import numpy as np

from tensorgrad.compiler.passes.rewrite import changed, keyed, rewritten, shape_of
from tensorgrad.compiler.program import Instruction, Program, is_reduction, plus_product

REAL = np.dtype(np.float32), np.dtype(np.float64)
"""What BLAS computes with, and no gradient is of complex numbers."""


def is_matrix(x: Any) -> bool:
    return isinstance(x, Instruction) and len(x.shape or ()) == 2 and x.dtype in REAL


def is_number(x: Any) -> bool:
    """Whether it is a real number, or will be one."""
    dtype = x.dtype if isinstance(x, Instruction) else np.result_type(x)
    return not shape_of(x) and np.dtype(dtype).kind in "fiu"


def uses(program: Program) -> Counter[Instruction]:
    """How often each instruction is read, or returned."""
    read = Counter(x for i in program.body for x in i.operands)
    read.update(x for x in program.outputs if isinstance(x, Instruction))
    return read


def scaled(x: Any) -> tuple[Any, Any]:
    """A number and an array whose product it is; None if it is no such product."""
    if isinstance(x, Instruction) and x.function is np.multiply:
        for s, y in (x.args, x.args[::-1]):
            if (
                is_number(s)
                and isinstance(y, Instruction)
                and (y.shape, y.dtype) == (x.shape, x.dtype)
            ):
                return s, y
    return None, x


def straight(x: Any) -> tuple[Any, bool]:
    """A matrix that is no transpose, and whether x is its transpose."""
    turned = False
    while isinstance(x, Instruction) and x.function is np.transpose and len(x.args) == 1:
        x, turned = x.args[0], not turned
    return x, turned


def unchecked(program: Program, found: dict[Instruction, Any]) -> Program:
    """The program, whose checks of what is not made any more are checks of what it is made of."""
    checks = [x for x in program.checks if x not in found]
    factors = [straight(y)[0] for x in program.checks if x in found for y in found[x]]
    factors = [*dict.fromkeys((*program.factors, *factors))]
    return Program(program.inputs, program.body, program.outputs, checks, factors)


def accumulation(program: Program) -> Program:
    """c + a (x y) is one call, where nobody needs the product x y itself: p - lr xᵀd, or a velocity
    that gains a gradient. What was to be finite of the product is asked of x and y.
    """
    read = uses(program)
    gone: dict[Instruction, Any] = {}

    def once(x: Any) -> bool:
        return isinstance(x, Instruction) and read[x] == 1

    def rule(i: Instruction) -> Any:
        if i.function not in (np.add, np.subtract) or not is_matrix(i):
            return i
        minus = i.function is np.subtract
        for c, term in [i.args] if minus else [i.args, i.args[::-1]]:
            s, g = scaled(term) if once(term) else (None, term)
            if not (once(g) and g.function is np.matmul and all(map(is_matrix, (c, *g.args)))):
                continue
            if not (c.shape == g.shape and c.dtype == g.dtype == i.dtype):
                continue
            gone[g] = g.args
            beta, whole = scaled(c) if once(c) else (None, c)
            if beta is not None and (isinstance(beta, Instruction) or not beta):
                beta, whole = None, c  # BLAS forgets what it multiplies by 0, NaN included
            (x, x_turned), (y, y_turned) = map(straight, g.args)
            turned = {"x_turned": True} if x_turned else {}
            turned |= {"y_turned": True} if y_turned else {}
            alpha = 1 if s is None else s
            args = whole, negated(alpha) if minus else alpha, x, y
            return changed(i, plus_product, (*args, beta) if beta is not None else args, turned)
        return i

    return unchecked(rewritten(program, rule), gone)


def negated(s: Any) -> Any:
    return Instruction(operator.neg, (s,), None, (), s.dtype) if isinstance(s, Instruction) else -s


def sums(program: Program) -> Program:
    """The sum of a matrix's rows, as of a bias's gradient, is its product with ones; with a number
    where it is multiplied by one."""
    read = uses(program)
    found: dict[Instruction, Instruction] = {}
    gone: dict[Instruction, Any] = {}
    known: dict[Any, Any] = {}
    for i in program.body:
        s, total = scaled(i)
        by_number = s is not None and total in found and read[total] == 1
        if not by_number and not is_sum(i):
            continue
        d = found[total].args[1] if by_number else i.args[0]
        weights: Any = np.ones(d.shape[0], d.dtype)
        weights = known.setdefault((d.dtype, d.shape[0]), weights)
        if by_number:
            gone[total] = (d,)
            made = Instruction(np.multiply, (s, weights), None, weights.shape, weights.dtype)
            weights = known.setdefault((keyed(s), d.dtype, d.shape[0]), made)
        found[i] = changed(i, np.dot, (weights, d), {})
    return unchecked(rewritten(program, lambda i: found.get(i, i)), gone)


def is_sum(i: Instruction) -> bool:
    """Whether it adds up the rows of a matrix, and not the entries of each."""
    one = is_reduction(i.function) and i.function == np.add.reduce and is_matrix(i.args[0])
    plain = one and len(i.args) == 1 and not i.kwargs.keys() - {"axis"} and len(i.shape or ()) == 1
    return plain and i.dtype == i.args[0].dtype and i.kwargs.get("axis", 0) in (0, -2, (0,), (-2,))


def dots(program: Program) -> Program:
    """A product of two matrices is asked of `np.dot`, which calls BLAS 0.4 µs earlier."""

    def rule(i: Instruction) -> Any:
        plain = i.function is np.matmul and not i.kwargs and not i.order and is_matrix(i)
        return changed(i, np.dot, i.args, {}) if plain and all(map(is_matrix, i.args)) else i

    return rewritten(program, rule)
