"""Checks of neurons: those that are silent for every example, those that sit where it is flat."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Hashable, Iterator

import numpy as np

from tensorgrad.engine.batching import elementwise
from tensorgrad.engine.node import Array, Node
from tensorgrad.graph.lint.graph import Finding, Graph

SQUASHING = {"sigmoid", "expit", "tanh"}
FLAT = 0.01  # of the largest slope: |z| > 6 for sigmoid, 3 for tanh
LOST = 1 / 3  # of the signal
NEVER = 6  # standard deviations that z stays below 0
ENOUGH = 100  # examples that tell a silent unit without that,
MANY = 0.1  # if as large a share of the layer is


def dead_relus(graph: Graph) -> Iterator[Finding]:
    """Units that are 0 for every example, and not by accident."""
    groups: dict[Hashable, list[tuple[Node, Array]]] = defaultdict(list)
    for node in graph.operations:
        z = rectified(node) if node in graph.learning else None
        if z is not None and node not in graph.cost:  # there it is a hinge, and 0 is the goal
            groups[layer_of(graph, node)].append((node, by_units(graph, node, z)))
    for members in groups.values():
        node = members[0][0]
        silent = dead(np.concatenate([z for _, z in members], axis=1))
        if not silent.any():
            continue
        units = f"{silent.sum()} of {silent.size} units" if silent.size > 1 else "the only unit"
        yield graph.finding(
            "dead ReLU",
            "warning",
            node,
            f"{units} of {graph.told(node)} {'is' if silent.sum() == 1 else 'are'} 0 for every one "
            f"of {len(members[0][1])} examples, and no gradient passes",
            "smaller steps, initial weights by nn.init.he, biases nearer to 0; or softplus, whose "
            "slope is nowhere 0",
        )


def rectified(node: Node) -> Array | None:
    """z of relu(z) or np.maximum(z, 0)."""
    assert node.op is not None
    if node.op.name == "relu":
        return node.inputs[0]
    if node.op.name == "maximum":
        for x, zero in (node.inputs, node.inputs[::-1]):
            if np.ndim(zero) == 0 and zero == 0:
                return x
    return None


def layer_of(graph: Graph, node: Node) -> Hashable:
    """What tells layers apart: each node is one, but single neurons are one by their line."""
    if np.ndim(node.data) > 1 or not graph.scalar:
        return node
    assert node.op is not None
    return node.op.name, np.shape(node.data), graph.line(node)


def by_units(graph: Graph, node: Node, x: Array) -> Array:
    """An array of a node's shape as (examples, units)."""
    x = np.asarray(x)
    if x.ndim < 2:
        return x.reshape(-1, 1) if graph.scalar else x.reshape(1, -1)
    axis = 1 if x.ndim == 4 else -2 if columns(node) else -1  # PyTorch's layouts; W @ x
    return np.moveaxis(x, axis, -1).reshape(-1, x.shape[axis])


def columns(node: Node) -> bool:
    """Whether the examples are columns: the weights stand left of them in a product."""
    while node.op is not None and node.op.batch is elementwise:
        learning = [x for x in node.operands if x is not None and x.op is not None]
        if not learning:
            return False
        node = learning[0]
    if node.op is None or node.op.name != "matmul" or np.ndim(node.data) != 2:
        return False
    left, right = node.operands
    return is_weight(left) and not is_weight(right)


def is_weight(node: Node | None) -> bool:
    return node is not None and node.requires_grad and node.op is None


def dead(z: Array) -> Array:
    """Which units have z <= 0 for every example, and would for others too.

    Chance silences some units for some examples, and the next ones wake them. A unit is dead if
    its z stays far below 0, further where few examples tell how far it varies; or if many others
    are silent too, for many examples.
    """
    n = len(z)
    silent = (z <= 0).all(axis=0) & (n > 1)
    if n >= ENOUGH and silent.mean() >= MANY:
        return silent
    return silent & (z.mean(axis=0) + (NEVER + 20 / n) * z.std(axis=0) <= 0)


def saturated(graph: Graph) -> Iterator[Finding]:
    """Sigmoids and tanhs that are asked to move back, and sit where the slope is about 0."""
    groups: dict[Hashable, list[tuple[Node, Array, Array, Array]]] = defaultdict(list)
    for node in graph.operations:
        assert node.op is not None
        named = node.op.name in SQUASHING and node in graph.learning
        if not named or np.iscomplexobj(node.data):
            continue
        middle = node.op.forward(0.0)
        steepest = node.op.pull(0, (1.0, middle, 0.0), node.params)
        flat = node.op.pull(0, (1.0, node.data, *node.inputs), node.params) < FLAT * steepest
        g = graph.cotangents[node]
        stuck = flat & ((node.data - middle) * g > 0)  # what is right to be far out stays there
        table = [by_units(graph, node, x) for x in (flat, stuck, np.abs(g))]
        groups[layer_of(graph, node)].append((node, table[0], table[1], table[2]))
    for members in groups.values():
        node = members[0][0]
        flat, stuck, size = (np.concatenate(parts, axis=1) for parts in list(zip(*members))[1:])
        lost = np.mean(shares(size * stuck, size))
        if not lost > LOST:
            continue
        assert node.op is not None
        yield graph.finding(
            f"saturated {node.op.name}",
            "warning",
            node,
            f"{graph.told(node)}: at {flat.sum()} of {flat.size} entries the slope is below "
            f"{FLAT:.0%} of its largest; {lost:.0%} of what asks them to move back is lost",
            "smaller initial weights (nn.init.xavier), inputs of size about 1; for answers, a loss "
            "that takes logits",
        )


def shares(parts: Array, wholes: Array) -> Array:
    """Of each row, the sum of `parts` by that of `wholes`; 0 where there is nothing."""
    whole = wholes.sum(axis=1)
    return parts.sum(axis=1) / np.where(whole > 0, whole, 1)
