"""Reductions and running sums. The cotangent of an entry is that of the result it went into.

Choices: entries that tie for a maximum or minimum share its gradient equally; a standard deviation
of 0 has gradient 0.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from tensorgrad.domain import Domain, Shape, axes, ties
from tensorgrad.node import Array
from tensorgrad.primitive import implements, primitive

Axis = int | tuple[int, ...] | None
REDUCTION = Domain(params=axes, complex=True)


def unreduce(g: Array, axis: Axis, keepdims: bool) -> Array:
    """`g` with the reduced axes put back as size 1; the sweep broadcasts them."""
    return g if keepdims or axis is None else np.expand_dims(g, axis)


def reduced(shape: Shape, axis: Axis) -> list[int]:
    """The axes that `axis` stands for, none of them negative."""
    if axis is None:
        return list(range(len(shape)))
    return [a % len(shape) for a in (axis if isinstance(axis, tuple) else (axis,))]


def count(shape: Shape, axis: Axis) -> int:
    """How many entries of an array of `shape` go into one entry of the result."""
    return math.prod(shape[a] for a in reduced(shape, axis))


sum = primitive(
    np.sum,
    lambda g, out, x, axis=None, keepdims=False: unreduce(g, axis, keepdims),
    notation=r"\sum {0}",
    domain=REDUCTION,
)
mean = primitive(
    np.mean,
    lambda g, out, x, axis=None, keepdims=False: unreduce(g / count(x.shape, axis), axis, keepdims),
    notation=r"\overline{{{0}}}",
    domain=Domain(
        params=lambda shape: [p for p in axes(shape) if count(shape, p["axis"])], complex=True
    ),
)


def spread(x: Array, axis: Axis, ddof: float) -> Array:
    """(x - mean) / (n - ddof), the gradient of half the variance (NaN where n <= ddof)."""
    freedom = count(x.shape, axis) - ddof
    return (x - np.mean(x, axis=axis, keepdims=True)) / (freedom if freedom > 0 else math.nan)


def freedoms(shape: Shape) -> Any:
    """The calls of `var` and `std` that are not NaN."""
    for params in axes(shape):
        n = count(shape, params["axis"])
        yield from ({**params, "ddof": ddof} for ddof in (0, 1) if n > ddof)


var = primitive(
    np.var,
    lambda g, out, x, axis=None, ddof=0, keepdims=False: (
        unreduce(g, axis, keepdims) * 2 * spread(x, axis, ddof)
    ),
    notation=r"\operatorname{{var}} {0}",
    domain=Domain(params=freedoms),
)
std = primitive(
    np.std,
    lambda g, out, x, axis=None, ddof=0, keepdims=False: (
        unreduce(g / (out + (out == 0)), axis, keepdims) * spread(x, axis, ddof)
    ),
    notation=r"\sigma({0})",
    domain=Domain(params=freedoms, kink=ties),
)


def shared(hit: Array, axis: Axis) -> Array:
    """Equal shares, which sum to 1, for the entries that reach an extremum."""
    return hit / np.sum(hit, axis=axis, keepdims=True)


def extremum_rule(
    g: Array, out: Array, x: Array, axis: Axis = None, keepdims: bool = False
) -> Array:
    hit = x == unreduce(out, axis, keepdims)
    return unreduce(g, axis, keepdims) * shared(hit, axis).astype(x.dtype)


def not_empty(shape: Shape) -> Any:
    """An empty set has no largest element."""
    return axes(shape) if math.prod(shape) else ()


max = primitive(
    np.max, extremum_rule, notation=r"\max {0}", domain=Domain(params=not_empty, kink=ties)
)
min = primitive(
    np.min, extremum_rule, notation=r"\min {0}", domain=Domain(params=not_empty, kink=ties)
)


implements(np.amax)(max)
implements(np.amin)(min)


def product_of_others(out: Array, x: Array, axis: Axis) -> Array:
    """For each entry of `x`, the product of all other entries that it is multiplied with."""
    if ((out != 0) & np.isfinite(out)).all():
        return out / x
    # Not so with a 0 or after an under- or overflow. One row per left-out entry then: n² memory,
    # but exact at every order.
    along = reduced(x.shape, axis)
    rest = [a for a in range(x.ndim) if a not in along]
    lines = np.transpose(x, rest + along).reshape([*(x.shape[a] for a in rest), 1, -1])
    others = np.prod(np.where(np.eye(lines.shape[-1], dtype=bool), 1, lines), axis=-1)
    moved = others.reshape([x.shape[a] for a in rest + along])
    return np.transpose(moved, np.argsort(rest + along))


prod = primitive(
    np.prod,
    lambda g, out, x, axis=None, keepdims=False: (
        unreduce(g, axis, keepdims) * product_of_others(unreduce(out, axis, keepdims), x, axis)
    ),
    notation=r"\prod {0}",
    domain=REDUCTION,
)


def running(shape: Shape) -> Any:
    """The calls of a running sum."""
    return [{"axis": a} for a in (None, *range(-len(shape), len(shape)))]


def running_sum_rule(g: Array, out: Array, x: Array, axis: int | None = None) -> Array:
    """What comes at or after an entry: the running sum from the other end."""
    backwards = np.flip(np.cumsum(np.flip(g, axis or 0), axis=axis or 0), axis or 0)
    return np.reshape(backwards, x.shape)


cumsum = primitive(np.cumsum, running_sum_rule, domain=Domain(params=running, complex=True))
