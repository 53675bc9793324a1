"""The check: a claimed gradient against numerical derivatives, each within its own error bar.

Small Jacobians are compared entry by entry. Large ones in random directions and at random single
coordinates: a wrong entry hides from a direction v only if v is nearly perpendicular to the error,
so that an error r times as large as the bar is missed in k independent directions with probability
(0.8 / r)^k; k = 6 makes that 3e-7 for r = 10.

A claimed number may differ from the numerical one by the bar of the latter, by ten times the
measured rounding of the claimed gradient, by what drowns in the rounding of the output, and by the
floor: ε^⅔ of the largest entry of the gradient of the same output by the same argument, 4e-11 for
float64 and 2e-5 for float32.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np

from tensorgrad.testing.conduct import misconduct
from tensorgrad.testing.containers import opened
from tensorgrad.testing.diagnosis import diagnose
from tensorgrad.testing.differences import Slopes, roundings
from tensorgrad.testing.numerical import FULL, differentiated
from tensorgrad.testing.point import OUTSIDE, Point
from tensorgrad.testing.report import Choice, Failure, GradientError, Report
from tensorgrad.testing.subject import Function, Subject
from tensorgrad.testing.vectors import Vector

Array = Any
DIRECTIONS = 6  # for each argument, in each of COTANGENTS random projections of the result
COTANGENTS = 4
ROUGH = 1e-6  # a function may round like this, and its gradient too
RESOLVED = 0.1  # an entry whose bar is a larger part of it has not been checked
MODES = ("rev", "fwd")


def check(
    subject: Subject,
    *args: Any,
    order: int = 1,
    modes: Sequence[str] = MODES,
    argnums: int | Sequence[int] | None = None,
    rng: Any = None,
) -> Report:
    """Compare the derivatives that `subject` claims at `args` with numerical ones.

    `order`: up to which derivatives are compared; above the first, in random directions. `modes`:
    "rev" for gradients, "fwd" for derivatives along a direction, each where the subject has them.
    `argnums`: the arguments to differentiate by; by default all that hold floats. `rng`: a seed or
    a generator for cotangents and directions; by default always the same.

    GradientError, an AssertionError, tells what is wrong, and also if nothing could be compared.

    >>> square = Subject(lambda x: x * x, lambda g, x: (g * x,))
    >>> check(square, 3.0)
    Traceback (most recent call last):
        ...
    tensorgrad.testing.report.GradientError: <lambda>: wrong; compared 1 entries; ...
    wrong value
      gradient by x
        found     3
        expected  6 ± 3e-12
      diagnosis: equals the true gradient times 1/2
    at x = 3.0
    """
    if order < 1 or int(order) != order:
        raise ValueError(f"order={order!r}: pass 1 for gradients, 2 for their derivatives, ...")
    if not modes or not set(modes) <= set(MODES):
        raise ValueError(f"modes={modes!r}: there are 'rev' and 'fwd'")
    report = Report(str(subject))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # of steps that leave the domain
        point = Point(subject, args, argnums, report)
        first_order(point, modes, np.random.default_rng(0 if rng is None else rng))
        if order > 1 and report.compared.total() and subject.second and not report.failures:
            higher_orders(point, order - 1, modes, np.random.default_rng(0 if rng is None else rng))
    if not report.failures and not report.compared.total():
        why = ", ".join(f"{n} at a {why}" for why, n in report.rejected.items())
        why = f"all entries were rejected ({why})" if why else "an array is empty"
        report.failures.append(Failure("nothing checked", f"{why}: check another point"))
    if report.failures:
        raise GradientError(report)
    return report


def check_grads(
    f: Function,
    *args: Any,
    order: int = 2,
    modes: Sequence[str] = MODES,
    argnums: int | Sequence[int] | None = None,
    rng: Any = None,
) -> Report:
    """Check the derivatives that tensorgrad computes for `f`, a function of Values.

    Arguments and results may be containers: tuples, dicts, dataclasses, Modules. For the other
    parameters, and what is raised, see `check`.

    >>> check_grads(lambda x, y: np.sin(x) * y, np.ones(3), 2.0).failures
    []
    """
    subject, leaves, wrt = opened(f, args, argnums)
    return check(subject, *leaves, order=order, modes=modes, argnums=wrt, rng=rng)


def check_vjp(
    f: Function,
    vjp: Function,
    *args: Any,
    argnums: int | Sequence[int] | None = None,
    rng: Any = None,
) -> Report:
    """Check a gradient that somebody wrote by hand for a plain NumPy function.

    `vjp(g, *args)` returns a tuple: for each argument the gradient of sum(g * f(*args)), None for
    those that have none. For the other parameters, and what is raised, see `check`.

    >>> check_vjp(np.sin, lambda g, x: (g * np.cos(x),), np.ones(3)).compared
    Counter({'entries': 9})
    """
    return check(Subject(f, vjp), *args, argnums=argnums, rng=rng)


def first_order(point: Point, modes: Sequence[str], rng: np.random.Generator) -> None:
    report = point.report
    if "rev" in modes or not point.subject.jvp:
        misconduct(point, rng)
        broken = {f.kind for f in report.failures}
        if broken & {"wrong shape", "not deterministic", "not linear in the cotangent"}:
            for failure in report.failures:
                failure.diagnosis = failure.diagnosis or diagnose(point, failure)
            return
        if point.x.size and point.y.size:
            tell(point, compare(point, *probes(point, rng)), "wrong value")
    if "fwd" in modes and point.subject.jvp and point.x.size and point.y.size:
        forward(point, rng, DIRECTIONS // 2)


def higher_orders(point: Point, more: int, modes: Sequence[str], rng: np.random.Generator) -> None:
    """The derivatives of a random projection of the gradient, in random directions."""
    assert point.subject.second
    g = point.cotangent(rng.standard_normal(point.outputs.size))
    ws: list[Any] = [np.zeros(np.shape(a)) for a in point.args]
    w = point.smooth * rng.standard_normal(point.x.size)
    for k, a in zip(point.wrt, point.inputs.coarrays(w)):
        ws[k] = a
    within = Report()
    try:
        projected = Point(point.subject.second(g, ws), point.own(point.x), point.wrt, within)
        projected.smooth = point.smooth
    except GradientError as error:
        for failure in error.failures:
            failure.detail = f"the gradient of the gradient: {failure.detail}"
        point.report.add(within)
        return
    V = point.smooth * rng.standard_normal((DIRECTIONS - 2, point.x.size)) * projected.scale()
    if not np.any(V):
        return
    tell(projected, compare(projected, np.ones((1, 1)), V), "wrong in second order")
    if "fwd" in modes and projected.subject.jvp and not within.failures:
        forward(projected, rng, 1)
    if more > 1 and not within.failures:
        higher_orders(projected, more - 1, modes, rng)
    within.compared = type(within.compared)({"second order": within.compared.total()})
    point.report.add(within)


class Table(NamedTuple):
    """Claimed and numerical derivatives of g · f along v, for all v (rows) and g (columns)."""

    G: Array
    V: Array
    found: Array
    slopes: Slopes
    limit: Array
    entries: bool

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
    entries = V.shape[0] == V.shape[1] == point.x.size and len(G) == point.y.size
    return Table(G, V, V @ found.T, numerical, limit, entries)


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


def forward(point: Point, rng: np.random.Generator, count: int) -> None:
    """Forward mode: the derivatives of all outputs along random directions."""
    assert point.subject.jvp
    V = point.smooth * rng.standard_normal((count, point.x.size)) * point.scale()
    if not np.any(V):
        return
    m = point.y.size
    G = np.eye(m) if m <= 64 else rng.standard_normal((COTANGENTS, m))
    near = point.x * (1 + 4 * point.eps_of_inputs)
    try:
        found = np.array([point.pushforward(v) for v in V]) @ G.T
        wobble = np.array([point.pushforward(v, near) for v in V]) @ G.T - found
    except NotImplementedError:
        point.report.rejected["forward mode that is not there"] += 1
        return
    except Exception as error:
        detail = f"forward mode: {type(error).__name__}: {error}"
        point.report.failures.append(Failure("raises", detail))
        raise GradientError(point.report) from error
    numerical = differentiated(point, G, V)
    size = np.max(np.abs(np.where(np.isnan(numerical.value), 0, numerical.value)), axis=0)
    limit = numerical.bar + 10 * point.eps ** (2 / 3) * size + 4 * np.abs(wobble)
    tell(point, Table(G, V, found, numerical, limit, False), "wrong in forward mode")


def tell(point: Point, table: Table, kind: str) -> None:
    """Count what was compared, and report the largest error if one is too large."""
    report, s = point.report, table.slopes
    error = table.error
    kink = s.kink
    edge = ~np.isfinite(s.bar) & ~kink
    size = np.maximum(np.abs(table.found), np.abs(np.where(edge, 0, s.value)))
    visible = size > 100 * point.eps_of_f * np.max(np.abs(table.G @ point.y))
    drowned = (table.limit > RESOLVED * size) & visible & ~kink & ~edge & (error <= 1)
    good = ~kink & ~edge & ~drowned
    report.compared[label(table, kind)] += int(good.sum())
    for why, where in (("kink", kink), ("edge", edge), ("slope that drowns in rounding", drowned)):
        if where.any():
            report.rejected[why] += int(where.sum())
    report.worst = max(report.worst, float(np.max(error[good], initial=0.0)))
    wrong = good & (error > 1)
    if table.entries:
        point.smooth &= ~np.any(kink | edge, axis=1)
        wrong |= kink & outside_of_both(table)
        if kink.any() and not wrong.any():
            between_slopes(point, table)
        for i, j in np.argwhere(kink & ~wrong)[:10]:
            report.choices.append(choice(point, table, i, j))
    if wrong.any():
        report.failures.append(failure_at(point, table, wrong, kind))


def label(table: Table, kind: str) -> str:
    if kind == "wrong in forward mode":
        return "forward"
    return "entries" if table.entries else "directions"


def outside_of_both(table: Table) -> Array:
    """At a kink, claimed slopes that lie on neither side nor between."""
    left, right = table.slopes.left, table.slopes.right
    low, high = np.minimum(left, right), np.maximum(left, right)
    slack = 1e-3 * (np.abs(low) + np.abs(high))
    return (table.found < low - slack) | (table.found > high + slack)


def between_slopes(point: Point, table: Table) -> None:
    """At kinks: along any direction, too, the claimed slope lies between those on its two sides.

    Of two entries that tie for the maximum each may have slope 1 or 0, but they cannot both.
    """
    at, rng = np.any(table.slopes.kink, axis=1), np.random.default_rng(0)
    signs = np.concatenate([np.ones((1, at.size)), rng.standard_normal((DIRECTIONS, at.size))])
    V = at * signs * np.diag(table.V)
    s = differentiated(point, table.G, V)
    found = signs @ (at[:, None] * table.found)
    across = Table(table.G, V, found, s, s.bar + np.max(table.limit, axis=0), False)
    wrong = np.where(s.kink, outside_of_both(across), across.error > 1) & np.isfinite(s.bar)
    if wrong.any():
        i, j = np.argwhere(wrong)[0]
        failure = Failure("wrong value", "at a kink or tie, along a direction that several entries")
        failure.detail += " have part in"
        failure.argument = point.names[point.wrt[point.inputs.place(int(np.argmax(at)))[0]]]
        failure.found = found[i, j]
        low, high = sorted((s.left[i, j], s.right[i, j])) if s.kink[i, j] else (s.value[i, j],) * 2
        failure.expected = f"{low:.6g}" if low == high else f"between {low:.6g} and {high:.6g}"
        failure.diagnosis = "the shares of entries that tie do not add up"
        point.report.failures.append(failure)


def choice(point: Point, table: Table, i: int, j: int) -> Choice:
    k, index, _ = point.inputs.place(i)
    step = table.V[i, i]
    numbers = (table.slopes.left[i, j], table.slopes.right[i, j], table.found[i, j])
    return Choice(point.names[point.wrt[k]], index, *(float(a / step) for a in numbers))


def failure_at(point: Point, table: Table, wrong: Array, kind: str) -> Failure:
    """The worst of the entries that are wrong, with the diagnosis of them all."""
    error = np.where(wrong, table.error, 0)
    i, j = np.unravel_index(np.argmax(error), error.shape)
    failure = Failure(kind)
    if table.entries:
        locate(point, failure, table, int(i), int(j))
    else:
        failure = narrowed(point, table, int(i), int(j), kind)
    return replace(failure, diagnosis=failure.diagnosis or diagnose(point, failure))


def locate(point: Point, failure: Failure, table: Table, i: int, j: int) -> None:
    """Put entry (i, j) of a table of single coordinates into `failure`."""
    at, v = int(np.argmax(table.V[i] != 0)), table.V[i]
    k, failure.index, part = point.inputs.place(at)
    failure.argument = point.names[point.wrt[k]] + (f" ({part} part)" if part else "")
    if point.y.size > 1 and np.count_nonzero(table.G[j]) == 1:
        which, index, _ = point.outputs.place(int(np.argmax(table.G[j])))
        failure.output = (which, *index) if point.several else index
    step = v[at]
    s = table.slopes
    failure.found = float(table.found[i, j] / step)
    if s.kink[i, j]:
        failure.detail = (
            f"at a kink, and neither the slope on its left, {s.left[i, j] / step:.6g}, nor that on "
            f"its right, {s.right[i, j] / step:.6g}, nor between"
        )
    else:
        failure.expected = float(s.value[i, j] / step)
        failure.bar = float(table.limit[i, j] / abs(step))


def narrowed(point: Point, table: Table, i: int, j: int, kind: str) -> Failure:
    """The single coordinate behind an error along a direction, by halving it again and again."""
    g, v = table.G[j : j + 1], table.V[i : i + 1]
    forward = kind == "wrong in forward mode"
    trial = table
    while np.count_nonzero(v) > 1 and not forward:
        places = np.flatnonzero(v[0])
        halves = np.repeat(v, 2, axis=0)
        halves[0, places[len(places) // 2 :]] = 0
        halves[1, places[: len(places) // 2]] = 0
        trial = compare(point, g, halves)
        error = np.where(trial.slopes.kink | ~np.isfinite(trial.slopes.bar), 0, trial.error)
        half = int(np.argmax(error))
        if not error.flat[half] > 1:
            break
        v = halves[half : half + 1]
        i, j, table = half, 0, trial
    failure = Failure(kind)
    if np.count_nonzero(v) == 1:
        locate(point, failure, table, i, j)
        return failure
    step = float(np.linalg.norm(table.V[i]))
    failure.detail = "along a random direction"
    failure.found, failure.expected = table.found[i, j] / step, table.slopes.value[i, j] / step
    failure.bar = float(table.limit[i, j] / abs(step))
    return failure
