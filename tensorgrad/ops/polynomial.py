"""Polynomials, given by their coefficients, the highest power first; and interpolation.

Leading coefficients of 0 are kept, where NumPy drops them: they may vary. Choice: at a knot,
`interp` has the slope of the interval on its right, at the last one of that on its left.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from tensorgrad.engine.arrays import created
from tensorgrad.engine.domain import Domain
from tensorgrad.engine.dtypes import finfo
from tensorgrad.engine.node import Array, Handle, data_of
from tensorgrad.engine.primitive import Primitive, implements, primitive
from tensorgrad.ops.elementwise import astype, share
from tensorgrad.ops.index import getitem, scatter_add


@implements(np.polyval)
def polyval(p: Array, x: Array) -> Array:
    """The value at `x`, by Horner's rule."""
    y: Array = np.zeros_like(x)
    for coefficient in np.atleast_1d(p):
        y = y * x + coefficient
    return y


def of_degree(n: int, p: Array) -> Array:
    """The coefficients of `p` with zeros before them."""
    p = np.atleast_1d(p)
    return np.pad(p, (n + 1 - len(p), 0))


def degree(*ps: Array) -> int:
    return max(np.size(p) for p in ps) - 1


@implements(np.polyadd)
def polyadd(a1: Array, a2: Array) -> Array:
    """The sum of two polynomials."""
    n = degree(a1, a2)
    return of_degree(n, a1) + of_degree(n, a2)


@implements(np.polysub)
def polysub(a1: Array, a2: Array) -> Array:
    """The difference of two polynomials."""
    n = degree(a1, a2)
    return of_degree(n, a1) - of_degree(n, a2)


@implements(np.polymul)
def polymul(a1: Array, a2: Array) -> Array:
    """The product of two polynomials."""
    return np.convolve(np.atleast_1d(a1), np.atleast_1d(a2))


@implements(np.polydiv)
def polydiv(u: Array, v: Array) -> tuple[Array, Array]:
    """The quotient, and the remainder, of one degree less than `v`."""
    r, v = np.atleast_1d(u), np.atleast_1d(v)
    n, steps = len(v) - 1, len(r) - len(v) + 1
    if steps < 1:
        return created(np.zeros, 1, np.result_type(r, v), like=r), r
    quotient = []
    for k in range(steps):
        quotient.append(r[k] / v[0])
        r = r - np.pad(quotient[-1] * v, (k, steps - 1 - k))
    return np.stack(quotient), r[steps:] if n else r[-1:]


@implements(np.polyder)
def polyder(p: Array, m: int = 1) -> Array:
    """The m-th derivative."""
    if m < 0:
        raise ValueError("polyder: the order of a derivative is not negative; see np.polyint")
    for _ in range(m):
        p = p[:-1] * created(np.arange, len(p) - 1, 0, -1, like=p)
    return p


@implements(np.polyint)
def polyint(p: Array, m: int = 1, k: Array = None) -> Array:
    """The m-th antiderivative; `k` are the constants of integration, the first one first."""
    constants = created(np.zeros, 1, like=p) if k is None else np.atleast_1d(k)
    if m < 0 or 1 != len(constants) < m:
        raise ValueError(f"polyint: order {m} with {len(constants)} constants: give one or {m}")
    for i in range(m):
        constant = constants[i if len(constants) > 1 else 0]
        divided = p / created(np.arange, len(p), 0, -1, like=p)
        p = np.concatenate([divided, np.reshape(constant, (1,))])
    return p


@implements(np.poly)
def poly(seq_of_zeros: Array) -> Array:
    """The polynomial with these zeros (those of a square matrix: its eigenvalues) and leading 1."""
    zeros = np.atleast_1d(seq_of_zeros)
    if zeros.ndim == 2 and zeros.shape[0] == zeros.shape[1] != 0:
        zeros = np.linalg.eigvals(zeros)
    if zeros.dtype.kind in "biu":
        zeros = zeros.astype(float)
    if zeros.ndim != 1:
        raise ValueError(f"poly: shape {zeros.shape}, neither a vector nor a square matrix")
    p: Array = created(np.ones, 1, zeros.dtype, like=zeros)
    for zero in zeros:
        p = np.pad(p, (0, 1)) - np.pad(zero * p, (1, 0))
    if zeros.dtype.kind == "c":
        plain = data_of(zeros)
        if np.array_equal(np.sort(plain), np.sort(plain.conj())):  # as NumPy does
            return np.real(p)
    return p


@implements(np.vander)
def vander(x: Array, N: int | None = None, increasing: bool = False) -> Array:
    """The powers of each entry, from the highest or the lowest (x⁰) on."""
    if np.ndim(x) != 1:
        raise ValueError(f"vander: shape {np.shape(x)}, not a vector")
    powers = created(np.arange, len(x) if N is None else N, like=x)
    return x[:, None] ** (powers if increasing else powers[::-1])


def by_coefficients(g: Array, out: Array, p: Array) -> Array:
    """At a zero r of p, p'(r) dr + Σ rⁿ⁻ᵏ dpₖ = 0."""
    steepness = np.polyval(np.polyder(p), out)
    return np.sum(-(g / steepness)[:, None] * np.vander(out, len(p)), axis=0)


# Not in the registry: whether the zeros are real depends on the coefficients drawn.
roots = implements(np.roots)(Primitive(np.roots, (by_coefficients,), "roots"))


@implements(np.polyfit)
def polyfit(
    x: Array,
    y: Array,
    deg: int,
    rcond: float | None = None,
    full: bool = False,
    w: Array = None,
    cov: Any = False,
) -> Any:
    """The polynomial of least squared distance from the points (x, y), each weighted with `w`.

    With `full` also what `np.linalg.lstsq` tells, with `cov` the covariance of the coefficients.
    """
    x, y = np.add(x, 0.0), np.add(y, 0.0)
    if deg < 0 or x.ndim != 1 or y.ndim not in (1, 2) or not 0 < len(x) == len(y):
        raise ValueError(f"polyfit: degree {deg}, x of shape {x.shape}, y of shape {y.shape}")
    rcond = len(x) * finfo(x.dtype).eps if rcond is None else rcond
    powers = np.vander(x, deg + 1)
    if w is not None:
        powers, y = np.transpose(np.transpose(powers) * w), np.transpose(np.transpose(y) * w)
    size = np.sqrt(np.sum(powers * powers, axis=0))  # for the condition of the system
    powers = powers / size
    scaled = np.linalg.pinv(powers, rcond) @ y
    p = np.transpose(np.transpose(scaled) / size)
    if full:
        return p, *np.linalg.lstsq(powers, y, rcond)[1:], rcond
    if not cov:
        return p
    covariance = np.linalg.inv(np.transpose(powers) @ powers) / np.outer(size, size)
    if cov == "unscaled":
        return p, covariance if y.ndim == 1 else covariance[..., None]
    if len(x) <= deg + 1:
        raise ValueError(f"polyfit: no covariance of {deg + 1} coefficients of {len(x)} points")
    variance = np.sum(np.absolute(y - powers @ scaled) ** 2, axis=0) / (len(x) - deg - 1)
    return p, covariance * variance if y.ndim == 1 else covariance[..., None] * variance


# Interpolation.


def entries(a: Array, i: Array) -> Array:
    """`a[i]`. Inside vmap `i` is a Value, an index for each example; an array does not take it, and
    none that is traced."""
    if isinstance(i, Handle) and not isinstance(a, Handle):
        value: Any = type(i)
        a = value(a, requires_grad=False)
    return getitem(a, index=i)


def place(x: Array, xp: Array) -> tuple[Array, Array, Array]:
    """The knots on both sides of `x`, and how far it is from the left to the right one, 0..1."""
    n = len(xp)
    i = np.clip(np.searchsorted(xp, x, side="right") - 1, 0, max(n - 2, 0))
    j = np.minimum(i + 1, n - 1)
    left = entries(xp, i)
    width = entries(xp, j) - left
    return i, j, np.clip((x - left) / (width + (width == 0)), 0, 1)


def slope(x: Array, xp: Array, fp: Array) -> Array:
    """That of the line through the knots on both sides."""
    i, j, _ = place(x, xp)
    width, rise = (entries(p, j) - entries(p, i) for p in (xp, fp))
    return rise / (width + (width == 0))


def inside(g: Array, x: Array, xp: Array) -> Array:
    """`g` between the knots; outside the line is flat."""
    return np.where((xp[0] <= x) & (x <= xp[-1]), g, 0)


def by_heights(g: Array, out: Array, x: Array, xp: Array, fp: Array) -> Array:
    """The knots on both sides share the cotangent, the nearer one has more of it."""
    i, j, t = place(x, xp)
    left = scatter_add(share(g, 1 - t), shape=fp.shape, index=i)
    return left + scatter_add(share(g, t), shape=fp.shape, index=j)


def increasing(x: Array, xp: Array, fp: Array) -> tuple[Array, ...]:
    return x, np.cumsum(xp) - 3, fp


lerp = primitive(
    np.interp,
    lambda g, out, x, xp, fp: inside(g, x, xp) * slope(x, xp, fp),
    # a knot that moves takes the line along
    lambda g, out, x, xp, fp: by_heights(-inside(g, x, xp) * slope(x, xp, fp), out, x, xp, fp),
    by_heights,
    domain=Domain(
        ((-3, 3), (1, 2), (-3, 3)),
        "(),(n),(n)",
        broadcast=False,
        params=lambda x, xp, fp: [{}] if xp != (0,) else [],
        kink=lambda x, xp, fp: np.subtract.outer(x, np.cumsum(xp) - 3),
        make=increasing,
    ),
    choice="at a knot, the slope on its right; at the last one, that on its left",
)


@implements(np.interp)
def interp(
    x: Array,
    xp: Array,
    fp: Array,
    left: Array = None,
    right: Array = None,
    period: Array = None,
) -> Array:
    """The broken line through the points (xp, fp), at `x`; outside of it `left` and `right`."""
    x, xp = astype(x, dtype=np.float64), astype(xp, dtype=np.float64)
    fp = astype(fp, dtype=np.complex128 if np.iscomplexobj(fp) else np.float64)
    if xp.ndim != 1 or xp.shape != fp.shape or not len(xp):
        raise ValueError(f"interp: knots of shape {xp.shape} with heights of shape {fp.shape}")
    if period is not None:
        if period == 0:
            raise ValueError("interp: a period of 0")
        period, left, right = np.absolute(period), None, None
        x, xp = np.remainder(x, period), np.remainder(xp, period)
        order = np.argsort(xp)
        xp, fp = xp[order], fp[order]
        xp = np.concatenate([xp[-1:] - period, xp, xp[:1] + period])
        fp = np.concatenate([fp[-1:], fp, fp[:1]])
    out = lerp(x, xp, fp)
    out = out if left is None else np.where(x < xp[0], left, out)
    return out if right is None else np.where(x > xp[-1], right, out)
