"""Orthogonal polynomials: a derivative lowers the degree n (DLMF 18.9.15-28)."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from tensorgrad.engine.domain import Domain
from tensorgrad.engine.node import Array
from tensorgrad.engine.primitive import implements, primitive
from tensorgrad.scipy.special.declare import constant, special, whole


def degrees(*intervals: tuple[float, float]) -> Domain:
    """A degree, whole or not, and operands in these intervals."""
    every = Domain(((0, 4), *intervals))
    return every._replace(also=every._replace(make=whole()))


DEGREES = degrees((-0.9, 0.9))


def lower(n: Array) -> Array:
    """The degree of the derivative; that of a constant does not matter."""
    return np.where(n == 0, 0, n - 1)


eval_jacobi = primitive(
    special.eval_jacobi,
    constant(special.eval_jacobi, "n"),
    constant(special.eval_jacobi, "alpha"),
    constant(special.eval_jacobi, "beta"),
    lambda g, out, n, alpha, beta, x: (
        g
        * (n != 0)
        * (n + alpha + beta + 1)
        / 2
        * special.eval_jacobi(lower(n), alpha + 1, beta + 1, x)
    ),
    notation=r"P_{{{0}}}^{{({1}, {2})}}({3})",
    domain=degrees((-0.5, 2), (-0.5, 2), (-0.9, 0.9)),
)
eval_legendre = primitive(
    special.eval_legendre,
    constant(special.eval_legendre, "n"),
    lambda g, out, n, x: g * (n != 0) * (n + 1) / 2 * special.eval_jacobi(lower(n), 1, 1, x),
    notation="P_{{{0}}}({1})",
    domain=DEGREES,
)
eval_gegenbauer = primitive(
    special.eval_gegenbauer,
    constant(special.eval_gegenbauer, "n"),
    constant(special.eval_gegenbauer, "alpha"),
    lambda g, out, n, alpha, x: (
        g * (n != 0) * 2 * alpha * special.eval_gegenbauer(lower(n), alpha + 1, x)
    ),
    notation="C_{{{0}}}^{{({1})}}({2})",
    domain=degrees((0.5, 2), (-0.9, 0.9)),
)
eval_chebyt = primitive(
    special.eval_chebyt,
    constant(special.eval_chebyt, "n"),
    lambda g, out, n, x: g * n * special.eval_chebyu(lower(n), x),
    notation="T_{{{0}}}({1})",
    domain=DEGREES,
)
eval_chebyu = primitive(
    special.eval_chebyu,
    constant(special.eval_chebyu, "n"),
    lambda g, out, n, x: g * (n != 0) * 2 * special.eval_gegenbauer(lower(n), 2, x),
    notation="U_{{{0}}}({1})",
    domain=DEGREES,
)
eval_genlaguerre = primitive(
    special.eval_genlaguerre,
    constant(special.eval_genlaguerre, "n"),
    constant(special.eval_genlaguerre, "alpha"),
    lambda g, out, n, alpha, x: -g * (n != 0) * special.eval_genlaguerre(lower(n), alpha + 1, x),
    notation="L_{{{0}}}^{{({1})}}({2})",
    domain=degrees((0.5, 2), (-0.9, 3)),
)
eval_hermite = primitive(
    special.eval_hermite,
    constant(special.eval_hermite, "n"),
    lambda g, out, n, x: g * 2 * n * special.eval_hermite(lower(n), x),
    notation="H_{{{0}}}({1})",
    domain=DEGREES._replace(make=whole()),
)
eval_hermitenorm = primitive(
    special.eval_hermitenorm,
    constant(special.eval_hermitenorm, "n"),
    lambda g, out, n, x: g * n * special.eval_hermitenorm(lower(n), x),
    notation=r"\mathit{{He}}_{{{0}}}({1})",
    domain=DEGREES._replace(make=whole()),
)

# The same ones with another argument or factor.

IN_OTHER_WORDS: dict[np.ufunc, Callable[..., Array]] = {
    special.eval_laguerre: lambda n, x: special.eval_genlaguerre(n, 0, x),
    special.eval_chebyc: lambda n, x: 2 * special.eval_chebyt(n, x / 2),
    special.eval_chebys: lambda n, x: special.eval_chebyu(n, x / 2),
    special.eval_sh_legendre: lambda n, x: special.eval_legendre(n, 2 * x - 1),
    special.eval_sh_chebyt: lambda n, x: special.eval_chebyt(n, 2 * x - 1),
    special.eval_sh_chebyu: lambda n, x: special.eval_chebyu(n, 2 * x - 1),
    special.eval_sh_jacobi: lambda n, p, q, x: (
        special.eval_jacobi(n, p - q, q - 1, 2 * x - 1) / special.binom(2 * n + p - 1, n)
    ),
}
for function, same in IN_OTHER_WORDS.items():
    implements(function)(same)
