"""In which order a loader takes examples: PyTorch's samplers.

A sampler is anything that yields numbers of examples, anew each time it is iterated, and knows how
many these are. A loader's state has the generators that are its attributes.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from tensorgrad.extras import whole
from tensorgrad.random import generator


class SequentialSampler:
    """One after the other.

    >>> list(SequentialSampler("abc"))
    [0, 1, 2]
    """

    def __init__(self, data_source: Any) -> None:
        self.data_source = data_source

    def __iter__(self) -> Iterator[int]:
        return iter(range(len(self)))

    def __len__(self) -> int:
        return len(self.data_source)


class RandomSampler:
    """All examples in an order drawn anew; or, with `replacement`, each drawn on its own.

    `num_samples`: how many, by default as many as there are.

    >>> sorted(RandomSampler("abc", rng=0))
    [0, 1, 2]
    """

    def __init__(
        self,
        data_source: Any,
        replacement: bool = False,
        num_samples: int | None = None,
        *,
        rng: Any = None,
    ) -> None:
        self.data_source, self.replacement = data_source, replacement
        n = len(data_source) if num_samples is None else num_samples
        self.num_samples = whole("num_samples", n)
        self.rng = generator(rng)

    def __iter__(self) -> Iterator[int]:
        n = len(self.data_source)
        if self.replacement:
            return iter(self.rng.integers(0, n, self.num_samples).tolist())
        rounds = [self.rng.permutation(n) for _ in range(-(-self.num_samples // n))]
        return iter(np.concatenate(rounds)[: self.num_samples].tolist())

    def __len__(self) -> int:
        return self.num_samples


class SubsetRandomSampler:
    """The examples of these numbers in an order drawn anew.

    >>> sorted(SubsetRandomSampler([5, 3], rng=0))
    [3, 5]
    """

    def __init__(self, indices: Sequence[int], *, rng: Any = None) -> None:
        self.indices, self.rng = indices, generator(rng)

    def __iter__(self) -> Iterator[int]:
        return iter(self.rng.permutation(np.asarray(self.indices, int)).tolist())

    def __len__(self) -> int:
        return len(self.indices)


class WeightedRandomSampler:
    """Each example as often as its weight says, for classes of different sizes.

    ValueError for weights that are negative, not finite or all 0, and, without `replacement`, for
    fewer positive ones than samples.

    >>> list(WeightedRandomSampler([0, 1], 3, rng=0))
    [1, 1, 1]
    """

    def __init__(
        self,
        weights: ArrayLike,
        num_samples: int,
        replacement: bool = True,
        *,
        rng: Any = None,
    ) -> None:
        self.weights = np.asarray(weights, float)
        self.num_samples = whole("num_samples", num_samples)
        self.replacement, self.rng = replacement, generator(rng)
        if self.weights.ndim != 1 or not np.all(self.weights >= 0) or not self.total() > 0:
            raise ValueError("weights are numbers of 0 or more, one for each example, not all 0")
        if not replacement and np.count_nonzero(self.weights) < num_samples:
            raise ValueError(f"{num_samples} samples without replacement need as many weights")

    def total(self) -> float:
        total = float(self.weights.sum())
        return total if total < np.inf else 0.0

    def __iter__(self) -> Iterator[int]:
        n, p = len(self.weights), self.weights / self.total()
        return iter(self.rng.choice(n, self.num_samples, self.replacement, p).tolist())

    def __len__(self) -> int:
        return self.num_samples


class BatchSampler:
    """The numbers of another sampler, so many at a time.

    >>> list(BatchSampler(range(5), 2, drop_last=False))
    [[0, 1], [2, 3], [4]]
    """

    def __init__(self, sampler: Iterable[int], batch_size: int, drop_last: bool) -> None:
        self.sampler, self.drop_last = sampler, drop_last
        self.batch_size = whole("batch_size", batch_size)

    def __iter__(self) -> Iterator[list[int]]:
        batch: list[int] = []
        for i in self.sampler:
            batch.append(i)
            if len(batch) == self.batch_size:
                yield batch
                batch = []
        if batch and not self.drop_last:
            yield batch

    def __len__(self) -> int:
        n: int = len(self.sampler)  # type: ignore[arg-type]
        return n // self.batch_size if self.drop_last else -(-n // self.batch_size)
