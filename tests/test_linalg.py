"""Inverses, determinants, norms and decompositions: their derivatives against difference quotients
in double and in fifty digits, against closed forms, and where calculus leaves a choice.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from typing import Any

import mpmath as mp
import numpy as np
import pytest
import sympy

import tensorgrad as tg
from tensorgrad import Value
from tests.families import one_of_each
from tests.numerical import assert_gradient

Array = Any
rng = np.random.default_rng(2008)
draw = rng.standard_normal


def mT(a: Array) -> Array:
    return np.conjugate(np.swapaxes(a, -1, -2))


def hermitian(a: Array) -> Array:
    return (a + mT(a)) / 2


def indefinite(a: Array) -> Array:
    return hermitian(a) - 2 * np.eye(a.shape[-1], dtype=a.dtype)


def definite(a: Array) -> Array:
    return a @ mT(a) + np.eye(a.shape[-1], dtype=a.dtype)


def by_vectors(f: Callable[..., Any], part: int) -> Callable[[Array], Array]:
    """What does not depend on signs, phases and bases: the projectors that vectors make."""

    def projectors(a: Array) -> Array:
        v = f(a)[part]
        v = mT(v) if part == 2 else v
        return np.swapaxes(v, -1, -2)[..., :, :, None] * np.conjugate(
            np.swapaxes(v, -1, -2)[..., :, None, :]
        )

    return projectors


def beyond(a: Array, part: int) -> Array:
    """The projector on what the full U (or V) has beyond the singular vectors."""
    u, s, vh = np.linalg.svd(a)
    rest = u[..., s.shape[-1] :] if part == 0 else mT(vh[..., s.shape[-1] :, :])
    return rest @ mT(rest)


def recombined(a: Array, **how: Any) -> Array:
    """U s² Vᴴ, which moves when any of its factors does."""
    u, s, vh = np.linalg.svd(a, full_matrices=False, **how)
    return (u * s[..., None, :] ** 2) @ vh


def logdet(a: Array) -> Array:
    sign, log = np.linalg.slogdet(a)
    return sign * log  # a complex sign turns


la = np.linalg
SQUARE = {
    "inv": la.inv,
    "solve": la.solve,
    "solve a vector": la.solve,
    "det": la.det,
    "slogdet": logdet,
    "pinv": la.pinv,
    "pinv of a wide one": lambda a: la.pinv(a[..., :2, :], rtol=None),
    "pinv of a tall one": lambda a: la.pinv(a[..., :2], 1e-10),
    "pinv of a Hermitian one": lambda a: la.pinv(hermitian(a), hermitian=True),
    "matrix_power": lambda a: la.matrix_power(a, 5),
    "matrix_power 0": lambda a: la.matrix_power(a, 0),
    "matrix_power -3": lambda a: la.matrix_power(a, -3),
    "tensorinv": lambda a: la.tensorinv(a.reshape(3, 3), ind=1) if a.ndim == 2 else la.inv(a),
    "cholesky": lambda a: la.cholesky(definite(a)),
    "cholesky, upper": lambda a: la.cholesky(definite(a), upper=True),
    "qr": lambda a: la.qr(a).Q,
    "qr, r alone": lambda a: la.qr(a, mode="r"),
    "qr, complete": lambda a: la.qr(a, "complete").R,
    "qr of a tall one": lambda a: la.qr(a[..., :2]).Q,
    "qr of a tall one, R": lambda a: la.qr(a[..., :2]).R,
    "qr of a wide one": lambda a: la.qr(a[..., :2, :], "complete").Q,
    "qr of a wide one, R": lambda a: la.qr(a[..., :2, :]).R,
    "eigh": lambda a: la.eigh(hermitian(a)).eigenvalues,
    "eigh, vectors": by_vectors(lambda a: la.eigh(hermitian(a), "U"), 1),
    "eigvalsh": lambda a: la.eigvalsh(hermitian(a), UPLO="U"),
    "eig": lambda a: la.eig(a).eigenvalues,
    "eig, vectors": by_vectors(la.eig, 1),
    "eigvals": la.eigvals,
    "svd": lambda a: la.svd(a).S,
    "svd, s alone": lambda a: la.svd(a, compute_uv=False),
    "svd, U": by_vectors(la.svd, 0),
    "svd, V": by_vectors(la.svd, 2),
    "svd of a tall one": lambda a: recombined(a[..., :2]),
    "svd of a wide one": lambda a: recombined(a[..., :2, :]),
    "svd of a tall one, the rest of U": lambda a: beyond(a[..., :2], 0),
    "svd of a wide one, the rest of V": lambda a: beyond(a[..., :2, :], 2),
    "svd of a Hermitian one": lambda a: recombined(indefinite(a), hermitian=True),
    "svd of a Hermitian one, s alone": lambda a: la.svd(indefinite(a), False, False, True),
    "svdvals": la.svdvals,
    **{f"cond {p}": (lambda a, p=p: la.cond(a, p)) for p in (None, 2, -2, 1, -1, "fro", "nuc")},
    **{f"cond {p}": (lambda a, p=p: la.cond(a, p)) for p in (np.inf, -np.inf)},
}
MATRICES = draw((2, 3, 3)) * 0.4 + np.diag([1.5, 2.5, 4.0])
OPERANDS: dict[str, list[Array]] = {
    "solve": [MATRICES[0], draw((2, 3, 2))],
    "solve a vector": [MATRICES, draw(3)],
}
CALLS: dict[str, tuple[Callable[..., Any], list[Array]]] = {
    **{name: (f, OPERANDS.get(name, [MATRICES])) for name, f in SQUARE.items()},
    "inv of one": (la.inv, [MATRICES[0]]),
    "det of a 1x1": (la.det, [draw((2, 1, 1))]),
    "det of a 2x2": (la.det, [draw((2, 2))]),
    "det of a 5x5": (la.det, [draw((2, 5, 5))]),
    "tensorinv of a box": (la.tensorinv, [draw((2, 3, 6, 1))]),
    "tensorsolve": (la.tensorsolve, [draw((2, 3, 6)), draw((2, 3))]),
    "tensorsolve, moved": (
        lambda a, b: la.tensorsolve(a, b, (0,)),
        [draw((6, 2, 3)), draw((2, 3))],
    ),
    "tensorsolve, two moved": (
        lambda a, b: la.tensorsolve(a, b, axes=[1, 0]),
        [draw((2, 3, 6)), draw(6)],
    ),
    "lstsq": (lambda a, b: la.lstsq(a, b)[0], [draw((4, 2)), draw((4, 3))]),
    "lstsq, underdetermined": (lambda a, b: la.lstsq(a, b)[0], [draw((2, 4)), draw(2)]),
    "lstsq, residuals": (lambda a, b: la.lstsq(a, b)[1], [draw((4, 2)), draw((4, 3))]),
    "lstsq, a vector's": (lambda a, b: la.lstsq(a, b, rcond=-1)[1], [draw((4, 2)), draw(4)]),
    "lstsq, singular values": (lambda a: la.lstsq(a, np.ones(4, a.dtype), 1e-9)[3], [draw((4, 2))]),
}
apart = np.linspace(0.3, 3, 24) * np.resize([1, -1, -1], 24)  # magnitudes that nowhere tie
BOX = np.random.default_rng(1).permutation(apart).reshape(3, 2, 4)
VECTOR_ORDERS = (None, 2, 1, 0, 3, 2.5, 1.5, 0.5, -1, -2.5, np.inf, -np.inf)
MATRIX_ORDERS = (None, "fro", "nuc", 2, -2, 1, -1, np.inf, -np.inf)
for p in VECTOR_ORDERS:
    CALLS[f"norm {p}"] = (lambda x, p=p: la.norm(x, p, 1), [BOX])
    CALLS[f"norm {p} of a vector"] = (lambda x, p=p: la.norm(x, ord=p, keepdims=True), [BOX[0, 0]])
    if p is not None:
        both = lambda x, p=p: la.vector_norm(x, ord=p, axis=(2, 0), keepdims=True)
        CALLS[f"vector_norm {p}"] = (both, [BOX])
        CALLS[f"vector_norm {p} of all"] = (lambda x, p=p: la.vector_norm(x, ord=p), [BOX])
        CALLS[f"vector_norm {p} of rows"] = (
            lambda x, p=p: la.vector_norm(x, ord=p, axis=-1),
            [BOX],
        )
for p in MATRIX_ORDERS:
    CALLS[f"matrix norm {p}"] = (lambda x, p=p: la.norm(x, p, (2, 0)), [BOX])
    CALLS[f"matrix norm {p}, kept"] = (lambda x, p=p: la.norm(x, p, (0, -1), True), [BOX])
    CALLS[f"norm {p} of a matrix"] = (lambda x, p=p: la.norm(x, p), [BOX[0]])
    if p is not None:
        CALLS[f"matrix_norm {p}"] = (lambda x, p=p: la.matrix_norm(x, ord=p, keepdims=True), [BOX])
CALLS |= {
    "norm of all": (la.norm, [BOX]),
    "norm of all, kept": (lambda x: la.norm(x, keepdims=True), [BOX]),
    "norm of a number": (la.norm, [np.float64(-2.0)]),
    "matrix_norm": (la.matrix_norm, [BOX]),
    "vector_norm": (la.vector_norm, [BOX]),
}

every_call = pytest.mark.parametrize("call", sorted(CALLS))


@every_call
def test_it_agrees_with_numpy_and_its_derivatives_with_difference_quotients(call: str) -> None:
    f, xs = CALLS[call]
    expected, found = f(*xs), f(*map(Value, xs))
    assert isinstance(found, Value)
    assert (found.shape, found.dtype) == (np.shape(expected), expected.dtype)
    np.testing.assert_allclose(found.data, expected, rtol=1e-12, atol=1e-13)
    assert_gradient(f, *xs, order=2)


@pytest.mark.parametrize("call", one_of_each(sorted(CALLS)))
def test_complex_derivatives_agree_with_difference_quotients_along_both_axes(call: str) -> None:
    """Of f(x + iy) as a function of x and of y, at both orders."""
    f, xs = CALLS[call]
    size = lambda x: 0.1 * x if "norm" in call else 0.4  # so that no magnitudes tie
    ys = [size(x) * np.random.default_rng(7).standard_normal(np.shape(x)) for x in xs]

    def by_parts(*xys: Array) -> Array:
        out = f(*(x + 1j * y for x, y in zip(xys[::2], xys[1::2], strict=True)))
        return np.stack([np.real(out), np.imag(out)])

    zs = [x + 1j * y for x, y in zip(xs, ys, strict=True)]
    np.testing.assert_allclose(f(*map(Value, zs)).data, f(*zs), rtol=1e-12, atol=1e-13)
    assert_gradient(
        by_parts, *(part for pair in zip(xs, ys, strict=True) for part in pair), order=2
    )


@every_call
def test_single_precision_stays_single(call: str) -> None:
    f, xs = CALLS[call]
    for scale in (np.float32(1), np.complex64(1 + 0.25j)):
        singles = [np.asarray(x, np.float32) * scale for x in xs]
        values = [Value(x) for x in singles]
        out = f(*values)
        expected = f(*singles)  # which, before NumPy 2.1, makes condition numbers complex
        assert out.dtype == (expected.real if call.startswith("cond") else expected).dtype
        out.backward(np.ones(out.shape))
        assert [v.grad.dtype for v in values] == [x.dtype for x in singles]


@pytest.mark.parametrize("call", [name for name in sorted(CALLS) if "lstsq" not in name])
def test_vmap_is_a_loop(call: str) -> None:
    f, xs = CALLS[call]
    examples = [xs, [1.25 * x for x in xs]]

    def both(*xs: Array) -> Any:
        value, pullback = tg.vjp(f, *xs)
        return value, pullback(np.cos(value))

    value, gradients = tg.vmap(both)(*map(np.stack, zip(*examples, strict=True)))
    for i, example in enumerate(examples):
        one, ones = both(*example)
        np.testing.assert_allclose(value[i], one, rtol=1e-11, atol=1e-12)
        for found, expected in zip(gradients, ones, strict=True):
            np.testing.assert_allclose(found[i], expected, rtol=1e-9, atol=1e-11)


def test_least_squares_cannot_be_mapped_as_its_residuals_may_be_left_out_by_an_example() -> None:
    with pytest.raises(TypeError, match="vmap"):
        tg.vmap(lambda a: la.lstsq(a, np.ones(3))[0])(draw((2, 3, 2)))
    wide = draw((2, 2, 3))  # no more rows than columns: there are none
    x, residuals = tg.vmap(lambda a: la.lstsq(a, np.ones(2))[:2])(wide)
    np.testing.assert_allclose(x, [la.lstsq(a, np.ones(2))[0] for a in wide], rtol=1e-10)
    assert residuals.shape == (2, 0)


# In fifty digits.


def columns_as(expected: Array, found: mp.matrix) -> mp.matrix:
    """The columns with the signs that LAPACK chose."""
    for j in range(found.cols):
        overlap = sum(found[i, j] * expected[i, j] for i in range(found.rows))
        if overlap < 0:
            for i in range(found.rows):
                found[i, j] = -found[i, j]
    return found


def exact_qr(a: mp.matrix, like: Any) -> tuple[mp.matrix, mp.matrix]:
    q = columns_as(like[0], mp.qr(a, mode="skinny")[0])
    return q, q.T * a


def exact_svd(a: mp.matrix, like: Any) -> tuple[mp.matrix, mp.matrix, mp.matrix]:
    u, s, _ = mp.svd_r(a)
    u = columns_as(like[0], u)
    return u, s, mp.diag([1 / x for x in s]) * u.T * a


def exact_eigh(a: mp.matrix, like: Any) -> tuple[mp.matrix, mp.matrix]:
    w, v = mp.eigsy(a)
    return w, columns_as(like[1], v)


def gradient_of(f: Callable[[Value], Any], a: Array, g: Array) -> Array:
    v = Value(a)
    f(v).backward(g)
    return v.grad


A, S = draw((4, 4)) + 3 * np.eye(4), hermitian(draw((4, 4)))
TALL, P = draw((5, 3)), definite(draw((4, 4)))
IN_FIFTY_DIGITS: dict[str, tuple[Array, Callable[..., Any], Callable[..., Any]]] = {
    "inv": (A, la.inv, lambda a, like: mp.inverse(a)),
    "det": (A, la.det, lambda a, like: mp.matrix([mp.det(a)])),
    "logdet": (A, lambda a: la.slogdet(a)[1], lambda a, like: mp.matrix([mp.log(abs(mp.det(a)))])),
    "solve": (
        A,
        lambda a: la.solve(a, A[0]),
        lambda a, like: mp.lu_solve(a, mp.matrix(A[0].tolist())),
    ),
    "pinv": (TALL, la.pinv, lambda a, like: mp.inverse(a.T * a) * a.T),
    "lstsq": (
        TALL,
        lambda a: la.lstsq(a, np.arange(5.0))[0],
        lambda a, like: mp.inverse(a.T * a) * a.T * mp.matrix([0, 1, 2, 3, 4]),
    ),
    "cholesky": (P, la.cholesky, lambda a, like: mp.cholesky(a)),
    "Q": (TALL, lambda a: la.qr(a).Q, lambda a, like: exact_qr(a, la.qr(like))[0]),
    "R": (TALL, lambda a: la.qr(a).R, lambda a, like: exact_qr(a, la.qr(like))[1]),
    "eigenvalues": (S, la.eigvalsh, lambda a, like: mp.eigsy(a, eigvals_only=True)),
    "eigenvectors": (
        S,
        lambda a: la.eigh(a).eigenvectors,
        lambda a, like: exact_eigh(a, la.eigh(like))[1],
    ),
    "singular values": (TALL, la.svdvals, lambda a, like: exact_svd(a, la.svd(like, False))[1]),
    "U": (
        TALL,
        lambda a: la.svd(a, False).U,
        lambda a, like: exact_svd(a, la.svd(like, False))[0],
    ),
    "Vh": (
        TALL,
        lambda a: la.svd(a, False).Vh,
        lambda a, like: exact_svd(a, la.svd(like, False))[2],
    ),
    "nuclear norm": (
        TALL,
        lambda a: la.norm(a, "nuc"),
        lambda a, like: mp.matrix([sum(mp.svd_r(a, compute_uv=False))]),
    ),
    "spectral norm": (
        TALL,
        lambda a: la.norm(a, 2),
        lambda a, like: mp.matrix([mp.svd_r(a, compute_uv=False)[0]]),
    ),
    "7-norm": (
        TALL[0],
        lambda a: la.norm(a, 7),
        lambda a, like: mp.matrix([sum(abs(x) ** 7 for x in a) ** (mp.mpf(1) / 7)]),
    ),
}


@pytest.mark.parametrize("name", sorted(IN_FIFTY_DIGITS))
def test_the_gradient_is_right_to_twelve_digits(name: str) -> None:
    a, f, exact = IN_FIFTY_DIGITS[name]
    symmetric = a is S or a is P
    g, direction = draw(np.shape(f(a))), draw(a.shape)
    direction = hermitian(direction) if symmetric else direction

    def along(h: mp.mpf) -> mp.mpf:
        values = exact(mp.matrix(a.tolist()) + h * mp.matrix(direction.tolist()), a)
        return sum(mp.mpf(w) * x for w, x in zip(np.ravel(g).tolist(), values, strict=True))

    with mp.workdps(50):
        h = mp.mpf(10) ** -15
        expected = float((along(h) - along(-h)) / (2 * h))
    gradient = gradient_of(f, a, g)
    assert np.sum(gradient * direction) == pytest.approx(expected, rel=1e-12)
    if symmetric:
        np.testing.assert_allclose(gradient, gradient.T, rtol=1e-12, atol=1e-14)


def test_the_gradient_of_log_det_is_the_inverse_transposed() -> None:
    g = gradient_of(lambda a: la.slogdet(a).logabsdet, A, 1.0)
    np.testing.assert_allclose(g, la.inv(A).T, rtol=1e-12)


def test_the_gradient_of_an_eigenvalue_is_its_projector() -> None:
    v = la.eigh(S).eigenvectors
    for i in range(4):
        expected = np.outer(v[:, i], v[:, i])
        g = gradient_of(lambda a, i=i: la.eigvalsh(a)[i], S, 1.0)
        np.testing.assert_allclose(g, expected, rtol=1e-12, atol=1e-14)
        g = gradient_of(lambda a, i=i: la.eigh(a).eigenvalues[i], S, 1.0)
        np.testing.assert_allclose(g, expected, rtol=1e-12, atol=1e-14)


def test_the_gradient_of_a_singular_value_is_u_times_v() -> None:
    u, _, vh = la.svd(TALL, full_matrices=False)
    for i in range(3):
        g = gradient_of(lambda a, i=i: la.svdvals(a)[i], TALL, 1.0)
        np.testing.assert_allclose(g, np.outer(u[:, i], vh[i]), rtol=1e-12, atol=1e-14)


# Singular matrices.


def derivatives(f: Callable[[Value], Any], x: float, orders: int) -> list[float]:
    """f'(x), f''(x), ... by sweeping the graph of the gradient again and again."""
    v = Value(x)
    y, found = f(v), []
    for _ in range(orders):
        if y.requires_grad:
            y.backward(create_graph=True)
        y, v.grad = v.grad if y.requires_grad else 0 * y, None
        found.append(float(y.data))
    return found


@pytest.mark.parametrize("n", [1, 2, 3, 4, 5])
def test_the_determinant_has_its_polynomials_derivatives_at_matrices_of_any_rank(n: int) -> None:
    """det(A + tH) by sympy in whole numbers, differentiated three times at t = 0."""
    whole = np.random.default_rng(n)
    t = sympy.Symbol("t")
    for rank in range(n + 1):
        left, right = whole.integers(-3, 4, (n, rank)), whole.integers(-3, 4, (rank, n))
        a, h = left @ right, whole.integers(-3, 4, (n, n))
        polynomial = sympy.Poly((sympy.Matrix(a) + t * sympy.Matrix(h)).det(method="berkowitz"), t)
        expected = [math.factorial(k) * float(polynomial.coeff_monomial(t**k)) for k in (1, 2, 3)]
        found = derivatives(lambda t, a=a, h=h: la.det(a + t * h), 0.0, 3)
        size = max(1.0, float(np.abs(a).max())) ** n
        np.testing.assert_allclose(found, expected, rtol=1e-11, atol=1e-12 * size)


def test_the_gradient_of_the_determinant_is_the_adjugate_next_to_a_singular_matrix() -> None:
    a = np.array([[1.0, 2, 3, 4], [2, 4, 6, 8], [0, 1, 0, 1], [1, 1, 2, 1]])  # rank 3
    adjugate = np.array(sympy.Matrix(a.astype(int)).adjugate().tolist(), float)
    for scale in (0, 1e-300, 1e-16, 1e-12, 1e-8):
        g = gradient_of(la.det, a + scale * np.eye(4), 1.0)
        np.testing.assert_allclose(g, adjugate.T, rtol=0, atol=1e-12 + 100 * scale)
    stack = np.stack([a, np.zeros((4, 4)), np.eye(4), np.ones((4, 4))])
    g = gradient_of(la.det, stack, np.ones(4))
    expected = [adjugate.T, np.zeros((4, 4)), np.eye(4), np.zeros((4, 4))]
    np.testing.assert_allclose(g, expected, atol=1e-12)


@pytest.mark.parametrize("n", [0, 1, 2, 4])
def test_empty_stacks_and_empty_matrices_have_empty_gradients(n: int) -> None:
    for f in (la.det, la.inv, la.pinv, la.eigvalsh, la.svdvals, la.cholesky):
        for shape in ((0, n, n), (2, 0, 0)):
            v = Value(np.zeros(shape))
            out = f(v)
            assert out.shape == f(v.data).shape
            out.backward(np.ones(out.shape))
            assert v.grad.shape == shape


def test_least_squares_of_a_matrix_without_full_rank_is_that_of_least_length() -> None:
    """Along changes that keep the rank: of A = BC, by B and by C."""
    b, c, y = draw((4, 2)), draw((2, 3)), draw(4)
    assert la.lstsq(Value(b @ c), y)[2] == la.lstsq(b @ c, y)[2] == 2
    assert la.lstsq(Value(b @ c), y)[1].shape == la.lstsq(b @ c, y)[1].shape == (0,)
    solution = lambda b, c: la.lstsq(b @ c, y, rcond=1e-8)[0]
    assert_gradient(solution, b, c, order=1)
    assert_gradient(lambda b, c: la.pinv(b @ c, 1e-8), b, c, order=1)


def test_singular_values_below_rcond_count_as_0() -> None:
    a = np.diag([1.0, 1e-10, 1e-15])
    for rcond, rank in ((None, 3), (-1, 3), (1e-12, 2), (1e-9, 1)):
        x, _, found, s = la.lstsq(Value(a), np.ones(3), rcond=rcond)
        assert found == la.lstsq(a, np.ones(3), rcond=rcond)[2] == rank
        np.testing.assert_allclose(x.data, la.lstsq(a, np.ones(3), rcond=rcond)[0], rtol=1e-12)
        np.testing.assert_allclose(s.data, np.diag(a), rtol=1e-12)


def test_a_triangle_is_enough_of_a_symmetric_matrix() -> None:
    lower, upper = np.tril(P), np.triu(P)
    same = lambda v, x: np.testing.assert_allclose(v.data, x, rtol=1e-12, atol=1e-14)
    same(la.cholesky(Value(lower)), la.cholesky(P))
    same(la.cholesky(Value(upper), upper=True), la.cholesky(P, upper=True))
    same(la.eigh(Value(lower)).eigenvalues, la.eigvalsh(P))
    same(la.eigvalsh(Value(upper), "U"), la.eigvalsh(P))


def test_a_singular_system_is_refused_and_named() -> None:
    for f in (la.inv, lambda a: la.solve(a, np.ones(2)), lambda a: la.matrix_power(a, -1)):
        with pytest.raises(ValueError, match="Singular matrix"):
            f(Value(np.ones((2, 2))))


def test_the_condition_of_a_singular_matrix_is_infinite() -> None:
    stack = np.stack([np.ones((2, 2)), np.eye(2), np.zeros((2, 2))])
    for p in (None, 1, "fro"):
        found = la.cond(Value(stack), p).data
        assert np.isinf(la.cond(Value(stack[2]), p).data)
        assert found[1] == la.cond(stack[1], p)
        assert found[2] == np.inf
        assert found[0] > 1e15
    with pytest.raises(la.LinAlgError, match="empty"):
        la.cond(Value(np.zeros((0, 0))))


# Choices.


def first_and_second(f: Callable[[Value], Any], x: Array) -> tuple[Array, Array]:
    """The gradient of the sum of f, and of the sum of cosines of its entries."""
    v = Value(x)
    np.sum(f(v)).backward(create_graph=True)
    first, v.grad = v.grad, None
    np.sum(first * np.cos(np.arange(1.0, first.size + 1)).reshape(first.shape)).backward()
    return first.data, v.grad


POSITIVE_ORDERS = (None, 2, 1, 3, 2.5, 1.5, 0.5, np.inf)


@pytest.mark.parametrize("p", [*POSITIVE_ORDERS, 0, -np.inf])
@pytest.mark.parametrize("dtype", [np.float64, np.float32, np.complex128])
def test_a_norm_of_0_has_gradient_0_at_both_orders(p: Any, dtype: Any) -> None:
    for x in (np.zeros(3, dtype), np.zeros((2, 2), dtype)):
        first, second = first_and_second(lambda x: la.vector_norm(x, ord=p or 2), x)
        assert not first.any()
        assert not second.any()
        first, second = first_and_second(lambda x: la.norm(x, p, axis=-1), x)
        assert not first.any()
        assert not second.any()


@pytest.mark.parametrize("p", MATRIX_ORDERS)
def test_a_matrix_norm_of_0_has_gradient_0_at_both_orders(p: Any) -> None:
    for shape in ((2, 2), (2, 3), (2, 3, 2)):
        first, second = first_and_second(lambda x: la.norm(x, p, axis=(-2, -1)), np.zeros(shape))
        assert not first.any()
        assert not second.any()


def test_a_norm_of_0_among_others_is_only_its_own() -> None:
    rows = np.array([[3.0, 4.0], [0.0, 0.0]])
    first, second = first_and_second(lambda x: la.norm(x, axis=1), rows)
    np.testing.assert_allclose(first, [[0.6, 0.8], [0, 0]], rtol=1e-15)
    w = np.cos([1.0, 2.0])
    projected = (np.eye(2) - np.outer(first[0], first[0])) / 5  # the Hessian of |x|
    np.testing.assert_allclose(second, [projected @ w, [0, 0]], rtol=1e-14)


@pytest.mark.parametrize("p", [None, 3, 1.5, 0.5, 1, -1, -2])
def test_entries_that_are_0_have_a_finite_slope(p: Any) -> None:
    x = np.array([0.0, 1.0, 2.0])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # NumPy divides by 0 where p < 0
        first, second = first_and_second(lambda x: la.norm(x, p), x)
    assert first[0] == 0
    assert np.isfinite(first).all()
    assert np.isfinite(second).all()
    if p == 3:
        np.testing.assert_allclose(first, [0, 1, 4] / np.cbrt(9) ** 2, rtol=1e-14)


def test_ties_in_a_norm_share_equally() -> None:
    slopes = lambda f, x: gradient_of(f, np.array(x), 1.0).tolist()
    assert slopes(lambda x: la.norm(x, np.inf), [2.0, -2.0, 1.0]) == [0.5, -0.5, 0]
    assert slopes(lambda x: la.norm(x, -np.inf), [2.0, -1.0, 1.0]) == [0, -0.5, 0.5]
    assert slopes(lambda x: la.norm(x, 1), [[1.0, -1.0], [2.0, 2.0]]) == [[0.5, -0.5], [0.5, 0.5]]
    assert slopes(lambda x: la.norm(x, np.inf), [[1.0, -1.0], [2.0, 0.0]]) == [
        [0.5, -0.5],
        [0.5, 0],
    ]
    np.testing.assert_allclose(slopes(lambda x: la.norm(x, 2), 3 * np.eye(2)), np.eye(2) / 2)


def test_how_many_entries_are_not_0_is_piecewise_constant() -> None:
    v = Value([0.0, -3.0, 2.0])
    count = la.norm(v, 0)
    assert count.data == 2
    count.backward()
    assert v.grad.tolist() == [0, 0, 0]


def test_equal_eigenvalues_do_not_mix_their_vectors() -> None:
    first, second = first_and_second(lambda a: la.eigh(a).eigenvectors, np.eye(3))
    assert not first.any()
    assert np.isfinite(second).all()
    np.testing.assert_allclose(gradient_of(la.eigvalsh, np.eye(3), np.ones(3)), np.eye(3))
    g = gradient_of(lambda a: la.eig(a).eigenvectors, np.diag([2.0, 2.0]), draw((2, 2)))
    assert not g.any()


@pytest.mark.parametrize("n", [2, 3])
def test_the_polar_factor_is_right_where_singular_values_are_equal(n: int) -> None:
    """UV of 2 + E is 1 + (E - Eᵀ) / 4 + O(E²)."""

    def polar(a: Array) -> Array:
        u, _, vh = la.svd(a)
        return u @ vh

    g = draw((n, n))
    np.testing.assert_allclose(
        gradient_of(polar, 2 * np.eye(n), g), (g - g.T) / 4, rtol=1e-12, atol=1e-14
    )


def test_singular_values_that_are_0_or_equal_leave_everything_finite() -> None:
    for a in (np.zeros((3, 2)), np.eye(3), np.ones((2, 2)), np.diag([1.0, 0, 0])):
        for part in range(3):
            first, second = first_and_second(lambda a, part=part: la.svd(a)[part], a)
            assert np.isfinite(first).all()
            assert np.isfinite(second).all()


def test_a_hermitian_matrix_gets_a_hermitian_gradient() -> None:
    a = hermitian(draw((3, 3)) + 1j * draw((3, 3)))
    g = draw((3, 3)) + 1j * draw((3, 3))
    functions = (
        lambda a: la.eigh(a).eigenvectors @ mT(la.eigh(a).eigenvectors * [1.0, 2.0, 3.0]),
        lambda a: la.pinv(a, hermitian=True),
        lambda a: la.cholesky(a + 9 * np.eye(3)),
    )
    for f in functions:
        gradient = gradient_of(f, a, g)
        np.testing.assert_allclose(gradient, mT(gradient), rtol=1e-12, atol=1e-13)


# What comes back, and what is refused.


def test_several_results_come_in_numpys_named_tuples() -> None:
    for f in (la.qr, la.eig, la.eigh, la.svd, la.slogdet):
        found, expected = f(Value(P)), f(P)
        assert type(found) is type(expected)
        for a, b in zip(found, expected, strict=True):
            assert isinstance(a, Value)
            assert a.dtype == b.dtype
            np.testing.assert_allclose(a.data, b, rtol=1e-12, atol=1e-13)


def test_a_real_matrix_with_complex_eigenvalues_has_a_real_gradient() -> None:
    turn = np.array([[0.0, -2.0], [1.0, 1.0]])
    assert la.eigvals(Value(turn)).dtype == np.complex128
    assert_gradient(lambda a: np.abs(la.eigvals(a)), turn, order=2)
    assert_gradient(lambda a: np.imag(la.eig(a).eigenvalues), turn, order=2)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda a: la.qr(a, "complete"), TypeError, "mode='complete' of 3x2 matrices"),
        (lambda a: la.qr(a, mode="raw"), TypeError, "mode='raw'"),
        (lambda a: la.norm(a, "nuc", axis=0), ValueError, "'nuc'"),
        (lambda a: la.norm(a, 3), ValueError, "3"),
        (lambda a: la.norm(a, 2, axis=(0, 0)), ValueError, "repeated axis"),
        (lambda a: la.norm(a[None], 2), ValueError, "3 axes"),
        (lambda a: la.inv(a), ValueError, r"inv\(float64\[3, 2\]"),
        (lambda a: la.matrix_power(a, 2), ValueError, "square"),
        (lambda a: la.matrix_power(a[:2], 0.5), TypeError, "integer"),
        (lambda a: la.tensorinv(a, 0), ValueError, "ind"),
        (lambda a: la.tensorsolve(a, a), ValueError, r"\(3, 2\)"),
        (lambda a: la.lstsq(a, np.ones(2)), ValueError, r"\(2,\)"),
        (lambda a: la.pinv(a, 1e-3, rtol=1e-3), ValueError, "both"),
        (lambda a: la.cholesky(-a[:2].T @ a[:2]), ValueError, "positive definite"),
    ],
)
def test_what_cannot_be_done_is_refused_with_its_name(call: Any, error: Any, message: str) -> None:
    with pytest.raises(error, match=message):
        call(Value(TALL[:3, :2]))
