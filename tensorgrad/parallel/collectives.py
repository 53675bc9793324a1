"""Sums and moves of arrays between ranks, with gradients.

The ranks compute one function together: its gradient is that of the *sum* of what all of them call
`backward` on. (So a loss that every rank computes alike counts once for each: divide it by the
number of ranks.) Each collective is linear, and its rule is its transpose, another of them.

Every rank calls each collective, and its loss depends on each result, if by a factor of 0: a rank
whose sweep does not come by is waited for. These sweeps are made with care from the start (see
`engine/care.py`), for no rank may make one more than the others.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from tensorgrad.engine.arrays import as_array
from tensorgrad.engine.backprop import Sweep
from tensorgrad.engine.care import Careful, Unsure
from tensorgrad.engine.node import Array, Handle, Node, recorder
from tensorgrad.engine.primitive import Primitive
from tensorgrad.engine.rules import Reading
from tensorgrad.parallel.ranks import Ranks, part, world
from tensorgrad.value import Value


class AtOnce(Reading):
    """No sweep without care, which one rank alone might have to make again."""

    def given(self, node: Node, args: tuple[Array, ...], sweep: Sweep) -> tuple[Array, ...]:
        if not sweep.careful:
            raise Unsure
        return args


AT_ONCE = (AtOnce(),)


def meet(op: Primitive, x: Any, ranks: Ranks, **params: Any) -> Any:
    """The operation, recorded in all ranks if in one: each is to come by on the way back."""
    x = x if isinstance(x, (Careful, Handle)) else as_array(x)
    wanted = isinstance(x, Handle) and x.node.requires_grad and recorder.get() is not None
    if ranks.total(wanted, at=f"{op.name} {params}")[0] and not wanted and type(x) is not Careful:
        x = Value(x.node.data if isinstance(x, Handle) else x)
    return op(x, ranks=ranks, **params)


def same_shape(name: str, x: Any, ranks: Ranks) -> None:
    """RuntimeError in all ranks where they have other shapes or dtypes."""
    ranks.total(at=f"{name} of {x.dtype} {x.shape}")


# They are not in the registry, whose operations one process can test.


def _allreduce(x: Any, *, ranks: Ranks) -> Any:
    same_shape("allreduce", x, ranks)
    return ranks.sum(x)


_sum: Primitive = Primitive(
    _allreduce,
    (lambda g, out, x, *, ranks: allreduce(g, ranks),),
    "allreduce",
    r"\sum_{{\text{{ranks}}}} {0}",
    readings=AT_ONCE,
)


def allreduce(x: Any, ranks: Ranks | None = None) -> Any:
    """Σ x over the ranks, in each of them. Its rule is allreduce: every rank's x is in every sum.

    x has the same shape and dtype in all, or it is a RuntimeError in all.
    """
    return meet(_sum, x, ranks or world())


def _gathered(x: Any, *, ranks: Ranks, axis: int, sizes: Sequence[int]) -> Any:
    first = np.moveaxis(x, axis, 0)
    padded = np.zeros((max(sizes), *first.shape[1:]), x.dtype)
    padded[: len(first)] = first
    same_shape("allgather", padded, ranks)
    parts = [rows[:n] for rows, n in zip(ranks.gather(padded), sizes)]
    return np.ascontiguousarray(np.moveaxis(np.concatenate(parts), 0, axis))


_gather: Primitive = Primitive(
    _gathered,
    (lambda g, out, x, *, ranks, axis, sizes: meet(_scatter, g, ranks, axis=axis, sizes=sizes),),
    "allgather",
    readings=AT_ONCE,
)


def allgather(x: Any, axis: int = 0, ranks: Ranks | None = None) -> Any:
    """The arrays of all ranks, one after the other along `axis`, in each of them.

    Along it they may have other lengths. Its rule is reduce_scatter: each rank's part of the
    cotangents' sum.
    """
    ranks = ranks or world()
    sizes = tuple(ranks.gather(np.array([np.shape(x)[axis]]))[:, 0].tolist())
    return meet(_gather, x, ranks, axis=axis, sizes=sizes)


def _scattered(x: Any, *, ranks: Ranks, axis: int, sizes: Sequence[int]) -> Any:
    same_shape("reduce_scatter", x, ranks)
    end = sum(sizes[: ranks.rank + 1])
    place = [slice(None)] * x.ndim
    place[axis] = slice(end - sizes[ranks.rank], end)
    return ranks.sum(x)[tuple(place)].copy()


_scatter: Primitive = Primitive(
    _scattered,
    (lambda g, out, x, *, ranks, axis, sizes: meet(_gather, g, ranks, axis=axis, sizes=sizes),),
    "reduce_scatter",
    readings=AT_ONCE,
)


def reduce_scatter(x: Any, axis: int = 0, ranks: Ranks | None = None) -> Any:
    """Σ x over the ranks, of which each is given its part along `axis`. Its rule is allgather."""
    ranks = ranks or world()
    places = [part(np.shape(x)[axis], rank, ranks.size) for rank in range(ranks.size)]
    return meet(_scatter, x, ranks, axis=axis, sizes=tuple(p.stop - p.start for p in places))


def _spread(x: Any, *, ranks: Ranks, root: int) -> Any:
    same_shape("broadcast", x, ranks)
    return ranks.share(x, root)


def _to_root(g: Any, *, ranks: Ranks, root: int) -> Any:
    total = ranks.sum(g)
    return total if ranks.rank == root else np.zeros_like(total)


_broadcast: Primitive = Primitive(
    _spread,
    (lambda g, out, x, *, ranks, root: meet(_reduce, g, ranks, root=root),),
    "broadcast",
    readings=AT_ONCE,
)
_reduce: Primitive = Primitive(
    _to_root,
    (lambda g, out, x, *, ranks, root: meet(_broadcast, g, ranks, root=root),),
    "reduce",
    readings=AT_ONCE,
)


def broadcast(x: Any, root: int = 0, ranks: Ranks | None = None) -> Any:
    """The array of rank `root`, in each; of the others only shape and dtype count.

    Its rule: the sum of the cotangents, in rank `root`; 0 in the others.
    """
    return meet(_broadcast, x, ranks or world(), root=root)


def _exchanged(x: Any, *, ranks: Ranks, axis: int) -> Any:
    same_shape("alltoall", x, ranks)
    first = np.ascontiguousarray(np.moveaxis(x, axis, 0))
    found = np.empty_like(first)
    ranks.wait(ranks.comm.Ialltoall(first, found))
    return np.ascontiguousarray(np.moveaxis(found, 0, axis))


_exchange: Primitive = Primitive(
    _exchanged,
    (lambda g, out, x, *, ranks, axis: meet(_exchange, g, ranks, axis=axis),),
    "alltoall",
    readings=AT_ONCE,
)


def alltoall(x: Any, axis: int = 0, ranks: Ranks | None = None) -> Any:
    """Part s of x along `axis` goes to rank s; what comes from all is joined along it.

    Its rule is alltoall. ValueError unless the number of ranks divides the axis.
    """
    ranks = ranks or world()
    if np.shape(x)[axis] % ranks.size:
        raise ValueError(f"alltoall: {ranks.size} ranks do not divide axis {axis} of {np.shape(x)}")
    return meet(_exchange, x, ranks, axis=axis)


def _moved(x: Any, *, ranks: Ranks, pairs: Sequence[tuple[int, int]]) -> Any:
    same_shape("permute", x, ranks)
    found, sent = np.zeros_like(x, order="C"), np.asarray(x, order="C")
    requests = [ranks.comm.Irecv(found, a) for a, b in pairs if b == ranks.rank]
    requests += [ranks.comm.Isend(sent, b) for a, b in pairs if a == ranks.rank]
    for request in requests:
        ranks.wait(request)
    return found


_move: Primitive = Primitive(
    _moved,
    (
        lambda g, out, x, *, ranks, pairs: meet(
            _move, g, ranks, pairs=tuple((b, a) for a, b in pairs)
        ),
    ),
    "permute",
    readings=AT_ONCE,
)


def permute(x: Any, pairs: Sequence[tuple[int, int]], ranks: Ranks | None = None) -> Any:
    """x of rank a in rank b, for each (a, b) of `pairs`; 0 where nothing comes.

    Its rule is permute, back. ValueError where a rank would send or receive twice.
    """
    if any(len({*ends}) < len(pairs) for ends in zip(*pairs)):
        raise ValueError(f"permute: a rank sends and receives once at most, in {pairs}")
    return meet(_move, x, ranks or world(), pairs=tuple(pairs))
