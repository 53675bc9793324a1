"""How a gradient behaves, whatever its numbers: shape, dtype, linearity, and whose memory it is."""

from __future__ import annotations

from typing import Any

import numpy as np

from tensorgrad.engine.dtypes import is_inexact
from tensorgrad.testing.point import Point, shown_type
from tensorgrad.testing.report import Failure
from tensorgrad.testing.vectors import listed

Array = Any
LINEAR = 1e-5  # not a matter of rounding: that is for the comparison of values


def misconduct(point: Point, rng: np.random.Generator) -> None:
    """Report what is wrong with the function and its gradient before any number is compared."""
    failures = point.report.failures
    failures += conduct_of_function(point)
    g, other = rng.standard_normal((2, point.outputs.size))
    args = point.own(point.x)
    cotangent = point.cotangent(g)
    first = point.gradients(cotangent, args)
    failures += misshapen(point, first)
    failures += changed(point, args, cotangent, g)
    if failures:
        return
    kept = [np.array(d) for d in first]
    found = point.inputs.covector(kept)
    tolerance = point.eps ** (1 / 3)
    again = point.pullback(g)
    if not close(again, found, tolerance * largest(again, found)):
        failures.append(difference(point, "not deterministic", again, found, "called again"))
        return
    if rounded(point, kept):
        detail = "every entry is a float32 number; what the function returns is not"
        failures.append(Failure("wrong value", detail, diagnosis="rounded to float32"))
    failures += shared(point, first, args)
    if not failures:
        args = point.own(point.x)  # 1 is what losses are asked with: some take a short cut there
        failures += shared(point, point.gradients(point.cotangent(units(point)), args), args)
    another = point.pullback(other)
    if not all(np.array_equal(a, b, equal_nan=True) for a, b in zip(first, kept)):
        detail = "a later call changed the gradients that an earlier one had returned"
        failure = Failure("returns a view of its input", detail)
        failure.diagnosis = "an array is kept and filled anew: return a new one"
        failures.append(failure)
    finite = np.isfinite(found) & np.isfinite(another)
    for a, b in ((2, -3), (1, 1)):
        both, sums = point.pullback(a * g + b * other), a * found + b * another
        both, sums = np.where(finite, both, 0), np.where(finite, sums, 0)
        if close(both, sums, LINEAR * largest(found, another) + 1e3 * point.eps * largest(g)):
            continue
        detail = f"for {a} g₁ + {b} g₂ it is not {a} times that for g₁ + {b} times that for g₂"
        failure = difference(point, "not linear in the cotangent", both, sums, detail)
        if np.any(found) and close(another, found, LINEAR * largest(found)):
            failure.diagnosis = "ignores the cotangent"
        failures.append(failure)
        return
    failures += memory(point, g, found, tolerance * largest(found))


def rounded(point: Point, gradients: list[Array]) -> bool:
    """Whether float64 gradients have the precision of float32, and the function has not."""

    def short(x: Array) -> bool:
        return bool(np.array_equal(x, np.asarray(x, np.float32), equal_nan=True))

    doubles = all(np.asarray(d).dtype == np.float64 for d in gradients)
    told = any(np.any(np.isfinite(d) & (d != 0)) for d in gradients)  # 0 and ∞ are in both
    if not doubles or not told or short(point.y):
        return False
    return all(map(short, gradients))


def units(point: Point) -> Array:
    """The cotangent 1 of every number of the result."""
    return point.outputs.covector([np.ones(shape) for shape in point.outputs.shapes])


def largest(*arrays: Array) -> float:
    """The largest finite number."""
    return max(float(np.max(np.abs(a), initial=0.0, where=np.isfinite(a))) for a in arrays)


def close(a: Array, b: Array, limit: Array) -> bool:
    return bool(np.all((np.abs(a - b) <= limit) | (np.isnan(a) & np.isnan(b)) | (a == b)))


def difference(point: Point, kind: str, found: Array, expected: Array, detail: str) -> Failure:
    """A failure that shows the entry where two gradients differ most."""
    apart = np.abs(found - expected)
    i = int(np.argmax(np.where(np.isnan(apart), np.inf, apart)))
    k, index, _ = point.inputs.place(i)
    name = point.names[point.wrt[k]]
    return Failure(kind, detail, name, index, found=found[i], expected=expected[i])


def conduct_of_function(point: Point) -> list[Failure]:
    args = point.own(point.x)
    y = point.outputs.vector(point.results(point.call(args)))
    limit = 1e3 * point.eps * largest(y)
    if not close(y, point.y, limit):
        i = int(np.argmax(np.abs(y - point.y)))
        return [
            Failure(
                "not deterministic",
                "the function, called again with equal arguments, returned something else: pass "
                "it a seed, or what it remembers, as an argument",
                found=y[i],
                expected=point.y[i],
            )
        ]
    return changed(point, args, None, None)


def changed(point: Point, args: list[Any], cotangent: Any, g: Any) -> list[Failure]:
    """The arguments that a call wrote to."""
    who = "the function" if g is None else "the gradient"
    names = [
        name
        for name, a, b in zip(point.names, args, point.own(point.x))
        if isinstance(a, np.ndarray) and not same(a, b)
    ]
    if g is not None:
        pairs = zip(listed(cotangent), listed(point.cotangent(g)))
        names += ["the cotangent"] if any(not same(a, b) for a, b in pairs) else []
    if not names:
        return []
    detail = f"{who} changed {' and '.join(names)} in place: work on a copy"
    return [Failure("mutates its input", detail)]


def same(a: Array, b: Array) -> bool:
    if np.shape(a) != np.shape(b):
        return False
    return bool(np.array_equal(a, b, equal_nan=is_inexact(np.asarray(a).dtype)))


def misshapen(point: Point, gradients: list[Array]) -> list[Failure]:
    """Gradients that do not have the shape and dtype of their argument."""
    failures = []
    for k, d in zip(point.wrt, gradients):
        x, name = np.asarray(point.args[k]), point.names[k]
        if isinstance(d, (float, complex)) and not hasattr(d, "dtype"):
            d = np.asarray(d)
        if not hasattr(d, "dtype"):
            detail = f"the gradient is {shown_type(d)}, not an array of shape {x.shape}"
            detail += f"; to leave {name} out, pass argnums=" if d is None else ""
            failures.append(Failure("wrong shape", detail, name))
        elif np.shape(d) != x.shape:
            detail = f"the gradient has shape {np.shape(d)}, the argument {x.shape}"
            failures.append(
                Failure("wrong shape", detail, name, found=np.shape(d), expected=x.shape)
            )
        elif d.dtype != x.dtype:
            detail = f"the gradient is {d.dtype}, the argument {x.dtype}"
            failures.append(Failure("wrong dtype", detail, name, found=d.dtype, expected=x.dtype))
    return failures


def shared(point: Point, gradients: list[Array], args: list[Any]) -> list[Failure]:
    """Gradients that live in the memory of an argument: who updates one changes the other."""
    failures = []
    for k, d in zip(point.wrt, gradients):
        for name, a in zip(point.names, args):
            if isinstance(a, np.ndarray) and isinstance(d, np.ndarray) and np.shares_memory(a, d):
                detail = f"the gradient shares its memory with {name}: return a copy"
                failures.append(Failure("returns a view of its input", detail, point.names[k]))
    return failures


def memory(point: Point, g: Array, found: Array, limit: float) -> list[Failure]:
    """Whether the layout of the cotangent in memory matters, or that it is an argument itself."""
    if point.several:
        return []
    cotangent = point.cotangent(g)
    variants: list[tuple[str, Any, Any]] = []
    if np.ndim(cotangent):
        spaced = np.repeat(cotangent, 2, axis=-1)[..., ::2]
        turned = np.asfortranarray(cotangent) if np.ndim(cotangent) > 1 else cotangent[::-1].copy()
        turned = turned if np.ndim(cotangent) > 1 else turned[::-1]
        frozen = cotangent.copy()
        frozen.flags.writeable = False
        variants = [
            ("every other number of its memory", spaced, found),
            ("stored in reverse or column by column", turned, found),
            ("read-only", frozen, found),
        ]
        one = np.broadcast_to(np.ones((), cotangent.dtype), np.shape(cotangent))
        variants.append(("one number, broadcast", one, point.pullback(units(point))))
    for how, variant, expected in variants:
        again = point.inputs.covector(point.gradients(variant, point.own(point.x)))
        if not close(again, expected, limit + point.eps ** (1 / 3) * largest(expected)):
            kind = "depends on the cotangent's memory"
            return [difference(point, kind, again, expected, f"for a cotangent that is {how}")]
    for k in point.wrt:
        args = point.own(point.x)
        if isinstance(args[k], np.ndarray) and args[k].shape == np.shape(cotangent):
            if args[k].dtype != cotangent.dtype:
                continue
            expected = point.inputs.covector(point.gradients(args[k].copy(), point.own(point.x)))
            again = point.inputs.covector(point.gradients(args[k], args))
            if not close(again, expected, limit + 1e3 * point.eps * largest(expected)):
                kind = "depends on the cotangent's memory"
                detail = f"for a cotangent that is {point.names[k]} itself"
                return [difference(point, kind, again, expected, detail)]
    return []
