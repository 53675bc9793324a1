"""Tables of claimed and numerical derivatives, and how far apart they may be."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from tensorgrad.testing.differences import (
    EPS,
    LINE,
    Slopes,
    along_a_line,
    complex_slopes,
    roundings,
    slopes,
)
from tensorgrad.testing.point import Point
from tensorgrad.testing.report import GradientError
from tensorgrad.testing.vectors import Vector

Array = Any
FULL = 4096  # entries of a Jacobian that are all compared; for more, directions are drawn
DIRECTIONS = 6  # for each argument, in each of COTANGENTS random projections of the result
COTANGENTS = 4
WIDE = 512  # coordinates that are all tried: each takes 16 evaluations of the function
ROUGH = 1e-6  # a function may round like this, and its gradient too


class Table(NamedTuple):
    """Claimed and numerical derivatives of g · f along v, for all v (rows) and g (columns)."""

    G: Array
    V: Array
    found: Array
    slopes: Slopes
    limit: Array

    @property
    def entries(self) -> bool:
        """Whether this is the whole Jacobian, entry by entry."""
        return all(
            len(M) == M.shape[1] == np.count_nonzero(M) == np.count_nonzero(np.diag(M))
            for M in (self.G, self.V)
        )

    @property
    def smooth(self) -> Array:
        """The directions along which there is a derivative of everything."""
        return ~np.any(self.slopes.kink | ~np.isfinite(self.slopes.bar), axis=1)

    @property
    def error(self) -> Array:
        """Differences in multiples of what is allowed."""
        off = np.abs(self.found - self.slopes.value)
        error = np.where(off == 0, 0, off / np.where(off == 0, 1, self.limit))
        return np.where(np.isfinite(self.found), error, np.inf)


def probes(point: Point, rng: np.random.Generator) -> tuple[Array, Array]:
    """Cotangents and directions: all of them, or as many as need be drawn."""
    n, m, scale = point.x.size, point.y.size, point.scale()
    if n * m <= FULL and n <= WIDE:
        return np.eye(m), np.diag(scale)
    G = rng.standard_normal((min(m, COTANGENTS), m)) if m > 1 else np.ones((1, 1))
    rows = []
    for k in range(len(point.wrt)):
        size = point.inputs.part(k).stop - point.inputs.part(k).start
        rows += [directions(point, rng, k, size), directions(point, rng, k, 1)]
    point.report.sampling = (
        f"a Jacobian of {m} x {n} entries is too large for each to be compared: for each argument "
        f"{DIRECTIONS} random directions and {DIRECTIONS} random coordinates, in {len(G)} random "
        f"projection{'s' * (len(G) > 1)} of the result; an error of ten times the error bar is "
        f"missed with probability {(0.8 / 10) ** DIRECTIONS:.0e}"
    )
    return G, np.concatenate(rows)


def directions(point: Point, rng: np.random.Generator, k: int, count: int) -> Array:
    """Random directions through `count` coordinates of argument `point.wrt[k]`."""
    part = point.inputs.part(k)
    V = np.zeros((DIRECTIONS, point.x.size))
    for v in V:
        chosen = rng.choice(np.arange(part.start, part.stop), count, replace=False)
        v[chosen] = rng.standard_normal(count) if count > 1 else 1.0
    return V * point.scale()


def compare(point: Point, G: Array, V: Array) -> Table:
    """Reverse mode: the gradients of g · f, for all g, along all v."""
    gradients = np.array([point.pullback(g) for g in G])
    terms = np.sqrt(V**2 @ gradients.T**2)

    def table(thorough: bool) -> Table:
        numerical = differentiated(point, G, V, thorough)
        limit = numerical.bar + floors(point, G, V, numerical, terms)
        return Table(G, V, derivatives_along(V, gradients), numerical, limit)

    first = table(thorough=False)
    if not (first.error > 1).any():
        return first
    second = table(thorough=True)  # only if it matters: this takes many more evaluations
    size = np.max(np.abs(np.nan_to_num(second.slopes.value)), axis=0)
    weights = np.divide(1, size, out=np.zeros(len(size)), where=size > 0)
    off = np.nan_to_num(rounding(point, lambda x: point.pullback(weights @ G, x)))
    return second._replace(limit=second.limit + 10 * np.sqrt(V**2 @ off[:, None] ** 2) * size)


def derivatives_along(V: Array, gradients: Array) -> Array:
    """The derivatives along `V`, with NaN and infinity only where they have a part."""
    if np.isfinite(gradients).all():
        return V @ gradients.T
    with np.errstate(invalid="ignore"):
        return np.array([np.sum(np.where(v != 0, v * gradients, 0), axis=1) for v in V])


def numerical_alone(point: Point, rng: np.random.Generator) -> Table:
    """The numerical derivatives alone: nothing is claimed."""
    G, V = probes(point, rng)
    numerical = differentiated(point, G, V)
    return Table(G, V, numerical.value, numerical, numerical.bar)


def compare_forward(point: Point, table: Table, C: Array) -> Table:
    """Forward mode along mixtures C of a table's smooth directions, whose slopes are known."""
    smooth, V = table.smooth, C @ table.V
    tangents = np.array([point.pushforward(v) for v in V])
    value = C @ np.where(smooth[:, None], table.slopes.value, 0)
    bar = np.abs(C) @ np.where(smooth[:, None], table.slopes.bar, 0)
    none = np.zeros_like(value)
    numerical = Slopes(value, bar, none, none, none > 0, table.slopes.noise)
    terms = np.sqrt(tangents**2 @ table.G.T**2)
    limit = bar + floors(point, table.G, V, numerical, terms)
    forward = Table(table.G, V, tangents @ table.G.T, numerical, limit)
    if (forward.error > 1).any():
        off = [rounding(point, partial(point.pushforward, v)) for v in V]
        limit = limit + np.abs(C) @ np.where(smooth[:, None], table.limit, 0)
        limit = limit + 10 * np.sqrt(np.array(off) ** 2 @ table.G.T**2)
    return forward._replace(limit=limit)


def rounding(point: Point, claimed: Callable[[Vector], Vector]) -> Vector:
    """The rounding errors of a claimed derivative, measured as those of a function."""

    def near(x: Vector) -> Vector:
        try:
            return claimed(x)
        except GradientError as error:  # it is not defined there
            error.report.failures.pop()
            return np.full(len(here), np.nan)

    here = claimed(point.x)
    return roundings(near, point.x, here, point.scale(wide=True), point.scale(), point.eps)


def floors(point: Point, G: Array, V: Array, numerical: Slopes, terms: Array) -> Array:
    """What drowns in the rounding of g · f; and ε^⅔ of its largest derivative by that argument.

    ε is that of the arrays' dtype, or the rounding of the function itself, if that is more.
    `terms`: the size of what is summed along each direction.
    """
    size = np.abs(G) @ np.abs(point.y)
    own = np.divide(numerical.noise, size, out=np.zeros_like(size), where=size > 0)
    eps = np.minimum(np.maximum(point.eps, own), ROUGH)
    result = np.zeros(numerical.value.shape) + 500 * point.eps * np.sqrt(G**2 @ point.y**2)
    value = np.where(np.isnan(numerical.value), 0, numerical.value)
    for k in range(len(point.wrt)):
        rows = np.any(V[:, point.inputs.part(k)] != 0, axis=1)
        if rows.any():
            # the size of the terms counts, not what is left of their sum; if it can be believed
            largest = np.max(np.abs(value[rows]), axis=0)
            size = np.where(terms[rows] < 1e3 * largest, np.maximum(terms[rows], largest), largest)
            result[rows] += eps ** (2 / 3) * size
    return result


# The numerical derivatives of a point, by the best means there is for each of its entries.


def differentiated(point: Point, G: Array, V: Array, thorough: bool = False) -> Slopes:
    """The numerical derivatives of g · f; by the complex step where that is good and needed."""
    whole = G.shape[0] == G.shape[1] and np.array_equal(G, np.eye(len(G)))
    F = point.f if whole else lambda x: G @ point.f(x)
    wide = np.any(V, axis=0) * point.scale(wide=True)
    numerical = slopes(F, point.x, V, point.eps_of_f, wide, thorough)
    poor = ~(numerical.bar <= 1e-8 * np.max(np.abs(numerical.value), axis=0, initial=0.0))
    if not (poor & ~numerical.kink).any() or point.complex:
        return numerical
    with warnings.catch_warnings():
        warnings.simplefilter("error", np.exceptions.ComplexWarning)
        return improved(point, F, V, G, numerical)


def improved(point: Point, F: Any, V: Array, G: Array, numerical: Slopes) -> Slopes:
    """`numerical`, with the complex step's derivatives where they agree and have smaller bars."""
    try:
        if not np.iscomplexobj(F(point.x + 0j)):
            return numerical

        def derivative(x: Vector) -> Vector:
            return np.ravel(complex_slopes(F, x, V))

        exact = derivative(point.x)
        noise, *_ = along_a_line(derivative, point.x, 2.0**-LINE * point.scale(wide=True))
        noise = noise.reshape(numerical.bar.shape)
        exact = exact.reshape(numerical.bar.shape)
    except Exception:  # whatever a function does with numbers that it was not written for
        return numerical
    agree = np.abs(exact - numerical.value) <= numerical.bar
    tight = EPS * (1e2 * np.max(np.abs(exact), axis=0, initial=0.0) + np.abs(G @ point.y))
    tight = np.maximum(tight, 1e-3 * numerical.bar) + 10 * noise
    # analytic where it agrees along every direction, and somewhere that says something
    telling = np.any(agree & (numerical.bar < 0.1 * np.abs(numerical.value)), axis=0)
    analytic = telling & np.all(agree | ~np.isfinite(numerical.bar), axis=0)
    analytic = analytic & np.all(np.isfinite(exact), axis=0)
    better = analytic & (tight < numerical.bar) & np.isfinite(numerical.bar) & ~numerical.kink
    return numerical._replace(
        value=np.where(better, exact, numerical.value), bar=np.where(better, tight, numerical.bar)
    )
