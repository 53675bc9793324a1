"""Backpropagation: the algorithm, on one screen.

The chain rule says that a node's cotangent (the derivative of the output by that node) is the sum,
over the nodes that used it, of what their rules return. So walk the graph from the output back,
each node after all of its users: its cotangent is then complete, and is handed on to its operands.
"""

from __future__ import annotations

from collections.abc import Callable
from operator import attrgetter

import numpy as np

from tensorgrad.primitive import Array, Node


def topological_order(output: Node) -> list[Node]:
    """The nodes that require grad and lead to `output`, each after its operands."""
    found, order = {output}, [output]
    for node in order:  # the list grows while we walk it
        for x in node.operands:
            if x is not None and x.requires_grad and x not in found:
                found.add(x)
                order.append(x)
    return sorted(order, key=attrgetter("serial"))  # an operand is older than what uses it


def sweep(
    output: Node, seed: Array, as_value: Callable[[Node], Array] | None = None
) -> dict[Node, Array]:
    """The cotangents of the leaves (and of nodes that retain theirs), given that of `output`.

    The rules see arrays; with `as_value` they see Values, and the sweep is itself recorded.
    """
    cotangents = {output: seed}
    for node in reversed(topological_order(output)):
        if node.op is None:
            continue
        g = cotangents[node] if node.retains_grad else cotangents.pop(node)
        out, inputs, params = node.data, node.inputs, node.params
        if node.origin is not None:
            node.origin.before_rules(node)
        if as_value is not None:
            out = as_value(node)
            inputs = [as_value(x) if x else a for x, a in zip(node.operands, inputs, strict=True)]
        for i, x in enumerate(node.operands):
            if x is None or not x.requires_grad:
                continue
            c = node.op.rules[i](g, out, *inputs, **params)
            data = node.inputs[i]
            if getattr(c, "shape", None) != data.shape or c.dtype != data.dtype:
                c = repair(c, node, i)
            if node.origin is not None:
                node.origin.after_rule(node, i, c)
            if x in cotangents:
                c = cotangents[x] + c
            elif (x.op is None or x.retains_grad) and (c is g or getattr(c, "base", None) is not None):
                c = c.copy()  # `.grad` shares its memory with nothing
            cotangents[x] = c
    return cotangents


def repair(c: Array, node: Node, i: int) -> Array:
    """Give what rule `i` of `node` returned its operand's shape and dtype.

    Sums over axes that the forward broadcast, broadcasts over axes that it summed.
    """
    x = node.inputs[i]
    if isinstance(c, (int, float, complex)):
        c = np.asarray(c)
    if not hasattr(c, "dtype") or c.dtype.kind not in "biufc":
        raise misfit(c, node, i)
    if c.ndim > x.ndim:
        c = c.sum(axis=tuple(range(c.ndim - x.ndim)))
    stretched = tuple(
        a for a, (n, m) in enumerate(zip(c.shape, x.shape[x.ndim - c.ndim :])) if m == 1 != n
    )
    if stretched:
        c = c.sum(axis=stretched, keepdims=True)
    if c.shape != x.shape:
        try:
            c = np.broadcast_to(c, x.shape)
        except ValueError:
            raise misfit(c, node, i) from None
    if c.dtype != x.dtype:
        if c.dtype.kind == "c" and x.dtype.kind == "f":
            raise misfit(c, node, i)
        c = c.astype(x.dtype)
    return c


def misfit(c: Array, node: Node, i: int) -> Exception:
    """What to say of a rule that returned something that is no cotangent of its operand."""
    assert node.op is not None
    x, rule = node.inputs[i], node.op.rules[i]
    what = f"shape {c.shape}, dtype {c.dtype}" if hasattr(c, "dtype") else repr(c)
    code = getattr(rule, "__code__", None)
    where = f" ({code.co_filename}:{code.co_firstlineno})" if code else ""
    return (ValueError if hasattr(c, "dtype") else TypeError)(
        f"rule {i} of {node.op.name}{where} returned {what}; "
        f"its operand has shape {x.shape}, dtype {x.dtype}"
    )
