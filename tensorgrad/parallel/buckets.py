"""Gradients of many processes added up: packed into few messages, which may travel while the sweep
is still under way."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from tensorgrad.engine.arrays import is_numpy
from tensorgrad.engine.node import Node, data_of
from tensorgrad.parallel.ranks import Ranks

LARGE = 1 << 20  # bytes of a bucket: a message that takes a millisecond, mostly for its bytes


class Bucket:
    """The gradients of some parameters, of one dtype, one after the other in one array; after them
    for each whether there is one at all. Those of float16 are added in float32."""

    def __init__(self, nodes: Sequence[Node], dtype: np.dtype[Any]) -> None:
        self.nodes = nodes
        ends = np.cumsum([node.data.size for node in nodes]).tolist()
        self.places = [slice(a, b) for a, b in zip([0, *ends], ends)]
        self.end = ends[-1]
        self.array = np.zeros(self.end + len(nodes), dtype)

    def put(self, i: int, g: Any) -> None:
        """The gradient of the node of number `i`, None if it has none."""
        self.array[self.end + i] = g is not None
        self.array[self.places[i]] = 0 if g is None else np.reshape(g, -1)

    def fill(self) -> None:
        """The gradients that the nodes have."""
        for i, node in enumerate(self.nodes):
            g = None if node.grad is None else data_of(node.grad)
            if g is not None and not is_numpy(g):
                raise TypeError(f"many processes add up NumPy's gradients, not {type(g).__name__}")
            self.put(i, g)

    def hand_out(self, total: Any) -> None:
        """The sums, to the nodes."""
        for node, place, counts in zip(self.nodes, self.places, total[self.end :]):
            if counts != 0:
                g = total[place].reshape(np.shape(node.data)).astype(node.data.dtype, copy=False)
                node.grad = g if g.ndim else g[()]


def buckets_of(nodes: Sequence[Node]) -> list[Bucket]:
    """All of them, the last parameters first: their gradients are the first that are there."""
    rooms: list[list[Node]] = []
    dtypes: list[np.dtype[Any]] = []
    for node in reversed(nodes):
        dtype = np.result_type(node.data.dtype, np.float32)
        used = sum(x.data.nbytes for x in rooms[-1]) if rooms else 0
        if not rooms or dtypes[-1] != dtype or used + node.data.nbytes > LARGE:
            rooms.append([])
            dtypes.append(dtype)
        rooms[-1].append(node)
    return [Bucket(room, dtype) for room, dtype in zip(rooms, dtypes)]


def add_up(buckets: Sequence[Bucket], ranks: Ranks, deterministic: bool) -> None:
    """Give each node the sum of its gradients in all ranks."""
    for bucket in buckets:
        bucket.fill()
        add = ranks.sum_in_order if deterministic else ranks.sum
        bucket.hand_out(add(bucket.array))
