"""Tables of claimed and numerical derivatives, and how far apart they may be."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from tensorgrad.testing.differences import Slopes, roundings
from tensorgrad.testing.numerical import FULL, differentiated
from tensorgrad.testing.point import OUTSIDE, Point
from tensorgrad.testing.report import Failure, GradientError
from tensorgrad.testing.vectors import Vector

Array = Any
DIRECTIONS = 6  # for each argument, in each of COTANGENTS random projections of the result
COTANGENTS = 4
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
    def error(self) -> Array:
        """Differences in multiples of what is allowed."""
        off = np.abs(self.found - self.slopes.value)
        error = np.where(off == 0, 0, off / np.where(off == 0, 1, self.limit))
        return np.where(np.isfinite(self.found), error, np.inf)


def probes(point: Point, rng: np.random.Generator) -> tuple[Array, Array]:
    """Cotangents and directions: all of them, or as many as need be drawn."""
    n, m, scale = point.x.size, point.y.size, point.scale()
    if n * m <= FULL:
        return np.eye(m), np.diag(scale)
    G = rng.standard_normal((min(m, COTANGENTS), m)) if m > 1 else np.ones((1, 1))
    rows = []
    for k in range(len(point.wrt)):
        part = point.inputs.part(k)
        places = range(n)[part]
        drawn = np.zeros((DIRECTIONS, n))
        drawn[:, part] = rng.standard_normal((DIRECTIONS, len(places)))
        chosen = rng.choice(places, min(DIRECTIONS, len(places)), replace=False)
        rows += [drawn, np.eye(1, n, 0)[:0], *(np.eye(1, n, int(i)) for i in chosen)]
    V = np.concatenate(rows) * scale
    point.report.sampling = (
        f"a Jacobian of {m} x {n} entries is too large for each to be compared: for each argument "
        f"{DIRECTIONS} random directions and {DIRECTIONS} random coordinates, in {len(G)} random "
        f"projection{'s' * (len(G) > 1)} of the result; an error of ten times the error bar is "
        f"missed with probability {(0.8 / 10) ** DIRECTIONS:.0e}"
    )
    return G, V


def compare(point: Point, G: Array, V: Array) -> Table:
    """Reverse mode: the gradients of g · f, for all g, along all v."""
    found = np.array([point.pullback(g) for g in G])
    numerical = differentiated(point, G, V)
    size = np.max(np.abs(np.where(np.isnan(numerical.value), 0, numerical.value)), axis=0)
    weights = np.divide(1, size, out=np.zeros_like(size), where=size > 0)
    wobble = 10 * rounding_of_gradient(point, weights @ G)
    limit = numerical.bar + np.sqrt(V**2 @ wobble[:, None] ** 2) * size
    limit = limit + floors(point, G, V, found, numerical)
    limit = limit + 500 * point.eps * np.abs(G) @ np.abs(point.y)  # what drowns in y's rounding
    return Table(G, V, V @ found.T, numerical, limit)


def rounding_of_gradient(point: Point, g: Vector) -> Vector:
    """The rounding errors of the claimed gradient of g · f, measured as those of the function."""

    def claimed(x: Vector) -> Vector:
        try:
            return point.inputs.covector(
                point.chosen(point.subject.vjp(point.cotangent(g), *point.own(x)))
            )
        except OUTSIDE:
            return np.full(point.x.size, np.nan)

    scales = point.scale(wide=True), point.scale()
    return roundings(claimed, point.x, point.pullback(g), *scales, point.eps)


def floors(point: Point, G: Array, V: Array, found: Array, numerical: Slopes) -> Array:
    """ε^⅔ of the largest derivative of the same g · f by the same argument.

    ε is that of the arrays' dtype, or the rounding of the function itself, if that is more.
    """
    size = np.abs(G) @ np.abs(point.y)
    own = np.divide(numerical.noise, size, out=np.zeros_like(size), where=size > 0)
    eps = np.minimum(np.maximum(point.eps, own), ROUGH)
    result = np.zeros(numerical.value.shape)
    value = np.where(np.isnan(numerical.value), 0, numerical.value)
    for k in range(len(point.wrt)):
        part = point.inputs.part(k)
        rows = np.flatnonzero(np.any(V[:, part] != 0, axis=1))
        if len(rows):
            # along a direction, the size of its terms counts, not what is left of their sum
            size = 1e3 * np.max(np.abs(value[rows]), axis=0)
            terms = np.sqrt(V[rows][:, part] ** 2 @ found[:, part].T ** 2)
            terms = np.where(terms < size, terms, size)
            largest = np.maximum(np.max(np.abs(value[rows]), axis=0), terms)
            result[rows] = np.maximum(result[rows], eps ** (2 / 3) * largest)
    return result


def compare_forward(point: Point, G: Array, V: Array) -> Table:
    """Forward mode: the derivatives along all v of g · f, for all g."""
    near = point.x * (1 + 4 * point.eps_of_inputs)
    try:
        found = np.array([point.pushforward(v) for v in V]) @ G.T
        wobble = np.array([point.pushforward(v, near) for v in V]) @ G.T - found
    except NotImplementedError:
        raise
    except Exception as error:
        detail = f"forward mode: {type(error).__name__}: {error}"
        point.report.failures.append(Failure("raises", detail))
        raise GradientError(point.report) from error
    numerical = differentiated(point, G, V)
    size = np.max(np.abs(np.where(np.isnan(numerical.value), 0, numerical.value)), axis=0)
    limit = numerical.bar + 10 * point.eps ** (2 / 3) * size + 4 * np.abs(wobble)
    return Table(G, V, found, numerical, limit)
