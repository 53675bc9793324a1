"""Scalars of float64 are Python's floats while they are computed with.

Sums, products and comparisons of two doubles are settled by IEEE 754, so that Python's floats have
the bits that NumPy's numbers have, in 15 ns instead of 100 to 250: a graph of 65,000 scalars takes
3 ms and not 50. Where Python raises, as for 1 / 0, it does not here; what it computes by functions
of its own, such as tanh, NumPy computes.
"""

from __future__ import annotations

import math
import operator
from typing import Any

import numpy as np

from tensorgrad.compiler.program import (
    UFUNCS,
    Instruction,
    Program,
    chosen,
    converted,
    divided,
    item,
    makes_number,
    power,
    replaced,
    root,
)

MANY = 16
"""How many operations are worth it: what is given and what comes out is converted, 50 ns each."""
DOUBLE, BOOL = np.dtype(np.float64), np.dtype(bool)
COMPARISONS = operator.gt, operator.ge, operator.lt, operator.le, operator.eq, operator.ne
FUNCTIONS: dict[Any, Any] = {
    **{f: f for f in (operator.add, operator.sub, operator.mul, operator.neg, *COMPARISONS)},
    **{operator.abs: abs, operator.truediv: divided},
}
FUNCTIONS |= {UFUNCS[f]: new for f, new in FUNCTIONS.items()}
FUNCTIONS |= {np.square: operator.mul, np.sqrt: root, operator.pow: power, np.where: chosen}
"""What Python calls instead."""
EXTREMES = {np.maximum: (operator.lt, operator.le), np.minimum: (operator.gt, operator.ge)}
"""Of a number and a constant; when it is the constant, without and with being equal."""


def floats(program: Program) -> Program:
    """Scalars of float64 are computed by Python, where they are many."""
    pythons = {i for i in program.body if is_pythons(i)}
    if len(pythons) < MANY:
        return program
    made: dict[Instruction, Any] = {}  # what a scalar is as Python's
    again: dict[Instruction, Instruction] = {}  # and as NumPy's
    body: list[Instruction] = []

    def add(function: Any, args: Any, dtype: Any, like: Instruction | None = None) -> Instruction:
        name, scope = (like.name, like.scope) if like else ("", None)
        body.append(Instruction(function, args, None, (), dtype, name, scope))
        return body[-1]

    def number(x: Any) -> Any:
        if not isinstance(x, Instruction):
            return float(x)
        if isinstance(x.dtype, type):
            return x
        if x not in made:
            made[x] = add(item, (x,), python(x.dtype))
        return made[x]

    def numpys(x: Instruction) -> Instruction:
        if x not in again:
            array = np.asarray if x.function is np.where else np.dtype(x.dtype).type
            again[x] = add(array, (made[x],), x.dtype)
        return again[x]

    for i in program.body:
        if i not in pythons:
            if not pythons.isdisjoint(i.operands):
                now = {x: numpys(x) for x in i.operands if x in pythons}
                i.call(i.function, *replaced((i.args, i.kwargs), now))
            body.append(i)
            continue
        f, args = i.function, tuple(map(number, i.args[:1] if i.function is converted else i.args))
        if f is converted:
            is_bool = getattr(args[0], "dtype", float) is bool
            made[i] = add(float, args, float, i) if is_bool else args[0]
        elif f in EXTREMES:
            made[i] = extreme(f, args, i, add)
        else:
            args = args * 2 if f is np.square else args
            made[i] = add(FUNCTIONS[f], args, python(i.dtype), i)
    for x in program.outputs:
        if isinstance(x, Instruction) and x in pythons:
            numpys(x)
    checks, factors = ([made.get(x, x) for x in xs] for xs in (program.checks, program.factors))
    program = program.with_body(body, again)
    program.checks, program.factors = checks, factors
    return program


def python(dtype: Any) -> type:
    return bool if dtype == BOOL else float


def is_pythons(i: Instruction) -> bool:
    """Whether Python's floats, and their comparisons, are the same to the last bit."""
    if i.shape != () or isinstance(i.dtype, type) or i.dtype not in (DOUBLE, BOOL) or i.kwargs:
        return False
    f, args = i.function, i.args
    if f is np.where:
        return len(args) == 3 and is_mask(args[0]) and all(map(is_double, args[1:]))
    if f is converted:
        return i.dtype == DOUBLE and (is_double(args[0]) or is_mask(args[0]))
    if f in EXTREMES:
        number, constant = args if isinstance(args[0], Instruction) else args[::-1]
        plain = isinstance(number, Instruction) and not isinstance(constant, Instruction)
        return plain and is_double(number) and is_double(constant) and constant == constant
    if f is operator.pow and not (type(args[1]) is int and makes_number(args[0])):
        return False  # NumPy has another power for arrays
    times = f is operator.mul  # by a mask
    known = f in FUNCTIONS and all(is_double(x) or (times and is_mask(x)) for x in args)
    return known and any(isinstance(x, Instruction) and isinstance(x.dtype, np.dtype) for x in args)


def is_double(x: Any) -> bool:
    """Whether an argument is a number that is a double in Python, or for whom it meets."""
    if isinstance(x, Instruction):
        return x.shape == () and (x.dtype is float or x.dtype == DOUBLE)
    return type(x) in (float, np.float64) or (type(x) is int and abs(x) <= 1 << 53)


def is_mask(x: Any) -> bool:
    return isinstance(x, Instruction) and x.shape == () and x.dtype in (BOOL, bool)


def extreme(function: Any, args: Any, i: Instruction, add: Any) -> Instruction:
    """The larger or smaller one of a number and a constant; NaN if the number is. Of 0.0 and -0.0
    it is the one that NumPy takes."""
    x, constant = args if isinstance(args[0], Instruction) else args[::-1]
    signs = [-constant if isinstance(y, Instruction) else constant for y in args]
    sign = math.copysign(1, function(*map(np.float64, signs)))
    taken = constant == 0 and sign == math.copysign(1, constant)
    comparison = EXTREMES[function][taken]
    mask = add(comparison, (x, constant), bool)
    made: Instruction = add(chosen, (mask, constant, x), float, i)
    return made
