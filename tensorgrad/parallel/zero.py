"""shard_state: an optimiser whose state is divided among the ranks of a data-parallel training.

Stage 1 of ZeRO, Rajbhandari et al. (2020), section 5: each rank updates its part of every
parameter, the only one of which it has the state, and then all are told all parts. Gradients are
whole in every rank, as clipping, checks and callbacks see them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from math import prod
from typing import Any, NamedTuple

import numpy as np

from tensorgrad.engine.node import Array, data_of
from tensorgrad.engine.short import kept
from tensorgrad.optim.optimizer import Optimizer, State, is_like
from tensorgrad.parallel.buckets import LARGE
from tensorgrad.parallel.ranks import Ranks, digest, part, world
from tensorgrad.value import Value


class Piece(NamedTuple):
    """This rank's part of an array of `shape`, which is divided along a parameter's `entries`."""

    array: Array
    entries: int
    shape: tuple[int, ...]

    @property
    def nbytes(self) -> int:
        """Of the whole array."""
        return prod(self.shape) * int(self.array.itemsize)


class ShardedState(Optimizer):
    """An optimiser with this rank's part of a state: what `shard_state` makes of others."""

    ranks: Ranks
    looks_once = True

    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """As ever, of this rank's part of each parameter; then all have all parts."""
        loss = None if closure is None else closure()
        nodes = [p.node for p in self.params if p.node.grad is not None]
        before = [(node.data, node.grad) for node in nodes]
        try:
            for node, (data, g) in zip(nodes, before):
                node.data, node.grad = self.part_of(data), self.part_of(data_of(g))
            super().step()
            parts = [node.data for node in nodes]
        finally:
            for node, (data, g) in zip(nodes, before):
                node.data, node.grad = data, g
        pieces = [Piece(x, np.size(n.data), np.shape(n.data)) for n, x in zip(nodes, parts)]
        for node, whole in zip(nodes, joined(pieces, self.ranks)):
            node.data = kept(whole)
        return loss

    def part_of(self, x: Array, ndim: int | None = None) -> Array:
        """This rank's of the entries of a parameter, which the first `ndim` axes of x are."""
        shape = np.shape(x)
        entries, rest = (prod(shape[:ndim]), shape[ndim:]) if ndim is not None else (np.size(x), ())
        return np.reshape(x, (entries, *rest))[part(entries, self.ranks.rank, self.ranks.size)]

    def parts_of(self, whole: Mapping[Value, State]) -> dict[Value, State]:
        """This rank's part of a state."""
        return {
            p: tuple(
                self.part_of(x, p.ndim).copy()
                if np.ndim(x) or (not p.ndim and is_like(x, p))
                else x
                for x in state
            )
            for p, state in whole.items()
        }

    def state_dict(self) -> dict[str, Any]:
        """That of the undivided optimiser, in all ranks: all call it, or it is a RuntimeError."""
        self.ranks.total(at="state_dict() of an optimiser whose state is divided")
        found = super().state_dict()
        places, pieces = [], []
        for i, p in enumerate(self.params):
            for k, x in enumerate(found["state"].get(i, ())):
                if np.ndim(x):
                    places.append((i, k))
                    pieces.append(Piece(x, p.size, (*p.shape, *x.shape[1:])))
        wholes = dict(zip(places, joined(pieces, self.ranks)))
        found["state"] = {
            i: tuple(wholes.get((i, k), x) for k, x in enumerate(state))
            for i, state in found["state"].items()
        }
        return found

    def _states_of(self, state: Mapping[str, Any]) -> dict[Value, State]:
        whole = super()._states_of(state)
        numbers = [x for state in whole.values() for x in state]
        self.ranks.agree({"the optimiser's state": digest(numbers)}, "in what is loaded")
        return self.parts_of(whole)


def joined(pieces: Sequence[Piece], ranks: Ranks) -> Iterator[Array]:
    """The arrays of which each rank has a part: a message for a large one, and for small ones up to
    a megabyte."""
    group: list[Piece] = []
    room = LARGE
    for piece in pieces:
        if piece.nbytes > room:
            yield from exchanged(group, ranks)
            group, room = [], LARGE
        group.append(piece)
        room -= piece.nbytes
    yield from exchanged(group, ranks)


def exchanged(pieces: Sequence[Piece], ranks: Ranks) -> Iterator[Array]:
    """The same, in one message."""
    wholes = [np.empty(x.shape, x.array.dtype) for x in pieces]
    parts = [as_bytes(x.array) for x in pieces]
    ends = [ends_of(pieces, rank, ranks.size) for rank in range(ranks.size)]
    counts = [end[-1] for end in ends]
    if len(pieces) == 1:  # from where it is to where it goes
        ranks.gather_parts(parts[0], counts, as_bytes(wholes[0]))
    elif pieces:
        rows = np.split(
            ranks.gather_parts(np.concatenate(parts), counts, np.empty(sum(counts), np.uint8)),
            np.cumsum(counts)[:-1],
        )
        for i, whole in enumerate(wholes):
            found = [row[end[i] : end[i + 1]] for row, end in zip(rows, ends)]
            np.concatenate(found, out=as_bytes(whole))
    yield from (whole[()] for whole in wholes)


def ends_of(pieces: Sequence[Piece], rank: int, size: int) -> list[int]:
    """Where the bytes of a rank's parts end, one after the other, from 0."""
    ends = [0]
    for x in pieces:
        place = part(x.entries, rank, size)
        ends.append(ends[-1] + x.nbytes // max(x.entries, 1) * (place.stop - place.start))
    return ends


def as_bytes(x: Array) -> Array:
    """The bytes of an array in C order, which it is made of."""
    return np.ascontiguousarray(x).reshape(-1).view(np.uint8)


def shard_state(optimizer: Optimizer, ranks: Ranks | None = None) -> Any:
    """The optimiser with its state divided: each of n ranks has, and updates, an n-th of it.

    For `data_parallel`, which gives all ranks the same gradients. The steps are those of
    `optimizer`, bit for bit, and its state so far is kept. An n-th of the state's memory and of the
    update's time, for a message of the parameters' size in each step. `state_dict()` is called in
    all ranks and is the undivided one, so a checkpoint goes on with any number of ranks.

    For rules that work entry by entry: ValueError, naming it, for an optimiser that looks at
    parameters as a whole (Muon, Adafactor) or has another `step` (LBFGS). With one process it is
    `optimizer` itself. ImportError without mpi4py (extra `mpi`).

    Rajbhandari et al. (2020), ZeRO, stage 1.
    """
    ranks = ranks or world()
    if not isinstance(optimizer, Optimizer):
        raise TypeError(f"shard_state takes an optimiser, not {optimizer!r:.60}")
    kind = type(optimizer)
    if not kind.entrywise or kind.step is not Optimizer.step:
        raise ValueError(
            f"the state of {kind.__name__} cannot be divided: it does not work entry by entry, as "
            "Adam and SGD do"
        )
    if ranks.size == 1:
        return optimizer
    made: Any = object.__new__(type(kind.__name__, (ShardedState, kind), {"ranks": ranks}))
    made.__dict__.update(optimizer.__dict__)
    made.state = made.parts_of(optimizer.state)
    return made
