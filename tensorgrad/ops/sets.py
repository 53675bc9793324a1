"""The values in arrays, each once, and the functions of sets of values.

Choice: of entries that are equal, the first is read, and receives the cotangent.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from tensorgrad.engine.node import Array, data_of
from tensorgrad.engine.primitive import implements


@implements(np.unique)
def unique(
    ar: Array,
    return_index: Any = False,
    return_inverse: Any = False,
    return_counts: Any = False,
    axis: int | None = None,
    *,
    equal_nan: bool = True,
    sorted: bool = True,
) -> Any:
    """The values in ascending order, each once."""
    _, first, *others = np.unique(
        data_of(ar), True, return_inverse, return_counts, axis, equal_nan=equal_nan
    )
    values = np.take(ar, first, axis)
    results = (values, *([first] if return_index else []), *others)
    return results if len(results) > 1 else values


def read_values(function: Any) -> None:
    """Implement one of the array API's functions, which return a selection from `unique_all`."""
    result = type(function(np.zeros(0)))

    @implements(function)
    def unique_named(x: Array) -> Any:
        found = np.unique_all(data_of(x))._asdict()
        found["values"] = np.take(x, found["indices"])
        return result(**{name: found[name] for name in result._fields})


for function in (np.unique_all, np.unique_counts, np.unique_inverse):
    read_values(function)


@implements(np.unique_values)
def unique_values(x: Array) -> Array:
    """The values, each once."""
    return np.unique(x, equal_nan=False)


@implements(np.union1d)
def union1d(ar1: Array, ar2: Array) -> Array:
    """The values in one or the other array."""
    return np.unique(np.concatenate([ar1, ar2], axis=None))


def as_set(ar: Array, assume_unique: bool) -> Array:
    return np.ravel(ar) if assume_unique else np.unique(ar)


@implements(np.intersect1d)
def intersect1d(
    ar1: Array, ar2: Array, assume_unique: bool = False, return_indices: bool = False
) -> Any:
    """The values in both arrays, read in the first."""
    _, i, j = np.intersect1d(data_of(ar1), data_of(ar2), assume_unique, return_indices=True)
    values = np.take(ar1, i).astype(np.result_type(ar1, ar2), copy=False)
    return (values, i, j) if return_indices else values


@implements(np.setdiff1d)
def setdiff1d(ar1: Array, ar2: Array, assume_unique: bool = False) -> Array:
    """The values in the first array that are not in the second."""
    values = as_set(ar1, assume_unique)
    return np.compress(~np.isin(data_of(values), data_of(ar2)), values)


@implements(np.setxor1d)
def setxor1d(ar1: Array, ar2: Array, assume_unique: bool = False) -> Array:
    """The values in exactly one of the arrays."""
    both = np.concatenate([as_set(ar1, assume_unique), as_set(ar2, assume_unique)])
    values, counts = np.unique(both, return_counts=True, equal_nan=False)
    return values[counts == 1]
