"""Functions that keep some entries: those at some places, or where a condition holds."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.lib.array_utils import normalize_axis_tuple

from tensorgrad.engine.arguments import as_param
from tensorgrad.engine.arrays import created
from tensorgrad.engine.node import Array, data_of
from tensorgrad.engine.primitive import implements
from tensorgrad.ops.reduce import numpy_call


def places(a: Array, axis: int | None) -> Array:
    """The indices along `axis`, or of the flattened array; NumPy takes a number as one of these."""
    return np.arange(a.size if axis is None or not a.shape else a.shape[axis])


@numpy_call(np.compress)
def compress(condition: Array, a: Array, axis: int | None = None, out: None = None) -> Array:
    """The entries along `axis` where the condition holds."""
    return np.take(a, np.compress(data_of(condition), places(a, axis)), axis)


@implements(np.extract)
def extract(condition: Array, arr: Array) -> Array:
    """The entries where the condition holds, flattened."""
    return np.take(arr, np.flatnonzero(data_of(condition)))


@implements(np.delete)
def delete(arr: Array, obj: Any, axis: int | None = None) -> Array:
    """The entries along `axis` without those at `obj`."""
    return np.take(arr, np.delete(places(arr, axis), as_param(obj)), axis)


@implements(np.trim_zeros)
def trim_zeros(filt: Array, trim: str = "fb", axis: Any = None) -> Array:
    """Without the zeros at the front ("f") or back ("b") of the axes, of all by default."""
    if trim.lower() not in ("f", "b", "fb", "bf"):
        raise ValueError(f"trim_zeros: trim is 'f', 'b' or 'fb', not {trim!r}")
    axes = range(filt.ndim) if axis is None else normalize_axis_tuple(axis, filt.ndim)
    index = [slice(None)] * filt.ndim
    for a, kept in enumerate(np.nonzero(data_of(filt))):
        if a in axes:
            start = kept.min(initial=filt.shape[a]) if "f" in trim.lower() else 0
            index[a] = slice(start, kept.max(initial=-1) + 1 if "b" in trim.lower() else None)
    return filt[tuple(index)]


def sides(m: Array) -> tuple[int, int]:
    """The shape of the matrices; a vector is every row of one."""
    return m.shape[-2:][0], m.shape[-1]


@implements(np.tril)
def tril(m: Array, k: int = 0) -> Array:
    """Zeros above diagonal `k`."""
    return np.where(created(np.tri, *sides(m), k, bool, like=m), m, m.dtype.type(0))


@implements(np.triu)
def triu(m: Array, k: int = 0) -> Array:
    """Zeros below diagonal `k`."""
    return np.where(created(np.tri, *sides(m), k - 1, bool, like=m), m.dtype.type(0), m)


@implements(np.diagflat)
def diagflat(v: Array, k: int = 0) -> Array:
    """The matrix with the entries of `v` on diagonal `k`."""
    return np.diag(np.ravel(v), k)
