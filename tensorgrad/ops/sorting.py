"""Sorting moves entries: the cotangent goes back to where the entry came from.

Choice: entries that tie keep their order, the first of them being the smallest.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from tensorgrad.engine.arrays import anywhere
from tensorgrad.engine.batching import along
from tensorgrad.engine.domain import Domain, Shape, one_axis, ties
from tensorgrad.engine.node import Array
from tensorgrad.engine.primitive import implements, primitive

TIES = "entries that tie keep their order"


def order(x: Array, axis: int) -> Array:
    """The places of the entries from the smallest to the largest; of those that tie, in order.

    Ties are rare, and NumPy's stable sort takes five times as long as its default one.
    """
    places = np.argsort(x, axis=axis)
    sorted_ = np.swapaxes(np.take_along_axis(x, places, axis=axis), axis, 0)
    if anywhere(sorted_[1:] == sorted_[:-1]):
        return np.argsort(x, axis=axis, kind="stable")
    return places


def rank(x: Array, axis: int) -> Array:
    """How many entries each entry comes after: its place when sorted."""
    return np.argsort(order(x, axis), axis=axis)


def sort_rule(
    g: Array, out: Array, x: Array, axis: int | None = -1, kind: Any = None, stable: Any = None
) -> Array:
    if axis is None:
        return np.reshape(sort_rule(g, out, np.ravel(x)), x.shape)
    return np.take_along_axis(g, rank(x, axis), axis=axis)


def partition_rule(
    g: Array, out: Array, x: Array, kth: Any = 0, axis: int | None = -1, kind: Any = None
) -> Array:
    """Sorted, `out` and `x` are the same: so an entry's place in `out` is found by its rank."""
    if axis is None:
        return np.reshape(partition_rule(g, out, np.ravel(x)), x.shape)
    place = np.take_along_axis(order(out, axis), rank(x, axis), axis=axis)
    return np.take_along_axis(g, place, axis=axis)


def partitions(shape: Shape) -> Any:
    return [
        {"kth": kth, **params}
        for params in [{"axis": None}, *one_axis(shape)]
        for kth in (0, -1)
        if shape and 0 not in shape
    ]


sort = primitive(
    np.sort,
    sort_rule,
    domain=Domain(
        params=lambda shape: [{"axis": None}, {}, *one_axis(shape)] if shape else (), kink=ties
    ),
    choice=TIES,
    batch=along,
)
partition = primitive(
    np.partition,
    partition_rule,
    domain=Domain(params=partitions, kink=ties),
    choice=TIES,
    batch=along,
)


@implements(np.sort_complex)
def sort_complex(a: Array) -> Array:
    """`a` sorted by real, then by imaginary parts; complex also where `a` is real."""
    return np.sort(a).astype(np.result_type(a.dtype, complex) if a.dtype.kind != "c" else a.dtype)
