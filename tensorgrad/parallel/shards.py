"""Who learns from which examples: each batch of an epoch is split, and every example is one rank's.

The batch size is that of all ranks together. What is drawn does not depend on how many ranks there
are, so a training goes on from its checkpoint with another number of them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from operator import length_hint
from typing import Any

import numpy as np

from tensorgrad.data.samplers import BatchSampler
from tensorgrad.parallel.ranks import Ranks, digest_of, everywhere, part, world
from tensorgrad.train.batches import Counted, as_batches


class Sharded(BatchSampler):
    """The examples of a `sampler`, in batches of which each rank is given its part.

    `batch_size`: of all ranks together. For `DataLoader(x, y, batch_sampler=Sharded(sampler, 64))`.
    The order is rank 0's, whatever the others draw. A part may be empty, in the last batch.
    """

    def __init__(
        self,
        sampler: Iterable[int],
        batch_size: int = 32,
        drop_last: bool = False,
        *,
        ranks: Ranks | None = None,
    ) -> None:
        super().__init__(sampler, batch_size, drop_last)
        self.ranks = ranks or world()

    def __iter__(self) -> Iterator[list[int]]:
        order = np.fromiter(self.sampler, np.int64)
        lengths = self.ranks.gather(np.array([len(order)]))[:, 0]
        if np.any(lengths != lengths[0]):
            raise everywhere(ValueError(f"ranks have {lengths.tolist()} examples an epoch"))
        for batch in BatchSampler(self.ranks.share(order), self.batch_size, self.drop_last):
            yield batch[part(len(batch), self.ranks.rank, self.ranks.size)]


class Shards:
    """Of each batch of `batches`, a DataLoader or what else `fit` takes, this rank's rows.

    Every rank goes through all batches, so any loader will do; where to read an example takes long,
    `Sharded` is the better way. ValueError in all ranks where their generators are not at the same
    place: each would have another epoch.
    """

    def __init__(self, batches: Any, *, ranks: Ranks | None = None) -> None:
        batches = as_batches(batches, epochs=2)
        self.batches = batches if hasattr(batches, "state_dict") else Counted(batches)
        self.ranks = ranks or world()

    def __iter__(self) -> Iterator[Any]:
        self.ranks.agree(
            {"the order of the batches, a seed's,": digest_of(repr(self.batches.state_dict()))},
            "at the start of an epoch",
            ": DataLoader(..., rng=0) gives all the same",
        )
        for batch in self.batches:
            yield tuple([x[part(len(x), self.ranks.rank, self.ranks.size)] for x in batch])

    def __length_hint__(self) -> int:
        return length_hint(self.batches, 0)

    def state_dict(self) -> dict[str, Any]:
        """That of the batches."""
        state: dict[str, Any] = self.batches.state_dict()
        return state

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on there."""
        self.batches.load_state_dict(state)
