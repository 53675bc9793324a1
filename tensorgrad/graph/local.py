"""What happens at one edge of the graph: derivatives of a node by one of its operands."""

from __future__ import annotations

import numpy as np

from tensorgrad.engine.backprop import contribution
from tensorgrad.engine.batching import alike, elementwise
from tensorgrad.engine.node import Array, Node, data_of
from tensorgrad.graph.kinks import decided
from tensorgrad.transforms.derivatives import jvp


def tangent(node: Node, i: int, dx: Array) -> Array:
    """How `node` moves where its operand `i` alone moves by `dx`."""
    op, inputs = node.op, list(node.inputs)
    assert op is not None

    def alone(x: Array) -> Array:
        return op(*inputs[:i], x, *inputs[i + 1 :], **node.params)

    try:
        with np.errstate(all="ignore"):
            return data_of(jvp(alone, (inputs[i],), (np.asarray(dx, inputs[i].dtype)[()],))[1])
    except TypeError as error:  # a checkpoint, say: its forward is not for Values
        raise TypeError(f"forward mode does not go through {op.name}: {error}") from error


def local_derivative(node: Node, i: int) -> Array | None:
    """The derivative of `node` by operand `i`, where there is one for each entry; else None."""
    if np.shape(node.inputs[i]) != np.shape(node.data) or not entrywise(node):
        return None
    return contribution(node, i, np.ones_like(node.data)[()])


def entrywise(node: Node) -> bool:
    """Whether each entry of the result depends on the same entry of its operands alone."""
    assert node.op is not None
    scalars = not np.ndim(node.data) and not any(map(np.ndim, node.inputs))
    return scalars or node.op.batch in (elementwise, alike)


def choice_in_force(
    node: Node, i: int, g: Array | None = None, c: Array | None = None
) -> str | None:
    """The stated choice of an operation, if it is at a kink; `c`: what its rule made of `g`."""
    assert node.op is not None
    if node.op.choice is None:
        return None
    if g is None or c is None:
        g = np.ones_like(node.data)[()]
        c = contribution(node, i, g)
    return node.op.choice if decided(node, i, g, c) else None
