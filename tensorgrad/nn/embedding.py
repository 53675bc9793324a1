"""Rows of a table, chosen by numbers."""

from __future__ import annotations

from typing import Any, Self

import numpy as np
import numpy.typing as npt

from tensorgrad.engine.arrays import as_array, beside, created, to_numbers
from tensorgrad.engine.node import data_of
from tensorgrad.nn.module import Module, learning
from tensorgrad.ops import nn as ops
from tensorgrad.random import generator
from tensorgrad.value import Value


def embedding(
    input: Any,
    weight: Any,
    padding_idx: int | None = None,
    max_norm: float | None = None,
    norm_type: float = 2.0,
    scale_grad_by_freq: bool = False,
    sparse: bool = False,
) -> Any:
    """The rows `weight[input]`: of integers (...) and a weight (n, features), (..., features).

    `padding_idx`: a row that gets no gradient. `max_norm`: rows that are used and longer, by
    `norm_type`, are shortened to it first, in place. `scale_grad_by_freq`: the gradient of a row is
    divided by how often it is used. `sparse` is taken and means nothing: gradients are arrays.
    TypeError for numbers that are no integers, ValueError for rows that are not there.

    >>> embedding(np.array([2, 0]), np.array([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]]))
    array([[5., 6.],
           [1., 2.]])
    """
    padding_idx = _padding_row(padding_idx, weight)
    if max_norm is not None:
        _shortened(weight, input, max_norm, norm_type)
    return ops.embedding.embedding(
        weight, input, padding_idx=padding_idx, scale_grad_by_freq=scale_grad_by_freq
    )


def _padding_row(padding_idx: int | None, weight: Any) -> int | None:
    """The number of the row, counted from the front; ValueError where there is none."""
    n: int = weight.shape[0]
    if padding_idx is None:
        return None
    if not -n <= padding_idx < n:
        raise ValueError(f"padding_idx={padding_idx} of a table of {n} rows")
    return padding_idx % n


def _shortened(weight: Any, input: Any, max_norm: float, norm_type: float) -> None:
    """Rows of the table that are used and too long, made as long as `max_norm`; in place."""
    table = data_of(weight)
    used = np.unique(ops.embedding.row_numbers(data_of(input), table.shape[0]))
    lengths = np.linalg.norm(table[used], norm_type, axis=1)
    table[used] *= np.where(lengths > max_norm, max_norm / (lengths + 1e-7), 1)[:, None]


def embedding_bag(
    input: Any,
    weight: Any,
    offsets: Any = None,
    max_norm: float | None = None,
    norm_type: float = 2,
    scale_grad_by_freq: bool = False,
    mode: str = "mean",
    sparse: bool = False,
    per_sample_weights: Any = None,
    include_last_offset: bool = False,
    padding_idx: int | None = None,
) -> Any:
    """The sum, mean or maximum of the rows of each bag: (bags, features).

    `input`: (bags, n), or all bags in one row with the `offsets` where each begins (and the last
    ends, with `include_last_offset`). `per_sample_weights`, like `input`: factors of the rows of a
    sum. `padding_idx`: rows that are not in any bag. An empty bag is 0; entries that tie for a
    maximum share its gradient equally. Other arguments as of `embedding`. ValueError and TypeError
    for what does not fit together.

    >>> table = np.array([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]])
    >>> embedding_bag(np.array([0, 1, 2]), table, np.array([0, 2]))
    array([[2., 3.],
           [5., 6.]])
    """
    input = as_array(data_of(input))
    if mode not in ("sum", "mean", "max"):
        raise ValueError(f"embedding_bag: mode={mode!r}; there are 'sum', 'mean' and 'max'")
    if per_sample_weights is not None and mode != "sum":
        raise ValueError("embedding_bag: per_sample_weights= are factors of a sum: mode='sum'")
    if per_sample_weights is not None and np.shape(per_sample_weights) != input.shape:
        raise ValueError(
            f"embedding_bag: per_sample_weights of shape {np.shape(per_sample_weights)} for "
            f"an input of shape {input.shape}"
        )
    starts, size = _bags(input, offsets, include_last_offset)
    sizes = np.diff(np.append(starts, size))
    bag, place = np.repeat(np.arange(len(starts)), sizes), np.arange(size)
    bag, place = beside(bag, input), beside(place - starts[bag], input)
    numbers, padding = input.reshape(-1), _padding_row(padding_idx, weight)
    rows = embedding(numbers, weight, padding_idx, max_norm, norm_type, scale_grad_by_freq)
    present = place >= 0 if padding is None else numbers != padding
    counts = np.bincount(bag[present], minlength=len(starts))[:, None]
    if mode == "max":
        return _largest(rows, bag, place, present, counts)
    if per_sample_weights is not None:
        rows = rows * np.reshape(per_sample_weights, (-1, 1))
    if padding is not None:
        rows = np.where(present[:, None], rows, 0)
    total = ops.embedding.add_rows(rows, bag, n=len(starts))
    return total if mode == "sum" else total / np.maximum(counts, 1).astype(rows.dtype)


def _bags(input: Any, offsets: Any, include_last_offset: bool) -> tuple[Any, int]:
    """Where each bag begins in the flat input, and where that ends."""
    if input.ndim == 2:
        if offsets is not None:
            raise ValueError("embedding_bag: an input (bags, n) has no offsets=")
        return np.arange(input.shape[0]) * input.shape[1], input.size
    if input.ndim != 1 or offsets is None:
        raise ValueError(
            f"embedding_bag: an input (bags, n), or (n) with offsets=, not of shape {input.shape}"
        )
    offsets, size = np.asarray(to_numbers(data_of(offsets))), input.size
    if include_last_offset:
        offsets, size = offsets[:-1], int(offsets[-1])
    ends = np.append(offsets, size)
    if ends[0] != 0 or np.any(np.diff(ends) < 0) or size != input.size:
        raise ValueError(
            f"embedding_bag: offsets {offsets.tolist()!r:.60} of {input.size} numbers: they begin "
            "at 0, do not fall, and stay within these"
        )
    return offsets, size


def _largest(rows: Any, bag: Any, place: Any, present: Any, counts: Any) -> Any:
    """The largest entries of each bag, of its rows side by side."""
    if not len(bag):
        return created(np.zeros, (len(counts), rows.shape[1]), rows.dtype, like=rows)
    index = created(np.zeros, (len(counts), int(place.max()) + 1), int, like=place)
    there = created(np.zeros, index.shape, bool, like=place)
    index[bag, place], there[bag, place] = created(np.arange, len(bag), like=place), present
    best = np.max(np.where(there[:, :, None], rows[index], -np.inf), axis=1)
    return np.where(counts > 0, best, 0).astype(rows.dtype)


class _Table(Module):
    """A table of rows that learn."""

    def __init__(
        self, n: int, features: int, padding_idx: int | None, dtype: npt.DTypeLike, rng: Any
    ) -> None:
        name = type(self).__name__
        if n < 1 or features < 1:
            raise ValueError(f"{name}({n}, {features}): both sizes must be positive")
        self.num_embeddings, self.embedding_dim = n, features
        table = generator(rng).standard_normal((n, features)).astype(learning(dtype))
        self.num_embeddings, self.embedding_dim = n, features
        self.padding_idx = _padding_row(padding_idx, table)
        if self.padding_idx is not None:
            table[self.padding_idx] = 0
        self.weight = Value(table)

    @classmethod
    def from_pretrained(cls, embeddings: Any, freeze: bool = True, **settings: Any) -> Self:
        """A layer with this table (n, features), which learns only without `freeze`."""
        table = np.array(data_of(embeddings))
        if table.ndim != 2:
            raise ValueError(f"{cls.__name__}: a table (n, features), not of shape {table.shape}")
        layer = cls(*table.shape, **settings, dtype=table.dtype, rng=0)  # type: ignore[misc]
        layer.weight.data = table
        layer.weight.requires_grad = not freeze
        return layer


class Embedding(_Table):
    """`embedding`: rows of a table (num_embeddings, embedding_dim), drawn from N(0, 1).

    The row `padding_idx` is 0 at first and does not learn.

    >>> Embedding(65, 8)(np.array([[1, 2, 3]])).shape
    (1, 3, 8)
    """

    def __init__(
        self,
        num_embeddings: int,
        embedding_dim: int,
        padding_idx: int | None = None,
        max_norm: float | None = None,
        norm_type: float = 2.0,
        scale_grad_by_freq: bool = False,
        sparse: bool = False,
        *,
        dtype: npt.DTypeLike = np.float32,
        rng: Any = None,
    ) -> None:
        super().__init__(num_embeddings, embedding_dim, padding_idx, dtype, rng)
        self.max_norm, self.norm_type = max_norm, norm_type
        self.scale_grad_by_freq = scale_grad_by_freq

    def forward(self, input: Any) -> Any:
        return embedding(
            input,
            self.weight,
            self.padding_idx,
            self.max_norm,
            self.norm_type,
            self.scale_grad_by_freq,
        )


class EmbeddingBag(_Table):
    """`embedding_bag`: the sum, mean or maximum of the rows of each bag.

    >>> EmbeddingBag(10, 3)(np.array([1, 2, 3, 4]), np.array([0, 1])).shape
    (2, 3)
    """

    def __init__(
        self,
        num_embeddings: int,
        embedding_dim: int,
        max_norm: float | None = None,
        norm_type: float = 2.0,
        scale_grad_by_freq: bool = False,
        mode: str = "mean",
        sparse: bool = False,
        include_last_offset: bool = False,
        padding_idx: int | None = None,
        *,
        dtype: npt.DTypeLike = np.float32,
        rng: Any = None,
    ) -> None:
        super().__init__(num_embeddings, embedding_dim, padding_idx, dtype, rng)
        self.max_norm, self.norm_type, self.mode = max_norm, norm_type, mode
        self.scale_grad_by_freq = scale_grad_by_freq
        self.include_last_offset = include_last_offset

    def forward(self, input: Any, offsets: Any = None, per_sample_weights: Any = None) -> Any:
        return embedding_bag(
            input,
            self.weight,
            offsets,
            self.max_norm,
            self.norm_type,
            self.scale_grad_by_freq,
            self.mode,
            per_sample_weights=per_sample_weights,
            include_last_offset=self.include_last_offset,
            padding_idx=self.padding_idx,
        )
