"""Indexing: reading (`v[i]`), writing (`v[i] = x`) and the scatter that is their transpose.

Entries that are read twice receive both cotangents; an entry that is written twice keeps, as in
NumPy, the last value, and only that one receives a cotangent.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from tensorgrad.domain import Domain, Shape
from tensorgrad.node import Array
from tensorgrad.primitive import Primitive, primitive


def is_basic(index: Any) -> bool:
    """Whether `index` selects a view: integers, slices, `None` and `...` only."""
    parts = index if isinstance(index, tuple) else (index,)
    return all(
        p is None
        or p is Ellipsis
        or (isinstance(p, (int, slice, np.integer)) and not isinstance(p, bool))
        for p in parts
    )


def scatter(g: Array, shape: Shape, index: Any) -> Array:
    """Zeros of `shape`, with the entries of `g` added at `index`."""
    out = np.zeros(shape, g.dtype)
    if is_basic(index):
        out[index] = g
    else:
        np.add.at(out, index, g)
    return out


def set_entries(x: Array, value: Array, index: Any) -> Array:
    """A copy of `x` with `value` at `index`."""
    out = np.array(x)
    if out.dtype.kind not in "fc":
        raise TypeError("assigning to an integer array would cut the value off")
    out[index] = value
    return out[()]


def last_written(g: Array, shape: Shape, index: Any) -> Array:
    """The cotangents of the values that were still there at the end."""
    taken = g[index]
    if is_basic(index):
        return taken
    writer, owner = np.arange(taken.size).reshape(taken.shape), np.zeros(shape, int)
    owner[index] = writer
    return taken * (owner[index] == writer)


def some_indices(shape: Shape, *value: Shape) -> Any:
    """An index of every form that fits `shape`."""
    if not shape:
        return [{"index": ()}, {"index": (None, ...)}]
    n = shape[0]
    forms: list[Any] = [..., None, slice(None, None, -1), (..., slice(1, None))]
    forms += [np.arange(n) % 2 == 0, np.zeros((2, 2), int), [0, n - 1, 0], -1, 0] if n else []
    forms += [(slice(None), None, 0), (0, [0, 0])] if len(shape) > 1 and n and shape[1] else []
    return [{"index": form} for form in forms]


def writable(shape: Shape, value: Shape) -> Any:
    """Those of them that take a value of this shape."""
    for params in some_indices(shape):
        target = np.zeros(shape)[params["index"]].shape
        fits = (n in (1, m) for n, m in zip(value[::-1], target[::-1]))
        if len(value) <= len(target) and all(fits):
            yield params


getitem: Primitive = primitive(
    lambda x, index: x[index],
    lambda g, out, x, index=(): scatter_add(g, shape=x.shape, index=index),
    name="getitem",
    domain=Domain(params=some_indices, complex=True),
)
scatter_add: Primitive = primitive(
    scatter,
    lambda g, out, x, shape=(), index=(): g[index],
    name="scatter_add",
    domain=Domain(params=lambda shape: [{"shape": (3, *shape), "index": i} for i in (0, [1], -1)]),
)
setitem: Primitive = primitive(
    set_entries,
    lambda g, out, x, value, index=(): setitem(g, 0.0, index=index),
    lambda g, out, x, value, index=(): last_written(g, x.shape, index),
    name="setitem",
    domain=Domain(params=writable),
)


def along(axis: int | None, indices: Any, shape: Shape) -> Any:
    """The index that reads `indices` along `axis`, whole in the axes before it."""
    return indices if axis is None else (slice(None),) * (axis % len(shape)) + (indices,)


def each_along(axis: int | None, indices: Any, shape: Shape) -> Any:
    """The index that reads `indices` along `axis`, at its own place in every other axis."""
    if axis is None:
        return indices
    grid: list[Any] = list(np.ogrid[tuple(slice(n) for n in np.shape(indices))])
    grid[axis] = indices
    return tuple(grid)


def taking(index: Any) -> Any:
    """The rule of a function that reads `x[index(axis, indices, x.shape)]`."""

    def rule(g: Array, out: Array, x: Array, indices: Any = (), axis: int | None = None) -> Array:
        flat = (x.size,) if axis is None else x.shape
        return np.reshape(
            scatter_add(g, shape=flat, index=index(axis, np.asarray(indices), flat)), x.shape
        )

    return rule


def takes(shape: Shape) -> Any:
    return [
        {"indices": indices, "axis": axis}
        for axis in (None, *range(-len(shape), len(shape)))
        for indices in ([0, 0, -1], 0)
        if math.prod(shape)
    ]


def takes_along(shape: Shape) -> Any:
    return [
        {
            "indices": np.zeros([2 if a == axis else n for a, n in enumerate(shape)], int),
            "axis": axis,
        }
        for axis in range(len(shape))
        if math.prod(shape)
    ]


take = primitive(np.take, taking(along), domain=Domain(params=takes))
take_along_axis = primitive(
    np.take_along_axis, taking(each_along), domain=Domain(params=takes_along)
)
