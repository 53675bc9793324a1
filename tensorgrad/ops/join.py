"""Joining arrays end to end or as layers, and splitting them again."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import accumulate
from typing import Any

import numpy as np

from tensorgrad.engine.arguments import as_param
from tensorgrad.engine.arrays import as_array
from tensorgrad.engine.batching import along, full
from tensorgrad.engine.domain import Domain, Shape, one_axis
from tensorgrad.engine.node import Array, Handle
from tensorgrad.engine.primitive import implements, primitive
from tensorgrad.engine.rules import Together
from tensorgrad.ops.index import fitting, numbers


def pieces(g: Array, out: Array, *xs: Array, axis: int | None = 0) -> list[Array]:
    """The parts of the cotangent that lie where the operands were put."""
    if axis is None:
        ends = accumulate(x.size for x in xs)
        return [np.reshape(g[end - x.size : end], x.shape) for x, end in zip(xs, ends)]
    before, ends = (slice(None),) * (axis % g.ndim), accumulate(x.shape[axis] for x in xs)
    return [g[(*before, slice(end - x.shape[axis], end))] for x, end in zip(xs, ends)]


def layers(g: Array, out: Array, *xs: Array, axis: int = 0) -> list[Array]:
    before = (slice(None),) * (axis % g.ndim)
    return [g[(*before, i) if before else i] for i in range(len(xs))]


def stack_examples(op: Any, batch: Shape, xs: list[Array], params: Mapping[str, Any]) -> Array:
    axis = params.get("axis", 0)
    return np.stack([full(x, batch) for x in xs], axis if axis < 0 else len(batch) + axis)


JOINED = Domain(broadcast=False, params=lambda shape, *same: one_axis(shape))
concatenate = primitive(
    lambda *xs, axis=0: np.concatenate(xs, axis),
    Together(pieces),
    name="concatenate",
    domain=JOINED._replace(params=lambda shape, *same: [*one_axis(shape), {"axis": None}]),
    batch=along,
)
stack = primitive(
    lambda *xs, axis=0: np.stack(xs, axis),
    Together(layers),
    name="stack",
    domain=JOINED,
    batch=stack_examples,
)


def cast(arrays: Iterable[Array], dtype: Any, casting: str) -> list[Array]:
    """The arrays in `dtype`, by default the one that holds all, if the rule `casting` allows it."""
    if dtype is None and casting == "same_kind":
        return list(arrays)
    arrays = [as_array(x) for x in arrays]
    dtype = np.result_type(*arrays) if dtype is None else np.dtype(dtype)
    for x in arrays:
        if not np.can_cast(x.dtype, dtype, casting):  # type: ignore[arg-type]
            raise TypeError(f"cannot cast {x.dtype} to {dtype} by the rule casting={casting!r}")
    return [x.astype(dtype) for x in arrays]


@implements(np.concatenate)
def concatenate_all(
    arrays: Sequence[Array], axis: int | None = 0, *, dtype: Any = None, casting: str = "same_kind"
) -> Array:
    """`np.concatenate`: arrays end to end along an axis, or flattened."""
    return concatenate(*cast(arrays, dtype, casting), axis=axis)


@implements(np.stack)
def stack_all(
    arrays: Sequence[Array], axis: int = 0, *, dtype: Any = None, casting: str = "same_kind"
) -> Array:
    """`np.stack`: arrays of one shape along a new axis."""
    return stack(*cast(arrays, dtype, casting), axis=axis)


def array(x: Any, dtype: Any = None) -> Array:
    """What `np.array` makes of nested lists of numbers and arrays, of Values too.

    A list with a Value in it is a Value, which remembers where each entry came from. ValueError for
    lists of different lengths. (`np.array` makes an array of each Value, and its gradient would be
    lost: it raises. With `like=` one of the Values it does the same as this.)

    >>> from tensorgrad import Value
    >>> v = Value(3.0)
    >>> rotated = array([[0.0, -v], [v, 1.0]])
    >>> rotated.sum(axis=1)[1].backward()
    >>> v.grad
    np.float64(1.0)
    """
    made = as_array(joined(x), dtype)
    return made.copy() if made is x else made


def joined(x: Any) -> Array:
    """The array of nested lists; arrays as they are."""
    if not isinstance(x, (list, tuple)):
        return as_array(x)
    parts = [joined(part) for part in x]
    return np.stack(parts) if any(isinstance(part, Handle) for part in parts) else as_array(x)


@implements(np.array, np.asarray, np.asanyarray)
def array_like(x: Any, dtype: Any = None, *order: Any, ndmin: int = 0, **memory: Any) -> Array:
    """`np.array` and its kin, called with `like=` a Value."""
    made = array(x, dtype)
    before = (1,) * (ndmin - made.ndim)
    return np.reshape(made, before + made.shape) if before else made


@implements(np.append)
def append(arr: Array, values: Array, axis: int | None = None) -> Array:
    """`values` after `arr`, flattened without an axis."""
    parts = [arr, values] if axis is not None else [np.ravel(arr), np.ravel(values)]
    return np.concatenate(parts, axis or 0)


@implements(np.hstack)
def hstack(tup: Iterable[Array], *, dtype: Any = None, casting: Any = "same_kind") -> Array:
    """Side by side: along axis 1, or the only one."""
    parts = [np.atleast_1d(x) for x in tup]
    axis = 0 if parts and parts[0].ndim == 1 else 1
    return np.concatenate(parts, axis, dtype=dtype, casting=casting)


@implements(np.vstack)
def vstack(tup: Iterable[Array], *, dtype: Any = None, casting: Any = "same_kind") -> Array:
    """One below the other: along axis 0; a vector is a row."""
    return np.concatenate([np.atleast_2d(x) for x in tup], 0, dtype=dtype, casting=casting)


@implements(np.dstack)
def dstack(tup: Iterable[Array]) -> Array:
    """Along axis 2; a matrix is one layer."""
    return np.concatenate([np.atleast_3d(x) for x in tup], 2)


@implements(np.column_stack)
def column_stack(tup: Iterable[Array]) -> Array:
    """Side by side; a vector is a column."""
    return np.concatenate([np.atleast_2d(x).T if np.ndim(x) < 2 else x for x in tup], 1)


def nesting(x: Any) -> int:
    """How deep `x` is nested in lists, the same everywhere."""
    if isinstance(x, tuple):
        raise TypeError("block: nest lists, not tuples")
    if type(x) is not list:
        return 0
    depths = {nesting(part) for part in x}
    if len(depths) != 1:
        raise ValueError("block: a list is empty, or the lists are nested to different depths")
    return 1 + depths.pop()


def innermost(x: Any) -> list[Array]:
    return [leaf for part in x for leaf in innermost(part)] if type(x) is list else [x]


@implements(np.block)
def block(arrays: Any) -> Array:
    """Nested lists of blocks: the innermost joined along the last axis, then the axes before it."""
    depth = nesting(arrays)
    ndim = max(depth, *map(np.ndim, innermost(arrays)))

    def join(part: Any, axis: int) -> Array:
        if type(part) is list:
            return np.concatenate([join(inner, axis + 1) for inner in part], axis)
        return np.expand_dims(part, tuple(range(ndim - np.ndim(part))))

    return join(arrays, -depth) if depth else np.copy(join(arrays, 0))


@implements(np.insert)
def insert(arr: Array, obj: Any, values: Array, axis: int | None = None) -> Array:
    """`values` before the places `obj`: read from all entries, where NumPy puts their numbers."""
    arr, values = as_array(arr), as_array(values)
    whole = np.concatenate([arr, fitting(values, arr).astype(arr.dtype)], axis=None)
    inserted = numbers(values.shape, start=arr.size)
    return np.take(whole, np.insert(numbers(arr.shape), as_param(obj), inserted, axis))


# Splitting.


@implements(np.split)
def split(ary: Array, indices_or_sections: int | Sequence[int], axis: int = 0) -> list[Array]:
    """Equal sections, or the pieces between the given indices."""
    if np.ndim(indices_or_sections) == 0 and ary.shape[axis] % indices_or_sections:
        raise ValueError(
            f"split: axis {axis} of shape {ary.shape} has no {indices_or_sections} equal sections"
        )
    return array_split(ary, indices_or_sections, axis)


@implements(np.array_split)
def array_split(ary: Array, indices_or_sections: int | Sequence[int], axis: int = 0) -> list[Array]:
    """As `split`, but sections may differ by one."""
    before = (slice(None),) * (axis % ary.ndim)
    parts = np.array_split(np.arange(ary.shape[axis]), indices_or_sections)
    starts = [part[0] if part.size else 0 for part in parts]
    return [ary[(*before, slice(start, start + part.size))] for start, part in zip(starts, parts)]


def split_axis(name: str, least: int, axis: int, ary: Array, at: Any) -> list[Array]:
    if ary.ndim < least:
        raise ValueError(f"{name}: an array of shape {ary.shape} has fewer than {least} axes")
    return split(ary, at, axis)


@implements(np.hsplit)
def hsplit(ary: Array, indices_or_sections: int | Sequence[int]) -> list[Array]:
    """Split along axis 1, or the only one."""
    return split_axis("hsplit", 1, min(ary.ndim - 1, 1), ary, indices_or_sections)


@implements(np.vsplit)
def vsplit(ary: Array, indices_or_sections: int | Sequence[int]) -> list[Array]:
    """Split along axis 0."""
    return split_axis("vsplit", 2, 0, ary, indices_or_sections)


@implements(np.dsplit)
def dsplit(ary: Array, indices_or_sections: int | Sequence[int]) -> list[Array]:
    """Split along axis 2."""
    return split_axis("dsplit", 3, 2, ary, indices_or_sections)


if hasattr(np, "unstack"):  # since NumPy 2.1

    @implements(np.unstack)
    def unstack(x: Array, /, *, axis: int = 0) -> tuple[Array, ...]:
        """The layers along an axis."""
        return tuple(np.moveaxis(x, axis, 0))
