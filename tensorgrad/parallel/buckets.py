"""Gradients of many processes added up: packed into few messages, which may travel while the sweep
is still under way."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from tensorgrad.engine.arrays import kind_of
from tensorgrad.engine.backprop import Sweep
from tensorgrad.engine.care import finite
from tensorgrad.engine.node import Node, data_of
from tensorgrad.engine.rules import Reading
from tensorgrad.parallel.ranks import Ranks, in_order

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

    def put(self, i: int, g: Any, scale: float = 1.0) -> None:
        """The gradient of the node of number `i`, None if it has none."""
        self.array[self.end + i] = g is not None
        if g is not None and kind_of(g).rank:
            raise TypeError(f"many processes add up NumPy's gradients, not {type(g).__name__}")
        if scale == 1:
            self.array[self.places[i]] = 0 if g is None else np.reshape(g, -1)
        else:
            np.multiply(
                0 if g is None else np.reshape(g, -1), scale, out=self.array[self.places[i]]
            )

    def fill(self, scale: float = 1.0) -> None:
        """The gradients that the nodes have."""
        for i, node in enumerate(self.nodes):
            self.put(i, data_of(node.grad), scale)

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


def add_up(
    buckets: Sequence[Bucket], ranks: Ranks, deterministic: bool, scale: float = 1.0
) -> None:
    """Give each node the sum of its gradients, times `scale`, in all ranks."""
    for bucket in buckets:
        bucket.fill(scale)
        add = ranks.sum_in_order if deterministic else ranks.sum
        bucket.hand_out(add(bucket.array))


class Underway(Reading):
    """Sends each bucket when its gradients are complete, and the sweep goes on meanwhile.

    All ranks send the buckets in their order. A sweep that a rank has to make again, with care,
    makes numbers of that sent which are not finite, in all ranks: then all add up anew. To what the
    sweep completes is added what the parameter has, of batches before.
    """

    reads = False

    def __init__(self, buckets: Sequence[Bucket], ranks: Ranks, deterministic: bool) -> None:
        self.buckets, self.ranks, self.deterministic = buckets, ranks, deterministic
        self.places = {x: (b, i) for b in buckets for i, x in enumerate(b.nodes)}
        self.left = {b: {*b.nodes} for b in buckets}
        self.sent: list[tuple[Bucket, Any, Any]] = []
        self.careful = False

    def completed(self, node: Node, g: Any, sweep: Sweep) -> None:
        self.careful = self.careful or sweep.careful
        if self.careful or node not in self.places:
            return
        bucket, i = self.places[node]
        bucket.put(i, data_of(g) if node.grad is None else data_of(node.grad) + data_of(g))
        self.left[bucket].discard(node)
        for _, request, _ in self.sent:
            request.Test()  # which moves it on
        while len(self.sent) < len(self.buckets) and not self.left[self.buckets[len(self.sent)]]:
            self.send()

    def send(self) -> None:
        """The next bucket."""
        bucket = self.buckets[len(self.sent)]
        if self.deterministic:
            total = np.empty((self.ranks.size, bucket.array.size), bucket.array.dtype)
            request = self.ranks.comm.Iallgather(bucket.array, total)
        else:
            total = np.empty_like(bucket.array)
            request = self.ranks.comm.Iallreduce(bucket.array, total)
        self.sent.append((bucket, request, total))

    def finish(self) -> bool:
        """Send the rest, and hand out the sums; False, in all ranks, where they are none."""
        while len(self.sent) < len(self.buckets):
            bucket = self.buckets[len(self.sent)]
            for node in self.left[bucket]:
                bucket.put(self.places[node][1], data_of(node.grad))  # the sweep has not come by
            if self.careful:
                bucket.array[0] = np.nan
            self.send()
        for _, request, _ in self.sent:
            self.ranks.wait(request)
        if not all(finite(total) for _, _, total in self.sent):
            return False
        for bucket, _, total in self.sent:
            bucket.hand_out(in_order(total) if self.deterministic else total)
        return True
