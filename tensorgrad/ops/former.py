"""What a name held before it was assigned to. `v[i] = x` makes a new array for each item: so that
filling one takes memory for one, the graph keeps of the former ones what their rules ask, shape and
dtype. Who looks at the graph has them computed again.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tensorgrad.engine.arrays import created, is_numpy, is_outline, outline
from tensorgrad.engine.node import Array, Node
from tensorgrad.ops.index import setitem


def forget(node: Node) -> None:
    """Keep the outline alone of what was assigned to; of the first array, which is not ours, all.

    The node of an assignment is given; nodes that somebody checks are left as they are.
    """
    former = node.operands[0] if node.op is setitem else None
    if former is None or former.readings or node.readings or not is_numpy(node.data):
        return
    again = former.op is setitem and is_outline(former.inputs[0])
    kept = former.inputs[0] if again else outline(former.data)
    node.inputs = (kept, node.inputs[1])
    if again:
        former.data = kept


def forget_whole(entries: Node) -> None:
    """Keep no more than the entries of what was read from an array that is being filled."""
    whole = entries.operands[0] if entries.operands else None
    if whole is not None and whole.op is setitem and is_outline(whole.inputs[0]):
        entries.inputs = (whole.inputs[0],)
        if 2 * np.size(entries.data) < np.size(whole.data):
            entries.data = copied_with_gaps(entries.data)


def copied_with_gaps(x: Array) -> Array:
    """A copy with gaps where `x` has them, so that NumPy's views and copies of it are the same;
    `x` itself where its axes lie in another order.
    """
    if not np.ndim(x) or x.flags.c_contiguous:
        return x.copy()
    whole = *(n * step for n, step in zip(x.shape, x.strides)), x.itemsize
    if any(step < inner for step, inner in zip(x.strides, whole[1:])):
        return x
    gaps = [step != inner for step, inner in zip(x.strides, whole[1:])]
    room = (x.shape[0], *(n + gap for n, gap in zip((*x.shape[1:], 1), gaps)))
    out: Array = created(np.empty, room, x.dtype, like=x)
    out = out[(*map(slice, x.shape), 0)]
    out[...] = x
    return out


def recall(nodes: Sequence[Node]) -> None:
    """Have these nodes and their operands hold again what they forgot."""
    for node in nodes:
        for x, a in zip(node.operands, node.inputs):
            if x is not None and is_outline(x.data) and not is_outline(a):
                x.data = a
    for node in nodes:
        if any(map(is_outline, node.inputs)):
            pairs = zip(node.operands, node.inputs)
            node.inputs = tuple(a if x is None else recalled(x) for x, a in pairs)


def recalled(node: Node) -> Array:
    """The data of a node, computed again from the last array that is still there."""
    chain: list[Node] = []
    former: Node | None = node
    while former is not None and is_outline(former.data):
        chain.append(former)
        former = former.operands[0]
    for later in reversed(chain):
        assert former is not None
        later.data = setitem.forward(former.data, later.inputs[1], **later.params)
        former = later
    return node.data
