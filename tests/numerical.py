"""Derivatives that know nothing of the engine: the other side of each comparison.

Central differences, for any function of real arrays, with an error bar for each entry; and the
complex step, for analytic functions, exact to rounding.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = Any
STEP = 2.0**-8  # about 0.004: the error after extrapolation is near 1e-13 for tame functions


def nudged(x: Array, i: tuple[int, ...], d: complex) -> Array:
    """A copy of `x` with `d` added to entry `i`."""
    y = np.array(x, dtype=np.result_type(x, type(d)))
    y[i] += d
    return y[()]


def central_differences(
    f: Callable[[Array], float], x: Array, step: float = STEP
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The gradient of `f`, a number, by each entry of `x`, and an error bar for each entry.

    D(h) = (f(x + h) - f(x - h)) / 2h errs by a series in h². Two steps of Richardson's
    extrapolation over h, h/2, h/4 cancel its first two terms; what the second step changed bounds
    what is left of the series. Added to it: the rounding of f, divided by h.
    """
    x = np.asarray(x, np.float64)
    gradient, error = np.zeros(x.shape), np.zeros(x.shape)
    for i in np.ndindex(x.shape):
        D, size = [], 0.0
        for h in (step, step / 2, step / 4):
            above, below = f(nudged(x, i, h)), f(nudged(x, i, -h))
            D.append((above - below) / (2 * h))
            size = max(size, abs(above), abs(below))
        once = [(4 * D[1] - D[0]) / 3, (4 * D[2] - D[1]) / 3]
        twice = (16 * once[1] - once[0]) / 15
        gradient[i] = twice
        error[i] = abs(twice - once[1]) + 20 * np.finfo(np.float64).eps * size / step
    return gradient, error


def complex_step(f: Callable[[Array], complex], x: Array) -> NDArray[np.float64]:
    """The gradient of an analytic `f` by each entry of `x`: f(x + ih) = f(x) + ih f'(x) + O(h²).

    Nothing is subtracted, so h may be so small that its square vanishes (Squire and Trapp 1998).
    """
    h = 1e-30
    x = np.asarray(x, np.float64)
    gradient = np.zeros(x.shape)
    for i in np.ndindex(x.shape):
        gradient[i] = np.imag(f(nudged(x, i, 1j * h))) / h
    return gradient


def largest(*arrays: Array) -> float:
    """The largest magnitude among the entries of `arrays`; 0 where there are none."""
    return max((float(np.max(np.abs(a), initial=0.0)) for a in arrays), default=0.0)


def assert_gradient(
    f: Callable[..., Array], *xs: Array, order: int = 1, rng: int | None = 0
) -> None:
    """Compare the engine's gradient of `f` by each of `xs` with central differences.

    `f` takes arrays or Values; its result is projected on a random cotangent first. `order=2`
    also compares the derivative of a random projection of these gradients.
    """
    from tensorgrad import Value

    draw = np.random.default_rng(rng).standard_normal
    xs = tuple(np.asarray(x, np.float64)[()] for x in xs)
    g = draw(np.shape(f(*xs)))
    projections = [draw(np.shape(x)) for x in xs]

    def gradients(*xs: Array) -> list[Array]:
        vs = [Value(x) for x in xs]
        f(*vs).backward(g)
        return [0 * v.data if v.grad is None else v.grad for v in vs]

    def projected(*xs: Array) -> float:
        pairs = zip(projections, gradients(*xs), strict=True)
        return float(sum(np.sum(p * d) for p, d in pairs))

    functions = [lambda *xs: float(np.real(np.sum(g * f(*xs))))]
    results = [gradients(*xs)]
    if order == 2:
        vs = [Value(x) for x in xs]
        f(*vs).backward(g, create_graph=True)
        pairs = zip(projections, vs, strict=True)
        total = sum(np.sum(p * v.grad) for p, v in pairs if v.grad is not None)
        for v in vs:
            v.grad = None
        if getattr(total, "requires_grad", False):
            total.backward()
        functions.append(projected)
        results.append([0 * v.data if v.grad is None else v.grad for v in vs])
    for function, found in zip(functions, results, strict=True):
        for i, x in enumerate(xs):
            along = lambda x, i=i, f=function: f(*xs[:i], x, *xs[i + 1 :])
            expected, error = central_differences(along, x)
            assert np.shape(found[i]) == expected.shape
            limit = 10 * error + 1e-9 * (1 + largest(expected))
            assert np.all(np.abs(found[i] - expected) <= limit), (i, found[i], expected)


def any_seed() -> int:
    """A seed of a long search: another each time, but where CI is set always the same."""
    return 1 if os.environ.get("CI") else int.from_bytes(os.urandom(4), "little")
