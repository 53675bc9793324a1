"""The derivative as a sum over paths: how many there are, and the largest.

The chain rule, written out: the derivative of an output by an input is the sum, over all paths
between them, of the product of the local derivatives on the path (C. Olah, Calculus on
Computational Graphs, 2015). There may be very many; backpropagation is the way to add them up
without listing them.
"""

from __future__ import annotations

import heapq
from collections import defaultdict
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from tensorgrad.engine.backprop import contribution
from tensorgrad.engine.node import Array, Node
from tensorgrad.graph.replay import Event

SLIGHT = 1e-4  # by which rounded shares may add up to more than all
LISTED = 256  # paths through arrays that are followed one by one


class PathTerm(NamedTuple):
    """One path: its nodes from the input to the output, the derivatives on it, and their product.

    `locals` are numbers where all nodes are real ones; through others there are none, and `product`
    is what the path adds. `share`: its part of the derivative; all shares add up to 1. NaN if that
    is 0, or where paths cancel: 147 % and -47 % are no shares.
    """

    nodes: tuple[Node, ...]
    locals: tuple[Array, ...]
    product: Array
    share: float


class Paths(NamedTuple):
    """`number` of paths, and the largest `terms`; none where they are too many to be followed."""

    number: int
    terms: list[PathTerm]


def paths(edges: Sequence[Event], wrt: Node, output: Node, total: Array, top: int) -> Paths:
    """The paths from `wrt` to `output` along the edges of a sweep, largest first."""
    into: defaultdict[Node, list[Event]] = defaultdict(list)
    for edge in edges:
        into[edge.node].append(edge)
    order = list(dict.fromkeys(edge.node for edge in reversed(edges)))
    counts: defaultdict[Node, int] = defaultdict(int, {wrt: 1})
    for node in order:
        counts[node] += sum(counts[edge.source] for edge in into[node] if edge.source)
    if all(map(multiplies, edges)):
        found = best(order, into, wrt, output, top)
    elif counts[output] <= LISTED:
        found = followed(into, wrt, output)[:top]
    else:
        found = []
    shares = [share_of(f[-1], total) for f in found]
    cancel = min(shares, default=0) < 0 or sum(shares) > 1 + SLIGHT
    return Paths(
        counts[output], [PathTerm(*f, np.nan if cancel else s) for f, s in zip(found, shares)]
    )


def multiplies(edge: Event) -> bool:
    """Whether an edge is a factor: real functions of complex numbers are none, nor 0 times ∞."""
    if edge.local is None or np.ndim(edge.local):
        return False
    return not np.iscomplexobj(edge.local) and edge.is_product


Found = tuple[tuple[Node, ...], tuple[Array, ...], Array]


class Step(NamedTuple):
    """The end of a path: its product so far, the edge it came by, and the path up to there."""

    product: Array
    edge: Event | None
    before: Step | None


def best(
    order: list[Node], into: dict[Node, list[Event]], wrt: Node, output: Node, top: int
) -> list[Found]:
    """The paths with the largest products: those of a node extend those of its operands."""
    kept: dict[Node, list[Step]] = {wrt: [Step(1.0, None, None)]}
    with np.errstate(all="ignore"):
        for node in order:
            longer = [
                Step(step.product * edge.local, edge, step)
                for edge in into[node]
                if edge.source is not None and edge.local is not None
                for step in kept.get(edge.source, ())
            ]
            kept[node] = heapq.nlargest(top, longer, key=lambda step: abs(step.product))
    return [walked(step, wrt) for step in kept[output]]


def walked(step: Step | None, wrt: Node) -> Found:
    """A path from its end back to `wrt`."""
    edges, product = [], step.product if step else 1.0
    while step is not None and step.edge is not None:
        edges.append(step.edge)
        step = step.before
    nodes = (wrt, *(edge.node for edge in reversed(edges)))
    return nodes, tuple(edge.local for edge in reversed(edges)), product


def followed(into: dict[Node, list[Event]], wrt: Node, output: Node) -> list[Found]:
    """All paths, each with the cotangent that arrives along it alone."""
    done: list[Found] = []
    todo: list[tuple[tuple[Node, ...], Array]] = [((output,), np.ones_like(output.data)[()])]
    while todo:
        nodes, g = todo.pop()
        if nodes[0] is wrt:
            done.append((nodes, (), g))
            continue
        for edge in into[nodes[0]]:
            if edge.operand is not None and edge.source is not None:
                c = contribution(edge.node, edge.operand, g)
                todo.append(((edge.source, *nodes), c))
    return sorted(done, key=size, reverse=True)


def size(found: Found) -> float:
    return float(np.linalg.norm(np.ravel(found[-1])))


def share_of(product: Array, total: Array) -> float:
    """The part of `total` that `product` is, along `total`."""
    with np.errstate(all="ignore"):
        return float(np.vdot(total, product).real / np.vdot(total, total).real)
