"""Passes that change no number: what is computed is what was written, in the same order of
arithmetic, without what NumPy would do for nothing.
"""

from __future__ import annotations

import math
import operator
from collections import Counter
from typing import Any

import numpy as np

from tensorgrad.compiler.passes.rewrite import changed, is_array, keyed, rewritten, shape_of
from tensorgrad.compiler.program import (
    IMPURE,
    UFUNCS,
    Instruction,
    Program,
    converted,
    is_elementwise,
    is_reduction,
    makes_number,
    nbytes,
    users_of,
)
from tensorgrad.compiler.tracer import gaps_in, strided

SMALL = 1 << 12
"""The bytes up to which a constant is kept, instead of being made anew at each call."""
POWERS = {2: np.square, 0.5: np.sqrt, -1: np.reciprocal}
"""What NumPy calls for an array to one of these."""
OPERATORS = frozenset({*UFUNCS, operator.pow, np.reciprocal})
QUICK = np.dtype(np.float32), np.dtype(np.float64)


def ufuncs(program: Program) -> Program:
    """An operator between arrays with axes is the ufunc that it calls."""

    def rule(i: Instruction) -> Any:
        ufunc = UFUNCS.get(i.function) if i.shape else None
        if i.function is operator.pow and is_array(i.args[0]) and i.args[0].dtype.kind == "f":
            ufunc = POWERS.get(i.args[1]) if type(i.args[1]) in (int, float) else None
            i = i if ufunc is None else changed(i, ufunc, i.args[:1], i.kwargs)
        elif ufunc is not None:
            i.function = ufunc
        if i.function is np.reciprocal and i.shape and not i.kwargs and i.dtype in QUICK:
            return changed(i, np.divide, (np.array(1, i.dtype), i.args[0]), {})  # half the time
        return i

    return rewritten(program, rule, OPERATORS)


REDUCTIONS = {
    np.sum: np.add.reduce,
    np.prod: np.multiply.reduce,
    np.max: np.maximum.reduce,
    np.min: np.minimum.reduce,
}
"""What these functions call, 2 µs later."""
LIKE = {np.zeros_like: np.zeros, np.ones_like: np.ones, np.empty_like: np.empty}
SHAPED = frozenset({np.expand_dims, np.squeeze, np.ravel})


def shapes(program: Program) -> Program:
    """Arrays that are made in a shape, or seen in another one, are so by the functions that do
    least: `zeros_like` is `zeros`, and `ravel` is `reshape`. `broadcast_to` is left out where an
    operation broadcasts anyway, and follows one that needs no more than what was broadcast.

    An exact program keeps what NumPy would lay otherwise in memory: `ravel` copies what has gaps,
    and so may the first of two reshapes; and what is broadcast decides no order of axes."""
    spread = any(i.function is np.broadcast_to for i in program.body)
    users = users_of(program) if spread else {}
    outputs = {x for x in program.outputs if isinstance(x, Instruction)}

    def rule(i: Instruction) -> Any:
        x: Any
        if i.function in LIKE and not i.order:
            return changed(i, LIKE[i.function], (i.shape, i.dtype), {})
        if i.function is np.ravel and program.exact:
            return i
        if i.function in SHAPED and "order" not in i.kwargs:
            return changed(i, np.reshape, (i.args[0], i.shape), {})
        if is_transpose(i):
            x = i.args[0]
            twice = x.function is np.transpose and len(x.args) == 1 and not x.kwargs
            return x.args[0] if twice else changed(i, np.transpose, (x,), {})
        if i.function is np.reshape and not i.kwargs and is_array(i.args[0]):
            x = i.args[0]
            if program.exact:
                return changed(i, np.reshape, (x, i.shape), {})
            x = x.args[0] if x.function is np.reshape and not x.kwargs else x
            same = is_array(x) and (x.shape, x.dtype) == (i.shape, i.dtype)
            return x if same else changed(i, np.reshape, (x, i.shape), {})
        if not spread or (not is_elementwise(i) and i.function is not np.where):
            return i
        narrow = [source(x) for x in i.args]
        if all(x is y for x, y in zip(narrow, i.args)):
            return i
        shape = np.broadcast_shapes(*map(shape_of, narrow))
        if shape == i.shape:
            return changed(i, i.function, tuple(narrow), i.kwargs)
        if program.exact or i in outputs or not all(map(is_elementwise, users.get(i, ()))):
            return i
        small = Instruction(i.function, tuple(narrow), i.kwargs, shape, i.dtype, "", i.scope)
        return changed(i, np.broadcast_to, (small, i.shape), {})

    return rewritten(program, rule)


def is_transpose(i: Instruction) -> bool:
    """Whether it turns a matrix."""
    if len(i.shape or ()) != 2 or not i.args or not is_array(i.args[0]):
        return False
    if i.function is np.swapaxes and len(i.args) == 3:
        a, b = i.args[1:]
        return type(a) is type(b) is int and a % 2 != b % 2
    if i.function is np.transpose:
        axes = i.kwargs.get("axes", i.args[1] if len(i.args) > 1 else None)
        return axes is None or [axis % 2 for axis in axes] == [1, 0]
    return i.function is np.matrix_transpose


def source(x: Any) -> Any:
    """What was broadcast, if that is all that was done."""
    if not isinstance(x, Instruction) or x.function is not np.broadcast_to:
        return x
    narrow = x.args[0]
    known = isinstance(narrow, (Instruction, np.ndarray, np.generic))
    return narrow if known and not isinstance(getattr(narrow, "dtype", None), type) else x


def reductions(program: Program) -> Program:
    """A sum is asked of `np.add`, and a mean is a sum through the number of what is added."""

    def rule(i: Instruction) -> Any:
        if i.function is np.mean and is_array(i.args[0]) and i.dtype == i.args[0].dtype:
            return mean(i)
        reduce = REDUCTIONS.get(i.function) if len(i.args) == 1 else None
        if reduce is None or i.kwargs.keys() - {"axis", "keepdims"}:
            return i
        return changed(i, reduce, i.args, {"axis": None, **i.kwargs})

    return rewritten(program, rule, {np.mean, *REDUCTIONS})


def mean(i: Instruction) -> Instruction:
    """A mean as NumPy computes it; where the number is exact in its dtype."""
    x, plain = i.args[0], len(i.args) == 1 and not i.kwargs.keys() - {"axis", "keepdims"}
    n = math.prod(x.shape) // max(1, math.prod(i.shape or ()))
    if not plain or i.dtype not in (np.float32, np.float64) or not 0 < n < 1 << 24:
        return i
    total = changed(i, np.add.reduce, i.args, {"axis": None, **i.kwargs})
    total.name = ""
    return changed(i, np.true_divide if i.shape else operator.truediv, (total, float(n)), {})


FILLED = {np.zeros: 0, np.zeros_like: 0, np.ones: 1, np.ones_like: 1}
"""What is all that these make."""
ALIKE = frozenset(
    {
        *(np.add, np.subtract, np.multiply, np.divide, np.maximum, np.minimum),
        *(np.greater, np.greater_equal, np.less, np.less_equal, np.equal, np.not_equal),
    }
)
"""Functions that compute in the dtype of an array that meets a Python number."""


def numbers(program: Program) -> Program:
    """A Python number that meets an array is an array of its dtype: 0.3 µs less at each call."""

    def number(x: Any, y: Any, i: Instruction) -> Any:
        """x, or the number that it is full of, if y alone has the shape and dtype of the result."""
        if not isinstance(x, Instruction) or x.function not in FILLED or not is_array(y):
            return x
        alone = y.shape == i.shape and np.result_type(x.dtype, y.dtype) == y.dtype
        return FILLED[x.function] if alone else x

    def rule(i: Instruction) -> Any:
        if not (i.shape and i.function in ALIKE and len(i.args) == 2):
            return i
        x, y = i.args
        if is_array(x) and is_array(y) and FILLED.keys().isdisjoint((x.function, y.function)):
            return i
        x, y = number(x, y, i), number(y, x, i)
        array = x if isinstance(x, Instruction) else y
        if not is_array(array) or np.dtype(array.dtype).kind not in "fc":
            return i
        kinds = (int, float)
        args = [np.array(p, array.dtype) if type(p) in kinds else even(p, i) for p in (x, y)]
        same = args[0] is i.args[0] and args[1] is i.args[1]
        return i if same else changed(i, i.function, tuple(args), i.kwargs)

    return rewritten(program, rule, ALIKE)


def even(x: Any, i: Instruction) -> Any:
    """A number as an array; so is the one that a constant is full of, where `i` broadcasts it."""
    if isinstance(x, np.generic):
        return np.array(x)
    flat = isinstance(x, np.ndarray) and x.size and not any(x.strides)
    others = [shape_of(y) for y in i.args if y is not x]
    return np.array(x[(0,) * x.ndim]) if flat and np.broadcast_shapes(*others) == i.shape else x


def constants(program: Program) -> Program:
    """What depends on no input is computed now, if it is small; and the same numbers are the same
    array, lest what is made with them be made twice, such as the mean of a layer norm, a product
    with ones, forward and backward."""
    made: dict[Any, Any] = {}

    def rule(i: Instruction) -> Any:
        if i.operands or i.function in IMPURE or i.shape is None or i.function is None:
            return i
        if nbytes(i) > SMALL:
            return i
        with np.errstate(all="ignore"):
            x = i.function(*i.args, **i.kwargs)
        if type(x) is not np.ndarray or x.dtype.hasobject:
            return x
        return made.setdefault((x.dtype, x.shape, x.strides, x.tobytes()), x)

    return rewritten(program, rule)


def common_subexpressions(program: Program) -> Program:
    """What was computed before is not computed again, also where a reduced axis stays; and
    conversions to the same dtype, which copy, are not made.

    In an exact program they are where NumPy would add or round otherwise: a copy has no gaps in
    memory, and x @ x.T is made in another way than a product of two copies of x."""
    first: dict[Any, Instruction] = {}
    uses = Counter(x for i in program.body for x in i.operands) if program.exact else Counter()

    def rule(i: Instruction) -> Any:
        plain = i.function is converted and (i.shape or makes_number(i.args[0]))
        source = i.args[0] if plain else None
        if isinstance(source, Instruction) and (source.shape, source.dtype) == (i.shape, i.dtype):
            alone = uses[source] == 1 and source not in program.gaps
            if program.exact and not (alone and not gaps_in(strided(source))):
                return i
            uses[source] += uses[i] - 1
            return source
        if i.function in IMPURE:
            return i
        kwargs = i.kwargs
        if "keepdims" in kwargs and is_reduction(i.function):
            kwargs = {name: x for name, x in kwargs.items() if name != "keepdims"}
        found = first.setdefault((i.function, keyed(i.args), keyed(kwargs)), i)
        if found.shape == i.shape:
            return found
        return changed(i, np.reshape, (found, i.shape), {}) if found.shape and i.shape else i

    return rewritten(program, rule)


def masks(program: Program) -> Program:
    """Where x > 0 is where max(x, 0) > 0, which need not keep x."""
    positive: dict[Instruction, Instruction] = {}

    def rule(i: Instruction) -> Any:
        x = i.args[0] if i.function in (np.maximum, np.greater) and is_zero(i.args[1]) else None
        if not isinstance(x, Instruction):
            return i
        if i.function is np.maximum and (x.shape, x.dtype) == (i.shape, i.dtype):
            positive.setdefault(x, i)
        elif i.function is np.greater and x in positive:
            return changed(i, np.greater, (positive[x], *i.args[1:]), i.kwargs)
        return i

    return rewritten(program, rule, {np.maximum, np.greater})


def is_zero(x: Any) -> bool:
    known = isinstance(x, (int, float, np.generic, np.ndarray))
    return known and not np.ndim(x) and x == 0


def dead_code(program: Program) -> Program:
    """What nobody needs is left out."""
    needed = {x for x in (*program.outputs, *program.guards) if isinstance(x, Instruction)}
    body = []
    for i in reversed(program.body):
        if i in needed or i.function in IMPURE:
            body.append(i)
            needed.update(i.operands)
    return program.with_body(body[::-1], {})
