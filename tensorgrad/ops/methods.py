"""What NumPy makes of a function: a ufunc's `reduce`, `accumulate`, `reduceat` and `outer`, and
`np.apply_along_axis` and `np.apply_over_axes`.

Choice: of entries that tie for the largest so far, `np.maximum.accumulate` takes the latest.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np

from tensorgrad.engine.arrays import as_array, created
from tensorgrad.engine.batching import along
from tensorgrad.engine.domain import Domain, one_axis, ties
from tensorgrad.engine.node import Array
from tensorgrad.engine.primitive import implements, primitive
from tensorgrad.ops.index import each_along, scatter_add
from tensorgrad.ops.nn.softmax import logsumexp
from tensorgrad.ops.reduce import (
    Axis,
    chosen,
    cumprod,
    cumsum,
    lines,
    max_of,
    min_of,
    prod_of,
    sum_of,
    with_axes,
)
from tensorgrad.ops.signal import part


def running_extremum_rule(g: Array, out: Array, x: Array, axis: int = 0) -> Array:
    """An entry that sets a record receives the cotangents up to the next one."""
    shape = [-1 if a == axis % x.ndim else 1 for a in range(x.ndim)]
    place = np.reshape(created(np.arange, x.shape[axis], like=x), shape)
    holder = np.maximum.accumulate(np.where(x == out, place, 0), axis)
    return scatter_add(g, shape=x.shape, index=each_along(axis, holder, x.shape))


RECORDS = Domain(params=lambda shape: one_axis(shape), kink=ties)
LATEST = "of entries that tie for the extremum so far the latest takes the gradient"
running_max = primitive(
    lambda x, axis=0: np.maximum.accumulate(x, axis),
    running_extremum_rule,
    name="maximum.accumulate",
    domain=RECORDS,
    choice=LATEST,
    batch=along,
)
running_min = primitive(
    lambda x, axis=0: np.minimum.accumulate(x, axis),
    running_extremum_rule,
    name="minimum.accumulate",
    domain=RECORDS,
    choice=LATEST,
    batch=along,
)


def reduce_logaddexp(
    array: Array,
    axis: Axis = 0,
    dtype: Any = None,
    keepdims: bool = False,
    initial: Array = None,
    where: Array = True,
) -> Array:
    """The logarithm of a sum of exponentials."""
    a = chosen(as_array(array, dtype), where, -np.inf)
    result = logsumexp(a, axis=axis, keepdims=keepdims)
    return result if initial is None else np.logaddexp(result, initial)


def reduce_in_order(
    ufunc: np.ufunc,
    array: Array,
    axis: Axis = 0,
    dtype: Any = None,
    keepdims: bool = False,
    initial: Array = None,
    where: Array = True,
) -> Array:
    """One step of `ufunc` after the other."""
    a = as_array(array, dtype)
    rows, mask = lines(a, axis), lines(np.broadcast_to(where, a.shape), axis)
    out = initial
    if out is None and (where is not True or not rows.shape[-1]):
        out = ufunc.identity
        if out is None:
            raise ValueError(f"np.{ufunc.__name__}.reduce of chosen or no entries needs an initial")
    for i in range(rows.shape[-1]):
        step = rows[..., i] if out is None else ufunc(out, rows[..., i])
        out = step if where is True else np.where(mask[..., i], step, out)
    return with_axes(np.broadcast_to(out, rows.shape[:-1]), a.shape, axis, keepdims)


def accumulate(ufunc: np.ufunc, array: Array, axis: int | None = 0, dtype: Any = None) -> Array:
    """All the results on the way of a reduction."""
    a = as_array(array, bool if ufunc in LOGICAL else dtype)
    if axis is None and a.ndim != 1:
        raise ValueError(f"np.{ufunc.__name__}.accumulate of shape {a.shape}: name one axis=")
    axis = axis or 0
    if ufunc in ACCUMULATE:
        return ACCUMULATE[ufunc](a, axis=axis)
    x = np.moveaxis(a, axis, 0)
    steps = [x[0]] if len(x) else []
    for i in range(1, len(x)):
        steps.append(ufunc(steps[-1], x[i]))
    return np.stack(steps, axis=axis) if steps else a


def reduceat(
    reduce: Callable[..., Array],
    array: Array,
    indices: Sequence[int],
    axis: int = 0,
    dtype: Any = None,
) -> Array:
    """`reduce` from each index up to the next; of that entry alone where the next is no later."""
    array, n = as_array(array, dtype), array.shape[axis]
    indices = np.ravel(indices).tolist()
    if not all(0 <= i < n for i in indices):
        raise IndexError(f"reduceat: indices {indices} for an axis of length {n}")
    pieces = [
        reduce(part(array, axis, start, max(stop, start + 1)), axis=axis)
        for start, stop in zip(indices, [*indices[1:], n])
    ]
    return np.stack(pieces, axis=axis)


def outer(ufunc: np.ufunc, a: Array, b: Array, **kwargs: Any) -> Array:
    """`ufunc` of every entry of `a` with every entry of `b`."""
    a, b = as_array(a), as_array(b)
    return ufunc(np.reshape(a, a.shape + (1,) * b.ndim), b, **kwargs)


REDUCE: dict[np.ufunc, Callable[..., Array]] = {
    np.add: sum_of,
    np.multiply: prod_of,
    np.maximum: max_of,
    np.minimum: min_of,
    np.logaddexp: reduce_logaddexp,
}
ACCUMULATE: dict[np.ufunc, Callable[..., Array]] = {
    np.add: cumsum,
    np.multiply: cumprod,
    np.maximum: running_max,
    np.minimum: running_min,
}


LOGICAL = np.logical_and, np.logical_or, np.logical_xor


def method_of(ufunc: np.ufunc, name: str) -> Callable[..., Array] | None:
    """The differentiable method `name` of a ufunc; None for `at`, which writes in place."""
    if ufunc.nin != 2 or ufunc.nout != 1 or ufunc.signature:
        return None
    reduce = partial(REDUCE.get(ufunc) or partial(reduce_in_order, ufunc), axis=0)
    return {
        "reduce": reduce,
        "accumulate": partial(accumulate, ufunc),
        "reduceat": partial(reduceat, reduce),
        "outer": partial(outer, ufunc),
    }.get(name)


@implements(np.apply_along_axis)
def apply_along_axis(
    func1d: Callable[..., Array], axis: int, arr: Array, *args: Any, **kwargs: Any
) -> Array:
    """`np.apply_along_axis`, for a function of a Value with one axis."""
    axis = np.lib.array_utils.normalize_axis_index(axis, arr.ndim)
    rows = np.moveaxis(arr, axis, -1)
    around = rows.shape[:-1]
    results = [as_array(func1d(rows[i], *args, **kwargs)) for i in np.ndindex(around)]
    if not results:
        raise ValueError("Cannot apply_along_axis when any iteration dimensions are 0")
    stacked = np.reshape(np.stack(results), around + results[0].shape)
    n = results[0].ndim
    return np.moveaxis(stacked, range(-n, 0), range(axis, axis + n))


@implements(np.apply_over_axes)
def apply_over_axes(func: Callable[[Array, int], Array], a: Array, axes: Any) -> Array:
    """`np.apply_over_axes`: a reduction after the other, the axes kept as size 1."""
    for axis in np.atleast_1d(axes).tolist():
        result = func(a, axis % a.ndim)
        a = result if result.ndim == a.ndim else np.expand_dims(result, axis % a.ndim)
    return a
