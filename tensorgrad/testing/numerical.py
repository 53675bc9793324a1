"""The numerical derivatives of a point, by the best means there is for each of its entries."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np

from tensorgrad.testing.differences import EPS, LINE, Slopes, along_a_line, complex_slopes, slopes
from tensorgrad.testing.point import Point
from tensorgrad.testing.vectors import Vector

Array = Any
FULL = 4096  # entries of a Jacobian that are all compared; for more, directions are drawn


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
        noise = along_a_line(derivative, point.x, 2.0**-LINE * point.scale(wide=True))[0]
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
