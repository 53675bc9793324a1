"""Numerical derivatives that say how wrong they may be: an error bar for each entry.

D(h) = (F(x + hv) - F(x - hv)) / 2h errs by a series in h². Two steps of Richardson's extrapolation
over h, h/4, h/16 cancel its first two terms; how much the steps still changed bounds what is left
of the series, and the rounding of F, measured, is divided by h. Of all h, each entry takes the one
with the smallest bar. Steps shrink and grow until the bar is small next to the derivative, so steep
and flat functions need no other setting.

Sources: C. J. F. Ridders, Advances in Engineering Software 4 (1982) 75, for the table and its
error; J. J. Moré and S. M. Wild, SIAM J. Sci. Comput. 33 (2011) 1292, for the noise; W. Squire and
G. Trapp, SIAM Review 40 (1998) 110, for the complex step.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from tensorgrad.testing.vectors import Vector

Array = Any
Function = Callable[[Array], Array]
EPS = float(np.finfo(np.float64).eps)
STAGES = (  # h = 2^-j; with the first, three small steps that may contradict it
    (3, 5, 7, 9, 11, 25, 27, 29),
    (13, 15, 17, 19, 21, 23, 31, 33, 35, 37),
    (-7, -5, -3, -1, 1),
)
ENOUGH = 1e-7  # a bar this small, next to the largest derivative of an output, needs no more steps
SIGNIFICANT = 100  # times the noise: a second difference that is not rounding
SMALLEST_KINK = 1e-5  # between slopes that differ by less there is none worth the name
SAFE = 20  # standard deviations of the rounding
SMOOTH = 1e-2  # of what a function moves by: what is less may be rounding of something else
FINE = 1e-12  # of the values: rounding, no doubt
LINE = 22  # the line on which the noise is sampled has the length 2^-22
ROUNDING = 1e-6  # of the values: what is more may be something else
NODES = np.array([1.0871, 2.3419, 2.9903, 4.1377, 5.2961, 5.9113, 7.1743, 8.2167])
"""Where the noise is sampled: at even distances, the errors of a staircase could be even, too."""
_polynomials = np.linalg.qr(np.vander(NODES / 8, 6))[0]
RESIDUAL = np.eye(8) - _polynomials @ _polynomials.T
COMPLEX_STEP = 2.0**-70  # its square is nothing next to 1, and it does not underflow


class Slopes(NamedTuple):
    """Derivatives along k directions of m outputs, each field of shape (k, m).

    `value` lies within `bar` of the derivative. Where `kink` holds, there is none: the slopes on
    the two sides are `left` and `right` (NaN where the function is not defined). `noise`: the
    rounding errors of each output, (m,).
    """

    value: Array
    bar: Array
    left: Array
    right: Array
    kink: Array
    noise: Array


def slopes(
    f: Function,
    x: Vector,
    directions: Array,
    eps: float = EPS,
    wide: Vector | None = None,
    thorough: bool = False,
) -> Slopes:
    """The derivative of `f`, vector to vector, at `x` along each row of `directions`.

    A row says by its length how far the function is to be tried: about as far as x is from 0.
    `eps`: the spacing at 1 of the floats that `f` computes in. `wide`: a direction along which its
    rounding is measured, by default their sum. `thorough`: where f does not move, ask with larger
    steps whether it is stuck at a rounded number. Rows where `f` is not finite on
    both sides, however close, have NaN and an infinite bar.

    >>> s = slopes(np.sin, np.array([1.0, 2.0]), np.eye(2))
    >>> bool(np.all(abs(s.value - np.diag(np.cos([1, 2]))) <= s.bar)), bool(s.bar.max() < 1e-10)
    (True, True)
    """
    k = len(directions)
    with np.errstate(all="ignore"):
        y = f(x)
        along = np.sum(directions, axis=0) if k else x
        noise = roundings(f, x, y, along if wide is None else wide, along, eps)
        steps: list[int] = []
        above, below = np.zeros((2, 0, k, len(y)))
        todo = np.ones(k, bool)
        nothing = np.zeros((k, len(y)))
        result = Slopes(nothing, nothing, nothing, nothing, nothing > 0, noise)
        for stage in STAGES:
            steps += stage
            sampled = np.full((2, len(stage), k, len(y)), np.nan)
            for row, j in enumerate(stage):
                for i in np.flatnonzero(todo):
                    sampled[0, row, i] = f(x + 2.0**-j * directions[i])
                    sampled[1, row, i] = f(x - 2.0**-j * directions[i])
            above, below = (np.concatenate(pair) for pair in zip((above, below), sampled))
            order = np.argsort(steps)  # the largest h first
            h = 2.0 ** -np.array(steps, float)[order][:, None, None]
            result = read(h, above[order], below[order], y, noise, eps)
            scale = np.max(np.abs(result.value), axis=0, initial=0.0, where=result.bar < np.inf)
            fine = (result.bar <= ENOUGH * scale) & ~result.kink
            still = np.all((above == y) & (below == y) | np.isnan(above), axis=0)
            still &= result.bar < np.inf
            todo = ~np.all(fine | still, axis=1) | (thorough & np.all(still, axis=1))
            if not todo.any():
                break
    return result


def read(h: Array, above: Array, below: Array, y: Vector, noise: Vector, eps: float) -> Slopes:
    """The slopes from samples at x ± hv: axes are steps (shrinking by 4), directions, outputs."""
    D = (above - below) / (2 * h)
    R = (16 * D[1:] - D[:-1]) / 15
    T = (256 * R[1:] - R[:-1]) / 255
    T[h[:-2].ravel() > 16 * h[2:].ravel()] = np.nan  # steps are left out there
    gap = np.abs(np.diff(T, axis=0))
    gap = np.where(np.isnan(gap), np.inf, gap)
    beyond = np.full((1, *T.shape[1:]), np.inf)
    to_next, to_last = np.concatenate([gap, beyond]), np.concatenate([beyond, gap])
    series = np.maximum(np.abs(T - R[1:]), np.minimum(to_next, to_last))
    size = np.maximum(np.abs(above), np.abs(below))
    rough = np.maximum(noise, quanta(above, below, y))
    # x ± hv itself is rounded, which is not small next to f where f has an extremum: p - t at p = t
    moves = np.maximum(np.abs(above - y), np.abs(below - y)) / h
    rough = np.maximum(rough, eps * moves)
    bars = 4 * series + (SAFE * rough[2:] + eps * size[2:]) / h[2:]
    bars = np.where(np.isfinite(bars), bars, np.inf)
    # what a large step says must lie within what all smaller steps allow
    low, high = (
        np.minimum.accumulate(side[::-1], axis=0)[::-1]
        for side in (
            np.where(bars < np.inf, bars - T, np.inf),
            np.where(bars < np.inf, T + bars, np.inf),
        )
    )
    consistent = (T + bars >= -low) & (T - bars <= high)
    best = np.argmin(np.where(consistent, bars, np.inf), axis=0)[None]
    value, bar = np.take_along_axis(T, best, 0)[0], np.take_along_axis(bars, best, 0)[0]
    left, right, kink = sides(h, above, below, y, rough + eps * size)
    return Slopes(np.where(bar < np.inf, value, np.nan), bar, left, right, kink, noise)


def quanta(above: Array, below: Array, y: Vector) -> Array:
    """Half the least change of a function that is stuck at a rounded number, as 1 + e⁻⁴⁰ is.

    It does not move at the smallest steps, then by whole multiples of something very small.
    """
    moves = np.abs(np.stack([above, below]) - y)
    tried = np.isfinite(moves)
    smallest = np.cumsum(np.any(tried, axis=0)[::-1], axis=0)[::-1] <= 3
    stuck = ~np.any((moves > 0) & smallest, axis=(0, 1))
    least = np.min(np.where(moves > 0, moves, np.inf), axis=(0, 1))
    largest = np.max(np.where(tried, moves, 0.0), axis=(0, 1))
    multiples = np.where(moves < 100 * least, moves / least, 0.0)
    whole = np.all(np.abs(multiples - np.round(multiples)) < 1e-6, axis=(0, 1))
    return np.where(stuck & whole & (least <= ROUNDING * largest), least / 2, 0.0)


def sides(
    h: Array, above: Array, below: Array, y: Vector, noise: Array
) -> tuple[Array, Array, Array]:
    """The slopes on either side, and where they stay apart: a kink.

    The right slope less the left one is h f'' + ... where f is smooth: a quarter as large at h/4.
    At a kink it stays, and so do both slopes. At a jump, what f changes by stays.
    """
    bend, span = np.abs(above - 2 * y + below), np.abs(above - below)
    noise = SIGNIFICANT * noise
    apart, last = lasting(bend / h, noise / h)
    jump = lasting(bend, noise)[0] | lasting(span, noise)[0]

    def at(side: Array, i: int) -> Array:
        return np.take_along_axis(side, last - i, 0)[0]

    right, left = (above - y) / h, (y - below) / h
    gap = at(bend / h, 1)
    for side in (right, left):
        apart &= np.abs(at(side, 2) - at(side, 1)) < gap / 2
        apart &= np.abs(at(side, 1) - at(side, 0)) < gap / 2
    apart &= gap > SMALLEST_KINK * (np.abs(at(right, 1)) + np.abs(at(left, 1)))
    right, left = ((4 * at(side, 1) - at(side, 2)) / 3 for side in (right, left))
    return np.where(jump, np.nan, left), np.where(jump, np.nan, right), apart | jump


def lasting(change: Array, visible: Array) -> tuple[Array, Array]:
    """Whether `change` stays as steps shrink, and the index of the smallest step that tells.

    That is asked of the three smallest steps at which it is visible; at the next it must drown.
    """
    seen = np.where(change > visible, change, 0.0)
    last = np.maximum(len(change) - 1 - np.argmax(seen[::-1] > 0, axis=0)[None], 2)
    a, b, c = (np.take_along_axis(seen, last - i, 0)[0] for i in (2, 1, 0))
    after = np.minimum(last + 1, len(change) - 1)
    drowns = (c < 2 * np.take_along_axis(visible, after, 0)[0]) | (after == last)[0]
    return (a > 0) & (b > a / 2) & (c > b / 2) & drowns, last


def roundings(f: Function, x: Vector, y: Vector, wide: Vector, own: Vector, eps: float) -> Vector:
    """The standard deviation of the rounding errors of `f` near `x`.

    On a short line a smooth function is a polynomial of degree 5: what is left after fitting one is
    rounding. Either side is measured, as there may be a kink between. What gets smaller with the
    line is a kink beside it, what is too much for rounding is a jump, or a steep function: then a
    shorter line is tried, on which the function must be seen to move, smoothly. A cost at its
    minimum may be all rounding, which a line that is too short does not show.
    """
    noise, calm = np.full(len(y), np.inf), True
    # numbers that move alike have a difference without rounding: first, no two do
    oblique = wide * np.random.default_rng(0).uniform(0.5, 1, len(x))
    for v, step in ((oblique, LINE), (wide, 25), (wide, 28), (own, 25), (own, 37)):
        measured, size, there, span, changes = along_a_line(f, x, 2.0**-step * v)
        better = there & (noise > FINE * size) & (measured < noise / 4)
        better &= (measured < SMOOTH * span) | calm
        noise = np.where(better, measured, noise)
        calm = (changes <= 1) if step == LINE else calm
        if not np.any((noise > ROUNDING * size) | (better & (noise > FINE * size))):
            break
    noise = np.where(np.isfinite(noise), noise, 0.0)
    least = np.maximum(eps * np.abs(y) / 2, np.finfo(np.float64).smallest_subnormal)
    return np.asarray(np.maximum(noise, least))


def along_a_line(f: Function, x: Vector, v: Vector) -> tuple[Vector, Vector, Array, Vector, Array]:
    """What is not polynomial in f(x ± tv), the size of f, and where it is defined; how much it
    moves, and how many times on either side.
    """
    line = np.array([[f(x + t * w) for t in NODES] for w in (v, -v)])
    size = np.max(np.abs(line), axis=(0, 1), where=np.isfinite(line), initial=0.0)
    left = RESIDUAL @ ((line - line[:, :1]) / np.where(size > 0, size, 1))
    there = np.isfinite(left).all(axis=1)
    squares = np.sum(left**2, axis=(0, 1), where=there[:, None])
    measured = size * np.sqrt(squares / np.maximum(2 * there.sum(axis=0), 1))
    moves = np.nan_to_num(np.abs(np.diff(line, axis=1)), posinf=0.0)
    span = np.max(np.sum(moves, axis=1), axis=0)
    changes = np.max(np.count_nonzero(moves, axis=1), axis=0)
    return measured, size, there.any(axis=0), span, changes


def complex_slopes(f: Function, x: Vector, directions: Array) -> Array:
    """The same for analytic functions, from f(x + ihv) = f(x) + ih f'(x)v + O(h²).

    Nothing is subtracted, so the result is exact to rounding; `f` takes and returns complex ones.
    """
    h = COMPLEX_STEP
    with np.errstate(all="ignore"):
        return np.array([np.imag(f(x + 1j * h * v)) / h for v in directions])
