"""What the sweep does to a cotangent that a rule returned, so that rules need not.

A rule may return what broadcasts from or to its operand's shape, another dtype, a complex number
for a real operand, and 0 · ∞ where a branch was masked out.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np
from numpy import ndarray

from tensorgrad.engine.batching import anywhere, elementwise, levels_of
from tensorgrad.engine.levels import leave
from tensorgrad.engine.node import Array, Handle, Node, hold, leaf, recording
from tensorgrad.engine.rules import Rule
from tensorgrad.ops.constant import data_of

GOLDEN = (5**0.5 - 1) / 2  # its multiples, modulo 1, spread evenly


def unless_masked_out(c: Array, args: tuple[Array, ...], rule: Rule, node: Node) -> Array:
    """`c`, but 0 where no cotangent arrives, even if the slope there is infinite or NaN.

    `np.where(x > 0, x * np.log(x), 0)` asks nothing of the branch that it does not choose; the
    product rule would answer 0 times infinity.
    """
    bad, g = ~np.isfinite(c), args[0]
    if not anywhere(bad):
        return c
    assert node.op is not None
    if node.op.batch is elementwise:
        return np.where(bad & (g == 0), 0, c)
    # A rule is linear in g. With harmless operands and 1 for every g that is not 0, it answers 0
    # just where no cotangent arrives.
    with recording(None):
        probe = rule((g != 0) * harmless(g), *map(harmless, args[1:]), **node.params)
    return np.where(bad & (probe == 0), 0, c)


def harmless(x: Array) -> Array:
    """Numbers between 1 and 2, no two alike, in place of floats."""
    data = data_of(x)
    if getattr(data, "dtype", np.dtype(int)).kind not in "fc":
        return x
    size = math.prod(data.shape)
    numbers = np.reshape(1 + np.arange(1, size + 1) * GOLDEN % 1, data.shape).astype(data.dtype)
    return hold(leaf(numbers[()])) if isinstance(x, Handle) else numbers[()]


def over_examples(c: Array, x: Array, node: Node, outputs: Iterable[Node]) -> Array:
    """`c`, summed over the examples that a vmap broadcast operand `x` of `node` over.

    Not over those that an output still has: it is one output, and this one sweep, for each example.
    """
    kept = levels_of(x, *(output.data for output in outputs))
    for level in levels_of(node.data):
        if level in levels_of(data_of(c)) and level not in kept:
            c = np.sum(leave(c, level=level), axis=0)
    return c


def repair(c: Array, x: Array, node: Node, rule: Rule) -> Array:
    """Give what `rule` returned for operand `x` of `node` the shape and dtype of `x`.

    Sums over axes that the forward broadcast, broadcasts over axes that it summed.
    """
    returned = c
    if not hasattr(c, "dtype"):
        if not isinstance(c, (int, float, complex)):
            raise misfit(returned, x, node, rule)
        c = np.asarray(c)[()]
    if isinstance(c, ndarray):
        c = np.asarray(c)  # no matrix, whose sums stay matrices
    if c.dtype.kind not in "biufc":
        raise misfit(returned, x, node, rule)
    if c.dtype.kind == "c" and x.dtype.kind != "c":
        c = np.real(c)  # a real operand cannot move into the imaginary direction
    while c.ndim > x.ndim:
        c = c.sum(axis=0)
    if c.shape == x.shape:
        return c if c.dtype == x.dtype else c.astype(x.dtype)
    sizes = zip(c.shape, x.shape[x.ndim - c.ndim :])
    stretched = tuple(axis for axis, (n, m) in enumerate(sizes) if m == 1 != n)
    if stretched:
        c = c.sum(axis=stretched, keepdims=True)
    try:
        return repair(np.broadcast_to(c, x.shape), x, node, rule)  # rounded after it was summed
    except ValueError:
        raise misfit(returned, x, node, rule) from None


def misfit(c: Array, x: Array, node: Node, rule: Rule) -> Exception:
    """What to say of a rule that returned something that is no cotangent of its operand."""
    is_array = hasattr(c, "dtype")
    what = f"shape {c.shape}, dtype {c.dtype}" if is_array else repr(c)
    code = getattr(rule, "__code__", None)
    where = f" ({code.co_filename}:{code.co_firstlineno})" if code else ""
    return (ValueError if is_array else TypeError)(
        f"a gradient rule of {node.op and node.op.name}{where} returned {what} "
        f"for an operand of shape {x.shape}, dtype {x.dtype}"
    )
