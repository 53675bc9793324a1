"""H. Rosenbrock's valley (1960), chained over a million variables, float64: value and gradient."""

from itertools import cycle

import numpy as np


def plain(f, points, constants):
    """`f` is the function, which is not called: what is computed is its formula and gradient."""
    points = cycle(points)

    def step():
        (x,) = next(points)
        d = x[1:] - x[:-1] ** 2
        value = np.sum(100 * d**2 + (1 - x[:-1]) ** 2)
        gradient = np.zeros_like(x)
        gradient[:-1] = -400 * x[:-1] * d - 2 * (1 - x[:-1])
        gradient[1:] += 200 * d
        return value, gradient

    return step


def out(f, points, constants):
    """The same in arrays that are there; the gradient is new, for it is the caller's."""
    n, points = len(points[0][0]) - 1, cycle(points)
    d, e, t = np.empty(n), np.empty(n), np.empty(n)

    def step():
        (x,) = next(points)
        a = x[:-1]
        np.multiply(a, a, out=d)
        np.subtract(x[1:], d, out=d)
        np.subtract(1, a, out=e)
        value = 100 * np.vdot(d, d) + np.vdot(e, e)
        gradient = np.empty_like(x)
        np.multiply(a, d, out=t)
        np.multiply(t, -400, out=gradient[:-1])
        np.multiply(e, 2, out=e)
        np.subtract(gradient[:-1], e, out=gradient[:-1])
        gradient[-1] = 0
        np.multiply(d, 200, out=d)
        np.add(gradient[1:], d, out=gradient[1:])
        return value, gradient

    return step
