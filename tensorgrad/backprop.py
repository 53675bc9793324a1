"""Backpropagation: the algorithm, on one screen.

The chain rule says that a node's cotangent (the derivative of the output by that node) is the sum,
over the nodes that used it, of what their rules return. So walk the graph from the output back,
each node after all of its users: its cotangent is then complete, and is handed on to its operands.
"""

from __future__ import annotations

from collections.abc import Callable
from operator import attrgetter

import numpy as np
from numpy import ndarray

from tensorgrad.node import Array, Node
from tensorgrad.primitive import Rule


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
        op = node.op
        if op is None:
            continue
        out, inputs, params, origin = node.data, node.inputs, node.params, node.origin
        rules = op.rules
        g = cotangents[node] if node.retains_grad else cotangents.pop(node)
        if origin is not None:
            origin.before_rules(node)
        args = (g, out) + inputs  # noqa: RUF005 - half the time of unpacking
        if as_value is not None:
            pairs = list(zip(node.operands, inputs))
            if any(x is not None and x.data is not data for x, data in pairs):
                raise RuntimeError(f"an operand of {op.name} got new data since: compute it again")
            args = (g, as_value(node), *(data if x is None else as_value(x) for x, data in pairs))
        i = -1
        for x in node.operands:
            i += 1  # zip or enumerate would cost a third of the loop on scalars
            if x is None or not x.requires_grad:
                continue
            rule, data = rules[i], inputs[i]
            c = rule(*args, **params) if params else rule(*args)
            kind = type(c)  # of NumPy scalars the type is the dtype; arrays are compared in full
            if kind is not type(data) or (
                kind is ndarray and (c.shape != data.shape or c.dtype != data.dtype)
            ):
                c = repair(c, data, node, rule)
            if origin is not None:
                origin.after_rule(node, c)
            if x in cotangents:
                c = cotangents[x] + c
            elif (x.op is None or x.retains_grad) and (c is g or getattr(c, "base", 0) is not None):
                c = c.copy()  # `.grad` shares its memory with nothing
            cotangents[x] = c
    return cotangents


def repair(c: Array, x: Array, node: Node, rule: Rule) -> Array:
    """Give what `rule` returned for operand `x` of `node` the shape and dtype of `x`.

    Sums over axes that the forward broadcast, broadcasts over axes that it summed.
    """
    returned = c
    if not hasattr(c, "dtype"):
        if not isinstance(c, (int, float, complex)):
            raise misfit(returned, x, node, rule)
        c = np.asarray(c)
    if isinstance(c, ndarray):
        c = np.asarray(c)  # no matrix, whose sums stay matrices
    if c.dtype.kind not in "biufc":
        raise misfit(returned, x, node, rule)
    if c.dtype.kind == "c" != x.dtype.kind:
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
