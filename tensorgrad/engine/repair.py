"""What the sweep does to a cotangent that a rule returned, so that rules need not.

A rule may return what broadcasts from or to its operand's shape, another dtype, and a complex
number for a real operand.
"""

from __future__ import annotations

import numpy as np
from numpy import ndarray

from tensorgrad.engine.arrays import created, kind_of, met, sizes, spread
from tensorgrad.engine.dtypes import is_numeric
from tensorgrad.engine.node import Array, Node


def repair(c: Array, node: Node, i: int) -> Array:
    """Give what a rule returned for operand `i` of `node` the shape and dtype of that operand.

    Sums over axes that the forward broadcast, broadcasts over axes that it summed.
    """
    returned, x = c, node.inputs[i]
    if type(c) is ndarray and c.shape[1:] == x.shape and c.dtype == x.dtype:
        return np.add.reduce(c, 0)  # a bias: 1.5 µs where the way below takes 4
    if met:
        x = kind_of(x).entries(x)
    if not hasattr(c, "dtype"):
        if not isinstance(c, (int, float, complex)):
            raise misfit(returned, node, i)
        c = created(np.asarray, c, like=x)[()]
    if issubclass(type(c), ndarray):
        c = np.asarray(c)  # no matrix, whose sums stay matrices
    if not is_numeric(c.dtype):
        raise misfit(returned, node, i)
    if c.dtype.kind == "c" and x.dtype.kind != "c":
        c = np.real(c)  # a real operand cannot move into the imaginary direction
    while c.ndim > x.ndim:
        c = c.sum(axis=0)
    if c.shape == x.shape or (x.size != x.size and sizes(c) == sizes(x)):
        return c if c.dtype == x.dtype else c.astype(x.dtype)
    pairs = zip(c.shape, x.shape[x.ndim - c.ndim :])
    stretched = tuple(axis for axis, (n, m) in enumerate(pairs) if m == 1 != n)
    if stretched:
        c = c.sum(axis=stretched, keepdims=True)
    try:
        return repair(spread(c, x), node, i)  # converted last, after it was summed
    except ValueError:
        raise misfit(returned, node, i) from None


def misfit(c: Array, node: Node, i: int) -> Exception:
    """What to say of a rule that returned something that is no cotangent of its operand."""
    op, x, is_array = node.op, node.inputs[i], hasattr(c, "dtype")
    assert op is not None
    what = f"shape {c.shape}, dtype {c.dtype}" if is_array else repr(c)
    code = getattr(op.rules[i], "__code__", None)
    where = f" ({code.co_filename}:{code.co_firstlineno})" if code else ""
    return (ValueError if is_array else TypeError)(
        f"a gradient rule of {op.name}{where} returned {what} "
        f"for an operand of shape {x.shape}, dtype {x.dtype}"
    )
