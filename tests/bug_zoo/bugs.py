"""Wrong gradients, as people write them. Each names what a report must say about it.

The right gradient stands in the comment where the mistake does not tell. Many have been in released
libraries: a number after # is that of the issue or pull request.
"""

from __future__ import annotations

import math
from itertools import count

import numpy as np
from numpy.lib.stride_tricks import as_strided

from tests.bug_zoo.cases import (
    Array,
    Arrays,
    Bug,
    Draw,
    either_sign,
    joined,
    normal,
    sigmoid,
    softmax,
    uniform,
)

NOT_LINEAR = "not linear in the cotangent"
MUTATES = "mutates its input"
VIEW = "returns a view of its input"
RANDOM = "not deterministic"

# Functions of one entry

erf = np.vectorize(math.erf, otypes=[float])
C = math.sqrt(2 / math.pi)


def gelu(x: Array) -> Array:
    return x * (1 + erf(x / math.sqrt(2))) / 2


def gelu_by_the_tanh_formula(g: Array, x: Array) -> Arrays:
    t = np.tanh(C * (x + 0.044715 * x**3))
    return (g * ((1 + t) + x * (1 - t * t) * C * (1 + 3 * 0.044715 * x * x)) / 2,)


def huber(x: Array) -> Array:
    return np.where(np.abs(x) <= 1, x * x / 2, np.abs(x) - 0.5)


def off_its_corners(rng: np.random.Generator) -> Arrays:
    """On either side of ±1, never near."""
    x = rng.uniform(0.1, 0.8, 8)
    x[::2] += 1.2
    return (x * rng.choice([-1.0, 1.0], 8),)


def log_sigmoid(x: Array) -> Array:
    return np.minimum(x, 0) - np.log1p(np.exp(-np.abs(x)))


def with_a_zero(rng: np.random.Generator) -> Arrays:
    x = rng.uniform(0.5, 2, 5) * rng.choice([-1.0, 1.0], 5)
    x[rng.integers(5)] = 0
    return (x,)


def all_but_the_last(g: Array, x: Array) -> Arrays:
    dx = g * np.cos(x)
    dx[-1] = 0
    return (dx,)


def wrong_in_the_middle(g: Array, x: Array) -> Arrays:
    dx = g * np.cos(x)
    dx[len(x) // 2] *= 1.01
    return (dx,)


ELEMENTWISE = [
    Bug("cos: sign", np.cos, lambda g, x: (g * np.sin(x),), normal(5), diagnosis="times -1"),
    Bug("square: factor 2", np.square, lambda g, x: (g * x,), normal(5), diagnosis="times 1/2"),
    Bug(
        "sqrt: factor 1/2",
        np.sqrt,
        lambda g, x: (g / np.sqrt(x),),
        uniform(0.5, 3, (2, 3)),
        diagnosis="times 2",
    ),
    Bug("cube: n x^n", lambda x: x**3, lambda g, x: (g * 3 * x**3,), normal(5)),
    Bug("cube: n x", lambda x: x**3, lambda g, x: (g * 3 * x,), normal(5)),
    Bug("exp: output missing", np.exp, lambda g, x: (g,), normal(5), diagnosis="the output"),
    Bug(
        "exp: output squared",
        np.exp,
        lambda g, x: (g * np.exp(x) ** 2,),
        normal(5),
        diagnosis="the output",
    ),
    Bug(
        "sigmoid: s (1 - x)",
        sigmoid,
        lambda g, x: (g * sigmoid(x) * (1 - x),),
        normal((2, 3)),
    ),
    Bug("tanh: 1 - out", np.tanh, lambda g, x: (g * (1 - np.tanh(x)),), normal((2, 3))),
    Bug(
        "tanh: of the output, not of x",
        np.tanh,
        lambda g, x: (g * (1 - np.tanh(np.tanh(x)) ** 2),),
        normal(5),
    ),
    Bug(
        "log10: ln 10",
        np.log10,
        lambda g, x: (g / x,),
        uniform(0.5, 3, 5),
        diagnosis="ln 10",
    ),
    Bug(
        "divide: sign of the denominator",
        np.divide,
        lambda g, x, y: (g / y, g * x / y**2),
        either_sign(0.5, 3, 4, 4),
        diagnosis="times -1",
    ),
    Bug("abs: slope 1 below 0", np.abs, lambda g, x: (g * 1.0,), either_sign(0.3, 2, 5)),
    Bug(  # chalk-lab/Mooncake.jl #1195
        "copysign: sign of x",
        np.copysign,
        lambda g, x, y: (g * np.sign(y), 0 * g),
        either_sign(0.3, 2, 5, 5),
    ),
    Bug(  # "guided" backpropagation
        "relu: where g > 0",
        lambda x: np.maximum(x, 0),
        lambda g, x: (np.where(g > 0, g, 0) * (x > 0),),
        either_sign(0.3, 2, 6),
        kind=NOT_LINEAR,
    ),
    Bug(
        "relu: mask before the bias",
        lambda x, b: np.maximum(x + b, 0),
        lambda g, x, b: (g * (x > 0), g * (x > 0)),
        joined(either_sign(0.3, 0.9, 6), uniform(1, 2, 6)),
    ),
    Bug(
        "leaky relu: 0 below 0",
        lambda x: np.where(x > 0, x, 0.1 * x),
        lambda g, x: (g * (x > 0),),
        either_sign(0.3, 2, 6),
    ),
    Bug("gelu: of its approximation", gelu, gelu_by_the_tanh_formula, normal(20)),
    Bug(
        "huber: sides swapped",
        huber,
        lambda g, x: (g * np.where(np.abs(x) <= 1, np.sign(x), x),),
        off_its_corners,
    ),
    Bug(
        "clip: passes all",
        lambda x: np.clip(x, -1, 1),
        lambda g, x: (g * 1.0,),
        off_its_corners,
    ),
    Bug(
        "softplus: linear from 2 on",
        lambda x: np.log1p(np.exp(x)),
        lambda g, x: (g * np.where(x > 2, 1, sigmoid(x)),),
        lambda rng: (np.append(rng.normal(size=19), rng.uniform(2.1, 3)),),
    ),
    Bug(  # jax-ml/jax #2140
        "log sigmoid: 0 at 0",
        log_sigmoid,
        lambda g, x: (g * np.where(x == 0, 0, sigmoid(-x)),),
        with_a_zero,
    ),
    Bug("softplus: slope 1/2", lambda x: np.log1p(np.exp(x)), lambda g, x: (g / 2,), normal(5)),
    Bug(
        "round: slope 1",
        lambda x: np.round(x),
        lambda g, x: (g * 1.0,),
        lambda rng: (rng.integers(-3, 4, 5) + rng.uniform(-0.4, 0.4, 5),),
    ),
    Bug(
        "hypot: x for y",
        np.hypot,
        lambda g, x, y: (g * x / np.hypot(x, y), g * x / np.hypot(x, y)),
        either_sign(0.5, 2, 4, 4),
    ),
    Bug(
        "multiply: swapped",
        np.multiply,
        lambda g, x, y: (g * x, g * y),
        either_sign(0.5, 2, 4, 4),
    ),
    Bug(
        "sin: rounded to float32",
        np.sin,
        lambda g, x: ((g * np.cos(x)).astype(np.float32).astype(np.float64),),
        normal(8),
        kind="",  # rounding is not linear either
        diagnosis="float32",
    ),
    Bug(
        "cube: 0.1 % too large",
        lambda x: x**3,
        lambda g, x: (g * 3.003 * x**2,),
        normal(5),
        diagnosis="times 1.001",
    ),
    Bug(
        "tanh: 10 % too large in 10,000",
        np.tanh,
        lambda g, x: (1.1 * g * (1 - np.tanh(x) ** 2),),
        normal(10_000),
        diagnosis="times 1.1",
    ),
    Bug("sin: last of 10,000", np.sin, all_but_the_last, uniform(-1, 1, 10_000)),
    Bug("sin: 1 % in one of 10,000", np.sin, wrong_in_the_middle, uniform(-1, 1, 10_000)),
    Bug(
        "log2: ln 2 as 0.693",
        np.log2,
        lambda g, x: (g / (0.693 * x),),
        uniform(0.5, 3, 5),
        diagnosis="times 1.0002",
    ),
    Bug(
        "abs: smoothed back",
        np.abs,
        lambda g, x: (g * x / np.sqrt(x * x + 1e-6),),
        either_sign(0.3, 2, 5),
    ),
    Bug(
        "a loss of 10⁻⁸: sign",
        lambda x: 1e-8 * np.cos(x).sum(),
        lambda g, x: (g * 1e-8 * np.sin(x),),
        normal(5),
        diagnosis="times -1",
    ),
    Bug("sin: nothing", np.sin, lambda g, x: (0 * g,), normal(5), diagnosis="zero"),
    Bug(
        "exp: slope clipped",
        np.exp,
        lambda g, x: (g * np.minimum(np.exp(x), 10),),
        uniform(2, 4, 5),
    ),
]

# Sums and other reductions


def layer_norm(x: Array) -> Array:
    return (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + 1e-5)


def layer_norm_with(divide_by: Array, g: Array, x: Array) -> Array:
    """Right if `divide_by` is √(var + ε)."""
    y = (x - x.mean(-1, keepdims=True)) / divide_by
    return (g - g.mean(-1, keepdims=True) - y * (g * y).mean(-1, keepdims=True)) / divide_by


def batch_norm(x: Array) -> Array:
    return (x - x.mean(0)) / np.sqrt(x.var(0) + 1e-5)


def batch_norm_with(divide_by: Array, g: Array, x: Array) -> Arrays:
    """Right if `divide_by` is √(var + ε)."""
    y = batch_norm(x)
    return ((g - g.mean(0) - y * (g * y).mean(0)) / divide_by,)


TARGETS = np.eye(3)[[0, 2, 1, 1]]


def cross_entropy(z: Array) -> Array:
    """Of 4 rows of 3 logits, averaged over the rows."""
    top = z.max(-1, keepdims=True)
    log_sums = np.log(np.exp(z - top).sum(-1)) + top[:, 0]
    return np.mean(log_sums - (z * TARGETS).sum(-1))


def prod_over_entry(g: Array, x: Array) -> Arrays:
    with np.errstate(all="ignore"):
        return (g * np.prod(x) / x,)


def two_ties(rng: np.random.Generator) -> Arrays:
    x = rng.uniform(-1, 1, 5)
    x[[1, 3]] = 2
    return (x,)


REDUCTIONS = [
    Bug("mean: 1/n", np.mean, lambda g, x: (g * np.ones(5),), normal(5), diagnosis="times 5"),
    Bug(
        "mean: over the size, not the axis",
        lambda x: x.mean(1),
        lambda g, x: (np.tile(g[:, None], 4) / x.size,),
        normal((3, 4)),
        diagnosis="times 1/3",
    ),
    Bug(
        "sum: spread along the other axis",
        lambda x: x.sum(0),
        lambda g, x: (np.tile(g[:, None], 3),),
        normal((3, 3)),
        diagnosis="transposed",
    ),
    Bug(
        "centre: mean over both axes",
        lambda x: x - x.mean(0),
        lambda g, x: (g - g.mean(),),
        normal((4, 3)),
    ),
    Bug(
        "softmax: diagonal only",
        softmax,
        lambda g, x: (g * softmax(x) * (1 - softmax(x)),),
        normal((2, 4)),
    ),
    Bug(
        "cross-entropy: target not subtracted",
        cross_entropy,
        lambda g, z: (g * softmax(z) / 4,),
        normal((4, 3)),
    ),
    Bug(
        "cross-entropy: batch divided out twice",
        cross_entropy,
        lambda g, z: (g * (softmax(z) - TARGETS) / 16,),
        normal((4, 3)),
        diagnosis="times 1/4",
    ),
    Bug(
        "logsumexp: not normalised",
        lambda x: np.log(np.exp(x).sum()),
        lambda g, x: (g * np.exp(x),),
        normal(5),
    ),
    Bug(
        "norm: not divided by the norm",
        lambda x: np.sqrt((x * x).sum()),
        lambda g, x: (g * x,),
        normal(5),
        diagnosis="the output",
    ),
    Bug("max: to all", np.max, lambda g, x: (g * np.ones(5),), normal(5)),
    Bug(  # the elementwise one: pytorch/pytorch #56734
        "max: all of it to each tie",
        np.max,
        lambda g, x: (g * (x == x.max()),),
        two_ties,
    ),
    Bug(
        "max: nothing to ties",
        np.max,
        lambda g, x: (g * (x == x.max()) * ((x == x.max()).sum() == 1),),
        two_ties,
    ),
    Bug(  # tinygrad/tinygrad #17404, tracel-ai/burn #5533
        "prod: out / x at 0",
        np.prod,
        prod_over_entry,
        with_a_zero,
    ),
    Bug("cumsum: not from the end", np.cumsum, lambda g, x: (np.cumsum(g),), normal(5)),
    Bug(
        "layer norm: mean and variance constant",
        layer_norm,
        lambda g, x: (g / np.sqrt(x.var(-1, keepdims=True) + 1e-5),),
        normal((3, 6)),
    ),
    Bug(
        "layer norm: ε left out",
        layer_norm,
        lambda g, x: (layer_norm_with(x.std(-1, keepdims=True), g, x),),
        normal((3, 6)),
    ),
    Bug(
        "batch norm: n - 1",
        batch_norm,
        lambda g, x: batch_norm_with(np.sqrt(x.var(0, ddof=1) + 1e-5), g, x),
        normal((5, 3)),
        diagnosis="times 0.894",
    ),
    Bug(  # flagos-ai/FlagGems #5222
        "batch norm: deviation for variance",
        batch_norm,
        lambda g, x: batch_norm_with(np.sqrt(np.sqrt(x.var(0) + 1e-5) + 1e-5), g, x),
        normal((5, 3), scale=3.0),
    ),
]

# Shapes, broadcasting and indices

ROWS = np.array([0, 2, 2, 1, 2])
EVEN = np.arange(6) % 2 == 0


def gather_overwritten(g: Array, x: Array) -> Arrays:
    dx = np.zeros_like(x)
    dx[ROWS] = g
    return (dx,)


def one_too_early(g: Array, x: Array) -> Arrays:
    dx = np.zeros_like(x)
    dx[:-2] = g
    return (dx,)


SHAPES = [
    Bug(
        "bias: not summed",
        np.add,
        lambda g, x, b: (g, g),
        normal((4, 3), 3),
        kind="wrong shape",
        diagnosis="axis 0 not summed",
    ),
    Bug(
        "bias: averaged",
        np.add,
        lambda g, x, b: (g, g.mean(0)),
        normal((4, 3), 3),
        diagnosis="times 1/4",
    ),
    Bug(
        "bias of columns: summed over the wrong axis",
        np.add,
        lambda g, x, b: (g, g.sum(0)[:, None]),
        normal((3, 3), (3, 1)),
    ),
    Bug(
        "scale: a number broadcast",
        np.multiply,
        lambda g, s, x: (g * x, g * s),
        normal((), (2, 3)),
        kind="wrong shape",
        diagnosis="not summed",
    ),
    Bug(
        "scale of rows: right for equal shapes",
        np.multiply,
        lambda g, x, y: (g * y, g[0] * x[0]),
        normal((4, 3), 3),
    ),
    Bug(
        "bias: axis of length 1 lost",
        np.add,
        lambda g, x, b: (g, g.sum(0)),
        normal((4, 3), (1, 3)),
        kind="wrong shape",
    ),
    Bug(
        "ravel: Fortran's order",
        np.ravel,
        lambda g, x: (g.reshape(x.shape, order="F"),),
        normal((3, 4)),
    ),
    Bug(
        "transpose: order not inverted",
        lambda x: x.transpose(1, 2, 0),
        lambda g, x: (g.transpose(1, 2, 0),),
        normal((3, 3, 3)),
    ),
    Bug("roll: not back", lambda x: np.roll(x, 1), lambda g, x: (np.roll(g, 1),), normal(5)),
    Bug("slice: off by one", lambda x: x[1:-1], one_too_early, normal(6)),
    Bug("tile: the first only", lambda x: np.tile(x, 3), lambda g, x: (g[:4] + 0,), normal(4)),
    Bug(
        "concatenate: pieces swapped",
        lambda x, y: np.concatenate([x, y]),
        lambda g, x, y: (g[3:], g[:3]),
        normal(3, 3),
    ),
    Bug(  # pytorch/pytorch #1528
        "gather: repeated rows overwritten",
        lambda x: x[ROWS],
        gather_overwritten,
        normal((4, 2)),
    ),
    Bug(
        "where: branches swapped",
        lambda x, y: np.where(EVEN, x, y),
        lambda g, x, y: (np.where(EVEN, 0, g), np.where(EVEN, g, 0)),
        normal(6, 6),
    ),
    Bug(
        "sort: permutation not inverted",
        np.sort,
        lambda g, x: (g[np.argsort(x)],),
        lambda rng: (np.array([2.0, 0, 1, 4, 3]) + rng.uniform(0, 0.9, 5),),
    ),
    Bug("triu: mask forgotten", np.triu, lambda g, x: (g + 0,), normal((3, 3))),
]

# Linear algebra


def symmetric_product(rng: np.random.Generator) -> Arrays:
    A = rng.normal(size=(4, 4))
    return (A @ A.T + 4 * np.eye(4),)


def regular(*shapes: int | tuple[int, ...]) -> Draw:
    """A 3x3 matrix with a dominant diagonal, then normal arguments."""
    dominant = lambda rng: (rng.uniform(-1, 1, (3, 3)) + 4 * np.eye(3),)
    return joined(dominant, normal(*shapes))


def cholesky(A: Array) -> Array:
    return np.linalg.cholesky((A + A.T) / 2)


def cholesky_of_lower(g: Array, A: Array) -> Arrays:
    """Murray (2016), equation 8; without the last step, which makes it symmetric."""
    L = cholesky(A)
    P = np.tril(L.T @ g)
    P[np.diag_indices(4)] /= 2
    inverse = np.linalg.inv(L)
    return (inverse.T @ P @ inverse,)


X = np.array([1.0, -0.5, 2.0])


def gaussian(S: Array) -> Array:
    """The logarithm of the density of N(0, S) at X, up to a constant."""
    return -(np.log(np.linalg.det(S)) + X @ np.linalg.solve(S, X)) / 2


def gaussian_ascent(g: Array, S: Array) -> Arrays:
    inverse = np.linalg.inv(S).T
    return (g * (inverse - np.outer(inverse @ X, X @ inverse)) / 2,)


LINALG = [
    Bug("matmul: no transposes", np.matmul, lambda g, A, B: (g @ B, A @ g), normal((3, 3), (3, 3))),
    Bug(
        "matmul: order",
        np.matmul,
        lambda g, A, B: (B.T @ g, g @ A.T),
        normal((3, 3), (3, 3)),
    ),
    Bug(
        "matrix times vector: matrix transposed",
        np.matmul,
        lambda g, A, x: (np.outer(x, g), A.T @ g),
        normal((4, 4), 4),
        diagnosis="transposed",
    ),
    Bug(
        "matrix times vector: A for its transpose",
        np.matmul,
        lambda g, A, x: (np.outer(g, x), A @ g),
        normal((4, 4), 4),
    ),
    Bug(
        "trace of a product: B for its transpose",
        lambda A, B: np.trace(A @ B),
        lambda g, A, B: (g * B, g * A.T),
        normal((3, 3), (3, 3)),
        diagnosis="transposed",
    ),
    Bug(
        "inverse: a transpose",
        np.linalg.inv,
        lambda g, A: (-np.linalg.inv(A) @ g @ np.linalg.inv(A).T,),
        regular(),
    ),
    Bug(
        "det: inverse not transposed",
        np.linalg.det,
        lambda g, A: (g * np.linalg.det(A) * np.linalg.inv(A),),
        regular(),
        diagnosis="transposed",
    ),
    Bug(
        "log det: det for its inverse transpose",
        lambda A: np.log(np.linalg.det(A)),
        lambda g, A: (g / np.linalg.det(A) * np.ones((3, 3)),),
        regular(),
    ),
    Bug("cholesky: not symmetric", cholesky, cholesky_of_lower, symmetric_product),
    Bug(
        "solve: A not transposed",
        np.linalg.solve,
        lambda g, A, b: (
            -np.outer(np.linalg.solve(A, g), np.linalg.solve(A, b)),
            np.linalg.solve(A, g),
        ),
        regular(3),
    ),
    Bug(
        "quadratic form: as if A were symmetric",
        lambda x, A: x @ A @ x,
        lambda g, x, A: (2 * g * A @ x, g * np.outer(x, x)),
        normal(4, (4, 4)),
    ),
    Bug(
        "attention scores: 1/√d",
        lambda q, k: q @ k.T / 2,
        lambda g, q, k: (g @ k, g.T @ q),
        normal((3, 4), (5, 4)),
        diagnosis="times 2",
    ),
    Bug(  # HIPS/autograd #412
        "gaussian: sign", gaussian, gaussian_ascent, regular(), diagnosis="times -1"
    ),
]

# Networks


def residual(x: Array, W: Array) -> Array:
    return x + np.tanh(x @ W)


def residual_dropped(g: Array, x: Array, W: Array) -> Arrays:
    d = g * (1 - np.tanh(x @ W) ** 2)
    return d @ W.T, x.T @ d


def lstm_cell(z: Array, c: Array) -> Array:
    """The next cell state, from the sums of the input, forget and candidate gates."""
    return sigmoid(z[1]) * c + sigmoid(z[0]) * np.tanh(z[2])


def lstm_gates_swapped(g: Array, z: Array, c: Array) -> Arrays:
    i, f, t = sigmoid(z[0]), sigmoid(z[1]), np.tanh(z[2])
    right = np.stack([g * t * i * (1 - i), g * c * f * (1 - f), g * i * (1 - t * t)])
    return right[[1, 0, 2]], g * f


def recurrence(w: Array, x: Array) -> Array:
    return np.tanh(w * np.tanh(w * x))


def recurrence_cut(g: Array, w: Array, x: Array) -> Arrays:
    """The weight of the last step only."""
    h = np.tanh(w * x)
    d = g * (1 - np.tanh(w * h) ** 2)
    return d * h, d * w * (1 - h * h) * w


def softmax_over_the_columns(g: Array, x: Array) -> Arrays:
    s = softmax(x)
    return (s * (g - (g * s).sum(0)),)


def regularised(w: Array, x: Array, y: Array) -> Array:
    return ((x @ w - y) ** 2).sum() + 1e-4 * (w * w).sum()


def without_the_penalty(g: Array, w: Array, x: Array, y: Array) -> Arrays:
    error = 2 * g * (x @ w - y)
    return x.T @ error, np.outer(error, w), -error


KEPT = np.array([1.0, 0.0, 1.0, 1.0, 1.0, 0.0, 1.0, 1.0])
DICE = np.random.default_rng(0)

NETWORKS = [
    Bug("residual: identity dropped", residual, residual_dropped, normal((2, 3), (3, 3))),
    Bug("lstm: gates swapped", lstm_cell, lstm_gates_swapped, normal((3, 4), 4)),
    Bug("recurrence: cut after one step", recurrence, recurrence_cut, normal(5, 5)),
    Bug("softmax: wrong axis back", softmax, softmax_over_the_columns, normal((4, 4))),
    Bug(
        "max pooling: average back",
        lambda x: x.reshape(4, 2).max(1),
        lambda g, x: (np.repeat(g, 2) / 2,),
        normal(8),
    ),
    Bug(
        "convolution: kernel not flipped",
        lambda x, k: np.convolve(x, k, "valid"),
        lambda g, x, k: (np.convolve(g, k), np.convolve(x[::-1], g, "valid")[::-1]),
        normal(7, 3),
    ),
    Bug(
        "convolution: gradient of the kernel flipped",
        lambda x, k: np.convolve(x, k, "valid"),
        lambda g, x, k: (np.convolve(g, k[::-1]), np.convolve(x, g[::-1], "valid")),
        normal(7, 3),
    ),
    Bug(
        "penalty of 10⁻⁴: forgotten",
        regularised,
        without_the_penalty,
        normal(3, (8, 3), 8, scale=3.0),
    ),
    Bug(
        "dropout: scale",
        lambda x: x * KEPT / 0.8,
        lambda g, x: (g * KEPT,),
        normal(8),
        diagnosis="times 4/5",
    ),
    Bug(
        "dropout: mask drawn again",
        lambda x: x * KEPT,
        lambda g, x: (g * (DICE.random(8) < 0.75),),
        normal(8),
        kind=RANDOM,
    ),
]

# The contract: what a gradient may do with its arguments and what it must return


def in_memory_order(g: Array, x: Array) -> Arrays:
    """Reads the cotangent as if it were contiguous."""
    return (np.ravel(g, order="K").reshape(x.shape) * np.cos(x),)


def from_the_address(g: Array, x: Array) -> Arrays:
    """Like a kernel that is told where the cotangent begins, but not its strides."""
    if g.strides[0] > 0:  # else it would read what is not there
        g = as_strided(g, strides=(g.itemsize,))
    return (np.tile(g[:, None], 4) / 4,)


def in_the_cotangent(g: Array, x: Array) -> Arrays:
    g *= np.cos(x)
    return (g,)


def in_the_argument(g: Array, x: Array) -> Arrays:
    x -= x.max(-1, keepdims=True)
    s = softmax(x)
    return (s * (g - (g * s).sum(-1, keepdims=True)),)


def in_the_second_argument(g: Array, x: Array, y: Array) -> Arrays:
    y *= g
    return y.copy(), g * x


calls = count(1)
buffer = np.empty(5)
total = np.zeros(5)


def in_its_own_buffer(g: Array, x: Array) -> Arrays:
    np.multiply(g, np.cos(x), out=buffer)
    return (buffer,)


def added_to_the_last(g: Array, x: Array) -> Arrays:
    """Never set to zero."""
    total[...] += g * np.cos(x)
    return (total.copy(),)


def single(draw: Draw) -> Draw:
    return lambda rng: tuple(x.astype(np.float32) for x in draw(rng))


CONTRACT = [
    Bug(
        "gradient clipped",
        np.sin,
        lambda g, x: (np.clip(g * np.cos(x), -0.5, 0.5),),
        uniform(-0.5, 0.5, 5),
        kind=NOT_LINEAR,
    ),
    Bug(
        "cotangent taken for 1",
        lambda x: (x * x).sum(),
        lambda g, x: (2 * x,),
        normal(5),
        kind=NOT_LINEAR,
    ),
    Bug(
        "sign of the cotangent",
        np.square,
        lambda g, x: (np.sign(g) * 2 * x,),
        normal(5),
        kind=NOT_LINEAR,
    ),
    Bug(
        "cotangent squared",
        np.square,
        lambda g, x: (g * g * 2 * x,),
        normal(5),
        kind=NOT_LINEAR,
    ),
    Bug(
        "absolute value of the cotangent",
        np.square,
        lambda g, x: (np.abs(g) * 2 * x,),
        normal(5),
        kind=NOT_LINEAR,
    ),
    Bug(
        "weight decay added",
        lambda w, x: x @ w,
        lambda g, w, x: (x.T @ g + 0.1 * w, np.outer(g, w)),
        normal(3, (4, 3)),
        kind=NOT_LINEAR,
    ),
    Bug(  # Dao-AILab/flash-attention #355
        "cotangent read in the order of its memory",
        np.sin,
        in_memory_order,
        normal((3, 4)),
        kind="depends on the cotangent's memory",
    ),
    Bug(  # torch/nn #345
        "cotangent read as if contiguous",
        lambda x: x.mean(-1),
        from_the_address,
        normal((6, 4)),
        kind="depends on the cotangent's memory",
    ),
    Bug("cotangent changed in place", np.sin, in_the_cotangent, normal(5), kind=MUTATES),
    Bug("argument changed in place", softmax, in_the_argument, normal((2, 3)), kind=MUTATES),
    Bug(
        "another changed in place", np.multiply, in_the_second_argument, normal(4, 4), kind=MUTATES
    ),
    Bug(
        "returns its argument",
        lambda x: (x * x).sum() / 2,
        lambda g, x: (x if g == 1 else g * x,),
        normal(5),
        kind=VIEW,
    ),
    Bug(
        "returns a view of its argument",
        lambda A, B: np.trace(A @ B),
        lambda g, A, B: (B.T if g == 1 else g * B.T, g * A.T),
        normal((3, 3), (3, 3)),
        kind=VIEW,
    ),
    Bug("returns its own buffer", np.sin, in_its_own_buffer, normal(5), kind=VIEW),
    Bug("adds to the last gradient", np.sin, added_to_the_last, normal(5), kind=RANDOM),
    Bug(
        "alternates",
        np.sin,
        lambda g, x: (g * np.cos(x) * (1 + 0.01 * (next(calls) % 2)),),
        normal(5),
        kind=RANDOM,
    ),
    Bug(
        "float64 for float32",
        np.sin,
        lambda g, x: (g * np.cos(x.astype(np.float64)),),
        single(normal(5)),
        kind="wrong dtype",
    ),
    Bug(
        "integers",
        np.sum,
        lambda g, x: (np.ones(5, int) * np.rint(g).astype(int),),
        normal(5),
        kind="wrong dtype",
    ),
    Bug("nothing for one", np.multiply, lambda g, x, y: (g * y, None), normal(4, 4), kind=""),
    Bug("one too few", np.multiply, lambda g, x, y: (g * y,), normal(4, 4), kind=""),
    Bug(
        "shape of the output",
        lambda x: x.sum(1),
        lambda g, x: (g,),
        normal((3, 4)),
        kind="wrong shape",
    ),
    Bug(
        "conjugate of a complex gradient",  # ∂f/∂x - i ∂f/∂y is 2 conj(z)
        lambda z: z.real**2 + z.imag**2,
        lambda g, z: (2 * g * z,),
        lambda rng: (rng.normal(size=4) + 1j * rng.normal(size=4),),
    ),
]

BUGS = [*ELEMENTWISE, *REDUCTIONS, *SHAPES, *LINALG, *NETWORKS, *CONTRACT]
