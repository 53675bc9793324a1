"""Passes for products of matrices, which BLAS adds up in another order: what is a product with
something else around it becomes one call.
"""

from __future__ import annotations

import math
import operator
from typing import Any

import numpy as np

from tensorgrad.compiler.passes.rewrite import changed, keyed, rewritten, shape_of, uses
from tensorgrad.compiler.program import (
    Instruction,
    Program,
    is_elementwise,
    is_reduction,
    plus_product,
)

REAL = np.dtype(np.float32), np.dtype(np.float64)
"""What BLAS computes with, and no gradient is of complex numbers."""


def is_matrix(x: Any) -> bool:
    return isinstance(x, Instruction) and len(x.shape or ()) == 2 and x.dtype in REAL


def is_real_number(x: Any) -> bool:
    """Whether it is a real number, or will be one."""
    dtype = x.dtype if isinstance(x, Instruction) else np.result_type(x)
    return not shape_of(x) and np.dtype(dtype).kind in "fiu"


def scaled(x: Any) -> tuple[Any, Any]:
    """A number and an array whose product it is; None if it is no such product."""
    if isinstance(x, Instruction) and x.function is np.multiply:
        for s, y in (x.args, x.args[::-1]):
            if (
                is_real_number(s)
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


def accumulation(program: Program) -> Program:
    """c + a (x y) is one call, where nobody needs the product x y itself: p - lr xᵀd, or a velocity
    that gains a gradient. What was to be finite of the product is asked of x and y, if they are
    not so large that to look at them takes longer than what is left out.
    """
    read, checks = uses(program), dict.fromkeys(program.checks)
    factors = dict.fromkeys(program.factors)

    def once(x: Any) -> bool:
        return isinstance(x, Instruction) and read[x] == 1

    def rule(i: Instruction) -> Any:
        if i.function not in (np.add, np.subtract) or not is_matrix(i) or not size(i):
            return i
        minus = i.function is np.subtract
        for c, term in [i.args] if minus else [i.args, i.args[::-1]]:
            s, g = scaled(term) if once(term) else (None, term)
            if not (once(g) and g.function is np.matmul and all(map(is_matrix, (c, *g.args)))):
                continue
            if 0 in c.shape + g.args[0].shape:  # BLAS refuses to step by 0
                continue
            if not (c.shape == g.shape and {x.dtype for x in (c, g, *g.args)} == {i.dtype}):
                continue
            beta, whole = scaled(c) if once(c) else (None, c)
            (x, x_turned), (y, y_turned) = map(straight, g.args)
            if g in checks:
                new = sum(size(z) for z in {x, y} if z not in factors)
                if new > max(CHEAP, DEAR * size(g)):
                    continue
                del checks[g]
                factors.update({x: None, y: None})
            turned = {"x_turned": True} if x_turned else {}
            turned |= {"y_turned": True} if y_turned else {}
            alpha = 1 if s is None else s
            args = whole, negated(alpha) if minus else alpha, x, y
            return changed(i, plus_product, (*args, beta) if beta is not None else args, turned)
        return i

    program = rewritten(program, rule, {np.add, np.subtract})
    program.checks, program.factors = [*checks], [*factors]
    return program


DEAR, CHEAP = 3, 1 << 14
"""How often a gradient is gone through if it is made: to scale, to add, to see that it is finite;
and how many entries are looked at in the time of a call."""


def size(x: Any) -> int:
    return math.prod(x.shape)


def negated(s: Any) -> Any:
    if isinstance(s, Instruction):
        return Instruction(operator.neg, (s,), None, (), s.dtype)
    return np.array(-s) if isinstance(s, np.ndarray) else -s


def sums(program: Program) -> Program:
    """The sum of a matrix's rows, as of a bias's gradient, is its product with ones, or with a
    number where it is multiplied by one; and so is the sum of the entries of each of short rows."""
    read, checks = uses(program), dict.fromkeys(program.checks)
    found: dict[Instruction, Instruction] = {}
    known: dict[Any, Any] = {}
    for i in program.body:
        s, total = scaled(i)
        if s is not None and total in found and read[total] == 1 and len(total.shape) == 1:
            if total in checks:
                del checks[total]
                if total.args[0] not in program.factors:
                    checks[i] = None
        elif is_sum(i):
            s, total = 1, i
        else:
            continue
        (d,), axis = total.args, axis_of(total)
        n, rest = d.shape if axis == 0 else d.shape[::-1]
        made: Any = np.ones(n, d.dtype)
        if s != 1:
            made = Instruction(np.full, ((n,), s), {"dtype": d.dtype}, (n,), d.dtype)
        weights = known.setdefault((keyed(s), d.dtype, n), made)
        args = (weights, d) if axis == 0 else (d, weights)
        product = Instruction(np.dot, args, None, (rest,), d.dtype, i.name, i.scope)
        flat = i.shape == product.shape
        found[i] = product if flat else changed(i, np.reshape, (product, i.shape), {})
    factors = program.factors
    program = rewritten(program, lambda i: found.get(i, i))
    program.checks, program.factors = [*checks], factors
    return program


SHORT = 64
"""Entries of a row that are added quickly as a product: NumPy starts a loop for each row."""


def is_sum(i: Instruction) -> bool:
    """Whether it adds up the rows of a matrix, or the entries of each of short ones."""
    if not (is_reduction(i.function) and i.function == np.add.reduce and is_matrix(i.args[0])):
        return False
    plain = len(i.args) == 1 and not i.kwargs.keys() - {"axis", "keepdims"} and i.shape != ()
    axis = axis_of(i) if plain and i.dtype == i.args[0].dtype else None
    return axis == 0 or (axis == 1 and i.args[0].shape[1] <= SHORT)


def axis_of(i: Instruction) -> int | None:
    """The one axis that is added up, of two."""
    axis = i.kwargs.get("axis", 0)
    axis = axis[0] if type(axis) is tuple and len(axis) == 1 else axis
    return axis % 2 if type(axis) is int else None


def inner_products(program: Program) -> Program:
    """The sum of all entries of x y is one call of BLAS, and so is each of sums of several such
    products: that of 100 x² + y² is 100 x·x + y·y."""
    read = uses(program)
    read.update(program.guards)

    def terms(x: Any, c: float = 1.0) -> list[tuple[float, Any, Any]]:
        """Numbers c, and arrays x and y, whose c x y add up to this; none if it is no such sum."""
        if not isinstance(x, Instruction) or read[x] > 1 or x.kwargs or x.dtype not in REAL:
            return []
        if any(getattr(y, "shape", ()) not in ((), x.shape) for y in x.args):
            return []
        if x.function is np.add:
            first, second = (terms(y, c) for y in x.args)
            return first + second if first and second else []
        if x.function is np.square:
            return [(c, *x.args, *x.args)]
        s, y = scaled(x)
        if isinstance(s, np.ndarray):
            return terms(y, c * float(s))
        factors = all(isinstance(y, Instruction) and y.shape == x.shape for y in x.args)
        return [(c, *x.args)] if factors and x.function is np.multiply else []

    def rule(i: Instruction) -> Any:
        whole = i.function == np.add.reduce and not i.shape and len(i.args) == 1
        found = terms(i.args[0]) if whole and i.dtype == i.args[0].dtype else []
        total: Any = None
        for c, x, y in found:
            one = Instruction(np.vdot, (x, y), None, (), i.dtype)
            one = one if c == 1 else Instruction(operator.mul, (c, one), None, (), i.dtype)
            both = (total, one)
            total = one if total is None else Instruction(operator.add, both, None, (), i.dtype)
        return changed(i, total.function, total.args, {}) if found else i

    return rewritten(program, rule, {np.add.reduce})


def layouts(program: Program) -> Program:
    """A product that meets matrices which lie in memory by columns is made to lie so too, as
    (x y)ᵀ = yᵀ xᵀ: what runs along both takes half the time. Not where its transpose is then
    multiplied by what lies by columns: BLAS is a third slower with rows times rows."""
    slow: set[Instruction] = set()
    for i in program.body:
        factors = i.args[2:4] if i.function is plus_product else i.args
        plain = i.function in (np.matmul, plus_product) and not i.kwargs.get("y_turned")
        if plain and getattr(factors[1], "order", ()) == (1, 0):
            slow.update(x for x in straight(factors[0])[:1] if isinstance(x, Instruction))
    meets: dict[Instruction, bool] = {}  # whether all that it meets lie by columns
    for user in program.body:
        if is_along(user):
            for i in user.operands:
                others = [x for x in user.operands if x is not i and x.shape == i.shape]
                if others:
                    fits = user not in slow and all(x.order == (1, 0) for x in others)
                    meets[i] = meets.get(i, True) and fits

    def rule(i: Instruction) -> Any:
        if is_along(i):
            whole = [x for x in i.operands if x.shape == i.shape]
            i.order = (1, 0) if whole and all(x.order == (1, 0) for x in whole) else i.order
        if not (meets.get(i) and i.function is np.matmul and not (i.kwargs or i.order)):
            return i
        if not all(map(is_matrix, (i, *i.args))):
            return i
        y, x = (
            Instruction(np.transpose, (z,), None, z.shape[::-1], z.dtype, "", i.scope)
            for z in i.args[::-1]
        )
        shape, name = i.shape[::-1], i.name and f"{i.name}.T"  # type: ignore[index]
        product = Instruction(np.matmul, (y, x), None, shape, i.dtype, name, i.scope)
        turned = changed(i, np.transpose, (product,), {})
        turned.order = (1, 0)
        return turned

    return rewritten(program, rule)


def is_along(i: Instruction) -> bool:
    """Whether it runs along its operands, entry by entry."""
    return len(i.shape or ()) == 2 and (is_elementwise(i) or i.function is np.where)


def dots(program: Program) -> Program:
    """A product of two matrices is asked of `np.dot`, which calls BLAS 0.4 µs earlier."""

    def rule(i: Instruction) -> Any:
        plain = i.function is np.matmul and not i.kwargs and not i.order and is_matrix(i)
        return changed(i, np.dot, i.args, {}) if plain and all(map(is_matrix, i.args)) else i

    return rewritten(program, rule, {np.matmul})
