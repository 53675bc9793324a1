"""Factors of matrices: Cholesky, QR, eigenvectors and singular vectors. Matrices are the last two
axes, before them stacks.

Sources: Murray, Differentiation of the Cholesky decomposition (2016); Seeger et al., Auto-
differentiating linear algebra (2017), Walter and Lehmann, Algorithmic differentiation of linear
algebra functions with application in optimum experimental design (2010), both for QR; Giles,
Collected matrix derivative results (2008), for eigenvectors; Wan and Zhang, Automatic
differentiation for complex valued SVD (2019).

Choices: equal eigenvalues, and equal singular values, do not mix their vectors: 1 / (λi - λj) is 0
for them, and so is 1 / σ for σ = 0; what differs by at most 10 n ε max |λ| is equal. A Hermitian
matrix stays Hermitian, and its two triangles share the gradient. The phase of a complex eigenvector
does not move, nor do the vectors that a full U or V has beyond the singular ones, within the space
that they span.
"""

from __future__ import annotations

from typing import Any, Literal

import numpy as np

from tensorgrad.engine.arrays import created
from tensorgrad.engine.care import asked
from tensorgrad.engine.domain import Domain, Shape
from tensorgrad.engine.dtypes import finfo
from tensorgrad.engine.node import Array, detached
from tensorgrad.engine.primitive import implements, primitive
from tensorgrad.ops.adjoint import H, T, conj, conjugated
from tensorgrad.ops.several import pack, unpack

EQUAL = 10  # times n ε max |λ|, what LAPACK may round n equal eigenvalues to
one: Any = np.eye(1)
QRResult = type(np.linalg.qr(one))
EigResult = type(np.linalg.eig(one))
EighResult = type(np.linalg.eigh(one))
SVDResult = type(np.linalg.svd(one))


def half_lower(x: Array) -> Array:
    """The lower triangle, with half of the diagonal."""
    n = x.shape[-1]
    halves = created(np.tri, n, like=x) + created(np.tri, n, k=-1, like=x)
    return x * (halves / 2).astype(x.dtype)


def on_diagonal(x: Array) -> Array:
    """Vectors as diagonal matrices."""
    return x[..., None] * created(np.eye, x.shape[-1], dtype=x.dtype, like=x)


def rounding(x: Array) -> Array:
    """What eigenvalues or singular values x, along the last axis, may differ by and be equal."""
    sizes = np.abs(detached(x))
    largest = (np.max if x.shape[-1] else np.sum)(sizes, axis=-1, keepdims=True)
    return EQUAL * x.shape[-1] * finfo(x.dtype).eps * largest


def reciprocal(d: Array, least: Array) -> Array:
    """1 / d, and 0 where d is 0, up to the rounding `least`."""
    zero = np.abs(detached(d)) <= least
    return np.where(zero, 0, 1 / np.where(zero, 1, d))


def differences(x: Array) -> Array:
    """x_j - x_i in row i, column j."""
    return x[..., None, :] - x[..., :, None]


# What tests draw: matrices whose factors are unique up to signs.


def spread(a: Array) -> tuple[Array]:
    """A matrix with a dominant diagonal of distinct entries."""
    m, n = a.shape[-2:]
    return (a + (6 * np.eye(m, n) * np.arange(1, n + 1)).astype(a.dtype),)


def symmetric(a: Array) -> tuple[Array]:
    """A symmetric matrix of that kind."""
    return (spread(a + T(a))[0] / 2,)


def steady(decompose: Any, make: Any) -> Any:
    """The kink of a function whose signs LAPACK chooses: 0 next to where it chooses others."""

    def kink(a: Array) -> Array:
        m, n = a.shape[-2:]
        unit = np.eye(m * n).reshape(m * n, m, n)
        steps = np.concatenate([unit / 2**i for i in range(7, 11)])  # all that the tests take
        around = a[..., None, :, :] + np.concatenate([steps, -steps])
        jumps = decompose(*make(around)) - decompose(*make(a))[..., None, :]
        return ~np.any(np.abs(jumps) > 0.5, axis=(-1, -2))

    return kink


def drawn(decompose: Any, make: Any = spread, **more: Any) -> Domain:
    """Matrices of that kind, away from jumps."""
    kink = steady(decompose, make)
    return Domain((-1.0, 1.0), make=make, kink=kink, **more)


# Cholesky.


@conjugated
def cholesky_rule(g: Array, out: Array, a: Array) -> Array:
    """With A = LLᴴ, L⁻¹ dL is the lower half of L⁻¹ dA L⁻ᴴ (Murray, eq. 8)."""
    half = np.linalg.solve(H(out), half_lower(H(out) @ g))
    by_a = H(np.linalg.solve(H(out), H(half)))
    return (by_a + H(by_a)) / 2


lower_cholesky = primitive(
    np.linalg.cholesky,
    cholesky_rule,
    notation=r"\operatorname{{chol}} {0}",
    signature="(n,n)",
    domain=Domain(make=lambda a: (a @ T(a) + np.eye(a.shape[-1], dtype=a.dtype),)),
)


@implements(np.linalg.cholesky)
def cholesky(a: Array, /, *, upper: bool = False) -> Array:
    """The L of A = LLᴴ, or the U = Lᴴ that the upper triangle of A gives."""
    return H(lower_cholesky(H(a))) if upper else lower_cholesky(a)


# QR.


def qr_cores(shape: Shape) -> list[Shape]:
    *_, m, n = shape
    return [(m, n), (n, n)]


@conjugated
def qr_rule(g: Array, out: Array, a: Array) -> Array:
    """With A = QR and Ω = Qᴴ dQ antihermitian: dR R⁻¹ = Qᴴ dA R⁻¹ - Ω is upper triangular."""
    cores = qr_cores(a.shape)
    (q, r), (by_q, by_r) = unpack(out, cores), unpack(g, cores)
    k = H(q) @ by_q - by_r @ H(r)
    by_c = by_q + q @ (half_lower(k - H(k)) - k)
    return H(np.linalg.solve(r, H(by_c)))


def packed_qr(a: Array) -> Array:
    return pack(np.linalg.qr(a), qr_cores(a.shape))


tall_qr = primitive(
    packed_qr,
    qr_rule,
    name="qr",
    signature="(m,n)",
    domain=drawn(packed_qr, params=lambda a: [{}] if a[-2:-1] >= a[-1:] else []),
)


@implements(np.linalg.qr)
def qr(a: Array, mode: str = "reduced") -> Any:
    """`np.linalg.qr` of matrices of full rank, in the modes whose factors are unique."""
    if a.ndim < 2:
        raise np.linalg.LinAlgError(f"qr: an array of shape {a.shape} is not a matrix")
    m, n = a.shape[-2:]
    if mode not in ("reduced", "r") and not (mode == "complete" and m <= n):
        raise TypeError(
            f"qr: no gradient rule for mode={mode!r} of {m}x{n} matrices, whose result is not "
            "unique; there is one for 'reduced' and 'r', and for 'complete' up to square ones"
        )
    left = a[..., : min(m, n)]
    q, r = unpack(tall_qr(left), qr_cores(left.shape))
    if m < n:
        r = np.concatenate([r, H(q) @ a[..., m:]], axis=-1)
    return r if mode == "r" else QRResult(q, r)


# Eigenvalues.


def eig_cores(n: int) -> list[Shape]:
    return [(n,), (n, n)]


@conjugated
def eigh_rule(g: Array, out: Array, a: Array, UPLO: str = "L") -> Array:
    """dλ_i = (Vᴴ dA V)_ii, and Vᴴ dV = (Vᴴ dA V)_ij / (λ_j - λ_i) (Giles, section 3.1)."""
    cores = eig_cores(a.shape[-1])
    (w, v), (by_w, by_v) = unpack(out, cores), unpack(g, cores)
    w = np.real(w)
    turn, apart = H(v) @ by_v, reciprocal(differences(w), rounding(w)[..., None])
    return v @ (on_diagonal(by_w) + (turn - H(turn)) / 2 * apart) @ H(v)


def packed_eigh(a: Array, UPLO: Literal["L", "U"] = "L") -> Array:
    return pack(np.linalg.eigh(a, UPLO), eig_cores(a.shape[-1]))


def either_side(a: Array) -> Array:
    """Both answers: LAPACK may choose other signs when it reads the other triangle."""
    return np.concatenate([packed_eigh(a, "L"), packed_eigh(a, "U")], axis=-1)


hermitian_eig = primitive(
    packed_eigh,
    eigh_rule,
    name="eigh",
    signature="(n,n)",
    domain=drawn(either_side, symmetric, params=lambda a: ({"UPLO": side} for side in "LU")),
    choice="equal eigenvalues do not mix their vectors",
)


@implements(np.linalg.eigh)
def eigh(a: Array, UPLO: Literal["L", "U"] = "L") -> Any:
    """Eigenvalues, ascending, and eigenvectors of a Hermitian matrix."""
    w, v = unpack(hermitian_eig(a, UPLO=UPLO), eig_cores(a.shape[-1]))
    return EighResult(np.real(w), v)


@conjugated
def eigvalsh_rule(g: Array, out: Array, a: Array, UPLO: Literal["L", "U"] = "L") -> Array:
    v = np.linalg.eigh(a, UPLO).eigenvectors
    return v * g[..., None, :] @ H(v)


eigvalsh = primitive(
    np.linalg.eigvalsh, eigvalsh_rule, signature="(n,n)", domain=drawn(either_side, symmetric)
)


@conjugated
def eig_rule(g: Array, out: Array, a: Array) -> Array:
    """As `eigh_rule`, with V⁻¹ for Vᴴ; the columns of V stay of length 1."""
    cores = eig_cores(a.shape[-1])
    (w, v), (by_w, by_v) = unpack(out, cores), unpack(g, cores)
    across = by_v - v * np.sum(conj(v) * by_v, axis=-2, keepdims=True)
    apart = reciprocal(differences(w), rounding(w)[..., None])
    inner = on_diagonal(by_w) + H(v) @ across * conj(apart)
    return np.linalg.solve(H(v), inner @ H(v))


def packed_eig(a: Array) -> Array:
    return pack(np.linalg.eig(a), eig_cores(a.shape[-1]))


general_eig = primitive(
    packed_eig,
    eig_rule,
    name="eig",
    signature="(n,n)",
    domain=drawn(packed_eig),
    choice="equal eigenvalues do not mix their vectors",
)


@implements(np.linalg.eig)
def eig(a: Array) -> Any:
    """Eigenvalues and eigenvectors of a square matrix, complex if one of them is."""
    return EigResult(*unpack(general_eig(a), eig_cores(a.shape[-1])))


@implements(np.linalg.eigvals)
def eigvals(a: Array) -> Array:
    """The eigenvalues alone."""
    return eig(a).eigenvalues


# Singular values.


def svd_cores(shape: Shape, full_matrices: bool) -> list[Shape]:
    *_, m, n = shape
    k = min(m, n)
    return [(m, m if full_matrices else k), (k,), (n if full_matrices else k, n)]


def turned(q: Array, g: Array, k: int) -> tuple[Array, Array]:
    """What g asks of the first k columns of a unitary Q: to turn among themselves, or away.

    A column beyond them moves only as they do: so that it stays perpendicular.
    """
    q, g, rest, by_rest = q[..., :k], g[..., :k], q[..., k:], g[..., k:]
    among = H(q) @ g
    return among - H(among), g - q @ among - rest @ (H(by_rest) @ q)


@conjugated
def svd_rule(g: Array, out: Array, a: Array, full_matrices: bool = False) -> Array:
    """With X = UᴴŪ - ŪᴴU and Y = VᴴV̄ - V̄ᴴV, A turns by (X s_j + s_i Y) / (s_j² - s_i²).

    That is half of (X + Y) / (s_j - s_i) + (X - Y) / (s_j + s_i). So what does not depend on how
    equal singular values mix their vectors, where X + Y = 0, is right for them too. The diagonal
    holds what the phases of U and V do together.
    """
    cores = svd_cores(a.shape, full_matrices)
    (u, s, vh), (by_u, by_s, by_vh) = unpack(out, cores), unpack(g, cores)
    s, k = np.real(s), s.shape[-1]
    x, by_left = turned(u, by_u, k)
    y, by_right = turned(H(vh), H(by_vh), k)
    sums = s[..., None, :] + s[..., :, None]
    least = rounding(s)
    apart, together = (reciprocal(d, least[..., None]) for d in (differences(s), sums))
    core = ((x + y) * apart + (x - y) * together) / 2
    u, vh, inverse = u[..., :k], vh[..., :k, :], reciprocal(s, least)[..., None, :]
    inside = u @ (on_diagonal(by_s) + core) @ vh
    return inside + by_left * inverse @ vh + u * inverse @ H(by_right)


def packed_svd(a: Array, full_matrices: bool = False) -> Array:
    parts = np.linalg.svd(a, full_matrices)
    return pack(parts, svd_cores(a.shape, full_matrices))


singular_vectors = primitive(
    packed_svd,
    svd_rule,
    name="svd",
    signature="(m,n)",
    domain=drawn(packed_svd),
    choice="equal singular values do not mix their vectors",
)


@conjugated
def svdvals_rule(g: Array, out: Array, a: Array) -> Array:
    u, _, vh = np.linalg.svd(asked(a, g), full_matrices=False)
    return u * g[..., None, :] @ vh


svdvals = primitive(np.linalg.svdvals, svdvals_rule, signature="(m,n)", domain=drawn(packed_svd))


@implements(np.linalg.svd)
def svd(
    a: Array, full_matrices: bool = True, compute_uv: bool = True, hermitian: bool = False
) -> Any:
    """`np.linalg.svd`: U, s and Vᴴ, or s alone; `hermitian=True` finds them from `eigh`."""
    if not hermitian:
        if not compute_uv:
            return svdvals(a)
        packed = singular_vectors(a, full_matrices=full_matrices)
        u, s, vh = unpack(packed, svd_cores(a.shape, full_matrices))
        return SVDResult(u, np.real(s), vh)
    if not compute_uv:
        s = np.abs(eigvalsh(a))
        return np.take_along_axis(s, np.flip(np.argsort(s), -1), -1)
    w, v = eigh(a)
    order = np.flip(np.argsort(np.abs(w)), -1)
    w, v = np.take_along_axis(w, order, -1), np.take_along_axis(v, order[..., None, :], -1)
    return SVDResult(v, np.abs(w), H(v * np.where(w < 0, -1.0, 1.0).astype(v.dtype)[..., None, :]))
