"""NumPy's functions that write into an array. Into a Value they write as `v[i] = x` does: the name
moves to a new node, and gradients flow to what was written and to what it left standing.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from tensorgrad.engine.arguments import as_param
from tensorgrad.engine.arrays import as_array
from tensorgrad.engine.node import Array, Handle, data_of
from tensorgrad.engine.primitive import implements
from tensorgrad.ops.index import each_along


def writable(name: str, a: Array) -> None:
    if not isinstance(a, Handle):
        raise TypeError(
            f"np.{name}: a Value written into an array would lose its gradient: write into "
            "Value(array, requires_grad=False), or give the data, value.data"
            + ("; for np.full and np.full_like np.full(shape, v, like=v)" * (name == "copyto"))
        )


@implements(np.copyto)
def copyto(dst: Array, src: Array, casting: Any = "same_kind", where: Array = True) -> None:
    """`src` into `dst`, where `where` holds."""
    writable("copyto", dst)
    if hasattr(src, "dtype") and not np.can_cast(src.dtype, dst.dtype, casting):
        raise TypeError(f"copyto: cannot cast {src.dtype} to {dst.dtype}, casting={casting!r}")
    dst[...] = src if where is True else np.where(where, src, dst)


@implements(np.fill_diagonal)
def fill_diagonal(a: Array, val: Array, wrap: bool = False) -> None:
    """`val`, over and over, onto the main diagonal."""
    diagonal = np.zeros(a.shape, bool)
    np.fill_diagonal(diagonal, True, wrap)
    if np.size(val):
        a[diagonal] = np.resize(val, np.count_nonzero(diagonal))


@implements(np.place)
def place(arr: Array, mask: Array, vals: Array) -> None:
    """`vals`, over and over, into the places where `mask` holds, one after the other."""
    writable("place", arr)
    mask = np.reshape(as_array(data_of(mask), bool), arr.shape)
    if mask.any() and not np.size(vals):
        raise ValueError("place: no values to insert")
    arr[mask] = np.resize(vals, np.count_nonzero(mask))


@implements(np.putmask)
def putmask(a: Array, mask: Array, values: Array) -> None:
    """`values`, over and over in the shape of `a`, into the places where `mask` holds."""
    writable("putmask", a)
    if np.size(values):
        a[...] = np.where(np.reshape(mask, a.shape), np.resize(values, a.shape), a)


@implements(np.put)
def put(a: Array, ind: Any, v: Array, mode: Any = "raise") -> None:
    """`v`, over and over, into the places `ind` of the flattened array."""
    writable("put", a)
    places = np.take(np.arange(a.size), as_param(ind), mode=mode)
    if np.size(v):
        a[np.unravel_index(places, a.shape)] = np.resize(v, places.shape)


@implements(np.put_along_axis)
def put_along_axis(arr: Array, indices: Any, values: Array, axis: int | None) -> None:
    """`values` into the places that `take_along_axis` reads."""
    writable("put_along_axis", arr)
    indices = as_param(indices)
    if axis is None:
        arr[np.unravel_index(np.take(np.arange(arr.size), indices), arr.shape)] = values
    else:
        arr[each_along(axis, indices, arr.shape)] = values
