"""What happens at one edge of the graph: derivatives of a node by one of its operands.

There is no table of kinks: a stated choice is in force where a nudge to either side gives another
answer.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from tensorgrad.engine.backprop import contribution
from tensorgrad.engine.batching import alike, elementwise
from tensorgrad.engine.dtypes import finfo, is_floating
from tensorgrad.engine.node import Array, Node, data_of
from tensorgrad.transforms.derivatives import jvp


def depending(order: Iterable[Node], on: Iterable[Node]) -> set[Node]:
    """`on`, and the nodes of `order` that depend on them; in it, operands come first."""
    found = set(on)
    for node in order:
        if not found.isdisjoint(node.operands):
            found.add(node)
    return found


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


def linear(node: Node, i: int, g: Array) -> bool:
    """Whether a node is linear in operand `i`: it moves by what it makes of the move, as `g` and
    a draw tell, both ways."""
    op, x = node.op, np.asarray(node.inputs[i])
    assert op is not None
    dx = np.random.default_rng(0).standard_normal(x.shape).astype(x.dtype)[()]
    try:
        for move in (dx, -dx, g):  # a maximum may be that of one of them
            made = op.forward(*node.inputs[:i], move, *node.inputs[i + 1 :], **node.params)
            if not np.allclose(made, tangent(node, i, move), rtol=1e-4, atol=1e-6):
                return False
    except (TypeError, ValueError):  # of other numbers than it was made for
        return False
    return True


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


def decided(node: Node, i: int, g: Array, c: Array) -> int:
    """How many entries of operand `i` have another slope, or the result another value, on either
    side; 0 where the operation states no choice.

    `g`: the cotangent of `node`; `c`: that of the operand, or what the rule made of `g`.
    """
    op, x = node.op, node.inputs[i]
    assert op is not None
    if op.choice is None or not is_floating(getattr(x, "dtype", np.dtype(int))) or not np.any(g):
        return 0
    step = nudge(x)
    sides = [(*node.inputs[:i], side, *node.inputs[i + 1 :]) for side in (x + step, x - step)]
    try:
        with np.errstate(all="ignore"):
            above, below = (op.forward(*inputs, **node.params) for inputs in sides)
            rising, falling = (
                op.pull(i, (g, out, *inputs), node.params)
                for out, inputs in zip((above, below), sides)
            )
    except ValueError:  # LinAlgError is one
        return 0
    bends = apart(rising, falling, max(np.max(np.abs(a), initial=0) for a in (g, c)))
    jumps = apart(above, below, np.max(step, initial=0) / finfo(step.dtype).eps) & (
        np.asarray(g) != 0
    )
    return int(max(np.sum(bends), np.sum(jumps)))


def nudge(x: Array) -> Array:
    """A step of a few roundings from each entry, no two alike: equal entries do not stay equal.

    From 0 a step whose square is not 0.
    """
    times = np.random.default_rng(0).integers(1, 50, np.shape(x))
    tiny = np.sqrt(finfo(x.dtype).tiny)
    return (times * np.where(x == 0, tiny, np.spacing(np.abs(x)))).astype(x.dtype)[()]


def apart(above: Array, below: Array, usual: Array) -> Array:
    """Where two arrays differ by more than rounding of the largest number there, and of `usual`."""
    above, below = np.asarray(above), np.asarray(below)
    sizes = (np.max(np.abs(a), initial=0, where=np.isfinite(a)) for a in (above, below, usual))
    with np.errstate(invalid="ignore"):
        return np.abs(above - below) > np.sqrt(finfo(above.dtype).eps) * max(sizes)
