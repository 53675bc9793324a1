"""From a table to the report: what was compared, what was rejected, and what is wrong where."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from tensorgrad.testing.diagnosis import diagnose
from tensorgrad.testing.point import Point
from tensorgrad.testing.report import Choice, Failure
from tensorgrad.testing.table import DIRECTIONS, Table, compare, differentiated

Array = Any
RESOLVED = 0.1  # an entry whose bar is a larger part of it has not been checked


def tell(point: Point, table: Table, kind: str) -> None:
    """Count what was compared, and report the largest error if one is too large."""
    report, s = point.report, table.slopes
    error = table.error
    kink = s.kink
    edge = ~np.isfinite(s.bar) & ~kink
    size = np.maximum(np.abs(table.found), np.abs(np.where(edge, 0, s.value)))
    visible = size > 100 * point.eps_of_f * np.max(np.abs(table.G @ point.y))
    drowned = (table.limit > RESOLVED * size) & visible & (error <= 1)
    # a function that is stuck at a number near 1 inside does not move: log(1 + e⁻⁴⁰) is 0
    drowned |= (s.value == 0) & (np.abs(table.found) <= 10 * point.eps)
    drowned &= ~kink & ~edge & (table.found != 0)
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
        if wrong.any():
            wrong &= ~tied(point, table)
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


def tied(point: Point, table: Table) -> Array:
    """The outputs with a kink, but along no single coordinate: a median of three that tie."""
    alone = table.slopes.kink.any(axis=0)
    V = np.random.default_rng(0).standard_normal((2, point.x.size)) * np.diag(table.V)
    found = differentiated(point, table.G, V).kink.any(axis=0) & ~alone
    if found.any():
        point.report.rejected["kink"] += int(found.sum())
    return np.asarray(found)


def between_slopes(point: Point, table: Table) -> None:
    """At kinks: along any direction, too, the claimed slope lies between those on its two sides.

    Of two entries that tie for the maximum each may have slope 1 or 0, but they cannot both.
    """
    at, rng = np.any(table.slopes.kink, axis=1), np.random.default_rng(0)
    signs = np.concatenate([np.ones((1, at.size)), rng.standard_normal((DIRECTIONS, at.size))])
    V = at * signs * np.diag(table.V)
    s = differentiated(point, table.G, V)
    found = signs @ (at[:, None] * table.found)
    across = Table(table.G, V, found, s, s.bar + np.max(table.limit, axis=0))
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
    diagnosis = failure.diagnosis or diagnose(point, failure)
    if diagnosis.startswith("right but for broadcast") and kind == "wrong value":
        kind = "wrong under broadcasting"
    return replace(failure, kind=kind, diagnosis=diagnosis)


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
