"""Where a stated choice decides: an operation at a corner or a tie, where calculus says nothing.

There is no table of kinks: a choice is in force where a nudge to either side gives another answer.
"""

from __future__ import annotations

import numpy as np

from tensorgrad.engine.node import Array, Node


def decided(node: Node, i: int, g: Array, c: Array) -> int:
    """How many entries of operand `i` have another slope, or the result another value, on either
    side; 0 where the operation states no choice.

    `g`: the cotangent of `node`; `c`: that of the operand, or what the rule made of `g`.
    """
    op, x = node.op, node.inputs[i]
    assert op is not None
    if op.choice is None or getattr(x, "dtype", np.dtype(int)).kind != "f" or not np.any(g):
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
    jumps = apart(above, below, np.max(step, initial=0) / np.finfo(step.dtype).eps) & (
        np.asarray(g) != 0
    )
    return int(max(np.sum(bends), np.sum(jumps)))


def nudge(x: Array) -> Array:
    """A step of a few roundings from each entry, no two alike: equal entries do not stay equal.

    From 0 a step whose square is not 0.
    """
    times = np.random.default_rng(0).integers(1, 50, np.shape(x))
    tiny = np.sqrt(np.finfo(x.dtype).tiny)
    return (times * np.where(x == 0, tiny, np.spacing(np.abs(x)))).astype(x.dtype)[()]


def apart(above: Array, below: Array, usual: Array) -> Array:
    """Where two arrays differ by more than rounding of the largest number there, and of `usual`."""
    above, below = np.asarray(above), np.asarray(below)
    sizes = (np.max(np.abs(a), initial=0, where=np.isfinite(a)) for a in (above, below, usual))
    with np.errstate(invalid="ignore"):
        return np.abs(above - below) > np.sqrt(np.finfo(above.dtype).eps) * max(sizes)
