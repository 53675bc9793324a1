"""What a diagnosis is made from: claimed and numerical gradients for several random cotangents."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from tensorgrad.testing.point import Point
from tensorgrad.testing.report import GradientError, Report
from tensorgrad.testing.table import FULL, differentiated

Array = Any
CLOSE = 1e-5  # of the size of the gradient: far above error bars, far below mistakes
COUNT = 3  # cotangents


class Evidence:
    """Claimed gradients `D[q]` by the argument `x`, for cotangents `g[q]` of the result `out`; and
    `true[q]`, the numerical derivatives along the rows of `V`, in the coordinates of `x`.

    `others`: the other arguments by name; `of_others`: the claimed gradients by them. Where x is
    small, `jacobian` is the pair of Jacobians, claimed and numerical within `bar` (outputs along
    the rows), by the entries `tested` of x: those that are not at a kink.
    """

    x: Array
    out: Array
    G: Array  # the cotangents as vectors
    g: list[Array]
    D: list[Array]
    V: Array
    true: Array
    others: dict[str, Array]
    of_others: dict[str, list[Array]]
    jacobian: tuple[Array, Array] | None = None
    bar: Array = None
    tested: Array = None

    def along(self, d: Array) -> Array:
        return self.V @ np.ravel(d)

    def fits(self, mended: Sequence[Array]) -> bool:
        """Whether `mended`, made of the claimed gradients, are the true ones."""
        size = np.max(np.abs(self.true), initial=0)
        for d, true in zip(mended, self.true):
            d = np.asarray(d)
            if d.shape != np.shape(self.x) or not np.isfinite(d).all():
                return False
            if not np.max(np.abs(self.along(d) - true), initial=0) <= CLOSE * size:
                return False
        return True


def gathered(point: Point, k: int) -> Evidence:
    """The evidence on the gradient by the argument `point.wrt[k]`."""
    rng = np.random.default_rng(1)
    part, m = point.inputs.part(k), point.y.size
    n = part.stop - part.start
    G = rng.standard_normal((COUNT, m))
    small = n * m <= FULL
    V = np.eye(n) if small else rng.standard_normal((2 * COUNT, n))
    steps = np.zeros((len(V), point.x.size))
    steps[:, part] = V * point.scale()[part]
    s = differentiated(point, np.eye(m) if small else G, steps)
    usable = ~np.any(s.kink | ~np.isfinite(s.bar), axis=1)
    size = np.max(np.abs(steps), axis=1) if small else np.ones(len(V))
    V = V if small else V * point.scale()[part]

    e = Evidence()
    e.G = G
    e.x = np.asarray(point.args[point.wrt[k]])
    e.out = np.asarray(np.nan if point.several else point.outputs.arrays(point.y)[0])
    e.V = V[usable]
    value = (s.value / size[:, None])[usable]
    e.true = G @ value.T if small else value.T
    e.g, e.D = [], []
    e.others = {
        point.names[i]: a
        for i, a in enumerate(point.args)
        if i != point.wrt[k] and getattr(np.asarray(a).dtype, "kind", "O") in "fiu"
    }
    e.of_others = {}
    for g in G:
        cotangent = point.cotangent(g)
        gradients = point.gradients(cotangent, point.own(point.x))
        e.g.append(np.nan if point.several else cotangent)
        e.D.append(np.array(gradients[k], dtype=float))
        for i, d in zip(point.wrt, gradients):
            if i != point.wrt[k] and np.shape(d) == np.shape(e.x):
                e.of_others.setdefault(point.names[i], []).append(np.array(d))
    if small and e.D[0].shape == e.x.shape:
        found = np.array([point.pullback(g)[part] for g in np.eye(m)])
        e.jacobian = found[:, usable], value.T
        e.bar = (s.bar / size[:, None])[usable].T
        e.tested = np.flatnonzero(usable)
    return e


def column(point: Point, k: int, i: int, e: Evidence) -> Array:
    """The true derivative by entry `i` of the argument, for each cotangent of the evidence."""
    at = point.inputs.starts[k] + i
    v = np.zeros((1, point.x.size))
    v[0, at] = point.scale()[at]
    return differentiated(point, e.G, v).value[0] / v[0, at]


def right_at_full_shape(point: Point) -> bool:
    """Whether the gradients are right once every argument is broadcast to the result's shape."""
    shape = point.outputs.shapes[0]
    shapes = [np.shape(a) for a in point.args]
    if point.several or all(s == shape for s in shapes):
        return False
    try:
        args = [np.broadcast_to(a, shape).copy() for a in point.args]
        full = Point(point.subject, args, [*point.wrt], Report())
    except (ValueError, GradientError):
        return False
    if full.outputs.shapes != [shape]:
        return False
    rng = np.random.default_rng(2)
    V = rng.standard_normal((COUNT, full.x.size)) * full.scale()
    G = rng.standard_normal((COUNT, full.y.size))
    try:
        found = V @ np.array([full.pullback(g) for g in G]).T
    except (GradientError, ValueError):
        return False
    s = differentiated(full, G, V)
    good = ~s.kink & np.isfinite(s.bar)
    off = np.abs(found - s.value)[good]
    return bool(good.any() and np.all(off <= CLOSE * np.max(np.abs(s.value[good]), initial=0)))
