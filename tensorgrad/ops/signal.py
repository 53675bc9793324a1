"""Differences, integrals and convolutions of sampled functions."""

from __future__ import annotations

from typing import Any

import numpy as np

from tensorgrad.engine.arrays import as_array
from tensorgrad.engine.care import contraction
from tensorgrad.engine.domain import Domain
from tensorgrad.engine.dtypes import is_floating, is_inexact
from tensorgrad.engine.node import Array
from tensorgrad.engine.primitive import implements, primitive


def part(x: Array, axis: int, start: int | None, stop: int | None) -> Array:
    """A slice along one axis."""
    return x[(slice(None),) * (axis % x.ndim) + (slice(start, stop),)]


# Differences.


@implements(np.diff)
def diff(
    a: Array, n: int = 1, axis: int = -1, prepend: Array = None, append: Array = None
) -> Array:
    """`np.diff`: each entry minus the one before, n times."""
    a = as_array(a)
    if n < 0:
        raise ValueError(f"diff: n={n} is negative")
    if a.ndim == 0:
        raise ValueError("diff of a single number")
    if n == 0:
        return a
    axis = np.lib.array_utils.normalize_axis_index(axis, a.ndim)
    ends = [None if x is None else as_array(x) for x in (prepend, append)]
    one = (*a.shape[:axis], 1, *a.shape[axis + 1 :])
    ends = [np.broadcast_to(x, one) if x is not None and x.ndim == 0 else x for x in ends]
    joined = [x for x in (ends[0], a, ends[1]) if x is not None]
    a = np.concatenate(joined, axis=axis) if len(joined) > 1 else a
    minus = np.not_equal if a.dtype == np.bool else np.subtract
    for _ in range(n):
        a = minus(part(a, axis, 1, None), part(a, axis, None, -1))
    return a


@implements(np.ediff1d)
def ediff1d(ary: Array, to_end: Array = None, to_begin: Array = None) -> Array:
    """`np.ediff1d`: the differences of all entries, between given ends."""
    x = np.ravel(as_array(ary))
    ends = [None if end is None else as_array(end) for end in (to_begin, to_end)]
    for end in ends:
        if end is not None and not np.can_cast(end.dtype, x.dtype, "same_kind"):
            raise TypeError(f"ediff1d: an end of dtype {end.dtype} for entries of {x.dtype}")
    first, last = (None if end is None else np.ravel(as_array(end, x.dtype)) for end in ends)
    parts = [p for p in (first, x[1:] - x[:-1], last) if p is not None]
    return np.concatenate(parts) if len(parts) > 1 else parts[0]


# Slopes: a parabola through three neighbours, a line or a parabola at the ends (np.gradient's
# documentation derives the weights).


def slope_at_start(f: Array, left: Array, right: Array, edge_order: int) -> Array:
    """The slope of the first entry; `left` and `right` are the first two spacings."""
    if edge_order == 1:
        return (f[..., 1] - f[..., 0]) / left
    return (
        -(2 * left + right) / (left * (left + right)) * f[..., 0]
        + (left + right) / (left * right) * f[..., 1]
        - left / (right * (left + right)) * f[..., 2]
    )


def slopes(f: Array, h: Array, edge_order: int) -> Array:
    """The slopes along the last axis; `h` is one spacing, or all of them."""
    if h.ndim == 0:
        inner = (f[..., 2:] - f[..., :-2]) / (2 * h)
        starts = ends = (h, h)
    else:
        left, right = h[:-1], h[1:]
        inner = (
            -right / (left * (left + right)) * f[..., :-2]
            + (right - left) / (left * right) * f[..., 1:-1]
            + left / (right * (left + right)) * f[..., 2:]
        )
        starts, ends = (h[0], h[min(1, len(h) - 1)]), (h[-1], h[-min(2, len(h))])
    start = slope_at_start(f, *starts, edge_order)
    end = -slope_at_start(np.flip(f, -1), *ends, edge_order)
    return np.concatenate([start[..., None], inner, end[..., None]], axis=-1)


@implements(np.gradient)
def gradient(f: Array, *varargs: Array, axis: Any = None, edge_order: int = 1) -> Any:
    """`np.gradient`, differentiable by the spacings or coordinates too."""
    f = as_array(f)
    f = f if is_inexact(f.dtype) else f.astype(float)
    axes = np.lib.array_utils.normalize_axis_tuple(range(f.ndim) if axis is None else axis, f.ndim)
    spacings = [as_array(h)[()] for h in varargs or (1.0,)]
    if len(spacings) == 1 and spacings[0].ndim == 0:
        spacings = spacings * len(axes)
    if len(spacings) != len(axes):
        raise TypeError(f"gradient: {len(spacings)} spacings for {len(axes)} axes")
    if edge_order > 2:
        raise ValueError("'edge_order' greater than 2 not supported")
    results = []
    for i, h in zip(axes, spacings):
        n = f.shape[i]
        if h.ndim > 1 or (h.ndim == 1 and h.size != n):
            raise ValueError(f"gradient: spacings of shape {h.shape} for an axis of length {n}")
        if n < edge_order + 1:
            raise ValueError(f"gradient: {n} entries are too few for edge_order={edge_order}")
        if h.ndim:
            h = diff(h if is_floating(h.dtype) else h.astype(float))
        slope = slopes(np.moveaxis(f, i, -1), h, edge_order)
        results.append(as_array(np.moveaxis(slope, -1, i), f.dtype))
    return results[0] if len(results) == 1 else tuple(results)


# Integrals.


@implements(*(getattr(np, name) for name in ("trapezoid", "trapz") if hasattr(np, name)))
def trapezoid(y: Array, x: Array = None, dx: Array = 1.0, axis: int = -1) -> Array:
    """`np.trapezoid`, differentiable by the coordinates too."""
    y = as_array(y)
    width = dx
    if x is not None:
        x = as_array(x)
        width = diff(x, axis=axis if x.ndim > 1 else -1)
        if x.ndim == 1:
            width = np.reshape(width, (-1,) + (1,) * (y.ndim - 1 - axis % y.ndim))
    pairs = part(y, axis, 1, None) + part(y, axis, None, -1)
    return np.sum(width * pairs / 2, axis=axis)


# Convolutions.

MODES = {0: "valid", 1: "same", 2: "full"}

full_convolution = primitive(
    lambda x, y: np.convolve(x, y),
    lambda g, out, x, y: np.convolve(g, y[::-1], "valid"),
    lambda g, out, x, y: np.convolve(g, x[::-1], "valid"),
    name="convolve",
    notation="{0} * {1}",
    care=contraction,
    domain=Domain(
        broadcast=False,
        params=lambda x, y: [{}] if len(x) == 1 and x[0] else (),
        complex=True,
    ),
)


valid_convolution = primitive(
    lambda x, y: np.convolve(x, y, "valid"),  # x is the longer one
    lambda g, out, x, y: np.convolve(g, y[::-1]),
    lambda g, out, x, y: np.convolve(x, g[::-1], "valid")[::-1],
    name="convolve_valid",
    notation="{0} * {1}",
    care=contraction,
    domain=Domain(
        signature="(n),(m)",
        broadcast=False,
        params=lambda x, y: [{}] if len(x) == len(y) == 1 and x[0] >= y[0] > 0 else (),
        complex=True,
    ),
)


def convolved(a: Array, v: Array, mode: Any, start: int) -> Array:
    """The convolution in one of the modes; `same` is the full one from `start` on."""
    mode = MODES.get(mode, mode)
    if mode not in MODES.values():
        raise ValueError(f"mode={mode!r}; there are 'full', 'same' and 'valid'")
    if mode == "valid":
        return valid_convolution(*((a, v) if a.size >= v.size else (v, a)))
    full = full_convolution(a, v)
    return full if mode == "full" else full[start : start + max(a.size, v.size)]


def sequence(x: Array) -> Array:
    """`x`, which must have one axis, and entries."""
    x = as_array(x)
    if x.ndim != 1 or not x.size:
        raise ValueError(f"an array of shape {x.shape} where a sequence of numbers is needed")
    return x


@implements(np.convolve, care=contraction)
def convolve(a: Array, v: Array, mode: Any = "full") -> Array:
    """`np.convolve`."""
    a, v = (sequence(np.reshape(x, 1) if np.ndim(x) == 0 else x) for x in (a, v))
    start = (min(a.size, v.size) - 1) // 2
    return convolved(a, v, mode, start)


@implements(np.correlate, care=contraction)
def correlate(a: Array, v: Array, mode: Any = "valid") -> Array:
    """`np.correlate`: a convolution with the reversed conjugate of `v`."""
    a, v = sequence(a), sequence(v)
    turned = np.conjugate(v[::-1]) if v.dtype.kind == "c" else v[::-1]
    start = (v.size - 1) // 2 if a.size >= v.size else a.size // 2
    return convolved(a, turned, mode, start)
