"""What a wrong gradient looks like: sentences for the mistakes that people make.

Each pattern says what would mend the claimed gradient. It is told where the mended gradient agrees
with the numerical one, for several random cotangents: a coincidence in one number is no diagnosis.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress
from fractions import Fraction
from itertools import combinations
from typing import Any

import numpy as np

from tensorgrad.engine.dtypes import is_floating
from tensorgrad.testing.evidence import CLOSE, Evidence, column, gathered, right_at_full_shape
from tensorgrad.testing.point import Point
from tensorgrad.testing.report import Failure, GradientError

Array = Any
CONSTANTS = {"ln 10": np.log(10), "1/ln 10": 1 / np.log(10), "ln 2": np.log(2), "π": np.pi}
CONSTANTS |= {"2π": 2 * np.pi, "√2": 2**0.5, "1/√2": 0.5**0.5, "√(2π)": (2 * np.pi) ** 0.5}
Pattern = tuple[str, Sequence[Array]]


def diagnose(point: Point, failure: Failure) -> str:
    """The first sentence that explains a wrong gradient by one argument; "" if none does."""
    name = failure.argument.split(" (")[0]
    if name not in point.names or point.complex:
        return ""
    k = point.wrt.index(point.names.index(name))
    try:
        e = gathered(point, k)
        sentence = patterns(e) if e.true.size else ""
        if not sentence and e.jacobian is None:
            sentence = of_one_entry(point, k, e, failure)
        if not sentence and e.jacobian is not None:
            sentence = of_jacobian(*e.jacobian) or of_entries(*e.jacobian, e.bar, e.x, e.tested)
        if right_at_full_shape(point):
            return "right but for broadcast operands" + (f": {sentence}" if sentence else "")
        return sentence
    except (GradientError, ArithmeticError, ValueError):  # what is wrong was told already
        return ""


def of_one_entry(point: Point, k: int, e: Evidence, failure: Failure) -> str:
    """Whether the entry that was found wrong is the only one."""
    if failure.index is None or e.D[0].shape != e.x.shape:
        return ""
    i = int(np.ravel_multi_index(failure.index, e.x.shape)) if failure.index else 0
    mended = [d.copy() for d in e.D]
    for d, true in zip(mended, column(point, k, i, e)):
        d.flat[i] = true
    return "wrong in this entry alone" if e.fits(mended) else ""


def named(c: float) -> str:
    """A number as people write it: 2, -1, 1/3, 1.001."""
    for symbol, value in CONSTANTS.items():
        if abs(c - value) < 1e-6 * value:
            return f"{c:.6g} ({symbol})"
    near = Fraction(c).limit_denominator(1000)
    exact = near != 0 and abs(float(near) - c) < 1e-6 * abs(c)
    short = exact and (near.denominator < 10 or near.numerator in (1, -1))
    return str(near) if short else f"{c:.6g}"


def factor(e: Evidence) -> str:
    """The constant by which the claimed gradient differs from the true one."""
    if e.D[0].shape != np.shape(e.x):
        return ""
    claimed = np.concatenate([e.along(d) for d in e.D])
    true = np.concatenate([np.ravel(t) for t in e.true])
    if not np.any(claimed):
        return "zero: nothing arrives at this argument"
    if not np.any(true):
        return ""
    c = float(claimed @ true / (true @ true))
    if abs(c) < 1e-9 or abs(c - 1) < 2 * CLOSE or not e.fits([d / c for d in e.D]):
        return ""
    sentence = f"equals the true gradient times {named(c)}"
    for what, array in (("the output", e.out), ("the argument", e.x)):
        lengths = {f"axis {a} of {what}": n for a, n in enumerate(np.shape(array))}
        for where, n in {f"all of {what}": np.size(array), **lengths}.items():
            if n > 2 and abs(c * n - 1) < 1e-6:
                return f"{sentence}: averaged, not summed, over {where}"
            if n > 2 and abs(c / n - 1) < 1e-6:
                return f"{sentence}: summed, not averaged, over {where}"
    return sentence


def reshaped(e: Evidence) -> Iterator[Pattern]:
    """Mistakes of axes."""
    ndim = e.D[0].ndim
    if e.D[0].shape != np.shape(e.x):
        for n in range(1, ndim + 1):
            for a in combinations(range(ndim), n):
                text = " and ".join(f"axis {i}" for i in a) + " not summed"
                yield text, [np.sum(d, axis=a) for d in e.D]
                yield text, [np.sum(d, axis=a, keepdims=True) for d in e.D]
        yield "transposed", [d.T for d in e.D]
        if e.D[0].size == e.x.size:
            yield "right numbers in another shape", [np.reshape(d, e.x.shape) for d in e.D]
        with suppress(ValueError):
            yield "left to be broadcast", [np.broadcast_to(d, e.x.shape) for d in e.D]
        return
    for i, j in combinations(range(ndim), 2):
        text = "transposed" if ndim == 2 else f"axes {i} and {j} swapped"
        yield text, [np.swapaxes(d, i, j) for d in e.D]
    for i in range(ndim):
        yield f"reversed along axis {i}", [np.flip(d, i) for d in e.D]
        less = [d - np.mean(d, axis=i, keepdims=True) for d in e.D]
        yield f"its mean over axis {i} is not subtracted", less


def factors(e: Evidence) -> Iterator[Pattern]:
    """A factor that was forgotten, or is there once too often."""
    known = {
        "the output": e.out,
        "the argument itself": e.x,
        **e.others,
        "1 - output": 1 - e.out,
        "output · (1 - output)": e.out * (1 - e.out),
        "1 - output²": 1 - e.out**2,
        "the size of the argument": np.abs(e.x),
        "the sign of the argument": np.sign(e.x),
        "the square of the output": e.out**2,
        "the square of the argument": np.square(e.x),
    }
    for name, q in known.items():
        if fit_together(q, e.D[0]) and not np.all(q == 1):
            yield f"missing a factor equal to {name}", [d * q for d in e.D]
            yield f"has a factor too many, equal to {name}", [d / q for d in e.D]
    if fit_together(e.g[0], e.D[0]):
        yield "missing a factor equal to the cotangent", [d * g for d, g in zip(e.D, e.g)]
        yield "the direct path is missing: + g", [d + g for d, g in zip(e.D, e.g)]
        yield "the direct path is there once too often: - g", [d - g for d, g in zip(e.D, e.g)]


def fit_together(a: Array, b: Array) -> bool:
    """Whether `a` broadcasts to the shape of `b`."""
    try:
        return bool(np.broadcast_shapes(np.shape(a), np.shape(b)) == np.shape(b))
    except ValueError:
        return False


def of_jacobian(found: Array, true: Array) -> str:
    """Patterns of the whole Jacobian (outputs along the rows, inputs along the columns)."""
    if not np.any(true):
        return ""
    if equal(found, true):
        off = np.max(np.abs(found - true)) / np.max(np.abs(true))
        return f"right to {-np.log10(off):.0f} digits" if off else "right for unit cotangents"
    if equal(found.T, true):
        return "transposed: the Jacobian is that of the transposed map"
    if found.shape[0] == found.shape[1] and equal(found, np.diag(np.diag(true))):
        return "only the diagonal of the Jacobian"
    if equal(found, np.abs(true)):
        return "equals the absolute value of the true gradient"
    if equal(found, true**2):
        return "equals the square of the true gradient"
    largest = float(np.max(np.abs(found)))
    if np.count_nonzero(np.abs(found) == largest) > 1 and equal(
        found, np.clip(true, -largest, largest)
    ):
        return f"clipped at {largest:.6g}"
    return ""


def equal(a: Array, b: Array) -> bool:
    return a.shape == b.shape and bool(
        np.max(np.abs(a - b), initial=0) <= CLOSE * np.max(np.abs(b), initial=0)
    )


def of_entries(found: Array, true: Array, bar: Array, x: Array, tested: Array) -> str:
    """Which entries are wrong, if not all. Jacobians as above, by the entries `tested` of `x`."""
    wrong = np.abs(found - true) > np.maximum(bar, 1e-9 * np.max(np.abs(true), initial=0))
    n, used = int(wrong.sum()), int(np.count_nonzero((found != 0) | (np.abs(true) > bar)))
    absent, extra = wrong & (found == 0), wrong & (np.abs(true) <= bar)
    relevant = np.any(wrong | (true != 0), axis=0)  # a wrong entry of the argument, or a right one
    bad = np.any(wrong, axis=0)
    x = np.ravel(x)[tested]
    where = ""
    if bad.any() and (relevant & ~bad).any() and is_floating(x.dtype):
        good = relevant & ~bad
        if (x[bad] < 0).all() and (x[good] >= 0).all():
            where = ": where the argument is negative"
        elif (x[bad] > 0).all() and (x[good] <= 0).all():
            where = ": where the argument is positive"
        elif np.abs(x[bad]).min() > np.abs(x[good]).max():
            where = f": where the argument is larger than {np.abs(x[good]).max():.3g} in magnitude"
        elif bad.sum() == 1:
            where = f": entry {int(tested[np.argmax(bad)])} of the argument, counted flat"
    if n and n == absent.sum():
        return f"contributions are missing: {n} of {used} entries of the Jacobian are 0{where}"
    if n and n == extra.sum():
        return f"{n} of {used} entries of the Jacobian should be 0{where}"
    if n and (where or n <= used / 2):
        return f"wrong in {n} of {used} entries of the Jacobian{where}"
    return ""


def patterns(e: Evidence) -> str:
    """The first sentence that fits."""
    if e.fits(e.D):  # nearly right
        return ""
    sentence = factor(e)
    if sentence and "." not in sentence:  # a plain number; of others there may be more to say
        return sentence
    swapped = [(f"the gradient by {name}: swapped?", d) for name, d in e.of_others.items()]
    with np.errstate(all="ignore"):
        for text, mended in (*swapped, *reshaped(e), *factors(e)):
            if e.fits(mended):
                return text
    return sentence
