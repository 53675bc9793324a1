"""Functions defined by an integral, or as an inverse: their derivative is the integrand."""

from __future__ import annotations

import numpy as np

from tensorgrad.engine.domain import Domain
from tensorgrad.engine.node import Array
from tensorgrad.engine.primitive import implements, primitive
from tensorgrad.scipy.special.declare import constant, several, slopes, special, whole

PLUS = Domain((0.1, 3))

# Exponential, sine and cosine integrals (DLMF chapter 6).

expi = primitive(
    special.expi,
    lambda g, out, x: g * np.exp(x) / x,
    notation=r"\operatorname{{Ei}} {0}",
    domain=PLUS,
)
exp1 = primitive(
    special.exp1,
    lambda g, out, x: -g * np.exp(-x) / x,
    notation="E_1({0})",
    domain=PLUS,
)


def expn_rule(g: Array, out: Array, n: Array, x: Array) -> Array:
    """-E_(n-1); that of E_0 = e⁻ˣ/x is written out (8.19.13)."""
    e = np.exp(-x)
    return -g * np.where(n > 0, special.expn(np.maximum(n - 1, 0), x), e / x + e / (x * x))


expn = primitive(
    special.expn,
    constant(special.expn, "n"),
    expn_rule,
    notation="E_{{{0}}}({1})",
    domain=Domain(((0, 3), (0.2, 3)), make=whole()),
)
several(
    special.sici,
    slopes(lambda out, x: (np.sinc(x / np.pi), np.cos(x) / x)),
    domain=Domain((0.2, 5)),
)
several(
    special.shichi,
    slopes(lambda out, x: (np.sinc(1j * x / np.pi), np.cosh(x) / x)),  # sinh x / x
    domain=Domain((0.2, 3)),
)


def slope_of_spence(z: Array) -> Array:
    """ln z / (1 - z). It is 0/0 at 1, and the hypergeometric function loses a small z in 1 - z."""
    near = np.abs(z - 1) < 0.5
    close, far = np.where(near, z, 1), np.where(near, 2, z)
    return np.where(near, -special.hyp2f1(1, 1, 2, 1 - close), np.log(far) / (1 - far))


spence = primitive(
    special.spence,
    lambda g, out, z: g * slope_of_spence(z),
    notation=r"\operatorname{{Li}}_2(1 - {0})",
    domain=Domain((0.2, 3)),
)

# Elliptic integrals (DLMF chapter 19), m = k². The classical formulas are 0/0 at m = 0.

ellipk = primitive(
    special.ellipk,
    lambda g, out, m: g * (np.pi / 8) * special.hyp2f1(1.5, 1.5, 2, m),
    notation="K({0})",
    domain=Domain((-2, 0.8)),
)
ellipe = primitive(
    special.ellipe,
    lambda g, out, m: -g * (np.pi / 8) * special.hyp2f1(0.5, 1.5, 2, m),
    notation="E({0})",
    domain=Domain((-2, 0.8)),
)
ellipkm1 = primitive(
    special.ellipkm1,
    # K'(1 - p), and p small has no digits in 1 - p (15.8.1)
    lambda g, out, p: -g * (np.pi / 8) * special.hyp2f1(0.5, 1.5, 2, 1 - 1 / p) / p**1.5,
    notation="K(1 - {0})",
    domain=Domain((0.2, 2)),
)
ellipkinc = primitive(
    special.ellipkinc,
    lambda g, out, phi, m: g / np.sqrt(1 - m * np.sin(phi) ** 2),
    constant(special.ellipkinc, "m"),
    notation="F({0}, {1})",
    domain=Domain(((-2, 2), (-1, 0.7))),
)
ellipeinc = primitive(
    special.ellipeinc,
    lambda g, out, phi, m: g * np.sqrt(1 - m * np.sin(phi) ** 2),
    constant(special.ellipeinc, "m"),
    notation="E({0}, {1})",
    domain=Domain(((-2, 2), (-1, 0.7))),
)

# Jacobi's elliptic functions, by the argument (22.13).

several(
    special.ellipj,
    slopes(lambda out, u, m: (out[1] * out[2], -out[0] * out[2], -m * out[0] * out[1], out[2])),
    constant(special.ellipj, "m"),
    domain=Domain(((-2, 2), (0.1, 0.9))),
)

# Inverses of w eʷ and w + ln w (4.13).

product_logarithm = primitive(
    special._ufuncs._lambertw,
    lambda g, out, z, k, tol: g * np.exp(-out) / (1 + out),
    constant(special.lambertw, "k"),
    constant(special.lambertw, "tol"),
    name="lambertw",
    notation="W({0})",
    domain=Domain((0.1, 3), make=lambda z, k, tol: (z, 0, 1e-8)),
)


@implements(special.lambertw)
def lambertw(z: Array, k: Array = 0, tol: float = 1e-8) -> Array:
    """`scipy.special.lambertw`: branch `k` of the w with w eʷ = z, complex."""
    return product_logarithm(z, k, tol)


wrightomega = primitive(
    special.wrightomega, lambda g, out, z: g * out / (1 + out), notation=r"\omega({0})"
)
