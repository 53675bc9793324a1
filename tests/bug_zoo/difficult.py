"""Right gradients that look wrong to a careless check: none of them may raise an alarm, ever.

Steep and flat functions, huge and tiny scales, kinks nearby, large condition numbers, cancellation,
low precision, rough functions, long chains, and unusual arrays in and out. At a kink the gradient
is the choice of docs/choices.md.
"""

from __future__ import annotations

import numpy as np

from tests.bug_zoo.cases import (
    Array,
    Arrays,
    Difficult,
    Draw,
    either_sign,
    joined,
    magnitudes,
    normal,
    sigmoid,
    softmax,
    uniform,
)

Rng = np.random.Generator

STEEP = [
    Difficult(
        "sin(10⁴ x)",
        lambda x: np.sin(1e4 * x),
        lambda g, x: (g * 1e4 * np.cos(1e4 * x),),
        uniform(-1, 1, 5),
    ),
    Difficult(
        "exp(30 x)", lambda x: np.exp(30 * x), lambda g, x: (g * 30 * np.exp(30 * x),), normal(5)
    ),
    Difficult(
        "tanh(1000 x)",
        lambda x: np.tanh(1e3 * x),
        lambda g, x: (g * 1e3 / np.cosh(1e3 * x) ** 2,),
        either_sign(1e-5, 1e-2, 6),
    ),
    Difficult("x⁵⁰", lambda x: x**50, lambda g, x: (g * 50 * x**49,), uniform(0.5, 1.5, 6)),
    Difficult("1 / x near 0", lambda x: 1 / x, lambda g, x: (-g / x**2,), magnitudes(-6, 0, 6)),
    Difficult(
        "sin(1 / x)",
        lambda x: np.sin(1 / x),
        lambda g, x: (-g * np.cos(1 / x) / x**2,),
        magnitudes(-2, 0, 6),
    ),
    Difficult(
        "tan near its pole",
        np.tan,
        lambda g, x: (g / np.cos(x) ** 2,),
        lambda rng: (np.pi / 2 - 10.0 ** rng.uniform(-4, -1, 5),),
    ),
    Difficult(
        "xˣ", lambda x: x**x, lambda g, x: (g * x**x * (1 + np.log(x)),), uniform(0.01, 6, 6)
    ),
    Difficult(
        "a step of sigmoids",
        lambda x: sigmoid(200 * x).sum(),
        lambda g, x: (g * 200 * sigmoid(200 * x) * sigmoid(-200 * x),),
        uniform(-0.1, 0.1, 8),
    ),
]


def zeros_and_others(rng: Rng) -> Arrays:
    x = rng.normal(size=6)
    x[rng.integers(6, size=2)] = 0
    return (x,)


FLAT = [
    Difficult(
        "exp(-x²) far out, down to subnormal numbers",
        lambda x: np.exp(-x * x),
        lambda g, x: (-2 * g * x * np.exp(-x * x),),
        uniform(5, 30, 8),
    ),
    Difficult("x⁹ near 0", lambda x: x**9, lambda g, x: (g * 9 * x**8,), magnitudes(-3, 0, 5)),
    Difficult("x³ with zeros", lambda x: x**3, lambda g, x: (g * 3 * x**2,), zeros_and_others),
    Difficult(
        "(x - 1)⁴ near 1",
        lambda x: (x - 1) ** 4,
        lambda g, x: (g * 4 * (x - 1) ** 3,),
        lambda rng: (1 + magnitudes(-6, -1, 5)(rng)[0],),
    ),
    Difficult(
        "slope 10⁻⁸ on a level of 10⁸",
        lambda x: 1e8 + 1e-8 * x,
        lambda g, x: (1e-8 * g,),
        normal(5, scale=1e4),
    ),
    Difficult("constant", lambda x: 0 * x + 3, lambda g, x: (0 * g,), normal(5)),
    Difficult(
        "floor between its steps",
        np.floor,
        lambda g, x: (0 * g,),
        lambda rng: (rng.integers(-9, 9, 6) + rng.uniform(0.1, 0.9, 6),),
    ),
    Difficult(
        "tanh saturated",
        np.tanh,
        lambda g, x: (g * (1 - np.tanh(x) ** 2),),
        either_sign(5, 40, 8),
    ),
    Difficult(
        "sigmoid saturated",
        sigmoid,
        lambda g, x: (g * sigmoid(x) * sigmoid(-x),),
        either_sign(10, 300, 8),
    ),
    Difficult(
        "softmax of logits far apart",
        softmax,
        lambda g, x: (softmax(x) * (g - (g * softmax(x)).sum(-1, keepdims=True)),),
        normal((2, 5), scale=100.0),
    ),
    Difficult(
        "cos on its tops",
        np.cos,
        lambda g, x: (-g * np.sin(x),),
        lambda rng: (np.pi * rng.integers(-9, 10, 6),),
    ),
]


def spread(rng: Rng) -> Arrays:
    return magnitudes(-8, 8, 10)(rng)


SCALES = [
    Difficult(
        "arguments of 10⁻²⁰⁰",
        lambda x: np.sin(1e200 * x),
        lambda g, x: (g * 1e200 * np.cos(1e200 * x),),
        either_sign(1e-200, 3e-200, 5),
    ),
    Difficult("arguments of 10¹⁵⁰", np.log, lambda g, x: (g / x,), uniform(1e150, 9e150, 5)),
    Difficult(
        "hypot at 10¹⁵⁰ and 10⁻¹⁵⁰",
        np.hypot,
        lambda g, x, y: (g * (x / np.hypot(x, y)), g * (y / np.hypot(x, y))),
        lambda rng: tuple(
            np.array([1e150, 1e-150]) * either_sign(1, 9, 2)(rng)[0] for _ in range(2)
        ),
    ),
    Difficult(
        "results of 10⁻²⁰⁰",
        lambda x: 1e-200 * np.sin(x),
        lambda g, x: (g * 1e-200 * np.cos(x),),
        normal(5),
    ),
    Difficult(
        "results of 10¹⁵⁰",
        lambda x: 1e150 * np.cos(x),
        lambda g, x: (-g * 1e150 * np.sin(x),),
        normal(5),
    ),
    Difficult("x² at 10⁻¹²", np.square, lambda g, x: (2 * g * x,), either_sign(1e-12, 5e-12, 5)),
    Difficult("x² over 16 powers of ten", np.square, lambda g, x: (2 * g * x,), spread),
    Difficult(
        "sum of squares over 16 powers of ten",
        lambda x: (x * x).sum(),
        lambda g, x: (2 * g * x,),
        spread,
    ),
    Difficult(
        "x y with x of 10⁻¹² and y of 10¹²",
        np.multiply,
        lambda g, x, y: (g * y, g * x),
        joined(either_sign(1e-12, 9e-12, 4), either_sign(1e12, 9e12, 4)),
    ),
    Difficult(
        "outputs over 16 powers of ten",
        lambda x: np.logspace(-8, 8, 6) * np.sin(x),
        lambda g, x: (g * np.logspace(-8, 8, 6) * np.cos(x),),
        normal(6),
    ),
    Difficult(
        "x / (x + y) with y of 10¹⁰",
        lambda x, y: x / (x + y),
        lambda g, x, y: (g * y / (x + y) ** 2, -g * x / (x + y) ** 2),
        joined(uniform(0.5, 2, 4), uniform(1e10, 9e10, 4)),
    ),
]

# Kinks: nearby, then at the point itself


def beside(points: float, low: float = -9, high: float = -1, n: int = 8) -> Draw:
    """Numbers at distances of 10**low to 10**high from ±`points`, on both sides."""
    return lambda rng: (points * rng.choice([-1, 1], n) + magnitudes(low, high, n)(rng)[0],)


def close_pairs(rng: Rng) -> Arrays:
    x = rng.normal(size=8)
    return x, x + magnitudes(-9, -1, 8)(rng)[0]


def close_to_the_top(rng: Rng) -> Arrays:
    x = np.append(rng.normal(size=3), 3 - 10.0 ** rng.uniform(-9, -3, 3))
    return (rng.permutation(np.append(x, 3.0)),)


def close_together(rng: Rng) -> Arrays:
    return (rng.permutation(np.cumsum(10.0 ** rng.uniform(-9, 0, 6))),)


def unsort(g: Array, x: Array) -> Arrays:
    dx = np.empty_like(g)
    dx[np.argsort(x, kind="stable")] = g
    return (dx,)


def triangle(x: Array) -> Array:
    return np.abs(x % 2 - 1)


def hinge(x: Array, y: Array) -> Array:
    return np.maximum(0, 1 - x * y)


def hinge_vjp(g: Array, x: Array, y: Array) -> Arrays:
    on = x * y < 1
    return -g * y * on, -g * x * on


def near_the_margin(rng: Rng) -> Arrays:
    y = either_sign(0.5, 2, 8)(rng)[0]
    return (1 + magnitudes(-9, -1, 8)(rng)[0]) / y, y


def norms(x: Array) -> Array:
    """Of rows."""
    return np.sqrt((x * x).sum(-1))


def norms_vjp(g: Array, x: Array) -> Arrays:
    n = norms(x)[:, None]
    return (g[:, None] * x / np.where(n > 0, n, 1),)


NEAR_KINKS = [
    Difficult(
        "relu near 0",
        lambda x: np.maximum(x, 0),
        lambda g, x: (g * (x > 0),),
        magnitudes(-9, -1, 8),
    ),
    Difficult("abs near 0", np.abs, lambda g, x: (g * np.sign(x),), magnitudes(-9, -1, 8)),
    Difficult(
        "abs of small arguments only", np.abs, lambda g, x: (g * np.sign(x),), magnitudes(-9, -7, 8)
    ),
    Difficult(
        "leaky relu near 0",
        lambda x: np.where(x > 0, x, 0.01 * x),
        lambda g, x: (g * np.where(x > 0, 1, 0.01),),
        magnitudes(-9, -1, 8),
    ),
    Difficult(
        "clip near its limits",
        lambda x: np.clip(x, -1, 1),
        lambda g, x: (g * (np.abs(x) <= 1),),
        beside(1),
    ),
    Difficult(
        "huber near its corners",
        lambda x: np.where(np.abs(x) <= 1, x * x / 2, np.abs(x) - 0.5),
        lambda g, x: (g * np.clip(x, -1, 1),),
        beside(1),
    ),
    Difficult("hinge near its margin", hinge, hinge_vjp, near_the_margin),
    Difficult(
        "maximum of close pairs",
        np.maximum,
        lambda g, x, y: (g * (x > y), g * (y > x)),
        close_pairs,
    ),
    Difficult("max of close entries", np.max, lambda g, x: (g * (x == x.max()),), close_to_the_top),
    Difficult("sort of close entries", np.sort, unsort, close_together),
    Difficult(
        "triangle wave",
        triangle,
        lambda g, x: (g * np.sign(x % 2 - 1),),
        lambda rng: (rng.integers(-5, 5, 8) + magnitudes(-9, -1, 8)(rng)[0],),
    ),
    Difficult("floor near its steps", np.floor, lambda g, x: (0 * g,), beside(1)),
    Difficult(
        "remainder near its jumps",
        lambda x: x % 1,
        lambda g, x: (g + 0,),
        beside(2),
    ),
    Difficult(
        "relu of x W near 0",
        lambda x, W: np.maximum(x @ W, 0),
        lambda g, x, W: ((g * (x @ W > 0)) @ W.T, x.T @ (g * (x @ W > 0))),
        lambda rng: (
            rng.normal(size=(3, 4)),
            rng.normal(size=(4, 5)) * 10.0 ** rng.uniform(-9, 0, 5),
        ),
    ),
    Difficult("norm near 0", norms, norms_vjp, magnitudes(-9, -7, (3, 2))),
    Difficult(
        "√(x² + 10⁻¹²)",
        lambda x: np.sqrt(x * x + 1e-12),
        lambda g, x: (g * x / np.sqrt(x * x + 1e-12),),
        magnitudes(-8, 0, 8),
    ),
]


def entries_at(*points: float) -> Draw:
    """Normal entries, and some exactly at each of `points`."""
    return lambda rng: (rng.permutation(np.append(rng.normal(size=6), points)),)


def ties_for_the_top(rng: Rng) -> Arrays:
    x = rng.uniform(-1, 1, 6)
    x[rng.permutation(6)[: rng.integers(2, 4)]] = 1.5
    return (x,)


def some_equal(rng: Rng) -> Arrays:
    x, y = rng.normal(size=(2, 6))
    x[:2] = y[:2]
    return x, y


def share(g: Array, x: Array) -> Arrays:
    top = x == x.max()
    return (g * top / top.sum(),)


def a_row_of_zeros(rng: Rng) -> Arrays:
    x = rng.normal(size=(3, 2))
    x[rng.integers(3)] = 0
    return (x,)


AT_KINKS = [
    Difficult(
        "relu, some at 0",
        lambda x: np.maximum(x, 0),
        lambda g, x: (g * (x > 0),),
        entries_at(0, 0),
    ),
    Difficult("abs, one at 0", np.abs, lambda g, x: (g * np.sign(x),), entries_at(0)),
    Difficult(
        "clip, some at its limits",
        lambda x: np.clip(x, -1, 1),
        lambda g, x: (g * (np.abs(x) <= 1),),
        entries_at(-1, 1),
    ),
    Difficult("max with ties, shared", np.max, share, ties_for_the_top),
    Difficult(
        "maximum with ties, shared",
        np.maximum,
        lambda g, x, y: (g * ((x > y) + (x == y) / 2), g * ((y > x) + (x == y) / 2)),
        some_equal,
    ),
    Difficult("norms, one of 0", norms, norms_vjp, a_row_of_zeros),
    Difficult(
        "|x|^1.5, one at 0",
        lambda x: np.abs(x) ** 1.5,
        lambda g, x: (g * 1.5 * np.sqrt(np.abs(x)) * np.sign(x),),
        entries_at(0),
    ),
    Difficult(
        "hinge of sums, one at its corner",
        lambda x: np.maximum(x.sum(-1), 0),
        lambda g, x: (np.repeat((g * (x.sum(-1) > 0))[:, None], 3, 1),),
        lambda rng: (np.vstack([rng.normal(size=(3, 3)), [1.0, 2.0, -3.0]]),),
    ),
]


def near(edge: float, side: int, n: int = 6) -> Draw:
    return lambda rng: (edge + side * 10.0 ** rng.uniform(-6, -1, n),)


EDGES = [
    Difficult("log near 0", np.log, lambda g, x: (g / x,), near(0, 1)),
    Difficult("log1p near -1", np.log1p, lambda g, x: (g / (1 + x),), near(-1, 1)),
    Difficult("√ near 0", np.sqrt, lambda g, x: (g / (2 * np.sqrt(x)),), near(0, 1)),
    Difficult("x^0.3 near 0", lambda x: x**0.3, lambda g, x: (g * 0.3 * x**-0.7,), near(0, 1)),
    Difficult(
        "arccos near 1", np.arccos, lambda g, x: (-g / np.sqrt((1 - x) * (1 + x)),), near(1, -1)
    ),
    Difficult("arctanh near -1", np.arctanh, lambda g, x: (g / ((1 - x) * (1 + x)),), near(-1, 1)),
    Difficult(
        "arccosh near 1", np.arccosh, lambda g, x: (g / np.sqrt((x - 1) * (x + 1)),), near(1, 1)
    ),
    Difficult(
        "entropy near 0",
        lambda p: -(p * np.log(p)).sum(),
        lambda g, p: (-g * (1 + np.log(p)),),
        near(0, 1),
    ),
]

# Linear algebra


def with_spectrum(rng: Rng, spectrum: Array) -> Array:
    """A symmetric matrix."""
    Q = np.linalg.qr(rng.normal(size=(len(spectrum), len(spectrum))))[0]
    return (Q * spectrum) @ Q.T


def hilbert(rng: Rng) -> Arrays:
    i = np.arange(6)
    H = 1 / (1.0 + i + i[:, None])
    return H * (1 + 1e-3 * rng.uniform(-1, 1, (6, 6))), rng.normal(size=6)


def solve_vjp(g: Array, A: Array, b: Array) -> Arrays:
    u = np.linalg.solve(A.T, g)
    return -np.outer(u, np.linalg.solve(A, b)), u


def inverse_vjp(g: Array, A: Array) -> Arrays:
    B = np.linalg.inv(A).T
    return (-B @ g @ B,)


def eigenvalues(A: Array) -> Array:
    return np.linalg.eigvalsh((A + A.T) / 2)


def eigenvalues_vjp(g: Array, A: Array) -> Arrays:
    V = np.linalg.eigh((A + A.T) / 2)[1]
    return ((V * g) @ V.T,)


def singular_values_vjp(g: Array, A: Array) -> Arrays:
    U, _, V = np.linalg.svd(A, full_matrices=False)
    return ((U * g) @ V,)


def cholesky(A: Array) -> Array:
    return np.linalg.cholesky((A + A.T) / 2)


def cholesky_vjp(g: Array, A: Array) -> Arrays:
    """Murray (2016), equation 8."""
    L = cholesky(A)
    P = np.tril(L.T @ g)
    P[np.diag_indices(len(P))] /= 2
    inverse = np.linalg.inv(L)
    S = inverse.T @ P @ inverse
    return ((S + S.T) / 2,)


WILKINSON = np.poly(np.arange(1, 13))  # (x - 1)(x - 2)...(x - 12): coefficients up to 10¹⁰


CONDITION = [
    Difficult("solve with Hilbert's matrix", np.linalg.solve, solve_vjp, hilbert),
    Difficult(
        "inverse, condition 10⁸",
        np.linalg.inv,
        inverse_vjp,
        lambda rng: (with_spectrum(rng, np.logspace(0, -8, 4)),),
    ),
    Difficult(
        "inverse of tiny matrices",
        np.linalg.inv,
        inverse_vjp,
        lambda rng: (1e-9 * (rng.uniform(-1, 1, (3, 3)) + 3 * np.eye(3)),),
    ),
    Difficult(
        "det",
        np.linalg.det,
        lambda g, A: (g * np.linalg.det(A) * np.linalg.inv(A).T,),
        normal((5, 5), scale=10.0),
    ),
    Difficult(
        "log det, condition 10⁸",
        lambda A: np.linalg.slogdet(A)[1],
        lambda g, A: (g * np.linalg.inv(A).T,),
        lambda rng: (with_spectrum(rng, np.logspace(0, -8, 5)),),
    ),
    Difficult(
        "eigenvalues 10⁻⁵ apart",
        eigenvalues,
        eigenvalues_vjp,
        lambda rng: (with_spectrum(rng, np.array([1, 1 + 1e-5, 1 + 3e-5, 2])),),
    ),
    Difficult(
        "singular values from 1 to 10⁻⁸",
        lambda A: np.linalg.svd(A, compute_uv=False),
        singular_values_vjp,
        lambda rng: (with_spectrum(rng, np.logspace(0, -8, 4)),),
    ),
    Difficult(
        "cholesky, condition 10⁶",
        cholesky,
        cholesky_vjp,
        lambda rng: (with_spectrum(rng, np.logspace(0, -6, 4)),),
    ),
    Difficult(
        "quadratic form, condition 10¹²",
        lambda x: (np.logspace(-6, 6, 7) * x * x).sum(),
        lambda g, x: (2 * g * np.logspace(-6, 6, 7) * x,),
        normal(7),
    ),
    Difficult(
        "Wilkinson's polynomial",
        lambda x: np.polyval(WILKINSON, x),
        lambda g, x: (g * np.polyval(np.polyder(WILKINSON), x),),
        uniform(0, 13, 6),
    ),
]

# Long sums, cancellation, rounding


def log_sum_exp(x: Array) -> Array:
    top = x.max()
    return top + np.log(np.exp(x - top).sum())


def one_minus_cos(x: Array) -> Array:
    return (1 - np.cos(x)) / x**2


def one_minus_cos_vjp(g: Array, x: Array) -> Arrays:
    """Its series, which does not cancel."""
    return (g * x * (-1 / 12 + x**2 / 180 - x**4 / 6720 + x**6 / 453600),)


def single(draw: Draw) -> Draw:
    return lambda rng: tuple(x.astype(np.float32) for x in draw(rng))


def layer_norm(x: Array) -> Array:
    return (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + 1e-5)


def layer_norm_vjp(g: Array, x: Array) -> Arrays:
    y = layer_norm(x)
    centred = g - g.mean(-1, keepdims=True) - y * (g * y).mean(-1, keepdims=True)
    return (centred / np.sqrt(x.var(-1, keepdims=True) + 1e-5),)


ROUNDING = [
    Difficult(
        "sum of 100,000 sines",
        lambda x: np.sin(x).sum(),
        lambda g, x: (g * np.cos(x),),
        normal(100_000),
    ),
    Difficult(
        "product of two vectors of 100,000",
        np.dot,
        lambda g, x, y: (g * y, g * x),
        normal(100_000, 100_000),
    ),
    Difficult(
        "mean of 10,000 in float32",
        np.mean,
        lambda g, x: (np.full_like(x, g / x.size),),
        single(normal(10_000)),
    ),
    Difficult(
        "norm of 10,000 in float32",
        lambda x: np.sqrt((x * x).sum()),
        lambda g, x: (g * x / np.sqrt((x * x).sum()),),
        single(normal(10_000)),
    ),
    Difficult("log-sum-exp of 10,000", log_sum_exp, lambda g, x: (g * softmax(x),), normal(10_000)),
    Difficult(
        "log-sum-exp of huge entries",
        log_sum_exp,
        lambda g, x: (g * softmax(x),),
        normal(6, scale=1.0, shift=1e5),
    ),
    Difficult("(x + 10⁶) - 10⁶", lambda x: (x + 1e6) - 1e6, lambda g, x: (g + 0,), normal(5)),
    Difficult(
        "exp(x) - 1 near 0",
        lambda x: np.exp(x) - 1,
        lambda g, x: (g * np.exp(x),),
        magnitudes(-12, -1, 8),
    ),
    Difficult("expm1 near 0", np.expm1, lambda g, x: (g * np.exp(x),), magnitudes(-12, -1, 8)),
    Difficult("(1 - cos x) / x²", one_minus_cos, one_minus_cos_vjp, magnitudes(-4, -1, 6)),
    Difficult(
        "√(x + 1) - √x",
        lambda x: np.sqrt(x + 1) - np.sqrt(x),
        lambda g, x: (-g / (2 * np.sqrt(x) * np.sqrt(x + 1) * (np.sqrt(x) + np.sqrt(x + 1))),),
        lambda rng: (10.0 ** rng.uniform(0, 10, 6),),
    ),
    Difficult(
        "variance around 10⁶, in one pass",
        lambda x: (x * x).mean() - x.mean() ** 2,
        lambda g, x: (2 * g * (x - x.mean()) / x.size,),
        normal(10, shift=1e6),
    ),
    Difficult(
        "tanh in float32",
        np.tanh,
        lambda g, x: (g * (1 - np.tanh(x) ** 2),),
        single(normal((2, 3))),
    ),
    Difficult(
        "exp(10 x) in float32",
        lambda x: np.exp(10 * x),
        lambda g, x: (g * 10 * np.exp(10 * x),),
        single(normal(5)),
    ),
    Difficult(
        "x W in float32",
        np.matmul,
        lambda g, x, W: (g @ W.T, x.T @ g),
        single(normal((4, 8), (8, 5))),
    ),
    Difficult(
        "layer norm in float32", layer_norm, layer_norm_vjp, single(normal((3, 8), shift=5.0))
    ),
    Difficult(
        "float32 times float64",
        np.multiply,
        lambda g, x, y: ((g * y).astype(np.float32), g * x),
        joined(single(normal(4)), normal(4)),
    ),
    Difficult(
        "float32 inside",
        lambda x: np.tanh(x.astype(np.float32)).astype(np.float64),
        lambda g, x: (g * (1 - np.tanh(x) ** 2),),
        normal(6),
    ),
    Difficult(
        "float32 inside, both ways",
        lambda x, y: (x.astype(np.float32) @ y.astype(np.float32)).astype(np.float64),
        lambda g, x, y: (
            (g.astype(np.float32) @ y.astype(np.float32).T).astype(np.float64),
            (x.astype(np.float32).T @ g.astype(np.float32)).astype(np.float64),
        ),
        normal((3, 4), (4, 2)),
    ),
]

# Rough functions, long chains


def spline(x: Array) -> Array:
    """A cubic with one continuous derivative at the integers."""
    t = x % 1
    return np.floor(x) % 3 * t * t * (1 - t) ** 2


def spline_vjp(g: Array, x: Array) -> Arrays:
    t = x % 1
    return (g * (np.floor(x) % 3) * 2 * t * (1 - t) * (1 - 2 * t),)


KNOTS = np.array([-9.0, -2.0, -1.0, 0.5, 1.0, 9.0])
HEIGHTS = np.array([0.0, 3.0, -1.0, 2.0, 2.0, 5.0])


def interpolate_vjp(g: Array, x: Array) -> Arrays:
    slopes = np.diff(HEIGHTS) / np.diff(KNOTS)
    return (g * slopes[np.searchsorted(KNOTS, x, side="right") - 1],)


WAVES = np.arange(6)[:, None]


def kepler(M: Array, e: Array) -> Array:
    """E with E - e sin E = M, by Newton's method."""
    E = M + 0.0
    for _ in range(20):
        E = E - (E - e * np.sin(E) - M) / (1 - e * np.cos(E))
    return E


def kepler_vjp(g: Array, M: Array, e: Array) -> Arrays:
    """By the implicit function theorem."""
    E = kepler(M, e)
    d = g / (1 - e * np.cos(E))
    return d, d * np.sin(E)


def others(x: Array) -> Array:
    """For each entry the product of all others."""
    before = np.append(1, np.cumprod(x)[:-1])
    after = np.append(1, np.cumprod(x[::-1])[:-1])[::-1]
    return before * after


def logistic_map(x: Array) -> Array:
    for _ in range(30):
        x = 3.7 * x * (1 - x)
    return x


def logistic_map_vjp(g: Array, x: Array) -> Arrays:
    for _ in range(30):
        g, x = g * 3.7 * (1 - 2 * x), 3.7 * x * (1 - x)
    return (g,)


def cosines(x: Array) -> Array:
    for _ in range(50):
        x = np.cos(x)
    return x


def cosines_vjp(g: Array, x: Array) -> Arrays:
    for _ in range(50):
        g, x = -g * np.sin(x), np.cos(x)
    return (g,)


def deep(x: Array, W: Array) -> Array:
    for _ in range(100):
        x = np.tanh(x @ W)
    return x


def deep_vjp(g: Array, x: Array, W: Array) -> Arrays:
    layers = [x]
    for _ in range(100):
        layers.append(np.tanh(layers[-1] @ W))
    dW = np.zeros_like(W)
    for below, above in zip(layers[-2::-1], layers[:0:-1], strict=True):
        d = g * (1 - above * above)
        g, dW = d @ W.T, dW + below.T @ d
    return g, dW


def rotation(rng: Rng) -> Array:
    """A little larger than orthogonal, so that the signal stays alive in `deep`."""
    return 1.05 * np.linalg.qr(rng.normal(size=(4, 4)))[0]


ROUGH = [
    Difficult("spline", spline, spline_vjp, uniform(-5, 5, 8)),
    Difficult("spline near its knots", spline, spline_vjp, beside(2)),
    Difficult(
        "interpolation in a table",
        lambda x: np.interp(x, KNOTS, HEIGHTS),
        interpolate_vjp,
        uniform(-5, 5, 8),
    ),
    Difficult(
        "x² sin(1 / x)",
        lambda x: x * x * np.sin(1 / x),
        lambda g, x: (g * (2 * x * np.sin(1 / x) - np.cos(1 / x)),),
        magnitudes(-2, -0.5, 6),
    ),
    Difficult(
        "Weierstrass, six waves",
        lambda x: (0.5**WAVES * np.cos(7.0**WAVES * np.pi * x)).sum(0),
        lambda g, x: (-g * np.pi * (3.5**WAVES * np.sin(7.0**WAVES * np.pi * x)).sum(0),),
        uniform(-1, 1, 5),
    ),
    Difficult(
        "Kepler's equation", kepler, kepler_vjp, joined(uniform(0.1, 3, 5), uniform(0, 0.8, 5))
    ),
    Difficult(
        "product of 100",
        np.prod,
        lambda g, x: (g * others(x),),
        either_sign(0.5, 2, 100),
    ),
    Difficult("logistic map, 30 steps", logistic_map, logistic_map_vjp, uniform(0.1, 0.9, 3)),
    Difficult("cos of cos, 50 times", cosines, cosines_vjp, normal(4)),
    Difficult(
        "100 layers of tanh",
        deep,
        deep_vjp,
        lambda rng: (rng.normal(size=(2, 4)), rotation(rng)),
    ),
    Difficult(
        "100x100 times 100x100",
        np.matmul,
        lambda g, A, B: (g @ B.T, A.T @ g),
        normal((100, 100), (100, 100)),
    ),
    Difficult(
        "cumulated sums of 2,000",
        np.cumsum,
        lambda g, x: (np.cumsum(g[::-1])[::-1],),
        normal(2000),
    ),
]

# Unusual arguments and gradients


def complex_normal(*shapes: int | tuple[int, ...]) -> Draw:
    return lambda rng: tuple(rng.normal(size=s) + 1j * rng.normal(size=s) for s in shapes)


def lookup_vjp(g: Array, table: Array, rows: Array) -> Arrays:
    d = np.zeros_like(table)
    np.add.at(d, rows, g)
    return d, None


def viewed(view: object) -> Draw:
    """A 4x6 argument, seen through `view`."""
    return lambda rng: (view(rng.normal(size=(4, 6))),)  # type: ignore[operator]


SIN = (np.sin, lambda g, x: (g * np.cos(x),))

UNUSUAL = [
    Difficult("a number", *SIN, lambda rng: (np.array(rng.normal()),)),
    Difficult("a NumPy scalar", *SIN, lambda rng: (np.float64(rng.normal()),)),
    Difficult("one entry", *SIN, normal((1, 1))),
    Difficult("a transposed argument", *SIN, viewed(np.transpose)),
    Difficult("every second number", *SIN, viewed(lambda x: x[::2, ::-3])),
    Difficult(
        "a read-only argument", *SIN, lambda rng: (np.broadcast_to(rng.normal(size=3), (2, 3)),)
    ),
    Difficult(
        "an argument without influence",
        lambda x, y: x * x,
        lambda g, x, y: (2 * g * x, np.zeros_like(y)),
        normal(4, 3),
    ),
    Difficult(
        "a mask among the arguments",
        lambda x, keep: np.where(keep, x * x, 0),
        lambda g, x, keep: (2 * g * x * keep, None),
        lambda rng: (rng.normal(size=6), rng.random(6) < 0.7),
        argnums=(0,),
    ),
    Difficult(
        "indices among the arguments, repeated",
        lambda table, rows: table[rows],
        lookup_vjp,
        lambda rng: (rng.normal(size=(4, 2)), rng.integers(0, 4, 7)),
        argnums=(0,),
    ),
    Difficult("the cotangent itself", lambda x: x + 1, lambda g, x: (g,), normal(5)),
    Difficult("the cotangent twice", np.add, lambda g, x, y: (g, g), normal(5, 5)),
    Difficult(
        "a view of the cotangent",
        lambda x: x.T.reshape(2, 6),
        lambda g, x: (g.reshape(4, 3).T,),
        normal((3, 4)),
    ),
    Difficult(
        "a read-only view of the cotangent",
        lambda x: x.sum(0),
        lambda g, x: (np.broadcast_to(g, x.shape),),
        normal((3, 4)),
    ),
    Difficult("complex square", np.square, lambda g, z: (2 * g * z,), complex_normal(4)),
    Difficult("complex exp", np.exp, lambda g, z: (g * np.exp(z),), complex_normal(4)),
    Difficult(
        "|z|²",
        lambda z: z.real**2 + z.imag**2,
        lambda g, z: (2 * g * np.conj(z),),
        complex_normal(4),
    ),
    Difficult(
        "|z|, z small",
        np.abs,
        lambda g, z: (g * np.conj(z) / np.abs(z),),
        lambda rng: (1e-9 * complex_normal(4)(rng)[0],),
    ),
    Difficult(
        "complex matrices",
        np.matmul,
        lambda g, A, B: (g @ B.T, A.T @ g),
        complex_normal((2, 3), (3, 2)),
    ),
    Difficult(
        "real to complex: Fourier",
        np.fft.rfft,
        lambda g, x: (np.fft.fft(g, len(x)).real,),
        normal(7),
    ),
]

DIFFICULT = [
    *(*STEEP, *FLAT, *SCALES, *NEAR_KINKS, *AT_KINKS),
    *(*EDGES, *CONDITION, *ROUNDING, *ROUGH, *UNUSUAL),
]
