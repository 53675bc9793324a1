"""DataLoader: arrays in, batches out, shuffled anew each epoch."""

from __future__ import annotations  # np.random, 10 ms to import, loads with the first loader

import operator
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray


class DataLoader:
    """The batches of equally long arrays, matched row by row.

    Each `for` loop over it is one epoch and yields tuples, one batch of each array, of shape
    (batch_size, ...); the last batch is smaller where the length does not divide, unless
    `drop_last`. `len(loader)` is the number of batches. With `shuffle`, every epoch is a new
    permutation from `rng`, a seed or a NumPy `Generator`: the same seed, the same epochs.

    Shuffled batches are copies; without `shuffle` they are views of the arrays.

    Raises `ValueError` for no arrays, arrays of unequal lengths or without rows, a batch size
    below 1, or a `drop_last` that drops everything; `TypeError` for a batch size that is no
    integer.

    >>> from tensorgrad.data import DataLoader
    >>> x, y = [[1, 1], [2, 2], [3, 3]], [10, 20, 30]
    >>> for xb, yb in DataLoader(x, y, batch_size=2):
    ...     print(xb.tolist(), yb.tolist())
    [[1, 1], [2, 2]] [10, 20]
    [[3, 3]] [30]
    """

    def __init__(
        self,
        *arrays: ArrayLike,
        batch_size: int = 32,
        shuffle: bool = False,
        rng: int | np.random.Generator | None = 0,
        drop_last: bool = False,
    ) -> None:
        self.arrays = tuple(np.asarray(array) for array in arrays)
        shapes = [array.shape for array in self.arrays]
        if not shapes or () in shapes:
            raise ValueError(
                f"DataLoader: needs arrays with rows, got shapes {shapes} "
                "(batch_size is given by name)"
            )
        if len({shape[0] for shape in shapes}) > 1:
            raise ValueError(f"DataLoader: arrays must be equally long, got shapes {shapes}")
        try:
            self.batch_size = operator.index(batch_size)
        except TypeError:
            raise TypeError(
                f"DataLoader: batch_size must be an integer, got {batch_size!r}"
            ) from None
        if self.batch_size < 1:
            raise ValueError(f"DataLoader: batch_size must be at least 1, got {batch_size}")
        self.shuffle = shuffle
        self.drop_last = drop_last
        self._rng = np.random.default_rng(rng)
        if not len(self):
            raise ValueError(
                f"DataLoader: {shapes[0][0]} rows make no batch of {batch_size} "
                f"with drop_last={drop_last}"
            )

    def __len__(self) -> int:
        batches, rest = divmod(len(self.arrays[0]), self.batch_size)
        return batches + (rest > 0 and not self.drop_last)

    def __iter__(self) -> Iterator[tuple[NDArray[Any], ...]]:
        size = self.batch_size
        starts = range(0, len(self) * size, size)
        if not self.shuffle:
            for i in starts:
                yield tuple([a[i : i + size] for a in self.arrays])
            return
        order = self._rng.permutation(len(self.arrays[0]))
        for i in starts:
            rows = order[i : i + size]
            # The rows a[rows], 1.1 to 1.8 times as fast.
            yield tuple([a.take(rows, axis=0) for a in self.arrays])
