"""Inverses, determinants and linear systems. Matrices are the last two axes, before them stacks.

Sources: Giles, Collected matrix derivative results for forward and reverse mode algorithmic
differentiation (2008), sections 2.2.2-2.2.5; Golub and Pereyra, The differentiation of
pseudo-inverses and nonlinear least squares problems whose variables separate (1973), eq. 4.12.

The determinant is a polynomial, and so are its derivatives: they are exact for singular matrices
too. Choices: `pinv` and `lstsq` are differentiated along changes that keep the rank; with
`hermitian=True` the matrix stays Hermitian, and its two triangles share the gradient.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Sequence
from typing import Any

import numpy as np

from tensorgrad.engine.arrays import anywhere, as_array, created
from tensorgrad.engine.care import asked, systems
from tensorgrad.engine.domain import Domain
from tensorgrad.engine.dtypes import finfo
from tensorgrad.engine.node import Array, detached
from tensorgrad.engine.primitive import implements, primitive
from tensorgrad.ops.adjoint import H, T, conjugated
from tensorgrad.ops.reduce import floating
from tensorgrad.ops.several import pack, unpack

SlogdetResult = type(np.linalg.slogdet(np.eye(1)))


def off_singular(a: Array, *others: Array) -> tuple[Array, ...]:
    """A matrix with a dominant diagonal."""
    return (a + 4 * np.eye(a.shape[-2], a.shape[-1], dtype=a.dtype), *others)


inv = primitive(
    np.linalg.inv,
    lambda g, out, a: -(T(out) @ g @ T(out)),
    notation="{0}^{{-1}}",
    signature="(n,n)",
    domain=Domain((-1.0, 1.0), complex=True, make=off_singular),
)

solve_matrix = primitive(
    np.linalg.solve,
    lambda g, out, a, b: -(np.linalg.solve(T(a), g) @ T(out)),
    lambda g, out, a, b: np.linalg.solve(T(a), g),
    notation="{0}^{{-1}} {1}",
    care=systems,
    signature="(n,n),(n,k)",
    domain=Domain((-1.0, 1.0), complex=True, make=off_singular),
)


@implements(np.linalg.solve, care=systems)
def solve(a: Array, b: Array) -> Array:
    """`np.linalg.solve`: `b` is a vector if it has one axis, else matrices."""
    a, b = as_array(a), as_array(b)
    return solve_matrix(a, b[:, None])[..., 0] if b.ndim == 1 else solve_matrix(a, b)


@implements(np.linalg.tensorinv)
def tensorinv(a: Array, ind: int = 2) -> Array:
    """The inverse of the map that `np.tensordot(a, b, ind)` is."""
    if ind <= 0:
        raise ValueError(f"tensorinv: ind={ind} must be positive")
    rows, columns = a.shape[:ind], a.shape[ind:]
    flat = np.reshape(a, (math.prod(rows), math.prod(columns)))
    return np.reshape(inv(flat), columns + rows)


@implements(np.linalg.tensorsolve)
def tensorsolve(a: Array, b: Array, axes: Sequence[int] | None = None) -> Array:
    """The x with `np.tensordot(a, x, x.ndim) == b`; `axes` of `a` are moved to its end before."""
    a, b = as_array(a), as_array(b)
    if axes is not None:
        a = np.moveaxis(a, axes, range(-len(axes), 0))
    shape = a.shape[b.ndim :]
    n = math.prod(shape)
    if a.size != n * n:
        raise np.linalg.LinAlgError(
            f"tensorsolve: shapes {a.shape} and {b.shape} make no square system"
        )
    return np.reshape(solve(np.reshape(a, (n, n)), np.ravel(b)), shape)


@implements(np.linalg.matrix_power)
def matrix_power(a: Array, n: int) -> Array:
    """Powers by repeated squaring; negative ones of the inverse."""
    try:
        n = operator.index(n)
    except TypeError:
        raise TypeError("matrix_power: the exponent is an integer") from None
    if a.ndim < 2 or a.shape[-1] != a.shape[-2]:
        raise np.linalg.LinAlgError(f"matrix_power: an array of shape {a.shape} is not square")
    if n == 0:
        return np.where(True, created(np.eye, a.shape[-1], dtype=a.dtype, like=a), a)
    power, result = inv(a) if n < 0 else a, None
    for i, bit in enumerate(reversed(f"{abs(n):b}")):
        power = power @ power if i else power  # a to the 2^i
        if bit == "1":
            result = power if result is None else result @ power
    return result


# Determinants.


def small_cofactors(a: Array) -> Array:
    """∂ det A / ∂A of 1x1, 2x2 and 3x3 matrices: in each entry the determinant of the others."""
    if a.shape[-1] == 1:
        return created(np.eye, 1, dtype=a.dtype, like=a)
    if a.shape[-1] == 2:
        return a[..., ::-1, ::-1] * created(np.array, [[1, -1], [-1, 1]], a.dtype, like=a)
    return np.cross(np.roll(a, -1, axis=-2), np.roll(a, -2, axis=-2))


def cofactors(a: Array, det_a: Array) -> Array:
    """∂ det A / ∂A, which is det(A) A⁻ᵀ if the inverse keeps at least half of the digits."""
    if a.shape[-1] <= 3:
        return small_cofactors(a)
    if anywhere(det_a == 0):
        return singular_cofactors(a)
    inverse = np.linalg.inv(a)
    norms = (np.linalg.norm(detached(x), axis=(-2, -1)) for x in (a, inverse))
    condition = math.prod(norms)
    if anywhere(condition > finfo(a.dtype).eps ** -0.5):
        return singular_cofactors(a)
    return det_a[..., None, None] * T(inverse)


def singular_cofactors(a: Array) -> Array:
    """∂ det A / ∂A without a division by what may be 0.

    In the bases of its singular vectors, held constant, A becomes [[B, C], [D, E]], where E belongs
    to the three smallest singular values. With the Schur complement S = E - D B⁻¹ C the determinant
    is det(B) det(S), and only the cofactors of S, 3x3, are needed as polynomials. Where B is
    singular too, so are all derivatives of A's determinant up to the third: they are 0.
    """
    n, k = a.shape[-1], a.shape[-1] - 3
    u, s, vh = np.linalg.svd(detached(a))
    u1, u2, v1, v2 = u[..., :k], u[..., k:], H(vh[..., :k, :]), H(vh[..., k:, :])
    null = s[..., k - 1, None, None] <= n * finfo(a.dtype).eps * s[..., 0, None, None]
    b = np.where(null, created(np.eye, k, dtype=a.dtype, like=a), H(u1) @ a @ v1)
    b_inverse = v1 @ np.linalg.inv(b) @ H(u1)
    right, left = v2 - b_inverse @ a @ v2, H(u2) - H(u2) @ a @ b_inverse
    schur = H(u2) @ a @ right
    minors = small_cofactors(schur)
    det_schur = np.sum(schur * minors, axis=(-1, -2), keepdims=True) / 3
    scale = (np.linalg.det(u) * np.linalg.det(vh) * np.linalg.det(b))[..., None, None]
    adjugate = scale * (det_schur * b_inverse + right @ T(minors) @ left)
    return np.where(null, 0, T(adjugate))


det = primitive(
    np.linalg.det,
    lambda g, out, a: (
        g[..., None, None] * (cofactors(asked(a, g[..., None]), out) if a.size else a)
    ),
    notation=r"\det {0}",
    signature="(n,n)",
    domain=Domain(complex=True),
)


def slogdet_rule(g: Array, out: Array, a: Array) -> Array:
    """With dt = tr(A⁻¹ dA) the logarithm moves by its real part, the sign by sign · i Im(dt)."""
    by_log = np.real(g[..., 1])
    by_sign = 1j * np.imag(g[..., 0] * out[..., 0]) if out.dtype.kind == "c" else 0
    by_a = (by_log + by_sign)[..., None, None] * created(np.eye, a.shape[-1], dtype=a.dtype, like=a)
    return np.linalg.solve(T(a), by_a)


packed_slogdet = primitive(
    lambda a: pack(tuple(np.linalg.slogdet(a)), [()] * 2),
    slogdet_rule,
    name="slogdet",
    signature="(n,n)",
    domain=Domain(
        (-1.0, 1.0),
        make=off_singular,
        also=Domain(make=lambda a: off_singular(a * (0.6 + 0.8j))),
    ),
)


@implements(np.linalg.slogdet)
def slogdet(a: Array) -> Any:
    """`np.linalg.slogdet`: the sign (of modulus 1) and ln |det A|."""
    sign, logabsdet = unpack(packed_slogdet(a), [()] * 2)
    return SlogdetResult(sign, np.real(logabsdet))


# Least squares.


@conjugated
def pinv_rule(
    g: Array, out: Array, a: Array, rcond: Any = None, hermitian: bool = False, rtol: Any = None
) -> Array:
    """dP = -P dA P + P Pᴴ dAᴴ (1 - A P) + (1 - P A) dAᴴ Pᴴ P (Golub and Pereyra)."""
    tall = a.shape[-2] >= a.shape[-1]
    by_a = pinv_of_tall(g, out, a) if tall else T(pinv_of_tall(T(g), T(out), T(a)))
    return (by_a + H(by_a)) / 2 if hermitian else by_a


def pinv_of_tall(g: Array, p: Array, a: Array) -> Array:
    """The products in an order that makes no matrix larger than A."""
    left, right = H(g) @ (p @ H(p)), p @ H(g)
    return left - a @ (p @ left) + H(p) @ (right - (right @ p) @ a) - H(p) @ (g @ H(p))


pinv = primitive(
    np.linalg.pinv,
    pinv_rule,
    notation="{0}^{{+}}",
    signature="(m,n)",
    domain=Domain(
        (-1.0, 1.0),
        make=off_singular,
        also=Domain(
            (-1.0, 1.0),
            signature="(n,n)",
            make=lambda a: off_singular((a + T(a)) / 2),
            params=lambda shape: ({"hermitian": True},),
        ),
    ),
    choice="the rank of A is constant",
)


@implements(np.linalg.lstsq)
def lstsq(a: Array, b: Array, rcond: float | None = None) -> tuple[Array, Array, Any, Array]:
    """`np.linalg.lstsq`: the solution A⁺b, the squared residuals, the rank, the singular values."""
    a, b = as_array(a), as_array(b)
    columns = b[:, None] if b.ndim == 1 else b
    if a.ndim != 2 or columns.ndim != 2 or len(a) != len(columns):
        raise np.linalg.LinAlgError(f"lstsq: shapes {a.shape} and {b.shape} do not fit together")
    m, n = a.shape
    dtype = np.result_type(floating(a.dtype), floating(b.dtype), np.float32)
    a, eps = a if a.dtype == dtype else a.astype(dtype), float(finfo(dtype).eps)
    rcond = eps * max(m, n) if rcond is None else eps if rcond < 0 else rcond
    x, s = pinv(a, rcond=rcond) @ columns, np.linalg.svdvals(a)
    rank = np.count_nonzero(s > rcond * s[:1])
    rest = columns - a @ x
    residuals = np.sum(np.real(np.conjugate(rest) * rest), axis=0)
    if m <= n or rank < n:  # sizes are known inside vmap too, a rank is not
        residuals = residuals[:0]
    return x[:, 0] if b.ndim == 1 else x, residuals, rank, s
