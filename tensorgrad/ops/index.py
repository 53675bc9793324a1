"""Indexing: reading (`v[i]`), writing (`v[i] = x`) and the scatter that is their transpose.

Entries that are read twice receive both cotangents; an entry that is written twice keeps, as in
NumPy, the last value, and only that one receives a cotangent.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from tensorgrad.engine.arrays import as_array, copied, created, in_place, is_numpy
from tensorgrad.engine.batching import TAKE_VARYING_PARAMS, destinations, full, moving
from tensorgrad.engine.domain import Domain, Shape
from tensorgrad.engine.dtypes import is_floating
from tensorgrad.engine.node import Array
from tensorgrad.engine.primitive import Primitive, primitive
from tensorgrad.ops.constant import on_data


def is_basic(index: Any) -> bool:
    """Whether `index` selects a view: integers, slices, `None` and `...` only."""
    parts = index if isinstance(index, tuple) else (index,)
    return all(
        p is None
        or p is Ellipsis
        or (isinstance(p, (int, slice, np.integer)) and not isinstance(p, bool))
        for p in parts
    )


def never_repeats(index: Any) -> bool:
    """Whether `index` reads no entry twice, as far as its form tells: a view or a mask."""
    return is_basic(index) or getattr(getattr(index, "dtype", None), "kind", "") == "b"


def add_entries(total: Array, g: Array, index: Any) -> None:
    """The entries of `g` added at `index`, in place."""
    if never_repeats(index):
        total[index] += g
    else:
        add_at(total, g, index)


def add_at(total: Array, g: Array, index: Any) -> None:
    """`np.add.at`; for long slices behind a few numbers, as `np.take` reads them, one after the
    other: (16, 32, 48, 48) float32 in 48 places of an axis 1 to 5 ms, where it takes 10 to 16."""
    *before, last = index if isinstance(index, tuple) else (index,)
    whole = all(isinstance(part, slice) and part == slice(None) for part in before)
    numbers = is_numpy(last) and np.ndim(last) == 1
    if whole and numbers and g.size >= LONG * len(last):
        for i, place in enumerate(last.tolist()):
            total[(*before, place)] += g[(*before, i)]
    else:
        np.add.at(total, index, g)


LONG = 256  # entries of a slice, on average


def scatter(g: Array, shape: Shape, index: Any) -> Array:
    """Zeros of `shape`, with the entries of `g` added at `index`."""
    out = created(np.zeros, shape, g.dtype, like=g)
    if never_repeats(index):
        out[index] = g
    else:
        add_at(out, g, index)
    return out


def fitting(value: Array, x: Array) -> Array:
    """`value`; TypeError where the dtype of `x` would cut off its fraction or imaginary part."""
    if np.result_type(x, value).kind != x.dtype.kind:
        kind = getattr(value, "dtype", type(value).__name__)
        array = "a real" if is_floating(x.dtype) else "an integer"
        raise TypeError(f"a value of {kind} would be cut off in {array} array")
    return value


def set_entries(x: Array, value: Array, index: Any) -> Array:
    """A copy of `x` with `value` at `index`."""
    out = in_place(copied(x))
    out[index] = fitting(value, out)
    return out[()]


def survives(g: Array, shape: Shape, index: Any) -> Array:
    """Which of the values written at `index` are still there at the end."""
    writer = created(np.arange, g.size, like=g).reshape(g.shape)
    owner = created(np.zeros, shape, int, like=g)
    owner[index] = writer
    return owner[index] == writer


survivors = on_data(survives)


def last_written(g: Array, shape: Shape, index: Any) -> Array:
    """The cotangents of the values that are still there at the end."""
    taken = g[index]
    if is_basic(index):
        return taken
    return np.where(survivors(taken, shape=shape, index=index), taken, 0)


# Inside vmap: entries are written one example after the other in one long row.


def rows(
    x: Array, value: Array, shape: Shape, index: Any, batch: Shape
) -> tuple[Array, Any, Array]:
    """`x`, with a row for each example; where `value` goes in the rows; and `value`, as rows."""
    places = destinations(lambda x, index: x[index], shape, batch, {"index": index})
    k, n, target = len(batch), math.prod(batch), places.shape[len(batch) :]
    own = np.shape(value)[k:]
    aligned = (1,) * (len(target) - len(own)) + own[max(len(own) - len(target), 0) :]
    value = np.broadcast_to(np.reshape(value, np.shape(value)[:k] + aligned), batch + target)
    where = np.reshape(np.broadcast_to(places, batch + target), (n, math.prod(target)))
    return (
        np.reshape(x, (n, math.prod(shape))),
        (np.arange(n)[:, None], where),
        np.reshape(value, (n, math.prod(target))),
    )


def set_examples(op: Primitive, batch: Shape, xs: list[Array], params: Mapping[str, Any]) -> Array:
    x, value = xs
    out = in_place(copied(full(x, batch)))
    whole = out.shape  # and no other name of the array: a program refuses writes into one of two
    out, where, values = rows(out, fitting(value, out), whole[len(batch) :], params["index"], batch)
    out[where] = values
    return np.reshape(out, whole)


def add_examples(op: Primitive, batch: Shape, xs: list[Array], params: Mapping[str, Any]) -> Array:
    shape, g = params["shape"], full(xs[0], batch)
    out = created(np.zeros, (*batch, *shape), g.dtype, like=g)
    if is_basic(params["index"]):
        out[(slice(None),) * len(batch) + as_tuple(params["index"])] = g
        return out
    out, where, values = rows(out, g, shape, params["index"], batch)
    np.add.at(out, where, values)
    return np.reshape(out, (*batch, *shape))


def as_tuple(index: Any) -> tuple[Any, ...]:
    return index if isinstance(index, tuple) else (index,)


TAKE_VARYING_PARAMS += [set_examples, add_examples]


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
    adds=add_entries,
    domain=Domain(params=some_indices, complex=True),
    batch=moving,
    view=True,
)
scatter_add: Primitive = primitive(
    scatter,
    lambda g, out, x, shape=(), index=(): g[index],
    name="scatter_add",
    domain=Domain(params=lambda shape: [{"shape": (3, *shape), "index": i} for i in (0, [1], -1)]),
    batch=add_examples,
)
setitem: Primitive = primitive(
    set_entries,
    lambda g, out, x, value, index=(): setitem(g, 0.0, index=index),
    lambda g, out, x, value, index=(): last_written(g, x.shape, index),
    name="setitem",
    domain=Domain(params=writable),
    batch=set_examples,
)


def numbers(shape: Shape, start: int = 0) -> Array:
    """The entries' numbers. What a NumPy function makes of them tells where it moves entries."""
    return np.arange(start, start + math.prod(shape)).reshape(shape)


def along(axis: int | None, indices: Any, shape: Shape) -> Any:
    """The index that reads `indices` along `axis`, whole in the axes before it."""
    return indices if axis is None else (slice(None),) * (axis % len(shape)) + (indices,)


def each_along(axis: int | None, indices: Any, shape: Shape) -> Any:
    """The index that reads `indices` along `axis`, at its own place in every other axis."""
    if axis is None:
        return indices
    grid: list[Any] = list(np.ogrid[tuple(slice(n) for n in shape)])
    grid[axis] = indices
    return tuple(grid)


def take_rule(
    g: Array, out: Array, x: Array, indices: Any = (), axis: int | None = None, mode: Any = "raise"
) -> Array:
    if not g.size:  # of an array without entries NumPy takes any
        return 0.0
    shape = (x.size,) if axis is None or not x.shape else x.shape  # a number may have an axis 0
    last = shape[axis or 0] - 1
    if mode == "wrap":
        indices = np.mod(indices, last + 1)
    elif mode == "clip":
        indices = np.minimum(np.maximum(indices, 0), last)
    else:
        indices = as_array(indices, int)  # truth values are the numbers 0 and 1 here, no mask
    index = along(axis, indices, shape)
    return np.reshape(scatter_add(g, shape=shape, index=index), x.shape)


def take_along_axis_rule(
    g: Array, out: Array, x: Array, indices: Any = (), axis: int | None = -1
) -> Array:
    shape = (x.size,) if axis is None else x.shape
    index = each_along(axis, indices, shape)
    return np.reshape(scatter_add(g, shape=shape, index=index), x.shape)


def takes(shape: Shape) -> Any:
    return [
        {"indices": indices, "axis": axis, **mode}
        for axis in (None, *range(-max(1, len(shape)), max(1, len(shape))))
        for indices, mode in (
            ([0, 0, -1], {}),
            (0, {}),
            ([7, -8, -1], {"mode": "wrap"}),
            ([[7, -8]], {"mode": "clip"}),
        )
        if math.prod(shape)
    ]


def takes_along(shape: Shape) -> Any:
    """Two indices along an axis, for every place of the other axes or the same for all."""
    for axis in range(len(shape)) if math.prod(shape) else ():
        for others in (shape, (1,) * len(shape)):
            sizes = (*others[:axis], 2, *others[axis + 1 :])
            yield {"indices": np.zeros(sizes, int), "axis": axis}


take = primitive(np.take, take_rule, domain=Domain(params=takes, complex=True), batch=moving)
take_along_axis = primitive(
    np.take_along_axis,
    take_along_axis_rule,
    domain=Domain(params=takes_along, complex=True),
    batch=moving,
)


def window_numbers(shape: Shape, window_shape: Any, axis: Any) -> Array:
    return sliding_window_view(numbers(shape), window_shape, axis)


def windows(shape: Shape) -> Any:
    """Windows over all axes, over the last axis, and over the last axis twice."""
    n = min(2, *shape, 2) if shape else 0
    if n:
        yield {"window_shape": (n,) * len(shape)}
        yield {"window_shape": n, "axis": -1}
        yield {"window_shape": (n, 1), "axis": (-1, -1)}


sliding_windows = primitive(
    sliding_window_view,
    lambda g, out, x, window_shape=(), axis=None, subok=False: np.reshape(
        scatter_add(g, shape=(x.size,), index=window_numbers(x.shape, window_shape, axis)), x.shape
    ),
    domain=Domain(params=windows, complex=True),
    batch=moving,
    view=True,
)
