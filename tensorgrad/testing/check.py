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
from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np

from tensorgrad.testing.conduct import misconduct
from tensorgrad.testing.diagnosis import diagnose
from tensorgrad.testing.point import Point
from tensorgrad.testing.report import Failure, GradientError, Report
from tensorgrad.testing.subject import Function, Subject, opened
from tensorgrad.testing.table import (
    DIRECTIONS,
    Table,
    compare,
    compare_forward,
    directions,
    numerical_alone,
    probes,
)
from tensorgrad.testing.tell import tell

Array = Any
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
    "rev" for gradients, "fwd" for derivatives along a direction, each where the subject has them;
    above the first order, which needs what a vjp makes of a varying cotangent, both are compared.
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
        expected  6 ± ...
      diagnosis: equals the true gradient times 1/2
    at x = 3.0
    """
    if not isinstance(subject, Subject):
        raise TypeError(
            f"check: {subject!r} is no Subject; for functions there are check_grads and check_vjp"
        )
    if not isinstance(order, int) or isinstance(order, bool) or order < 1:
        raise ValueError(f"order={order!r}: pass 1 for gradients, 2 for their derivatives, ...")
    if not modes or not set(modes) <= set(MODES):
        raise ValueError(f"modes={modes!r}: there are 'rev' and 'fwd'")
    if "rev" not in modes and not subject.jvp:
        raise ValueError(f"modes={modes!r}: {subject} has no forward mode")
    report = Report(str(subject))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # of steps that leave the domain
        point = Point(subject, args, argnums, report)
        draw = generator(rng)
        first_order(point, modes, draw, order)
        if order > 1 and report.compared.total() and subject.second and not report.failures:
            higher_orders(point, order - 1, modes, draw)
    if not report.failures and not report.compared.total():
        why = ", ".join(f"{n}: {why}" for why, n in report.rejected.items())
        why = f"all entries were rejected ({why})" if why else "an array is empty"
        report.failures.append(Failure("nothing checked", f"{why}: check another point"))
    if report.failures:
        raise GradientError(report)
    return report


def generator(rng: Any) -> np.random.Generator:
    """The generator of a check; of a seed another one than the user draws his data from."""
    if isinstance(rng, np.random.Generator):
        return rng
    return np.random.default_rng([0 if rng is None else rng, 0x7E57])


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


def first_order(point: Point, modes: Sequence[str], rng: np.random.Generator, order: int) -> None:
    report = point.report
    if "rev" in modes:
        misconduct(point, rng)
        broken = {f.kind for f in report.failures}
        if broken & {"wrong shape", "not deterministic", "not linear in the cotangent"}:
            for failure in report.failures:
                failure.diagnosis = failure.diagnosis or diagnose(point, failure)
            return
    if not point.x.size or not point.y.size:
        return
    table = compare(point, *probes(point, rng)) if "rev" in modes else numerical_alone(point, rng)
    if "rev" in modes:
        tell(point, table, "wrong value")
        if report.sampling:
            around_kinks(point, rng, table)
    # the derivative of a vjp by its cotangent is that of the function
    if ("fwd" in modes or order > 1) and point.subject.jvp:
        forward(point, table, rng, DIRECTIONS // 2)
        for failure in report.failures:
            if failure.kind == "wrong in forward mode" and "fwd" not in modes:
                failure.kind = "wrong in second order"
                failure.detail = f"what the vjp makes of its cotangent {failure.detail}".rstrip()


def around_kinks(point: Point, rng: np.random.Generator, table: Table) -> None:
    """Where all random directions met a kink, try some through fewer coordinates at once."""
    for k in range(len(point.wrt)):
        part = point.inputs.part(k)
        count = part.stop - part.start
        through = np.count_nonzero(table.V[:, part], axis=1) > 1
        while count > 1 and table.slopes.kink[through].any(axis=1).all():
            count //= 4
            if count > 1:
                table = compare(point, table.G, directions(point, rng, k, count))
                through = np.ones(len(table.V), bool)
                tell(point, table, "wrong value")
                point.report.sampling += f"; through {count} coordinates at once, for the kinks"


def forward(point: Point, table: Table, rng: np.random.Generator, count: int) -> None:
    """Forward mode, along random mixtures of a table's directions."""
    mixtures = rng.standard_normal((count, len(table.V))) * table.smooth
    if not np.any(mixtures):
        point.report.rejected["kink"] += count
        return
    try:
        tell(point, compare_forward(point, table, mixtures), "wrong in forward mode")
    except NotImplementedError:
        point.report.rejected["forward mode that is not there"] += 1


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
        V = point.smooth * rng.standard_normal((DIRECTIONS // 2, point.x.size)) * projected.scale()
        if np.any(V):
            table = compare(projected, np.ones((1, 1)), V)
            tell(projected, table, "wrong in second order")
            if "fwd" in modes and projected.subject.jvp and not within.failures:
                forward(projected, table, rng, 1)
            if more > 1 and not within.failures:
                higher_orders(projected, more - 1, modes, rng)
    except GradientError:  # its failures are counted below, with the others
        pass
    stated = ""
    if within.failures and point.subject.choice:
        stated = point.subject.choice(*point.own(point.x))
    for failure in within.failures:
        if failure.kind != "wrong in second order":
            failure.detail = f"in the gradient of the gradient: {failure.detail}"
        elif stated:  # what follows from it is the derivative of nothing
            failure.kind = "a choice here"
            failure.detail = f"{stated} (docs/choices.md); check another point"
    within.compared = Counter({"second order": within.compared.total()})
    point.report.add(within)
