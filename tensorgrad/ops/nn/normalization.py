"""Normalisation: entries less their mean, by their standard deviation, with a weight and a bias.

It is the layer norm of Ba et al. (2016), the batch norm of Ioffe and Szegedy (2015), and that of
groups and instances: they differ in the axes that they go over. `rms_norm`, of Zhang and Sennrich
(2019), leaves the mean in.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from string import ascii_letters
from typing import Any

import numpy as np

from tensorgrad.engine.arrays import created, elsewhere
from tensorgrad.engine.batching import full, padded, reduction
from tensorgrad.engine.care import bare, contraction
from tensorgrad.engine.domain import Domain, Shape
from tensorgrad.engine.node import Array
from tensorgrad.engine.primitive import Primitive, primitive
from tensorgrad.ops.nn.activation import floats, reals
from tensorgrad.ops.reduce import Axis, count, reduced


def over(shape: Shape, *others: Shape) -> Any:
    """The calls over each axis, and over two."""
    if 0 in shape:
        return []
    each = [{"axis": a} for a in range(-len(shape), len(shape))]
    return [*each, {"axis": (0, -1)}] if len(shape) > 1 else each


def over_each(shape: Shape, *others: Shape) -> Any:
    """These calls of a normalisation, with an `eps` that shows."""
    return [{**params, "eps": 0.5} for params in over(shape)]


def alike_over(op: Any, batch: Shape, xs: list[Array], params: Mapping[str, Any]) -> Array:
    """For operands of the same shape only."""
    return reduction(op, batch, [full(x, batch) for x in xs], params)


def summed(x: Array, y: Array | None, axis: Axis) -> Array:
    """Σ x y, or Σ x, over `axis`, which is kept, without the product as an array: for 768x128
    float32 as dot products of rows 12 µs, by einsum 16, where np.sum(x * y) takes 37."""
    if elsewhere(x):
        return np.sum(x if y is None else x * y, axis=axis, keepdims=True)
    away, shape = reduced(x.shape, axis), x.shape
    rows = x.ndim
    while rows - 1 in away:
        rows -= 1
    n = math.prod(shape[rows:])
    first = y is None and away == [*range(len(away))] and x.dtype.char in "fd" and x.size > 0
    if first and 0 < len(away) < x.ndim:  # as a product with ones 5 µs
        many = math.prod(shape[: len(away)])
        z = np.reshape(x, (many, math.prod(shape[len(away) :])))
        total = created(np.ones, many, z.dtype, like=z) @ z
    elif n < 16:
        every = ascii_letters[: x.ndim]
        kept = "".join(c for i, c in enumerate(every) if i not in away)
        of_two = [every, every][: 1 + (y is not None)]
        total = np.einsum(f"{','.join(of_two)}->{kept}", x, *(() if y is None else (y,)))
    else:
        x = np.reshape(x, (*shape[:rows], n))
        y = created(np.ones, n, x.dtype, like=x) if y is None else np.reshape(y, x.shape)
        total = np.vecdot(x, y)
        rest = tuple(a for a in away if a < rows)
        total = np.sum(total, axis=rest) if rest else total
    return np.reshape(total, [1 if i in away else m for i, m in enumerate(shape)])


sum_product = primitive(
    lambda x, y, axis=-1: summed(x, y, axis),
    lambda g, out, x, y, axis=-1: g * y,
    lambda g, out, x, y, axis=-1: g * x,
    name="sum_product",
    notation=r"\sum_{{{axis}}} {{{0}}}_{{{indices}}} {{{1}}}_{{{indices}}}",
    domain=Domain(broadcast=False, params=over),
    batch=alike_over,
    care=contraction,
)


sum_over = primitive(
    lambda x, axis=-1: summed(x, None, axis),
    lambda g, out, x, axis=-1: g,
    name="sum_over",
    notation=r"\sum_{{{axis}}} {{{0}}}_{{{indices}}}",
    domain=Domain(params=over),
    batch=reduction,
)


def deviation(x: Array, axis: Axis, eps: float) -> Array:
    """√(mean of x² + eps), over `axis`."""
    return np.sqrt(sum_product(x, x, axis=axis) / count(x.shape, axis) + eps)


def centered(x: Array, axis: Axis) -> Array:
    """x less its mean."""
    return x - sum_over(x, axis=axis) / count(x.shape, axis)


def standardized(x: Array, axis: Axis = -1, eps: float = 1e-5) -> Array:
    d = centered(reals(x), axis)
    d /= deviation(d, axis, eps)  # in place: it is our own
    return d


def by_group(function: Any, args: list[Any], params: Mapping[str, Any]) -> Array:
    """Care: 0 where nothing of what is normalised together is asked for."""
    g, x = map(bare, args)
    asked = np.any(g != 0, axis=params.get("axis", -1), keepdims=True)
    return np.where(asked, function(g, x, **params), 0)


def slope(g: Array, x: Array, axis: Axis = -1, eps: float = 1e-5) -> Array:
    """(g - its mean - u times the mean of g u) / σ, for u the result of `standardize`."""
    return across(centered(g, axis), centered(x, axis), axis, eps)


def across(g: Array, d: Array, axis: Axis, eps: float) -> Array:
    """g less its part along d, by the deviation of d; in place, both are our own: with a new array
    for each term 768x128 float32 takes twice as long."""
    n = count(g.shape, axis)
    variance = summed(d, d, axis) / n + eps
    d *= summed(g, d, axis) / (n * variance)
    g -= d
    g /= np.sqrt(variance)
    return g


def bend(q: Array, g: Array, unit: Array, sigma: Array, c: Array, slopes: Any, axis: Axis) -> Array:
    """The gradient of ⟨q, slope(g, x)⟩ = n (c - a b) / σ by x, where c is the covariance of q and
    g, a and b those with the unit, whose gradients are slopes and that of σ the unit, all by n."""
    n = count(g.shape, axis)
    a, b = (sum_product(v, unit, axis=axis) / n for v in (q, g))
    by_q, by_g = slopes
    return -((c - a * b) / sigma * unit + b * by_q + a * by_g) / sigma


def standard_bend(
    q: Array, out: Array, g: Array, x: Array, axis: Axis = -1, eps: float = 1e-5
) -> Array:
    d = centered(x, axis)
    sigma = deviation(d, axis, eps)
    c = sum_product(centered(q, axis), centered(g, axis), axis=axis) / count(x.shape, axis)
    slopes = [standard_slope(v, x, axis=axis, eps=eps) for v in (q, g)]
    return bend(q, g, d / sigma, sigma, c, slopes, axis)


standardize = primitive(
    standardized,
    lambda g, out, x, axis=-1, eps=1e-5: standard_slope(g, x, axis=axis, eps=eps),
    name="standardize",
    notation=r"\frac{{{0} - \operatorname{{mean}}_{{{axis}}} {0}}}"
    r"{{\sqrt{{\operatorname{{var}}_{{{axis}}} {0} + {eps}}}}}",
    domain=Domain(params=over_each),
    batch=reduction,
)
# The Jacobian of `standardize` at x, times g: it is symmetric.
standard_slope: Primitive = primitive(
    slope,
    lambda q, out, g, x, axis=-1, eps=1e-5: standard_slope(q, x, axis=axis, eps=eps),
    standard_bend,
    name="standard_slope",
    notation=r"\frac{{{0} - \operatorname{{mean}}_{{{axis}}} {0} - \hat{{{1}}}"
    r" \operatorname{{mean}}_{{{axis}}}({0} \odot \hat{{{1}}})}}"
    r"{{\sqrt{{\operatorname{{var}}_{{{axis}}} {1} + {eps}}}}}",
    domain=Domain(broadcast=False, params=over_each),
    batch=alike_over,
    care=by_group,
)
rms_norm = primitive(
    lambda x, axis=-1, eps=1e-5: floats(x) / deviation(floats(x), axis, eps),
    lambda g, out, x, axis=-1, eps=1e-5: rms_slope(g, x, axis=axis, eps=eps),
    name="rms_norm",
    notation=r"\frac{{{0}}}{{\sqrt{{\operatorname{{mean}}_{{{axis}}} {0}^2 + {eps}}}}}",
    domain=Domain(params=over_each),
    batch=reduction,
)


def rms_bend(q: Array, out: Array, g: Array, x: Array, axis: Axis = -1, eps: float = 1e-5) -> Array:
    sigma = deviation(x, axis, eps)
    c = sum_product(q, g, axis=axis) / count(x.shape, axis)
    slopes = [rms_slope(v, x, axis=axis, eps=eps) for v in (q, g)]
    return bend(q, g, x / sigma, sigma, c, slopes, axis)


rms_slope: Primitive = primitive(
    lambda g, x, axis=-1, eps=1e-5: across(g + 0, x + 0, axis, eps),
    lambda q, out, g, x, axis=-1, eps=1e-5: rms_slope(q, x, axis=axis, eps=eps),
    rms_bend,
    name="rms_slope",
    notation=r"\frac{{{0} - \hat{{{1}}} \operatorname{{mean}}_{{{axis}}}({0} \odot \hat{{{1}}})}}"
    r"{{\sqrt{{\operatorname{{mean}}_{{{axis}}} {1}^2 + {eps}}}}}",
    domain=Domain(broadcast=False, params=over_each),
    batch=alike_over,
    care=by_group,
)


# The weight and the bias after it.


def scaled(x: Array, weight: Array, bias: Array) -> Array:
    out = x * weight
    if np.result_type(out, bias) != out.dtype:
        return out + bias
    out += bias
    return out


def of_examples(op: Any, batch: Shape, xs: list[Array], params: Mapping[str, Any]) -> Array:
    return scaled(*padded([full(xs[0], batch), *xs[1:]], len(batch)))


def stretched(p: Array, x: Array) -> tuple[int, ...]:
    """The axes of x that p is broadcast over."""
    shape = (1,) * (x.ndim - p.ndim) + p.shape
    return tuple(a for a, (n, m) in enumerate(zip(x.shape, shape)) if m < n)


scale = primitive(
    scaled,
    lambda g, out, x, weight, bias: g * weight,
    lambda g, out, x, weight, bias: sum_product(g, x, axis=stretched(weight, x)),
    lambda g, out, x, weight, bias: sum_over(g, axis=stretched(bias, x)),
    name="scale",
    notation=r"{0} \odot {1} + {2}",
    domain=Domain(signature="(i),(i),(i)", broadcast=False),
    batch=of_examples,
)
