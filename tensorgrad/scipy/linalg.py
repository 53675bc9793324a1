"""Linear algebra that NumPy lacks: triangular systems, Sylvester's equation, functions of matrices.

SciPy's own turn their arguments into arrays first; these have the same names and arguments.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from scipy import linalg

from tensorgrad.engine.arrays import as_array, created
from tensorgrad.engine.care import systems, whole
from tensorgrad.engine.domain import Domain
from tensorgrad.engine.node import Array
from tensorgrad.engine.primitive import Primitive, implements, primitive
from tensorgrad.engine.rules import Rule
from tensorgrad.ops.adjoint import T
from tensorgrad.ops.inverse import off_singular

# Triangular systems: x = A⁻¹ b, so b̄ = A⁻ᵀ g and Ā = -b̄ xᵀ, in the triangle that is read.


def by_right_side(
    g: Array,
    out: Array,
    a: Array,
    b: Array,
    transpose: bool = False,
    lower: bool = False,
    unit_diagonal: bool = False,
    check_finite: bool = True,
) -> Array:
    return triangular_solution(
        a,
        g,
        transpose=not transpose,
        lower=lower,
        unit_diagonal=unit_diagonal,
        check_finite=check_finite,
    )


def by_triangle(g: Array, out: Array, a: Array, b: Array, **how: bool) -> Array:
    adjoint = by_right_side(g, out, a, b, **how)
    left, right = (out, adjoint) if how.get("transpose") else (adjoint, out)
    k = -1 if how.get("unit_diagonal") else 0
    read = created(np.tri, a.shape[-1], k=k, dtype=bool, like=a)
    return np.where(read if how.get("lower") else read.T, -left @ T(right), 0)


triangular_solution: Primitive = primitive(
    lambda a, b, transpose=False, **how: linalg.solve_triangular(a, b, int(transpose), **how),
    by_triangle,
    by_right_side,
    name="solve_triangular",
    care=systems,
    signature="(m,m),(m,n)",
    domain=Domain(
        make=off_singular,
        params=lambda a, b: [
            {"transpose": t, "lower": lower, "unit_diagonal": unit}
            for t in (False, True)
            for lower in (False, True)
            for unit in (False, True)
            if 0 not in a + b
        ],
    ),
)


@implements(linalg.solve_triangular)
def solve_triangular(
    a: Array,
    b: Array,
    trans: int | str = 0,
    lower: bool = False,
    unit_diagonal: bool = False,
    overwrite_b: bool = False,
    check_finite: bool = True,
) -> Array:
    """`scipy.linalg.solve_triangular`: the x with a x = b; with `trans` of aᵀ or aᴴ. (`b` stays.)

    >>> from tensorgrad import Value
    >>> b = Value([2.0, 4.0])
    >>> solve_triangular(np.array([[2.0, 0.0], [1.0, 1.0]]), b, lower=True).sum().backward()
    >>> b.grad
    array([0., 1.])
    """
    if trans not in (0, 1, 2, "N", "T", "C"):
        raise ValueError(f"solve_triangular: trans={trans!r}; there are 0, 1, 2, 'N', 'T' and 'C'")
    b = as_array(b)
    x = triangular_solution(
        np.conjugate(a) if trans in (2, "C") else a,
        b[:, None] if b.ndim == 1 else b,
        transpose=trans not in (0, "N"),
        lower=lower,
        unit_diagonal=unit_diagonal,
        check_finite=check_finite,
    )
    return x[..., 0] if b.ndim == 1 else x


@implements(linalg.cho_solve)
def cho_solve(
    c_and_lower: tuple[Array, bool],
    b: Array,
    overwrite_b: bool = False,
    check_finite: bool = True,
) -> Array:
    """`scipy.linalg.cho_solve`: the x with a x = b, given a Cholesky factor of a. (`b` stays.)"""
    c, lower = c_and_lower
    first, second = ("N", "C") if lower else ("C", "N")
    y = solve_triangular(c, b, first, lower=lower, check_finite=check_finite)
    return solve_triangular(c, y, second, lower=lower, check_finite=check_finite)


# Banded systems: the same, where row r of ab holds the entries A[j + r - u, j].


def by_banded_right_side(
    g: Array, out: Array, ab: Array, b: Array, l_and_u: tuple[int, int], **how: bool
) -> Array:
    lower, upper = l_and_u
    r = np.arange(len_of(l_and_u))[:, None]
    j = np.arange(ab.shape[-1]) + r - lower  # row r of Aᵀ's band is one of A's, moved along
    turned = np.where(inside(j), ab[..., lower + upper - r, j % ab.shape[-1]], 0)
    return banded_solution(turned, g, l_and_u=(upper, lower), **how)


def by_band(
    g: Array, out: Array, ab: Array, b: Array, l_and_u: tuple[int, int], **how: bool
) -> Array:
    adjoint = by_banded_right_side(g, out, ab, b, l_and_u, **how)
    i = np.arange(ab.shape[-1]) + np.arange(len_of(l_and_u))[:, None] - l_and_u[1]
    rows = adjoint[..., i % ab.shape[-1], :]
    return np.where(inside(i), -np.sum(rows * out[..., None, :, :], axis=-1), 0)


def len_of(l_and_u: tuple[int, int]) -> int:
    """How many diagonals a band has."""
    return l_and_u[0] + l_and_u[1] + 1


def inside(i: Array) -> Array:
    """Which of the positions along a band, a row for each diagonal, belong to the matrix."""
    return (i >= 0) & (i < i.shape[-1])


banded_solution: Primitive = primitive(
    lambda ab, b, l_and_u, **how: linalg.solve_banded(l_and_u, ab, b, **how),
    by_band,
    by_banded_right_side,
    name="solve_banded",
    care=whole,
    signature="(k,m),(m,n)",
    domain=Domain(
        (-1, 1),
        make=lambda ab, b: (ab + 4 * np.eye(len(ab), 1, -((len(ab) - 1) // 2)), b),
        params=lambda ab, b: (
            [{"l_and_u": (ab[0] // 2, (ab[0] - 1) // 2)}]
            if len(ab) == len(b) == 2 and ab[1] > 1 and 0 not in ab + b
            else []
        ),
    ),
)


@implements(linalg.solve_banded)
def solve_banded(
    l_and_u: tuple[int, int],
    ab: Array,
    b: Array,
    overwrite_ab: bool = False,
    overwrite_b: bool = False,
    check_finite: bool = True,
) -> Array:
    """`scipy.linalg.solve_banded`: the x with a x = b, a given by its diagonals. (`b` stays.)

    `l_and_u`: how many there are below and above the main one. `ab`: (l + u + 1, m), the uppermost
    first, each entry in the column of a. What lies outside of a is not read.

    >>> from tensorgrad import Value
    >>> b = Value([2.0, 4.0])
    >>> solve_banded((1, 0), np.array([[2.0, 1.0], [1.0, 0.0]]), b).sum().backward()
    >>> b.grad
    array([0., 1.])
    """
    b = as_array(b)
    columns = b[:, None] if b.ndim == 1 else b
    x = banded_solution(ab, columns, l_and_u=tuple(l_and_u), check_finite=check_finite)
    return x[..., 0] if b.ndim == 1 else x


# Sylvester's equation A X + X B = Q is linear: the cotangent Y of Q solves the transposed one.


def sylvester_adjoint(g: Array, a: Array, b: Array) -> Array:
    return solve_sylvester(T(a), T(b), g)


solve_sylvester = primitive(
    linalg.solve_sylvester,
    lambda g, out, a, b, q: -sylvester_adjoint(g, a, b) @ T(out),
    lambda g, out, a, b, q: -T(out) @ sylvester_adjoint(g, a, b),
    lambda g, out, a, b, q: sylvester_adjoint(g, a, b),
    care=whole,
    domain=Domain(
        signature="(m,m),(n,n),(m,n)",
        broadcast=False,
        make=lambda a, b, q: (a + 4 * np.eye(a.shape[-1]), b + 4 * np.eye(b.shape[-1]), q),
        params=lambda a, b, q: [{}] if len(a) == len(b) == 2 and 0 not in q else [],
    ),
)


# Analytic functions of a matrix. The derivative L(A, E) of f at A in the direction E is a block of
# a function of a larger matrix, f([[A, E], [0, A]]) = [[f(A), L(A, E)], [0, f(A)]] (Higham 2008,
# Functions of Matrices, 3.16), and the transposed map is L(Aᵀ, ·).


def in_the_corner(function: Callable[..., Array], args: list[Any], params: Any) -> Array:
    """What E asks of f([[A, E], [0, A]]): nothing where it is 0."""
    n = args[0].shape[-1] // 2
    corner = function(args[0].payload)[..., :n, n:]
    asked = np.any(args[0].payload[..., :n, n:] != 0, axis=(-2, -1), keepdims=True)
    return np.pad(np.where(asked, corner, 0), ((0, n), (n, 0)))


def by_block(op: Primitive, g: Array, A: Array) -> Array:
    """L(Aᵀ, g), of the function `op`."""
    At, n = T(A), A.shape[-1]
    above = np.concatenate([At, g], axis=-1)
    below = np.concatenate([np.zeros_like(At), At], axis=-1)
    return op(np.concatenate([above, below], axis=-2))[..., :n, n:]


def by_root(g: Array, root: Array) -> Array:
    """X = A^½ has X dX + dX X = dA: Sylvester's equation. A negative eigenvalue lies on the cut of
    the root, and those of the larger matrix, where each comes twice, would round to both its sides.
    """
    return solve_sylvester(T(root), T(root), g)


def by_logarithm(g: Array, out: Array, A: Array) -> Array:
    """That of 2 ln A^½: the eigenvalues of A^½ lie off the cut."""
    root = sqrtm(A)
    return by_root(2 * by_block(logm, g, root), root)


def matrix_function(
    forward: Callable[..., Array], notation: str, rule: Rule | None = None
) -> Primitive:
    op: Primitive = primitive(
        forward,
        rule or (lambda g, out, A: by_block(op, g, A)),
        notation=notation,
        care=in_the_corner,
        signature="(m,m)",
        domain=Domain(
            (-1, 1),
            make=off_singular,
            params=lambda shape: [{}] if 0 not in shape and len(shape) == 2 else [],
        ),
    )
    return op


expm = matrix_function(linalg.expm, "e^{{{0}}}")
logm = matrix_function(linalg.logm, r"\ln {0}", by_logarithm)
sqrtm = matrix_function(linalg.sqrtm, "{0}^{{1/2}}", lambda g, out, A: by_root(g, out))
sinm = matrix_function(linalg.sinm, r"\sin {0}")
cosm = matrix_function(linalg.cosm, r"\cos {0}")
tanm = matrix_function(linalg.tanm, r"\tan {0}")
sinhm = matrix_function(linalg.sinhm, r"\sinh {0}")
coshm = matrix_function(linalg.coshm, r"\cosh {0}")
tanhm = matrix_function(linalg.tanhm, r"\tanh {0}")
