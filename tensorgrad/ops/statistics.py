"""Order statistics, weighted averages, covariances, and sums by bin.

Choices: entries that tie are in the order in which they stand; where a quantile moves on to the
next pair of entries, its slope by q is the one to the right; counts are constant, so a histogram
has gradients by its weights only, and a quantile none by its weights.
"""

from __future__ import annotations

import functools
import warnings
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from tensorgrad.engine.arrays import anywhere, as_array, beside, created, wrong
from tensorgrad.engine.batching import elementwise
from tensorgrad.engine.domain import Shape
from tensorgrad.engine.dtypes import is_inexact
from tensorgrad.engine.node import Array, Handle, data_of
from tensorgrad.engine.primitive import implements, primitive
from tensorgrad.ops.elementwise import share
from tensorgrad.ops.index import scatter_add
from tensorgrad.ops.reduce import Axis, floating, lines, numpy_call, reduced
from tensorgrad.ops.sorting import order

normalize = np.lib.array_utils.normalize_axis_tuple

# Order statistics.


def entries(x: Array, places: Array) -> Array:
    """The entries at these places of each line."""
    shape = (*x.shape[:-1], np.shape(places)[-1] if np.ndim(places) else 1)
    return np.take_along_axis(x, np.broadcast_to(places, shape), axis=-1)


def order_statistic(
    pick: Callable[[Array, Array], Array],
    a: Array,
    axis: Axis,
    keepdims: bool,
    skip_nan: bool,
    shape: Shape = (),
) -> Array:
    """What `pick(x, n)` makes of each sorted line x, of which n entries count; `shape` is for q.

    NaN comes last in the order: then the result is NaN, or these entries are left out.
    """
    x = np.sort(lines(a, axis), axis=-1)
    if skip_nan:
        n = np.sum(~np.isnan(x), axis=-1, keepdims=True)
        if wrong(n == 0):
            warnings.warn("All-NaN slice encountered", RuntimeWarning, stacklevel=5)
        found = np.where(n > 0, pick(x, n), np.nan)
    else:
        found, last = pick(x, x.shape[-1]), x[..., -1:]
        found = np.where(np.isnan(last), last, found)
    away = reduced(a.shape, axis)
    rest = [1 if i in away else n for i, n in enumerate(a.shape) if keepdims or i not in away]
    return np.reshape(np.moveaxis(found, -1, 0), (*shape, *rest))


def middle(x: Array, n: Array) -> Array:
    """The middle entry, twice half of it, or the mean of both in the middle."""
    return entries(x, (n - 1) // 2) / 2 + entries(x, n // 2) / 2


def median(skip_nan: bool) -> Callable[..., Array]:
    """`np.median` and `np.nanmedian`. They never overwrite their input."""

    def call(
        a: Array,
        axis: Axis = None,
        out: None = None,
        overwrite_input: bool = False,
        keepdims: bool = False,
    ) -> Array:
        if a.size == 0:  # the NaN and the warning of a mean
            return np.mean(a, axis=axis, keepdims=keepdims)
        return order_statistic(middle, a, axis, keepdims, skip_nan)

    return call


numpy_call(np.median)(median(skip_nan=False))
numpy_call(np.nanmedian)(median(skip_nan=True))

# Quantiles. The one of q is the entry at a place between 0 and n - 1 of the sorted ones, or, at a
# place between two, what a straight line between them takes there. The methods differ in the place.

Place = Callable[[Array, Array], Array]


def continuous(alpha: float, beta: float) -> Place:
    """Hyndman and Fan, Sample Quantiles in Statistical Packages (1996); places from 0."""
    return lambda n, q: n * q + (alpha + q * (1 - alpha - beta)) - 1


STRAIGHT: dict[str, Place] = {
    "linear": lambda n, q: (n - 1) * q,
    "interpolated_inverted_cdf": continuous(0, 1),
    "hazen": continuous(1 / 2, 1 / 2),
    "weibull": continuous(0, 0),
    "median_unbiased": continuous(1 / 3, 1 / 3),
    "normal_unbiased": continuous(3 / 8, 3 / 8),
    "averaged_inverted_cdf": lambda n, q: (np.floor(n * q - 1) + np.ceil(n * q - 1) + 1) / 2,
    "midpoint": lambda n, q: (np.floor((n - 1) * q) + np.ceil((n - 1) * q)) / 2,
}
STEPS: dict[str, Place] = {
    "inverted_cdf": lambda n, q: np.ceil(n * q - 1),
    "closest_observation": lambda n, q: np.rint(n * q - 2) + 1,  # of two as close, the odd place
    "lower": lambda n, q: np.floor((n - 1) * q),
    "higher": lambda n, q: np.ceil((n - 1) * q),
    "nearest": lambda n, q: np.rint((n - 1) * q),
}


between = primitive(
    lambda x, y, t: x + (y - x) * t,
    lambda g, out, x, y, t: share(g, 1 - t),
    lambda g, out, x, y, t: share(g, t),
    lambda g, out, x, y, t: g * (y - x),
    name="between",
    notation="{0} + ({1} - {0}) {2}",
    batch=elementwise,
)


def weighted_place(x: Array, weights: Array, q: Array) -> Array:
    """The first place where the weights of the entries so far reach the share q of their sum."""
    weights = np.take_along_axis(weights, order(x, -1), axis=-1).astype(float)
    if wrong(weights < 0):
        raise ValueError("Weights must be non-negative.")
    sums = np.cumsum(weights, axis=-1)
    total = sums[..., -1:]
    if wrong(~np.isfinite(total) | (total == 0)):
        raise ValueError("Weights included NaN, inf or were all zero.")
    share = (sums / total).astype(floating(q.dtype))[..., None, :]
    return np.sum(np.where(share > 0, share, -1) < q[:, None], axis=-1)  # weight 0: not for q = 0


def quantile(skip_nan: bool, whole: int) -> Callable[..., Array]:
    """`np.quantile` and its kin; q counts in parts of `whole`."""

    def call(
        a: Array,
        q: Array,
        axis: Axis = None,
        out: None = None,
        overwrite_input: bool = False,
        method: str = "linear",
        keepdims: bool = False,
        *,
        weights: Array = None,
    ) -> Array:
        a, weak = as_array(a), type(q) in (int, float)  # as Python numbers are to NumPy
        q = as_array(q) if whole == 1 else as_array(q) / whole
        kind = floating(a.dtype if weak or not is_inexact(q.dtype) else q.dtype)
        each = np.ravel(q)
        if a.dtype.kind == "c":
            raise TypeError("complex numbers have no quantiles")
        if method not in STRAIGHT | STEPS:
            raise ValueError(f"{method!r} is no method; there are {', '.join(STRAIGHT | STEPS)}")
        if wrong(~((each >= 0) & (each <= 1))):
            raise ValueError(f"q must be in the range [0, {whole}]")

        def pick(x: Array, n: Array) -> Array:
            if weights is not None:
                return entries(x, weighted_place(rows, shares, each))
            last = np.maximum(n - 1, 0)
            place = np.clip((STRAIGHT | STEPS)[method](n, each), 0, last)
            low = np.floor(place)
            found = entries(x, low.astype(int))
            if method in STEPS:
                return found
            higher = entries(x, np.minimum(low + 1, last).astype(int))
            return between(found, higher, beside(as_array(place - low, kind), found))

        if weights is not None:
            if method != "inverted_cdf":
                raise ValueError(f"method {method!r} takes no weights; 'inverted_cdf' does")
            rows = lines(a, axis)
            shares = lines(np.broadcast_to(weights_of(a, weights, axis), a.shape), axis)
            if skip_nan:
                missing = np.isnan(rows)
                some = ~np.all(missing, axis=-1, keepdims=True)
                shares = np.where(missing & some, 0, shares)
        if skip_nan and a.size == 0:
            return np.nanmean(a, axis=axis, keepdims=keepdims)
        return order_statistic(pick, a, axis, keepdims, skip_nan, q.shape)

    return call


numpy_call(np.quantile)(quantile(skip_nan=False, whole=1))
numpy_call(np.percentile)(quantile(skip_nan=False, whole=100))
numpy_call(np.nanquantile)(quantile(skip_nan=True, whole=1))
numpy_call(np.nanpercentile)(quantile(skip_nan=True, whole=100))

# Averages and covariances.


def weights_of(a: Array, weights: Array, axis: Axis) -> Array:
    """`weights`, or where they are given for the reduced axes alone, with the other axes as 1."""
    weights = as_array(weights)
    if weights.shape == a.shape:
        return weights
    if axis is None:
        raise TypeError(f"weights of shape {weights.shape} for {a.shape}: name their axis")
    along = normalize(axis, a.ndim)
    if weights.shape != tuple(a.shape[i] for i in along):
        raise ValueError(f"weights of shape {weights.shape} for axes {axis} of shape {a.shape}")
    weights = np.transpose(weights, np.argsort(along).tolist())
    return np.reshape(weights, [n if i in along else 1 for i, n in enumerate(a.shape)])


@implements(np.average)
def average(
    a: Array,
    axis: Axis = None,
    weights: Array = None,
    returned: bool = False,
    *,
    keepdims: bool = False,
) -> Any:
    """`np.average`, differentiable by the weights too."""
    a = as_array(a)
    if weights is None:
        mean = np.mean(a, axis=axis, keepdims=keepdims)
        if not returned:
            return mean
        total = as_array(a.size / max(mean.size, 1), mean.dtype)
    else:
        weights = weights_of(a, weights, axis)
        kind = np.result_type(floating(a.dtype), weights.dtype)
        total = np.sum(weights, axis=axis, dtype=kind, keepdims=keepdims)
        if wrong(total == 0):
            raise ZeroDivisionError("the weights sum to zero")
        mean = np.sum(as_array(a, kind) * weights, axis=axis, keepdims=keepdims) / total
    return (mean, np.broadcast_to(total, mean.shape)) if returned else mean


def variables(x: Array, rowvar: bool, dtype: Any) -> Array:
    """One row for each variable, one column for each observation."""
    if x.ndim > 2:
        raise ValueError(f"cov of an array of {x.ndim} dimensions: it takes at most 2")
    rows = as_array(x if x.ndim == 2 else np.reshape(x, (1, x.size)), dtype)
    return rows if rowvar or x.ndim < 2 else rows.T


def observation_weights(weights: Array, n: int, name: str) -> Array:
    """One number for each observation, none negative."""
    weights = as_array(as_array(weights), float)
    if weights.shape != (n,):
        raise RuntimeError(f"{name} of shape {weights.shape} for {n} observations")
    if wrong(weights < 0):
        raise ValueError(f"{name} cannot be negative")
    return weights


@implements(np.cov)
def cov(
    m: Array,
    y: Array = None,
    rowvar: bool = True,
    bias: bool = False,
    ddof: int | None = None,
    fweights: Array = None,
    aweights: Array = None,
    *,
    dtype: Any = None,
) -> Array:
    """`np.cov`, differentiable by `aweights` too."""
    if ddof is not None and ddof != int(ddof):
        raise ValueError("ddof must be integer")
    ddof = (0 if bias else 1) if ddof is None else ddof
    parts = [as_array(x) for x in (m, y) if x is not None]
    dtype = np.result_type(*(x.dtype for x in parts), np.float64) if dtype is None else dtype
    x = variables(parts[0], rowvar, dtype)
    if x.shape[0] == 0:
        return created(np.zeros, (0, 0), like=x)
    if y is not None:
        x = np.concatenate([x, variables(parts[1], rowvar, dtype)], axis=0)
    n = x.shape[1]
    w, freedom = None, n - ddof
    if fweights is not None:
        w = observation_weights(fweights, n, "fweights")
        if wrong(w != np.rint(w)):
            raise TypeError("fweights must be integer")
    if aweights is not None:
        aweights = observation_weights(aweights, n, "aweights")
        w = aweights if w is None else w * aweights
    if w is not None:
        total = np.sum(w)
        freedom = total - ddof * (1 if aweights is None else np.sum(w * aweights) / total)
    none_left = np.less_equal(freedom, 0)
    if wrong(none_left):
        warnings.warn("Degrees of freedom <= 0 for slice", RuntimeWarning, stacklevel=3)
    if anywhere(none_left):
        freedom = np.where(np.greater(freedom, 0), freedom, 0)
    d = x - average(x, axis=1, weights=w, keepdims=True)
    turned = np.conjugate(d.T) if d.dtype.kind == "c" else d.T
    return np.squeeze((d if w is None else d * w) @ turned / freedom)


@implements(np.corrcoef)
def corrcoef(x: Array, y: Array = None, rowvar: bool = True, *, dtype: Any = None) -> Array:
    """`np.corrcoef`: covariances over both standard deviations."""
    c = cov(x, y, rowvar, dtype=dtype)
    if c.ndim == 0:
        return c / c
    s = np.sqrt(np.real(np.diagonal(c)))
    c = c / s[:, None] / s
    if c.dtype.kind == "c":
        return np.clip(np.real(c), -1, 1) + 1j * np.clip(np.imag(c), -1, 1)
    return np.clip(c, -1, 1)


# Sums by bin, linear in the weights. Without weights that are Values they are counts: constants.


def ones_for(weights: Array) -> Array:
    """Weights like these, of which NumPy makes the same bins."""
    if not isinstance(weights, Handle):
        return weights
    data = data_of(weights)
    return created(np.ones, data.shape, data.dtype, like=data)


def weighted_counts(
    samples: Sequence[Array], edges: Sequence[Array], weights: Array, density: bool | None
) -> Array:
    """The weights of the samples (one array for each dimension) in each bin between the edges."""
    shape = tuple(len(e) - 1 for e in edges)
    places = [np.searchsorted(e, s, "right") - 1 - (s == e[-1]) for s, e in zip(samples, edges)]
    inside = np.all([(p >= 0) & (p < n) for p, n in zip(places, shape)], axis=0)
    index = tuple(p[inside] for p in places)
    hist = scatter_add(np.ravel(weights)[inside], shape=shape, index=index)
    if not density:
        return hist
    volumes = functools.reduce(np.multiply.outer, map(np.diff, edges))
    return hist / volumes / np.sum(hist)


@implements(np.bincount)
def bincount(x: Array, /, weights: Array = None, minlength: int = 0) -> Array:
    """`np.bincount`; with weights linear in them."""
    x = data_of(x)
    counts = np.bincount(x, ones_for(weights), minlength)
    if not isinstance(weights, Handle):
        return counts
    return scatter_add(as_array(weights, counts.dtype), shape=counts.shape, index=as_array(x))


@implements(np.histogram)
def histogram(
    a: Array, bins: Any = 10, range: Any = None, density: bool | None = None, weights: Array = None
) -> Any:
    """`np.histogram`; with weights linear in them."""
    a = as_array(data_of(a))
    hist, edges = np.histogram(a, data_of(bins), data_of(range), density, ones_for(weights))
    if isinstance(weights, Handle):
        hist = weighted_counts([np.ravel(a)], [edges], weights, density)
    return hist, edges


@implements(np.histogram2d)
def histogram2d(
    x: Array,
    y: Array,
    bins: Any = 10,
    range: Any = None,
    density: bool | None = None,
    weights: Array = None,
) -> Any:
    """`np.histogram2d`; with weights linear in them."""
    x, y = as_array(data_of(x)), as_array(data_of(y))
    hist, *edges = np.histogram2d(x, y, data_of(bins), range, density, ones_for(weights))
    if isinstance(weights, Handle):
        hist = weighted_counts([x, y], edges, as_array(weights, float), density)
    return hist, *edges


@implements(np.histogramdd)
def histogramdd(
    sample: Any,
    bins: Any = 10,
    range: Any = None,
    density: bool | None = None,
    weights: Array = None,
) -> Any:
    """`np.histogramdd`; with weights linear in them."""
    sample = data_of(sample)
    hist, edges = np.histogramdd(sample, data_of(bins), range, density, ones_for(weights))
    if isinstance(weights, Handle):
        samples = sample.T if hasattr(sample, "T") else np.atleast_2d(sample)
        hist = weighted_counts(list(samples), edges, as_array(weights, float), density)
    return hist, edges
