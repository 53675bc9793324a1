"""Data sets made of arrays and of other data sets: PyTorch's names.

A data set is anything with a length and items: at each number an example, or a tuple of its parts.
"""

from __future__ import annotations

import math
import operator
from bisect import bisect_right
from collections.abc import Iterable, Sequence
from itertools import accumulate
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from tensorgrad.engine.arrays import NUMPY, kind_of
from tensorgrad.engine.sparse import canonical, compressed, is_sparse
from tensorgrad.random import generator


class Dataset:
    """A base for data sets of one's own, as in PyTorch; nothing needs it but `a + b`, one after the
    other.

    >>> class Squares(Dataset):
    ...     def __len__(self):
    ...         return 3
    ...     def __getitem__(self, i):
    ...         return i * i
    >>> squares = Squares() + Squares()
    >>> len(squares), squares[5]
    (6, 4)
    """

    def __len__(self) -> int:
        raise NotImplementedError(f"{type(self).__name__} does not define __len__()")

    def __getitem__(self, i: Any) -> Any:
        raise NotImplementedError(f"{type(self).__name__} does not define __getitem__()")

    def __add__(self, other: Any) -> ConcatDataset:
        return ConcatDataset([self, other])


def with_rows(x: Any) -> Any:
    """An array whose rows can be taken: of a list or table; a sparse matrix as SciPy's, stored row
    by row; arrays of other kinds as they are."""
    if is_sparse(x):
        return compressed(canonical(x)).tocsr()
    return np.asarray(x) if kind_of(x) is NUMPY else x


class TensorDataset(Dataset):
    """Equally long arrays, an example a row of each.

    >>> TensorDataset([[1, 2], [3, 4]], [0, 1])[1]
    (array([3, 4]), np.int64(1))
    """

    def __init__(self, *tensors: ArrayLike) -> None:
        self.tensors = tuple(map(with_rows, tensors))
        shapes = [a.shape for a in self.tensors]
        if not shapes or () in shapes or len({shape[0] for shape in shapes}) > 1:
            raise ValueError(f"TensorDataset: needs equally long arrays, got shapes {shapes}")

    def __getitem__(self, i: Any) -> tuple[Any, ...]:
        return tuple(a[i] for a in self.tensors)

    def __len__(self) -> int:
        return int(self.tensors[0].shape[0])  # a sparse array has no length


class Subset(Dataset):
    """The examples of another data set at these numbers.

    >>> Subset("abc", [2, 0])[0]
    'c'
    """

    def __init__(self, dataset: Any, indices: Sequence[int]) -> None:
        self.dataset, self.indices = dataset, indices

    def __getitem__(self, i: int) -> Any:
        return self.dataset[self.indices[i]]

    def __len__(self) -> int:
        return len(self.indices)


class ConcatDataset(Dataset):
    """Data sets one after the other.

    >>> "".join(ConcatDataset(["ab", "cd"])[i] for i in range(4))
    'abcd'
    """

    def __init__(self, datasets: Iterable[Any]) -> None:
        self.datasets = list(datasets)
        self.ends = list(accumulate(map(len, self.datasets)))
        if not self.ends:
            raise ValueError("ConcatDataset: of no data sets")

    def __getitem__(self, i: int) -> Any:
        i = place(i, len(self))
        k = bisect_right(self.ends, i)
        return self.datasets[k][i - (self.ends[k - 1] if k else 0)]

    def __len__(self) -> int:
        return self.ends[-1]


class StackDataset(Dataset):
    """Equally long data sets side by side: an example is a tuple of theirs, or a dict by name.

    >>> StackDataset(x="ab", y=[0, 1])[1]
    {'x': 'b', 'y': 1}
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        if bool(args) == bool(kwargs):
            raise ValueError("StackDataset: data sets by position or by name")
        self.datasets: Any = kwargs or args
        parts = list(kwargs.values() or args)
        if len({len(part) for part in parts}) > 1:
            raise ValueError(f"StackDataset: lengths {[len(part) for part in parts]} differ")
        self.length = len(parts[0])

    def __getitem__(self, i: int) -> Any:
        if isinstance(self.datasets, dict):
            return {name: part[i] for name, part in self.datasets.items()}
        return tuple(part[i] for part in self.datasets)

    def __len__(self) -> int:
        return self.length


def random_split(dataset: Any, lengths: Sequence[float], rng: Any = None) -> list[Subset]:
    """The examples of a data set dealt out: so many each, or such shares, which add up to 1.

    Of shares each part has as many whole examples as its share holds, and the rest goes round, the
    first part first. ValueError where lengths do not add up to the data set's.

    >>> [len(part) for part in random_split(range(10), [0.8, 0.2], rng=0)]
    [8, 2]
    """
    n = len(dataset)
    shares = [float(x) for x in lengths]
    if not shares or not all(0 <= x < math.inf for x in shares):
        raise ValueError(f"random_split: lengths {list(lengths)} are no lengths or shares")
    if math.isclose(sum(shares), 1) and n != 1:
        sizes = [math.floor(n * x) for x in shares]
        for i in range(n - sum(sizes)):
            sizes[i % len(sizes)] += 1
    else:
        sizes = [operator.index(x) if not isinstance(x, float) else -1 for x in lengths]
    if sum(sizes) != n or min(sizes) < 0:
        raise ValueError(
            f"random_split: {list(lengths)} are neither shares that add up to 1 nor lengths that "
            f"add up to {n}"
        )
    order = generator(rng).permutation(n).tolist()
    return [Subset(dataset, order[end - k : end]) for k, end in zip(sizes, accumulate(sizes))]


def place(i: int, n: int) -> int:
    """`i`, counted from the end where it is negative. IndexError for others, as lists have it."""
    if not -n <= i < n:
        raise IndexError(f"there is no example {i} of {n}")
    return i % n
