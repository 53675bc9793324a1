"""Backpropagation: the algorithm, on one screen.

The chain rule says that a node's cotangent (the derivative of the output by that node) is the sum,
over the nodes that used it, of what their rules return. So walk the graph from the output back,
each node after all of its users: its cotangent is then complete, and is handed on to its operands.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from operator import attrgetter

from numpy import ndarray

from tensorgrad.engine.batching import carriers
from tensorgrad.engine.node import Array, Node
from tensorgrad.engine.repair import over_examples, repair, unless_masked_out
from tensorgrad.engine.rules import Together


def topological_order(outputs: Iterable[Node], ends: Collection[Node] = ()) -> list[Node]:
    """The nodes that require grad and lead to `outputs`, each after its operands.

    The walk ends at leaves, and before the nodes `ends`.
    """
    oldest = min((x.serial for x in ends), default=-1)  # nothing older comes from one of them
    order = list(outputs)
    found = {*order, *ends}
    for node in order:  # the list grows while we walk it
        for x in node.operands:
            if x is not None and x.requires_grad and x not in found and x.serial > oldest:
                found.add(x)
                order.append(x)
    return sorted(order, key=attrgetter("serial"))  # an operand is older than what uses it


def paths(outputs: Iterable[Node], wrt: Collection[Node]) -> tuple[list[Node], set[Node]]:
    """The nodes on paths from `wrt` to `outputs`, in order; and these together with `wrt`."""
    order, found = [], set(wrt)
    for node in topological_order(outputs, wrt):
        if node not in found and not found.isdisjoint(node.operands):
            found.add(node)
            order.append(node)
    return order, found


def sweep(
    seeds: Mapping[Node, Array],
    as_value: Callable[[Node, Array], Array] | None = None,
    wrt: Collection[Node] | None = None,
) -> dict[Node, Array]:
    """The cotangents of the leaves, given those of the outputs; also of nodes that retain theirs.

    The rules see arrays, or what `as_value` makes of each node and its array: Values, if the sweep
    is to be recorded. With `wrt` the walk ends at these nodes, and nothing is computed that does
    not lead to them.
    """
    order, found = (topological_order(seeds), None) if wrt is None else paths(seeds, wrt)
    cotangents = dict(seeds)
    summed: set[Node] = set()
    masked, batched = False, bool(carriers) and as_value is not None
    careful = batched
    for node in reversed(order):
        op = node.op
        if op is None:
            continue
        out, inputs, params, origin = node.data, node.inputs, node.params, node.origin
        rules = op.rules
        g = cotangents[node] if node.retains_grad else cotangents.pop(node)
        if op.masks is not None:
            masked = masked or op.masks(params)
            careful = masked or batched
            if op.adds is not None and node.operands[0] in summed and as_value is None:
                op.adds(cotangents[node.operands[0]], g, **params)
                continue
        if origin is not None:
            origin.before_rules(node)
        args = (g, out) + inputs  # noqa: RUF005 - half the time of unpacking
        if as_value is not None:
            pairs = zip(node.operands, inputs)
            args = (g, as_value(node, out), *(a if x is None else as_value(x, a) for x, a in pairs))
        if type(rules) is Together:
            rules = rules.computed(args)
        i = -1
        for x in node.operands:
            i += 1  # zip or enumerate would cost a third of the loop on scalars
            if x is None or not x.requires_grad or (found is not None and x not in found):
                continue
            rule, data = rules[i], inputs[i]
            c = rule(*args, **params) if params else rule(*args)
            if careful:
                c = unless_masked_out(c, args, rule, node) if masked else c
                c = over_examples(c, data, node, seeds) if batched else c
            kind = type(c)  # of NumPy scalars the type is the dtype; arrays are compared in full
            if kind is not type(data) or (
                kind is ndarray and (c.shape != data.shape or c.dtype != data.dtype)
            ):
                c = repair(c, data, node, rule)
            if origin is not None:
                origin.after_rule(node, c)
            if x in cotangents:
                if kind is ndarray and x in summed:  # a sum is nobody else's array
                    cotangents[x] += c
                    continue
                c = cotangents[x] + c
                if type(c) is ndarray:
                    summed.add(x)
            elif (x.op is None or x.retains_grad) and (c is g or getattr(c, "base", 0) is not None):
                c = c.copy()  # `.grad` shares its memory with nothing
            cotangents[x] = c
    return cotangents
