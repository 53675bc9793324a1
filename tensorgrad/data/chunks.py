"""Chunks: the batches of chunked arrays, one chunk in memory at a time."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from tensorgrad.data.loader import ahead
from tensorgrad.engine.arrays import all_to_numbers, is_lazy, same_shape
from tensorgrad.extras import whole


class Chunks:
    """The batches of equally long chunked arrays of Dask, matched row by row.

    Each `for` loop over it is one epoch, and computes a chunk of rows of all arrays at once, in one
    pass, when its turn comes: the others are not in memory. It yields tuples, one batch of each
    array, NumPy's, of `batch_size` rows of a chunk (the last of a chunk may have fewer), or of all
    of them. With `shuffle` the order of the chunks, and that of the rows within each, are new in
    every epoch, from `rng`, a seed or a NumPy `Generator`.

    `prefetch`: how many batches a thread prepares ahead. Rows are cut where those of the first
    array are. Sizes of chunks may be unknown; then there is no `len`.

    TypeError for arrays that are not chunked, ValueError for unequal lengths. Needs the extra
    `dask`.
    """

    def __init__(
        self,
        *arrays: Any,
        batch_size: int | None = None,
        shuffle: bool = False,
        prefetch: int = 0,
        rng: int | np.random.Generator | None = 0,
    ) -> None:
        if not arrays or not is_lazy(arrays[0]):
            raise TypeError(
                "Chunks: the first is an array of Dask, of a frame x.to_dask_array(lengths=True); "
                "a DataLoader takes NumPy's"
            )
        import dask.array as da

        self.rows = arrays[0].chunks[0]
        self.arrays = [x if is_lazy(x) else da.from_array(np.asarray(x)) for x in arrays]
        shapes = [x.shape for x in self.arrays]
        if () in shapes or not all(same_shape(shapes[0][:1], shape[:1]) for shape in shapes):
            raise ValueError(f"Chunks: arrays must be equally long, got shapes {shapes}")
        if any(n != n for x in self.arrays for n in x.chunks[0]):
            if len({len(x.chunks[0]) for x in self.arrays}) > 1:
                raise ValueError("Chunks: where sizes are unknown, chunks must be as many in each")
        else:
            self.arrays = [x.rechunk({0: self.rows}) for x in self.arrays]
        self.batch_size = None if batch_size is None else whole("Chunks: batch_size", batch_size)
        self.shuffle = shuffle
        self.prefetch = whole("Chunks: prefetch", prefetch, 0)
        self._rng = np.random.default_rng(rng)

    def __len__(self) -> int:
        if any(n != n for n in self.rows):
            raise TypeError("sizes of chunks are not known yet; in Dask: x.compute_chunk_sizes()")
        return sum(-(-n // (self.batch_size or max(n, 1))) for n in self.rows)

    def __repr__(self) -> str:
        n = self.arrays[0].shape[0]
        examples = f"{n} examples" if n == n else "examples"
        return f"Chunks: {examples} in {len(self.rows)} chunks{', shuffled' * self.shuffle}"

    def __iter__(self) -> Iterator[Any]:
        seed = int(self._rng.integers(1 << 32)) if self.shuffle else 0
        batches = self._batches(np.random.default_rng(seed))
        return ahead(batches, self.prefetch) if self.prefetch else batches

    def _batches(self, rng: np.random.Generator) -> Iterator[Any]:
        n = len(self.rows)
        for i in rng.permutation(n).tolist() if self.shuffle else range(n):
            parts = all_to_numbers([x.blocks[i] for x in self.arrays])
            size = len(parts[0])
            if any(len(part) != size for part in parts):
                shapes = [part.shape for part in parts]
                raise ValueError(
                    f"Chunks: chunk {i} has parts of shapes {shapes}: rechunk the arrays alike, "
                    "before rows are left out"
                )
            order = rng.permutation(size) if self.shuffle else None
            step = self.batch_size or max(size, 1)
            for start in range(0, size, step):
                place = slice(start, start + step)
                rows = place if order is None else order[place]
                yield tuple([part[rows] for part in parts])
            del parts  # before the next is computed
