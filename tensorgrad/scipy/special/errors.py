"""The error function, the normal distribution, and their relatives (DLMF chapter 7)."""

from __future__ import annotations

import math

import numpy as np

from tensorgrad.engine.domain import REAL, Domain
from tensorgrad.engine.node import Array
from tensorgrad.engine.primitive import implements, primitive
from tensorgrad.ops.elementwise import uncut
from tensorgrad.scipy.special.declare import several, slopes, special

ROOT_PI = math.sqrt(math.pi)
ROOT_2PI = math.sqrt(2 * math.pi)
ROOT_2 = math.sqrt(2)
SHARE = Domain((0.05, 0.95))


erf = primitive(
    special.erf,
    lambda g, out, x: g * (2 / ROOT_PI) * np.exp(-x * x),
    notation=r"\operatorname{{erf}} {0}",
    domain=REAL,
)
erfc = primitive(
    special.erfc,
    lambda g, out, x: -g * (2 / ROOT_PI) * np.exp(-x * x),
    notation=r"\operatorname{{erfc}} {0}",
    domain=REAL,
)


def erfcx_rule(g: Array, out: Array, x: Array) -> Array:
    """2x out - 2/√π, whose terms cancel for large x; there it is -U(1, 1/2, x²)/√π (7.18.10)."""
    slope = 2 * x * out - 2 / ROOT_PI
    if x.dtype.kind == "c":
        return g * slope
    far = np.maximum(x, 6.5)  # SciPy's U is exact to rounding from 6.5² on
    return g * np.where(x > 6.5, special.hyperu(1, 0.5, far * far) / -ROOT_PI, slope)


erfcx = primitive(
    special.erfcx,
    erfcx_rule,
    notation=r"e^{{{0}^2}} \operatorname{{erfc}} {0}",
    domain=REAL._replace(also=Domain((6.6, 9))),
)
erfi = primitive(
    special.erfi,
    lambda g, out, x: g * (2 / ROOT_PI) * np.exp(x * x),
    notation=r"\operatorname{{erfi}} {0}",
    domain=Domain((-1.5, 1.5), complex=True),
)


def dawsn_rule(g: Array, out: Array, x: Array) -> Array:
    """1 - 2x out, where nothing of it cancels: M(1, 1/2, -x²)."""
    if x.dtype.kind == "c":
        return g * (1 - 2 * x * out)
    return g * special.hyp1f1(1, 0.5, -x * x)


dawsn = primitive(special.dawsn, dawsn_rule, notation="F({0})", domain=REAL)
wofz = primitive(
    special.wofz,
    lambda g, out, x: g * (2j / ROOT_PI - 2 * x * out),
    notation="w({0})",
    domain=Domain(complex=True),
)
erfinv = primitive(
    special.erfinv,
    lambda g, out, x: g * (ROOT_PI / 2) * np.exp(out**2),
    notation=r"\operatorname{{erf}}^{{-1}} {0}",
    domain=Domain((-0.9, 0.9)),
)
erfcinv = primitive(
    special.erfcinv,
    lambda g, out, x: -g * (ROOT_PI / 2) * np.exp(out**2),
    notation=r"\operatorname{{erfc}}^{{-1}} {0}",
    domain=Domain((0.1, 1.9)),
)

# The normal distribution.


def density(x: Array) -> Array:
    """φ(x), the standard normal density."""
    return np.exp(-x * x / 2) / ROOT_2PI


ndtr = primitive(special.ndtr, lambda g, out, x: g * density(x), notation=r"\Phi({0})", domain=REAL)
log_ndtr = primitive(
    special.log_ndtr,
    # φ/Φ; the quotient of the two is 0/0 in the left tail
    lambda g, out, x: g * ROOT_2 / ROOT_PI / special.erfcx(-x / ROOT_2),
    notation=r"\ln \Phi({0})",
    domain=REAL,
)
ndtri = primitive(
    special.ndtri,
    lambda g, out, x: g * ROOT_2PI * np.exp(out**2 / 2),
    notation=r"\Phi^{{-1}}({0})",
    domain=SHARE,
)
ndtri_exp = primitive(
    special.ndtri_exp,
    lambda g, out, x: g * (ROOT_PI / ROOT_2) * special.erfcx(out / -ROOT_2),
    notation=r"\Phi^{{-1}}(e^{{{0}}})",
    domain=Domain((-3, -0.1)),
)


def owens_by_slope(g: Array, out: Array, h: Array, a: Array) -> Array:
    """g e^(-h² (1 + a²)/2) / 2π (1 + a²)."""
    h, wide = uncut(h, out), 1 + a * a
    return g * np.exp(-h * h * wide / 2) / (2 * np.pi * wide)


owens_t = primitive(
    special.owens_t,
    lambda g, out, h, a: -g * density(h) * special.erf(uncut(a, out) * h / ROOT_2) / 2,
    owens_by_slope,
    notation="T({0}, {1})",
)


@implements(special.voigt_profile)
def voigt_profile(x: Array, sigma: Array, gamma: Array) -> Array:
    """`scipy.special.voigt_profile`: a normal density (`sigma` > 0) and a Cauchy one, convolved."""
    return np.real(special.wofz((x + 1j * gamma) / (sigma * ROOT_2))) / (sigma * ROOT_2PI)


@implements(special.nrdtrimn)
def nrdtrimn(p: Array, std: Array, x: Array) -> Array:
    """`scipy.special.nrdtrimn`: the mean of which `x` is the quantile `p`."""
    return x - std * special.ndtri(p)


@implements(special.nrdtrisd)
def nrdtrisd(mn: Array, p: Array, x: Array) -> Array:
    """`scipy.special.nrdtrisd`: the standard deviation with which `x` is the quantile `p`."""
    return (x - mn) / special.ndtri(p)


several(
    special.fresnel,
    slopes(lambda out, x: (np.sin(np.pi / 2 * x * x), np.cos(np.pi / 2 * x * x))),
    domain=REAL,
)
