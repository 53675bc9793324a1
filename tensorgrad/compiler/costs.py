"""What an instruction costs: floating-point operations, and bytes read and written."""

from __future__ import annotations

import math
import operator

import numpy as np

from tensorgrad.compiler.passes.rewrite import shape_of
from tensorgrad.compiler.program import (
    Composite,
    Instruction,
    Program,
    is_reduction,
    plus_product,
    shares,
    sum_of_squares,
    takes,
    with_items,
)
from tensorgrad.nn.summary import MULTIPLY_ADDS


def flops(i: Instruction) -> int:
    """Two for each product that is added up, one for each entry that is computed otherwise, and
    none where entries are only moved."""
    f, args = i.function, i.args
    out = math.prod(i.shape or ())
    if isinstance(f, Composite):
        return f.times * sum(map(flops, f.program.body))
    if f in (np.matmul, operator.matmul, np.dot):
        return 2 * out * (shape_of(args[0]) or (1,))[-1]
    if f is np.vecdot or f is np.vdot:
        return 2 * max(math.prod(shape_of(x)) for x in args[:2])
    if f is sum_of_squares:
        return sum(2 * math.prod(x.shape or ()) for x in i.operands)
    if f is plus_product:
        inner = shape_of(args[2])[0 if i.kwargs.get("x_turned") else 1]
        return 2 * out * inner + 2 * out
    if f is np.einsum and isinstance(args[0], str):
        letters = args[0].partition("->")[0].split(",")
        sizes = {c: n for text, x in zip(letters, args[1:]) for c, n in zip(text, shape_of(x))}
        return max(1, len(args) - 1) * math.prod(sizes.values())
    known = MULTIPLY_ADDS.get(getattr(f, "__name__", ""))
    if known is not None:
        ready = [np.broadcast_to(np.float32(0), shape_of(x)) for x in args]
        return 2 * int(known(np.broadcast_to(np.float32(0), i.shape or ()), *ready))
    if isinstance(f, np.ufunc):
        return out
    if is_reduction(f) or f in (np.sum, np.mean, np.max, np.min, np.prod, np.var, np.std):
        return math.prod(shape_of(args[0]))
    return 0 if moves(i) else out


def moves(i: Instruction) -> bool:
    """Whether it computes nothing."""
    moving = (with_items, np.copy, np.take, np.concatenate, np.stack, np.asarray, np.zeros, np.ones)
    return shares(i) or i.function in moving or i.function is operator.getitem


def bytes_of(i: Instruction) -> int:
    """What it reads and writes; of a view nothing, and what is taken out twice."""
    if takes(i) and isinstance(i.dtype, np.dtype):
        return 2 * math.prod(i.shape or ()) * i.dtype.itemsize
    if shares(i):
        return 0
    arrays = {*i.operands, i}
    sizes = [(math.prod(x.shape or ()), x.dtype) for x in arrays]
    return sum(n * dtype.itemsize for n, dtype in sizes if isinstance(dtype, np.dtype))


def cost_of_check(program: Program) -> tuple[int, int]:
    """Operations and bytes: squares of all that must be finite, added up."""
    looked = dict.fromkeys((*program.checks, *program.factors))
    sizes = [(math.prod(x.shape or ()), np.dtype(x.dtype).itemsize) for x in looked]
    return sum(2 * n for n, _ in sizes), sum(n * size for n, size in sizes)
