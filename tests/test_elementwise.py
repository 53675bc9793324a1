"""Elementwise functions beyond the registry's tests: NumPy's argument forms, complex operands,
choices, extremes, and derivatives of every order where a formula is singular but its limit is not.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import tensorgrad as tg
from tensorgrad import Value
from tensorgrad.engine.primitive import registry
from tests.numerical import assert_gradient, central_differences, largest

Array = Any
NEWER = np.lib.NumpyVersion(np.__version__)
RNG = np.random.default_rng(0)
X = np.array([-2.3, -0.7, 0.4, 1.6, 2.9])
Y = np.array([1.1, -1.7, 0.6, 2.2, -0.3])
KNOTS = np.array([-1.0, 0.5, 1.0, 2.5])
HEIGHTS = np.array([2.0, -1.0, 0.5, 1.5])
ODD = np.array([0, np.nan, np.inf, -np.inf, 0], np.float32)


def first(results: Any) -> Array:
    return results[0]


def second(results: Any) -> Array:
    return results[1]


def both(results: Any) -> Array:
    """Results of different lengths, end to end."""
    return np.concatenate([np.ravel(r) for r in results])


# A function, and the operands that are drawn as Values. It is called on arrays (that is NumPy) too.
CALLS: dict[str, tuple[Callable[..., Array], list[Array]]] = {
    "angle": (np.angle, [X]),
    "angle in degrees": (lambda x: np.angle(x, deg=True), [X]),
    "angle of a pair": (lambda x, y: np.angle(x + 1j * y), [X, Y]),
    "angle of a pair in degrees": (lambda x, y: np.angle(x + 1j * y, True), [X, Y]),
    "copysign": (np.copysign, [X, Y]),
    "copysign of an array": (lambda y: np.copysign(X, y) * y, [Y]),
    "divmod, quotient": (lambda x, y: first(np.divmod(x, y)) * x, [X, Y]),
    "divmod, remainder": (lambda x, y: second(np.divmod(x, y)), [X, Y]),
    "divmod by a number": (lambda x: second(np.divmod(x, 0.9)), [X]),
    "fix": (lambda x: np.fix(x) * x, [X]),
    "float_power": (np.float_power, [np.abs(X), Y]),
    "float_power, integer exponent": (lambda x: np.float_power(x, 3), [X]),
    "floor_divide": (lambda x, y: np.floor_divide(x, y) * x, [X, Y]),
    "fmax": (np.fmax, [X, Y]),
    "fmin": (np.fmin, [X, Y]),
    "fmax with a number": (lambda x: np.fmax(0.5, x), [X]),
    "fmod": (np.fmod, [X, Y]),
    "fmod of a number": (lambda y: np.fmod(7.0, y), [Y]),
    "frexp": (lambda x: first(np.frexp(x)) * x, [X]),
    "heaviside": (lambda x, y: np.heaviside(x, y) * x, [X, Y]),
    "heaviside at the step": (lambda y: np.heaviside(0.0, y), [Y]),
    "i0": (np.i0, [X]),
    "ldexp": (lambda x: np.ldexp(x, np.array([1, -2, 0, 3, 4])), [X]),
    "ldexp of a number": (lambda x: np.ldexp(x, 3), [1.7]),
    "logaddexp2": (np.logaddexp2, [X, Y]),
    "mod": (np.mod, [X, Y]),
    "mod of an array": (lambda y: np.mod(X, y), [Y]),
    "modf, fraction": (lambda x: first(np.modf(x)), [X]),
    "modf, integer": (lambda x: second(np.modf(x)) * x, [X]),
    "nan_to_num": (lambda x: np.nan_to_num(x) ** 2, [X]),
    "nan_to_num, replaced": (
        lambda x: np.nan_to_num(x + ODD, nan=1, posinf=2, neginf=3) * x,
        [X],
    ),
    "nan_to_num, copy": (lambda x: np.nan_to_num(x, True), [X]),
    "nextafter": (lambda x: np.nextafter(x, 9.0), [X]),
    "spacing": (lambda x: np.spacing(x) * x, [X]),
    "round": (lambda x: np.round(x) * x, [X]),
    "round to decimals": (lambda x: np.round(x, 1) * x, [X + 0.02]),
    "around": (lambda x: np.around(x, decimals=-1) * x, [X]),
    "sinc": (np.sinc, [X]),
    "sinc at integers": (np.sinc, [np.array([-2.0, 0.0, 1.0, 3.0])]),
    "real_if_close of real": (np.real_if_close, [X]),
    "real_if_close": (lambda x: np.real_if_close(x * (1 + 1e-17j)), [X]),
    "real_if_close, own limit": (lambda x: np.real_if_close(x * (1 + 1e-3j), tol=0.1), [X]),
    "select": (lambda x: np.select([x < -1, x < 1], [x**2, np.sin(x)]), [X]),
    "select, default": (lambda x, y: np.select([x > 2, x > 1], [x, y], default=x * y), [X, Y]),
    "select, numbers": (lambda x: np.select([x > 2, x > 1], [x, 1], 2), [X]),
    "select, broadcast": (lambda x: np.select([np.eye(2, dtype=bool)], [x], -x[:, None]), [X[:2]]),
    "piecewise": (lambda x: np.piecewise(x, [x < 0, x >= 1], [np.exp, np.log]), [X]),
    "piecewise, else": (lambda x: np.piecewise(x, [x < 0], [np.exp, np.sqrt]), [X]),
    "piecewise, one condition": (lambda x: np.piecewise(x, x < 0, [np.exp, np.sqrt]), [X]),
    "piecewise, numbers": (lambda x: np.piecewise(x, [x < 0, x > 2], [-1, 1, np.sin]), [X]),
    "piecewise, overlap": (lambda x: np.piecewise(x, [x < 2, x > 0], [np.exp, np.sin]), [X]),
    "piecewise, arguments": (
        lambda x: np.piecewise(x, [x < 0], [lambda x, a, b: a * x, lambda x, a, b: b * x], 2, b=3),
        [X],
    ),
    "piecewise of a number": (lambda x: np.piecewise(x, [x < 0, x > 0], [np.exp, np.log]), [1.5]),
    "piecewise, matrix": (
        lambda x: np.piecewise(x, [x < 0], [np.exp, np.log]),
        [X[:4].reshape(2, 2)],
    ),
    "choose": (lambda x, y: np.choose([0, 1, 1, 0, 1], [x, y]), [X, Y]),
    "choose from rows": (lambda x: np.choose([0, 2, 1], x), [np.outer(X, Y)[:3, :3]]),
    "choose, wrap": (lambda x, y: np.choose([-1, 1, 4, 0, 5], [x, y], mode="wrap"), [X, Y]),
    "choose, clip": (lambda x, y: np.choose([-1, 1, 4, 0, 5], [x, y], mode="clip"), [X, Y]),
    "choose, broadcast": (lambda x, y: np.choose([[0], [1]], [x, y]), [X, 2.0]),
    "where": (lambda x, y: np.where(X > 0, x, y), [X, Y]),
    "unwrap": (np.unwrap, [4 * X]),
    "unwrap, rows": (lambda x: np.unwrap(x, 4.0, axis=0), [np.outer(X, Y) * 3]),
    "unwrap, period": (lambda x: np.unwrap(x, period=2.5), [X]),
    "polyval": (np.polyval, [Y, X]),
    "polyval of an array": (lambda p: np.polyval(p, X), [Y]),
    "polyval of a list": (lambda x: np.polyval([2, 0, 1.5], x), [X]),
    "polyval at a number": (np.polyval, [Y, 0.7]),
    "polyval at a matrix": (np.polyval, [Y, np.outer(X, X)]),
    "polyadd": (np.polyadd, [X, Y[:2]]),
    "polyadd of a list": (lambda p: np.polyadd([1, 2, 3], p), [Y[:2]]),
    "polysub": (np.polysub, [X[:2], Y]),
    "polymul": (np.polymul, [X, Y[:3]]),
    "polymul by a number": (np.polymul, [X, 1.5]),
    "polydiv, quotient": (lambda u, v: first(np.polydiv(u, v)), [X, Y[:3]]),
    "polydiv, remainder": (lambda u, v: second(np.polydiv(u, v)), [X, Y[:3]]),
    "polydiv by a longer one": (lambda u: both(np.polydiv(u, np.float32([1, 2, 3]))), [X[:2]]),
    "polydiv by a number": (lambda u, v: first(np.polydiv(u, v)), [X, Y[:1]]),
    "polyder": (np.polyder, [X]),
    "polyder twice": (lambda p: np.polyder(p, 2), [X]),
    "polyder to nothing": (lambda p: np.polyder(p, 9), [X]),
    "polyder not at all": (lambda p: np.polyder(p, m=0), [X]),
    "polyint": (np.polyint, [X]),
    "polyint twice": (lambda p, k: np.polyint(p, 2, k), [X, Y[:2]]),
    "polyint, one constant": (lambda p: np.polyint(p, m=3, k=2.0), [X]),
    "poly": (np.poly, [X]),
    "roots": (np.roots, [np.poly([2.0, -1.0, 0.5])]),
    "roots, one at 0": (lambda p: np.roots(np.concatenate([p, [0.0]])), [np.poly([2.0, -1.0])]),
    "roots, leading 0": (lambda p: np.roots(np.concatenate([[0.0], p])), [np.poly([2.0, -1.0])]),
    "polyfit": (lambda x, y: np.polyfit(x, y, 2), [X, Y]),
    "polyfit of an array": (lambda y: np.polyfit(X, y, 1, rcond=1e-12), [Y]),
    "polyfit of columns": (lambda y: np.polyfit(X, y, 2), [np.outer(Y, [1, 2]) + X[:, None] ** 3]),
    "polyfit, weights": (lambda x, y, w: np.polyfit(x, y, 1, w=w), [X, Y, np.abs(Y)]),
    "polyfit, residuals": (lambda x, y: second(np.polyfit(x, y, 2, full=True)), [X, Y]),
    "polyfit, covariance": (lambda x, y: second(np.polyfit(x, y, 1, cov=True)), [X, Y]),
    "polyfit, covariance of columns": (
        lambda y: second(np.polyfit(X, y, 1, cov=True)),
        [np.outer(Y, [1, 2]) + X[:, None] ** 3],
    ),
    "polyfit, unscaled covariance": (
        lambda x: second(np.polyfit(x, Y, 2, cov="unscaled")),
        [X],
    ),
    "vander": (np.vander, [X]),
    "vander, columns": (lambda x: np.vander(x, 3), [X]),
    "vander, increasing": (lambda x: np.vander(x, N=4, increasing=True), [np.array([0.0, 1.5])]),
    "vander, no column": (lambda x: np.vander(x, 0), [X]),
    "interp": (np.interp, [X, KNOTS, HEIGHTS]),
    "interp at a number": (np.interp, [0.7, KNOTS, HEIGHTS]),
    "interp at a matrix": (np.interp, [X[:4].reshape(2, 2), KNOTS, HEIGHTS]),
    "interp at an array": (lambda fp: np.interp(X, KNOTS, fp), [HEIGHTS]),
    "interp of lists": (lambda x: np.interp(x, [0, 1, 3], [1, 3, 2]), [X]),
    "interp, ends": (lambda x, fp: np.interp(x, KNOTS, fp, left=5, right=-5.0), [X, HEIGHTS]),
    "interp, variable ends": (
        lambda x, a, b: np.interp(x, KNOTS, HEIGHTS, a, b) if isinstance(x, Value)
        else np.interp(x, KNOTS, HEIGHTS, float(a), float(b)),
        [X, 1.5, 2.5],
    ),
    "interp, period": (lambda x, xp, fp: np.interp(x, xp, fp, period=3.7), [X, KNOTS, HEIGHTS]),
    "interp, unsorted period": (
        lambda x, xp, fp: np.interp(x, xp, fp, period=-360),
        [X * 100, np.array([190.0, -190.0, 350.0, -350.0]), HEIGHTS],
    ),
    "interp, one knot": (lambda x, fp: np.interp(x, [0.0], fp), [X, HEIGHTS[:1]]),
}  # fmt: skip


@pytest.mark.filterwarnings("ignore:numpy.fix is deprecated:DeprecationWarning")
@pytest.mark.parametrize("call", CALLS)
def test_functions_agree_with_numpy_and_their_gradients_with_differences(call: str) -> None:
    f, xs = CALLS[call]
    expected = f(*xs)
    for dtype in (np.float64, np.float32):
        typed = [np.asarray(x, dtype)[()] for x in xs]
        values = [Value(x) for x in typed]
        found, wanted = f(*values), np.asarray(f(*typed))
        assert isinstance(found, Value)
        assert (found.shape, found.dtype) == (wanted.shape, wanted.dtype)
        rtol = 1e-13 if dtype == np.float64 else 2e-5
        np.testing.assert_allclose(found.data, expected, rtol=rtol, atol=rtol)
        found.backward(np.ones(found.shape))
        for value in values:
            assert value.grad is None or value.grad.dtype == dtype
    assert_gradient(f, *xs, order=2)


BY_CONTENT = ("piecewise", "real_if_close", "polyfit, residuals")  # not inside vmap


@pytest.mark.parametrize("call", [name for name in CALLS if not name.startswith(BY_CONTENT)])
def test_inside_vmap_they_are_a_loop(call: str) -> None:
    f, xs = CALLS[call]
    rows = [np.stack([x, x + 0.01]) for x in map(np.asarray, xs)]

    def with_gradients(*xs: Array) -> Any:
        out, pullback = tg.vjp(f, *xs)
        return out, *pullback(np.cos(np.arange(np.size(out))).reshape(np.shape(out)))

    examples = zip(*(with_gradients(*(x[i] for x in rows)) for i in range(2)), strict=True)
    for found, pair in zip(tg.vmap(with_gradients)(*rows), examples, strict=True):
        np.testing.assert_allclose(found, np.stack(pair), rtol=1e-11, atol=1e-13)


@pytest.mark.parametrize("call", ["piecewise", "real_if_close", "piecewise, one condition"])
def test_what_looks_at_the_numbers_says_so_inside_vmap(call: str) -> None:
    f, (x,) = CALLS[call]
    with pytest.raises(TypeError, match="inside vmap"):
        tg.vmap(f)(np.stack([x, x]))


# Complex operands: d/dx and d/dy of Re Σ g f(x + iy) by differences, and of the gradient again.

Z = np.array([0.7 + 0.4j, -1.3 + 2.1j, -0.6 - 1.9j, 2.2 - 0.4j])
W = np.array([1.2 - 0.8j, 0.3 + 0.9j, -2.1 + 0.2j, 0.5 + 1.4j])
ANALYTIC = (
    *("exp", "exp2", "expm1", "log", "log2", "log10", "log1p", "sqrt", "square", "reciprocal"),
    *("sin", "cos", "tan", "sinh", "cosh", "tanh", "sinc", "negative", "positive"),
    *("arcsin", "arccos", "arctan", "arcsinh", "arccosh", "arctanh"),
)
COMPLEX: dict[str, tuple[Callable[..., Array], list[Array]]] = {
    name: (getattr(np, name), [Z]) for name in ANALYTIC
}
COMPLEX |= {
    name: (getattr(np, name), [Z])
    for name in ("absolute", "angle", "conjugate", "imag", "real", "sign", "nan_to_num", "rint")
}
COMPLEX |= {
    name: (getattr(np, name), [Z, W])
    for name in ("add", "subtract", "multiply", "divide", "power", "float_power", "maximum", "fmin")
}
COMPLEX |= {
    "real base": (np.power, [np.array([2.0, -1.5, 0.7, -0.2]), W]),
    "real exponent": (np.power, [Z, np.array([2.0, -1.5, 3.0, 0.5])]),
    "integer exponent": (lambda z: z**-2 + z**3, [Z]),
    "number as base": (lambda w: (-2.0) ** w, [W]),
    "complex number as base": (lambda w: (1 - 2j) ** w, [W]),
    "complex number as exponent": (lambda z: z ** (0.3 + 1j), [Z]),
    "real and complex": (lambda x, z: np.exp(x * z) / (z - x), [Y[:4], Z]),
    "angle in degrees": (lambda z: np.angle(z, deg=True), [Z]),
    "absolute of a number": (np.absolute, [3 - 4j]),
    "square of the absolute": (lambda z: np.real(z * np.conjugate(z)), [Z]),
    "real_if_close, not close": (np.real_if_close, [Z]),
    "where": (lambda z, w: np.where(np.real(z) > 0, z * w, np.conjugate(w)), [Z, W]),
    "select": (lambda z, w: np.select([np.imag(z) > 1, np.real(z) > 1], [z, w], z * w), [Z, W]),
    "choose": (lambda z, w: np.choose([0, 1, 0, 1], [z, w]), [Z, W]),
    "polyval": (np.polyval, [W, Z]),
    "polymul": (np.polymul, [W, Z]),
    "polydiv": (lambda u, v: both(np.polydiv(u, v)), [Z, W[:2]]),
    "poly": (np.poly, [Z]),
    "poly of conjugates": (lambda x: np.poly(x + np.array([1j, -1j])), [np.array([0.5, 0.5])]),
    "roots": (np.roots, [np.array([1.0, -1.0, 2.0, 0.5])]),
    "roots of complex coefficients": (np.roots, [W]),
    "vander": (np.vander, [Z]),
    "interp": (np.interp, [X, KNOTS, Z]),
}


def assert_complex_gradient(f: Callable[..., Array], *zs: Array) -> None:
    draw = np.random.default_rng(0).standard_normal
    complex_draw = lambda shape: draw(shape) + 1j * draw(shape)
    out = np.asarray(f(*zs))
    g = complex_draw(out.shape) if out.dtype.kind == "c" else draw(out.shape)
    weights = [complex_draw(np.shape(z)) for z in zs]

    def gradients(zs: Any, create_graph: bool = False) -> list[Value]:
        values = [Value(z) for z in zs]
        f(*values).backward(g, create_graph=create_graph)
        return values

    def projected(*zs: Array) -> float:
        return sum(np.sum(np.real(w * v.grad)) for w, v in zip(weights, gradients(zs), strict=True))

    values = gradients(zs, create_graph=True)
    found = [v.grad.data for v in values]
    total = sum(np.sum(np.real(w * v.grad)) for w, v in zip(weights, values, strict=True))
    for v in values:
        v.grad = None
    if getattr(total, "requires_grad", False):
        total.backward()
    again = [0 * v.data if v.grad is None else v.grad for v in values]
    original = lambda *zs: float(np.sum(np.real(g * f(*zs))))
    for function, results in ((original, found), (projected, again)):
        for i, z in enumerate(zs):
            at = lambda z, i=i, function=function: function(*zs[:i], z, *zs[i + 1 :])
            expected, error = central_differences(lambda x, at=at, z=z: at(z + x), np.real(z) * 0)
            if np.iscomplexobj(z):
                down, more = central_differences(
                    lambda y, at=at, z=z: at(z + 1j * y), np.real(z) * 0
                )
                expected, error = expected - 1j * down, error + more
            assert results[i].dtype == np.asarray(z).dtype
            limit = 10 * error + 1e-9 * (1 + largest(expected))
            assert np.all(np.abs(results[i] - expected) <= limit), (results[i], expected)


@pytest.mark.parametrize("call", COMPLEX)
def test_complex_gradients_are_the_slopes_along_both_axes(call: str) -> None:
    f, zs = COMPLEX[call]
    found, expected = f(*map(Value, zs)), np.asarray(f(*zs))
    assert (found.shape, found.dtype) == (expected.shape, expected.dtype)
    np.testing.assert_allclose(found.data, expected, rtol=1e-13)
    assert_complex_gradient(f, *zs)


def slope(f: Callable[..., Array], *xs: Array) -> Any:
    """The gradient of the sum of f(x), by x; of several operands, a list."""
    values = [Value(x) for x in xs]
    np.sum(f(*values)).backward()
    grads = [v.grad.tolist() for v in values]
    return grads[0] if len(xs) == 1 else grads


def derivatives(f: Callable[[Array], Array], x: Array, n: int) -> list[Any]:
    """The first n derivatives of a function of a number."""
    found, value = [], Value(x)
    y = f(value)
    for _ in range(n):
        value.grad = None
        y.backward(create_graph=True)
        y = value.grad
        found.append(y.data)
    return found


@pytest.mark.parametrize("name", ["arcsin", "arccos", "arccosh", "arctanh", "arcsinh", "arctan"])
@pytest.mark.parametrize("x", [-2.0, -0.5, 2.0])
@pytest.mark.parametrize("side", [1.0, -1.0])
def test_on_a_branch_cut_the_derivative_is_that_of_numpys_side(
    name: str, x: float, side: float
) -> None:
    """An imaginary part of 0 lies above a cut, one of -0 below it."""
    along_real = name not in ("arcsinh", "arctan")
    point = lambda y: complex(x, side * y) if along_real else complex(side * y, x)
    f = getattr(np, name)
    assert slope(f, point(0.0)) == pytest.approx(slope(f, point(1e-13)), rel=1e-12)
    assert f(point(0.0)) == pytest.approx(f(point(1e-13)), rel=1e-12)


@pytest.mark.parametrize(
    ("f", "z"),
    [
        (np.log, 0), (np.sqrt, 0), (np.reciprocal, 0), (lambda z: z**0.5, 0), (lambda z: z**-1, 0),
        (np.log1p, -1), (np.arcsin, 1), (np.arccos, -1), (np.arccosh, 1), (np.arctanh, 1),
        (np.arctan, 1j), (np.absolute, 0), (np.sign, 0), (np.angle, 0), (lambda z: z / z, 0),
    ],
)  # fmt: skip
def test_a_masked_branch_adds_0_for_complex_numbers_too(f: Any, z: complex) -> None:
    masked = lambda z, singular: np.where(singular, 0.0, f(z))
    z = np.array([z, 0.3 + 0.2j])
    with np.errstate(all="ignore"):  # the forward computes both branches
        value = Value(z)
        np.sum(np.real(masked(value, [True, False]))).backward(create_graph=True)
        grad, value.grad = value.grad, None
        assert grad.data[0] == 0
        assert np.isfinite(grad.data[1])
        if grad.requires_grad:
            np.sum(np.real(grad)).backward()
            assert value.grad[0] == 0


def test_a_cotangent_of_0_still_has_its_own_derivative() -> None:
    """Forward mode seeds g = 0 and differentiates by it: f'(z) must be there, left of 0 too."""
    for f, derivative in (
        (np.sqrt, 0.5 / np.sqrt(-4 + 1j)),
        (np.arcsin, 1 / np.sqrt(18j - 14 + 0)),
    ):
        z = -4 + 1j if f is np.sqrt else -4 + 2.25j
        value, g = Value(z), Value(0j)
        f(value).backward(g, create_graph=True)
        value.grad.backward(1 + 0j)
        assert g.grad == pytest.approx(derivatives(f, z, 1)[0], rel=1e-12)
        if f is np.sqrt:
            assert g.grad == pytest.approx(derivative, rel=1e-12)


def test_square_roots_far_left_of_0_are_not_masked() -> None:
    value = Value(np.array([-4 - 1j, -4 + 1j]))
    np.sqrt(value).backward([1.0, 0.0])
    np.testing.assert_allclose(value.grad, [0.5 / np.sqrt(-4 - 1j), 0])


# Choices.


@pytest.mark.parametrize(
    ("f", "xs", "expected"),
    [
        (np.absolute, [0j], 0), (np.sign, [0j], 0), (np.angle, [0j], 0), (np.angle, [0.0], 0),
        (np.fmax, [1.0, 1.0], [0.5, 0.5]), (np.fmin, [1.0, 1.0], [0.5, 0.5]),
        (np.fmax, [1.0, math.nan], [1, 0]), (np.fmin, [math.nan, 2.0], [0, 1]),
        (np.fmax, [math.nan, math.nan], [0, 0]), (np.fmax, [-0.0, 0.0], [0.5, 0.5]),
        (np.maximum, [1 + 2j, 1 + 1j], [1, 0]), (np.maximum, [1 + 2j, 1 + 2j], [0.5, 0.5]),
        (np.minimum, [1 + 2j, 2 + 1j], [1, 0]),
        (np.copysign, [0.0, 2.0], [0, 0]), (np.copysign, [3.0, 0.0], [1, 0]),
        (np.copysign, [3.0, -0.0], [-1, 0]),
        (np.heaviside, [0.0, 0.3], [0, 1]), (np.heaviside, [1.0, 0.3], [0, 0]),
        (np.remainder, [6.0, 2.0], [1, -3]), (np.fmod, [6.0, 2.0], [1, -3]),
        (np.remainder, [-5.0, 3.0], [1, 2]), (np.fmod, [-5.0, 3.0], [1, 1]),
        (np.fmod, [1.0, 0.1], [1, -9]), (np.remainder, [1.0, 0.1], [1, -9]),  # as 0.1 > 1/10
        (np.floor_divide, [6.0, 2.0], [0, 0]),
        (lambda x: np.modf(x)[0], [2.0], 1), (lambda x: np.modf(x)[1], [2.0], 0),
        (lambda x: np.frexp(x)[0], [0.0], 1), (lambda x: np.frexp(x)[0], [2.0], 0.25),
        (np.nextafter, [1.0, 2.0], [1, 0]), (np.nextafter, [1.0, 1.0], [1, 0]),
        (np.spacing, [1.0], 0), (np.round, [2.5], 0), (np.fix, [2.0], 0),
        (np.nan_to_num, [math.nan], 0), (np.nan_to_num, [-math.inf], 0),
        (np.nan_to_num, [complex(math.nan, 2)], 0),
        (lambda z: np.imag(np.nan_to_num(z)), [complex(math.nan, 2)], -1j),
        (lambda z: np.imag(np.nan_to_num(z)), [complex(2, math.inf)], 0),
        (np.power, [0.0, 0.0], [0, 0]), (np.power, [0j, 0j], [0, 0]),
        (np.power, [0j, 2 + 0j], [0, 0]), (np.float_power, [0.0, 1.0], [1, 0]),
        (lambda x: np.clip(x, 0, 1), [[0.0, 1.0, 2.0]], [1, 1, 0]),
        (lambda x: np.interp(x, [0, 1, 2], [0, 1, 5]), [[-1.0, 0, 1, 2, 3]], [0, 1, 4, 4, 0]),
    ],
)  # fmt: skip
def test_at_a_corner_tie_or_step_the_stated_slope(f: Any, xs: list[Any], expected: Any) -> None:
    assert slope(f, *xs) == expected


@pytest.mark.parametrize(
    "name",
    [
        *("absolute", "fabs", "sign", "hypot", "arctan2", "power", "float_power", "interp"),
        *("maximum", "minimum", "fmax", "fmin", "clip", "heaviside", "copysign"),
        *("floor", "ceil", "trunc", "rint", "round", "spacing", "nextafter"),
        *("floor_divide", "remainder", "fmod", "fraction", "mantissa"),
    ],
)
def test_every_choice_is_stated(name: str) -> None:
    assert registry[name].choice


# Exactness.


def test_sinc_is_smooth_at_0() -> None:
    """sinc⁽²ᵏ⁾(0) = (-1)ᵏ π²ᵏ/(2k + 1), and the odd ones are 0."""
    expected = [0, -(math.pi**2) / 3, 0, math.pi**4 / 5, 0, -(math.pi**6) / 7]
    np.testing.assert_allclose(derivatives(np.sinc, 0.0, 6), expected, rtol=1e-14)
    np.testing.assert_allclose(derivatives(np.sinc, np.float32(0), 2), expected[:2], rtol=1e-6)


@pytest.mark.parametrize("x", [1e-9, -1e-3, 0.02, 0.3, 0.47, 0.48, -0.64, 1.0, 2.5, -7.3, 40.1])
def test_sinc_at_every_order_is_the_integral(x: float) -> None:
    """sinc x = ∫₀¹ cos πxt dt, differentiated inside."""
    mp = pytest.importorskip("mpmath")
    for n, found in enumerate(derivatives(np.sinc, x, 6), 1):
        f = lambda t, n=n: (mp.pi * t) ** n * mp.cos(mp.pi * x * t + n * mp.pi / 2)
        expected = float(mp.quad(f, mp.linspace(0, 1, int(abs(x)) + 2)))
        assert found == pytest.approx(expected, rel=1e-12, abs=1e-13 * math.pi**n)


@pytest.mark.parametrize("x", [0.0, 1e-9, -1e-3, 0.5, -3.0, 8.0, 30.0, -120.0, 700.0])
def test_i0_at_every_order(x: float) -> None:
    """From Iₙ' = (Iₙ₋₁ + Iₙ₊₁)/2."""
    mp = pytest.importorskip("mpmath")
    for n, found in enumerate(derivatives(np.i0, x, 5), 1):
        bessel = [math.comb(n, k) * mp.besseli(abs(n - 2 * k), x) for k in range(n + 1)]
        assert found == pytest.approx(float(sum(bessel) / 2**n), rel=1e-12)


def test_i0_in_single_precision() -> None:
    for found in derivatives(np.i0, np.float32(80), 3):
        assert found.dtype == np.float32
        assert np.isfinite(found)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_logaddexp2_at_extremes(dtype: Any) -> None:
    x, y = (
        Value(np.array([1e4, -1e4, 3, -np.inf], dtype)),
        Value(np.array([0, 0, 3, -np.inf], dtype)),
    )
    out = np.logaddexp2(x, y)
    assert out.data.tolist() == [1e4, 0, 4, -np.inf]
    out.backward(np.ones(4))
    assert x.grad.tolist() == [1, 0, 0.5, 0.5]
    assert y.grad.tolist() == [0, 1, 0.5, 0.5]


def test_logaddexp_is_curved_where_its_operands_are_equal() -> None:
    """σ'(0) = 1/4, and ln 2 times as much to the base 2."""
    for f, curvature in ((np.logaddexp, 0.25), (np.logaddexp2, 0.25 * math.log(2))):
        assert derivatives(lambda x, f=f: f(x, 1.5), 1.5, 2) == [0.5, pytest.approx(curvature)]


@pytest.mark.parametrize("distance", [1e-3, 1e-8, 1e-13])
def test_inverse_functions_near_the_ends_of_their_domain(distance: float) -> None:
    """1 - x² = (1 - x)(1 + x): no digit of 1 - x is lost."""
    x = 1 - distance
    d = 1 - x  # exact
    for f, expected in (
        (np.arcsin, 1 / math.sqrt(d * (2 - d))),
        (np.arccos, -1 / math.sqrt(d * (2 - d))),
        (np.arctanh, 1 / (d * (2 - d))),
    ):
        assert slope(f, x) == pytest.approx(expected, rel=1e-14)
    y = 1 + distance
    e = y - 1
    assert slope(np.arccosh, y) == pytest.approx(1 / math.sqrt(e * (2 + e)), rel=1e-13)


def test_slopes_of_huge_numbers() -> None:
    assert slope(np.arccosh, 1e200) == pytest.approx(1e-200, rel=1e-12)
    assert slope(np.arcsinh, -1e200) == pytest.approx(1e-200, rel=1e-12)


def test_a_gap_beside_a_knot_leaves_the_knot() -> None:
    """NumPy gives the height of a knot, whatever its neighbour is; so with the gradient by it."""
    x, fp = Value([0.0, 2.0]), Value([1.0, np.nan, 3.0])
    np.interp(x, [0.0, 1.0, 2.0], fp).backward(np.ones(2))
    assert fp.grad.tolist() == [1, 0, 1]


def test_piecewise_calls_a_function_only_where_its_condition_holds() -> None:
    x = Value([-1.0, 4.0])
    np.piecewise(x, [x > 0], [np.sqrt, lambda x: -x]).backward(np.ones(2))  # √-1 would warn
    assert x.grad.tolist() == [-1, 0.25]
    np.piecewise(x, [x > 10], [max, np.sin])  # and not at all where it holds nowhere


def test_results_that_are_no_gradient_matter() -> None:
    x = Value([0.0, 3.0, 0.5])
    assert [i.tolist() for i in np.where(x)] == [[1, 2]]
    mantissa, exponent = np.frexp(x)
    assert isinstance(exponent, np.ndarray)
    np.testing.assert_array_equal(np.ldexp(mantissa.data, exponent), x.data)
    assert np.ldexp(1.5, Value(np.array(2), requires_grad=False)).data == 6


def test_leading_zeros_of_polynomials_are_kept_as_variables() -> None:
    """NumPy drops them; but the product changes with them."""
    p = Value([0.0, 1.0])
    product = np.polymul(p, [1.0, 2.0])
    assert product.data.tolist() == [0, 1, 2]
    product.backward([1.0, 0.0, 0.0])
    assert p.grad.tolist() == [1, 0]
    quotient, rest = np.polydiv(Value([1.0, 0.0, -1.0]), [1.0, 1.0])
    assert (quotient.data.tolist(), rest.data.tolist()) == ([1, -1], [0])
    quotient, rest = np.polydiv(Value([4.0, 6.0]), [2.0])
    assert (quotient.data.tolist(), rest.data.tolist()) == ([2, 3], [0])


def test_a_double_zero_that_nobody_asks_for_adds_0() -> None:
    p = Value([1.0, 0.0, 0.0])
    np.where([True, False], 0, np.roots(p)).backward([1.0, 0.0])
    assert p.grad.tolist() == [0, 0, 0]


V = Value([1.0, 2.0])


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: np.exp(V, where=[True, False]), "exp.*'where'"),
        (lambda: np.floor(V, where=[True, False]), "floor.*'where'"),
        (lambda: np.rint(V, dtype=np.float32), "rint.*'dtype'"),
        (lambda: np.add(V, 1, where=[True, False]), "add.*'where'"),
        (lambda: np.multiply(2, V, dtype=np.float32), "multiply.*'dtype'"),
        (lambda: np.floor_divide(V, 1, casting="no"), "floor_divide.*'casting'"),
        (lambda: np.maximum(V, 1, order="F"), "maximum.*'order'"),
        (lambda: np.divmod(V, 1, where=[True, False]), "divmod.*'where'"),
        (lambda: np.sin(V, out=np.ones(2)), "sin.*out="),
        (lambda: np.modf(V, out=(np.ones(2), np.ones(2))), "modf.*out="),
        (lambda: np.round(V, out=np.ones(2)), "round.*'out'"),
        (lambda: np.nan_to_num(V, copy=False), "nan_to_num.*'copy'"),
        (lambda: np.clip(V + 1j, 0, 1), "clip: complex numbers"),
        (lambda: np.clip(V, 0, 1j), "clip: complex numbers"),
        (lambda: np.fabs(V + 1j), "fabs"),
        (lambda: np.floor(V + 1j), "floor"),
        (lambda: np.i0(V + 1j), "i0"),
        (lambda: np.remainder(V + 1j, 2), "remainder"),
        (lambda: np.choose([0, 1], [V, V], out=np.ones(2)), "choose.*out="),
        (lambda: np.select([V], [V]), "select.*booleans"),
        (lambda: np.unwrap(V, period=Value(1.0)), "detach"),
    ],
)
def test_what_has_no_gradient_is_a_type_error_that_names_it(call: Any, message: str) -> None:
    with pytest.raises(TypeError, match=message):
        call()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: np.select([], []), "select"),
        (lambda: np.select([V > 0], [V, V]), "1 conditions for 2 choices"),
        (lambda: np.piecewise(V, [V > 0], [np.sin] * 3), "3 functions for 1 conditions"),
        (lambda: np.choose([0, 2], [V, V]), "choose|choice"),
        (lambda: np.interp(V, [0, 1], [1, 2, 3]), r"interp.*\(2,\).*\(3,\)"),
        (lambda: np.interp(V, [], []), "interp"),
        (lambda: np.interp(V, [0, 1], [1, 2], period=0), "period"),
        (lambda: np.polyder(V, -1), "polyder"),
        (lambda: np.polyint(V, 3, [1, 2]), "polyint"),
        (lambda: np.poly(np.ones((2, 3)) * V[0]), "poly"),
        (lambda: np.polyfit(V, [1, 2, 3], 1), r"polyfit.*\(2,\).*\(3,\)"),
        (lambda: np.polyfit(V, V, 1, cov=True), "covariance of 2 coefficients of 2 points"),
        (lambda: np.vander(np.ones((2, 3)) * V[0]), "vander"),
        (lambda: np.unwrap(V[0]), "unwrap|diff"),
    ],
)
def test_operands_that_do_not_fit_are_a_value_error(call: Any, message: str) -> None:
    with pytest.raises(ValueError, match=re.compile(message)):
        call()


LONG = {
    "exp2": (np.exp2, lambda x: np.exp2(x) * np.log(np.longdouble(2))),
    "log2": (np.log2, lambda x: 1 / (x * np.log(np.longdouble(2)))),
    "log10": (np.log10, lambda x: 1 / (x * np.log(np.longdouble(10)))),
    "deg2rad": (np.deg2rad, lambda x: np.arctan(np.longdouble(1)) / 45),
    "rad2deg": (np.rad2deg, lambda x: 45 / np.arctan(np.longdouble(1))),
    "2 ** x": (lambda x: 2.0**x, lambda x: np.exp2(x) * np.log(np.longdouble(2))),
    "3 ** x": (lambda x: np.array(3) ** x, lambda x: 3**x * np.log(np.longdouble(3))),
    "cbrt": (np.cbrt, lambda x: 1 / (3 * np.cbrt(x) ** 2)),
    "logaddexp2": (lambda x: np.logaddexp2(x, x * 0), lambda x: 1 / (1 + np.exp2(-x))),
}


@pytest.mark.parametrize("name", LONG)
def test_long_doubles_keep_their_digits(name: str) -> None:
    f, slope = LONG[name]
    x = np.longdouble(1.5)
    expected = slope(x)
    found = tg.grad(f)(x)
    assert type(found) is np.longdouble
    assert abs(found - expected) <= 4 * np.finfo(np.longdouble).eps * abs(expected)


def test_a_power_by_booleans_is_1_or_the_base() -> None:
    x = np.array([0.0, 2.0, 3.0])
    chosen = np.array([True, False, True])
    for f in (lambda x: x**chosen, lambda x: np.float_power(x, chosen), lambda x: x**True):
        ones = chosen if f(x)[1] == 1 else 1
        np.testing.assert_array_equal(tg.grad(lambda x, f=f: np.sum(f(x)))(x), ones + 0 * x)


WITH_INTEGERS: dict[str, Any] = {
    "c ** x": lambda x, c: c**x,
    "float_power": lambda x, c: np.float_power(c, x),
    "x ** c": lambda x, c: x**c,
    "c[0] ** x": lambda x, c: c[0] ** x,
    "arctan2": lambda x, c: np.arctan2(x, c) + np.arctan2(c, x),
    "hypot": np.hypot,
    "a quotient": lambda x, c: c / x + x / c,
    "einsum": lambda x, c: np.einsum("i,j,k->ij", x, c, c) + np.einsum("k,j,i->ij", c, c, x),
}


@pytest.mark.parametrize("dtype", [np.uint8, np.int8, np.int16])
@pytest.mark.parametrize("name", WITH_INTEGERS)
def test_a_constant_of_small_integers_counts_as_the_same_floats(name: str, dtype: Any) -> None:
    """Also in rules: in 8 bits squares overflow, and NumPy's logarithm is float16."""
    f, x = WITH_INTEGERS[name], np.array([0.5, 1.25, 2.0])
    c = np.array([120, 3, 17], dtype)
    same = c.astype(float)
    for derivative in (tg.grad, tg.hessian):
        np.testing.assert_allclose(
            derivative(lambda x: np.sum(f(x, c) * x[0]))(x),
            derivative(lambda x: np.sum(f(x, same) * x[0]))(x),
            rtol=1e-12,
        )
