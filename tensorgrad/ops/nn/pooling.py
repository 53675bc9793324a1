"""Windows of the last axes: the largest entry of each, the sum, and the entries themselves.

Window `o` of `kernel_size` entries, `dilation` apart, begins at `stride` times o. All windows are
taken at once: their first entries are a strided view of x, their second ones another, and so on, in
whatever order x lies in memory. Along one axis after the other that is k + k views for k x k.

Choice: entries of a window that tie share its gradient equally, as for `max`. (PyTorch's goes to
the first.)
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from functools import reduce
from typing import Any

import numpy as np

from tensorgrad.engine.arrays import anywhere, as_array, beside, created, whole
from tensorgrad.engine.batching import full
from tensorgrad.engine.domain import Domain, Shape, ties
from tensorgrad.engine.node import Array
from tensorgrad.engine.primitive import Primitive, primitive
from tensorgrad.engine.rules import flat_with_params
from tensorgrad.ops.constant import on_data
from tensorgrad.ops.elementwise import only
from tensorgrad.ops.reduce import SHARE

Sizes = tuple[int, ...]


def count_of(n: int, k: int, s: int, d: int) -> int:
    """How many windows fit in `n` entries."""
    return (n - (k - 1) * d - 1) // s + 1


def slices(n: int, k: int, s: int, d: int) -> list[slice]:
    """Where the first entries of all windows are along an axis of `n`, where the second, ..."""
    last = s * (count_of(n, k, s, d) - 1)
    return [slice(i, i + last + 1, s) for i in range(0, k * d, d)]


def at(axis: int, place: slice) -> Any:
    """The index of a place along `axis`, counted from the end."""
    return (..., place, *[slice(None)] * (-axis - 1))


def views(x: Array, axis: int, k: int, s: int, d: int) -> list[Array]:
    """The first entries of all windows along `axis`, the second, ..."""
    return [x[at(axis, place)] for place in slices(x.shape[axis], k, s, d)]


def each(kernel_size: Sizes, stride: Sizes = (), dilation: Sizes = ()) -> Any:
    """Of each axis the size, stride and dilation; by default windows lie side by side."""
    return zip(kernel_size, stride or kernel_size, dilation or (1,) * len(kernel_size))


def each_axis(kernel_size: Sizes, stride: Sizes = (), dilation: Sizes = ()) -> Any:
    """The last axes, with the size, stride and dilation of their windows."""
    return enumerate(each(kernel_size, stride, dilation), -len(kernel_size))


@whole
def largest(x: Array, kernel_size: Sizes, stride: Sizes = (), dilation: Sizes = ()) -> Array:
    if x.dtype == object:  # scalars that `zoom` takes a forward apart into
        return largest_of_scalars(x, kernel_size, stride, dilation)
    for axis, window in each_axis(kernel_size, stride, dilation):
        first, *others = views(x, axis, *window)
        x = reduce(np.maximum, others or [first], first)  # an array of its own for one entry too
    return x


def places(
    shape: Shape, kernel_size: Sizes, stride: Sizes = (), dilation: Sizes = ()
) -> Iterator[Any]:
    """The index of the first entries of all windows of an array, of the second, ..."""
    sizes = shape[len(shape) - len(kernel_size) :]
    along = (slices(n, *window) for n, window in zip(sizes, each(kernel_size, stride, dilation)))
    return ((..., *place) for place in itertools.product(*along))


def largest_of_scalars(x: Array, kernel_size: Sizes, stride: Sizes, dilation: Sizes) -> Array:
    """Of each window the maximum, as an operation."""
    entries = [x[place] for place in places(x.shape, kernel_size, stride, dilation)]
    return np.frompyfunc(lambda *window: np.max(np.stack(window)), len(entries), 1)(*entries)


def hits(
    x: Array, out: Array, kernel_size: Sizes, stride: Sizes = (), dilation: Sizes = ()
) -> Iterator[tuple[Any, Array]]:
    """Where the first entries of all windows are, and which are the largest; the second, ..."""
    undefined = anywhere(out != out)
    for place in places(x.shape, kernel_size, stride, dilation):
        hit = x[place] == out
        yield place, hit | (x[place] != x[place]) if undefined else hit


def number_of(hits: list[tuple[Any, Array]]) -> Array:
    """How many entries of each window are the largest, as small integers."""
    small = np.min_scalar_type(len(hits))
    return reduce(np.add, [hit.astype(small) for _, hit in hits])


def apart(kernel_size: Sizes, stride: Sizes = (), dilation: Sizes = ()) -> bool:
    """Whether no two windows have an entry in common."""
    return all(s > (k - 1) * d for k, s, d in each(kernel_size, stride, dilation))


def covered(x: Array, out: Array, kernel_size: Sizes) -> bool:
    """Whether windows that are apart leave nothing out."""
    last = slice(x.ndim - len(kernel_size), None)
    return tuple(x.shape[last]) == tuple(n * k for n, k in zip(out.shape[last], kernel_size))


@whole
def to_largest(
    g: Array, x: Array, out: Array, kernel_size: Sizes, stride: Sizes = (), dilation: Sizes = ()
) -> Array:
    found = [*hits(x, out, kernel_size, stride, dilation)]
    share = as_array(g / number_of(found), g.dtype)
    alone = apart(kernel_size, stride, dilation)
    total = (np.empty_like if alone and covered(x, out, kernel_size) else np.zeros_like)(x, g.dtype)
    for place, hit in found:
        if alone:
            total[place] = only(hit, share)
        else:
            total[place] += only(hit, share)
    return total


@whole
def of_largest(
    c: Array, x: Array, out: Array, kernel_size: Sizes, stride: Sizes = (), dilation: Sizes = ()
) -> Array:
    found = [*hits(x, out, kernel_size, stride, dilation)]
    total = reduce(np.add, [only(hit, c[place]) for place, hit in found])
    return as_array(total / number_of(found), c.dtype)


def windows(shape: Shape, *others: Shape) -> Any:
    """Windows over the last axis and over the last two, apart, overlapping, and with gaps."""
    if 0 in shape:
        return
    for n in range(1, 1 + min(2, len(shape))):
        for k, s, d in ((2, 2, 1), (2, 1, 1), (1, 2, 1), (2, 1, 2)):
            if all(size > (k - 1) * d for size in shape[-n:]):
                yield {"kernel_size": (k,) * n, "stride": (s,) * n, "dilation": (d,) * n}
        if min(shape[-n:]) > 1:
            yield {"kernel_size": (2,) * n}


ONE = {"kernel_size": (2,), "stride": (1,)}


def on_stacks(op: Primitive, batch: Shape, xs: list[Array], params: Mapping[str, Any]) -> Array:
    """Examples of a vmap are axes in front, which windows do not see."""
    return op.forward(*(full(x, batch) for x in xs), **params)


max_pool = primitive(
    largest,
    lambda g, out, x, **window: max_pool_share(g, x, out, **window),
    name="max_pool",
    notation=r"\max_{{{kernel_size}{others}}} {0}",
    domain=Domain(params=windows, kink=ties),
    choice=SHARE,
    batch=on_stacks,
)
max_pool_share: Primitive = primitive(
    to_largest,
    lambda c, total, g, x, out, **window: max_pool_mean(c, x, out, **window),
    flat_with_params,
    flat_with_params,
    name="max_pool_share",
    notation=r"\bigl[ \sum_{{o \ni i}} {{{0}}}_o [{{{1}}}_i = {{{2}}}_o] / n_o"
    r" \bigr]_{{i{others}}}",
    domain=Domain(
        broadcast=False,
        params=lambda g, x, out: [ONE] if x and 0 not in x and x[-1] > 1 else (),
        kink=lambda g, x, out: ties(x),
        make=lambda g, x, out: (max_pool(g, **ONE), x, max_pool(x, **ONE)),
    ),
    batch=on_stacks,
)
max_pool_mean: Primitive = primitive(
    of_largest,
    lambda g, total, c, x, out, **window: max_pool_share(g, x, out, **window),
    flat_with_params,
    flat_with_params,
    name="max_pool_mean",
    notation=r"\bigl[ \sum_{{i \in o}} {{{0}}}_i [{{{1}}}_i = {{{2}}}_o] / n_o"
    r" \bigr]_{{o{others}}}",
    domain=Domain(
        broadcast=False,
        params=lambda c, x, out: [ONE] if x and 0 not in x and x[-1] > 1 else (),
        kink=lambda c, x, out: ties(x),
        make=lambda c, x, out: (c, x, max_pool(x, **ONE)),
    ),
    batch=on_stacks,
)


def first_largest(x: Array, out: Array, ends: list[tuple[int, int]], **window: Sizes) -> Array:
    """Where the first of the largest entries of each window is: its number among those of the last
    axes without what was added at their `ends`."""
    n = len(ends)
    sizes = [size - low - high for size, (low, high) in zip(x.shape[-n:], ends)]
    numbers = created(np.arange, math.prod(sizes), like=x).reshape(sizes)
    numbers = np.pad(numbers, ends, constant_values=-1)
    first = np.zeros_like(out, int)
    for (_, *place), hit in reversed([*hits(x, out, **window)]):
        number = numbers[tuple(place)]
        first = np.where(hit & (number >= 0), number, first)
    return first


places_of_largest = on_data(first_largest, on_stacks)


def counts(
    shape: Shape,
    ends: list[tuple[int, int]],
    counted: Sizes,
    kernel_size: Sizes,
    stride: Sizes = (),
    dilation: Sizes = (),
) -> Any:
    """How many entries of each window count: those of `shape`, and so many beyond both ends."""
    result: Any = 1.0
    for axis, (k, s, d) in each_axis(kernel_size, stride, dilation):
        (low, high), size, more = ends[axis], shape[axis], counted[axis]
        i = np.arange(-low, size + high)
        along = ((i >= -more) & (i < size + more)).astype(float)
        n = total_of(along, (k,), (s,), (d,))
        n = float(n[0]) if (n == n[0]).all() else n.reshape(-1, *[1] * (-axis - 1))
        result = result * n
    return result


def total_of(x: Array, kernel_size: Sizes, stride: Sizes = (), dilation: Sizes = ()) -> Array:
    for axis, window in each_axis(kernel_size, stride, dilation):
        first, *others = views(x, axis, *window)
        x = reduce(np.add, others, first) if others else +first
    return x


def spread(
    g: Array, size: Sizes, kernel_size: Sizes, stride: Sizes = (), dilation: Sizes = ()
) -> Array:
    window = kernel_size, stride, dilation
    if apart(*window):
        total = np.zeros_like(g, shape=(*g.shape[: -len(size)], *size))
        for place in places(total.shape, *window):
            total[place] = g
        return total
    for axis, along in reversed([*each_axis(*window)]):
        shape = [*g.shape]
        shape[axis] = size[axis]
        total = np.zeros_like(g, shape=shape)
        for place in slices(size[axis], *along):
            total[at(axis, place)] += g
        g = total
    return g


sum_pool = primitive(
    total_of,
    lambda g, out, x, kernel_size=(), **window: sum_pool_spread(
        g, size=x.shape[x.ndim - len(kernel_size) :], kernel_size=kernel_size, **window
    ),
    name="sum_pool",
    notation=r"\sum_{{{kernel_size}{others}}} {0}",
    domain=Domain(params=windows, complex=True),
    batch=on_stacks,
)
sum_pool_spread: Primitive = primitive(
    spread,
    lambda c, total, g, size=(), **window: sum_pool(c, **window),
    name="sum_pool_spread",
    notation=r"\bigl[ \sum_{{o \ni i}} {{{0}}}_o \bigr]_{{i{others}}}",
    domain=Domain(
        params=lambda shape: [ONE | {"size": (shape[-1] + 1,)}] if shape and 0 not in shape else (),
        complex=True,
    ),
    batch=on_stacks,
)


def gathered(x: Array, kernel_size: Sizes, stride: Sizes = (), dilation: Sizes = ()) -> Array:
    found = [x[place] for place in places(x.shape, kernel_size, stride, dilation)]
    return np.stack(found, axis=x.ndim - len(kernel_size))


def added(
    g: Array, size: Sizes, kernel_size: Sizes, stride: Sizes = (), dilation: Sizes = ()
) -> Array:
    n = len(kernel_size)
    total = created(np.zeros, (*g.shape[: -n - 1], *size), g.dtype, like=g)
    for i, place in enumerate(places(total.shape, kernel_size, stride, dilation)):
        total[place] += g[(..., i, *[slice(None)] * n)]
    return total


unfold = primitive(
    gathered,
    lambda g, out, x, kernel_size=(), **window: fold(
        g, size=x.shape[x.ndim - len(kernel_size) :], kernel_size=kernel_size, **window
    ),
    name="unfold",
    domain=Domain(params=windows, complex=True),
    batch=on_stacks,
)
fold: Primitive = primitive(
    added,
    lambda c, total, g, size=(), **window: unfold(c, **window),
    name="fold",
    domain=Domain(
        params=lambda shape: (
            [ONE | {"size": (shape[-1] + 1,)}] if len(shape) > 1 and shape[-2] == 2 else ()
        ),
        complex=True,
    ),
    batch=on_stacks,
)


def largest_in(x: Any, edges: Sequence[Sequence[tuple[int, int]]], return_indices: bool) -> Any:
    """The largest entry of windows that are told by their edges, for each axis."""
    n, shape = len(edges), x.shape
    numbers = np.arange(math.prod(shape[-n:])).reshape(shape[-n:])
    found, places = [], []
    for window in itertools.product(*edges):
        place = tuple(slice(low, high) for low, high in window)
        entries = x[(..., *place)]
        row = np.reshape(entries, (*shape[:-n], math.prod(entries.shape[-n:])))
        found.append(np.max(row, axis=-1))
        if return_indices:
            here = beside(numbers[place].ravel(), x)
            places.append(np.take(here, np.argmax(row, axis=-1)))
    result = (*shape[:-n], *map(len, edges))
    out = np.reshape(np.stack(found, -1), result)
    return (out, np.reshape(np.stack(places, -1), result)) if return_indices else out


def random_windows(u: Array, shape: Shape, counts: Sizes, kernel_size: Sizes) -> Array:
    """Where the entries of random windows are, by number: for each row of `u`, one number for each
    axis (the last axis of two is the first, as in PyTorch), places by entries of a window."""
    n, rows = len(shape), len(u)
    index: Any = 0
    for axis, (size, count, k) in enumerate(zip(shape, counts, kernel_size)):
        draw = u[:, [n - 1 - axis if n == 2 else axis]]
        step = (size - k) / (count - 1) if count > 1 else 0
        start = ((created(np.arange, count, like=u) + draw) * step).astype(int)
        start = start - (draw * step).astype(int)
        start[:, -1] = size - k
        along = start[..., None] + created(np.arange, k, like=u)  # (rows, count, k)
        spread = [1] * (1 + 2 * n)
        spread[0], spread[1 + axis], spread[1 + n + axis] = rows, count, k
        index = index * size + along.reshape(spread)
    return index.reshape(rows, *counts, math.prod(kernel_size))
