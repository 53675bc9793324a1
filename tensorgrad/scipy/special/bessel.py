"""Bessel functions and their relatives, by their argument (DLMF chapters 9 to 12).

Derivatives are the mean of the neighbouring orders, which is regular at 0 (10.6.1, 10.29.1).
Choices: the exponentially scaled functions have a corner where the exponent is 0; the derivative
of e^-|x| counts as 0 there.
"""

from __future__ import annotations

import cmath
import math
from typing import Any

import numpy as np

from tensorgrad.engine.batching import elementwise
from tensorgrad.engine.domain import Domain
from tensorgrad.engine.node import Array
from tensorgrad.engine.primitive import Primitive, implements, primitive
from tensorgrad.scipy.special.declare import constant, several, slopes, special, whole

WAVES = Domain((0.3, 6))
ORDERED = Domain(((0, 3), (0.3, 4)))
OFF_LINE = ORDERED._replace(also=ORDERED._replace(make=lambda v, z: (v, z + 0.7j)))
CORNER = Domain(kink=lambda x: x)

# Of order 0 and 1.

j0 = primitive(special.j0, lambda g, out, x: -g * special.j1(x), notation="J_0({0})")
j1 = primitive(
    special.j1,
    lambda g, out, x: g * (special.j0(x) - special.jv(2, x)) / 2,
    notation="J_1({0})",
)
y0 = primitive(special.y0, lambda g, out, x: -g * special.y1(x), notation="Y_0({0})", domain=WAVES)
y1 = primitive(
    special.y1,
    lambda g, out, x: g * (special.y0(x) - special.yn(2, x)) / 2,
    notation="Y_1({0})",
    domain=WAVES,
)
i0 = primitive(
    special.i0, lambda g, out, x: g * special.i1(x), notation="I_0({0})", name="bessel_i0"
)
i1 = primitive(
    special.i1,
    lambda g, out, x: g * (special.i0(x) + special.iv(2, x)) / 2,
    notation="I_1({0})",
)
k0 = primitive(special.k0, lambda g, out, x: -g * special.k1(x), notation="K_0({0})", domain=WAVES)
k1 = primitive(
    special.k1,
    lambda g, out, x: -g * (special.k0(x) + special.kn(2, x)) / 2,
    notation="K_1({0})",
    domain=WAVES,
)
i0e = primitive(
    special.i0e,
    # i1e(x) - sgn(x) out, whose terms cancel for large x
    lambda g, out, x: -g * np.sign(x) * special.hyp1f1(1.5, 2, -2 * np.abs(x)),
    notation=r"e^{{-\lvert {0} \rvert}} I_0({0})",
    domain=CORNER,
    choice="(e^-|x|)' = 0 at 0",
)
i1e = primitive(
    special.i1e,
    lambda g, out, x: g * ((special.i0e(x) + special.ive(2, x)) / 2 - np.sign(x) * out),
    notation=r"e^{{-\lvert {0} \rvert}} I_1({0})",
    domain=CORNER,
    choice="(e^-|x|)' = 0 at 0",
)
k0e = primitive(
    special.k0e,
    lambda g, out, x: g * (out - special.k1e(x)),
    notation="e^{{{0}}} K_0({0})",
    domain=WAVES,
)
k1e = primitive(
    special.k1e,
    lambda g, out, x: g * (out - (special.k0e(x) + special.kve(2, x)) / 2),
    notation="e^{{{0}}} K_1({0})",
    domain=WAVES,
)

# Of any order v.

jv = primitive(
    special.jv,
    constant(special.jv, "v"),
    lambda g, out, v, z: g * (special.jv(v - 1, z) - special.jv(v + 1, z)) / 2,
    notation="J_{{{0}}}({1})",
    domain=ORDERED,
)
yv = primitive(
    special.yv,
    constant(special.yv, "v"),
    lambda g, out, v, z: g * (special.yv(v - 1, z) - special.yv(v + 1, z)) / 2,
    notation="Y_{{{0}}}({1})",
    domain=ORDERED,
)
yn = primitive(
    special.yn,
    constant(special.yn, "n"),
    lambda g, out, n, x: g * (special.yn(n - 1, x) - special.yn(n + 1, x)) / 2,
    notation="Y_{{{0}}}({1})",
    domain=ORDERED._replace(make=whole()),
)
iv = primitive(
    special.iv,
    constant(special.iv, "v"),
    lambda g, out, v, z: g * (special.iv(v - 1, z) + special.iv(v + 1, z)) / 2,
    notation="I_{{{0}}}({1})",
    domain=ORDERED,
)
kv = primitive(
    special.kv,
    constant(special.kv, "v"),
    lambda g, out, v, z: -g * (special.kv(v - 1, z) + special.kv(v + 1, z)) / 2,
    notation="K_{{{0}}}({1})",
    domain=ORDERED,
)
kn = primitive(
    special.kn,
    constant(special.kn, "n"),
    lambda g, out, n, x: -g * (special.kn(np.abs(n - 1), x) + special.kn(n + 1, x)) / 2,
    notation="K_{{{0}}}({1})",
    domain=ORDERED._replace(make=whole()),
)
hankel1 = primitive(
    special.hankel1,
    constant(special.hankel1, "v"),
    lambda g, out, v, z: g * (special.hankel1(v - 1, z) - special.hankel1(v + 1, z)) / 2,
    notation="H^{{(1)}}_{{{0}}}({1})",
    domain=ORDERED,
)
hankel2 = primitive(
    special.hankel2,
    constant(special.hankel2, "v"),
    lambda g, out, v, z: g * (special.hankel2(v - 1, z) - special.hankel2(v + 1, z)) / 2,
    notation="H^{{(2)}}_{{{0}}}({1})",
    domain=ORDERED,
)

# Scaled by an exponential. By e^-|Im z| or e^-|Re z| they are not analytic: a factor s(y) or s(x)
# of z = x + iy gives the cotangent i s'/s or -s'/s times the real part of g out.

kve = primitive(
    special.kve,
    constant(special.kve, "v"),
    lambda g, out, v, z: g * (out - (special.kve(v - 1, z) + special.kve(v + 1, z)) / 2),
    notation="e^{{{1}}} K_{{{0}}}({1})",
    domain=ORDERED,
)
hankel1e = primitive(
    special.hankel1e,
    constant(special.hankel1e, "v"),
    lambda g, out, v, z: (
        g * ((special.hankel1e(v - 1, z) - special.hankel1e(v + 1, z)) / 2 - 1j * out)
    ),
    notation="e^{{-i {1}}} H^{{(1)}}_{{{0}}}({1})",
    domain=ORDERED,
)
hankel2e = primitive(
    special.hankel2e,
    constant(special.hankel2e, "v"),
    lambda g, out, v, z: (
        g * ((special.hankel2e(v - 1, z) - special.hankel2e(v + 1, z)) / 2 + 1j * out)
    ),
    notation="e^{{i {1}}} H^{{(2)}}_{{{0}}}({1})",
    domain=ORDERED,
)


def shrink(g: Array, out: Array, z: Array) -> Array:
    """What the factor e^-|Im z| adds to the cotangent of a complex `z`."""
    return 1j * np.sign(np.imag(z)) * np.real(g * out) if z.dtype.kind == "c" else 0.0


jve = primitive(
    special.jve,
    constant(special.jve, "v"),
    lambda g, out, v, z: (
        g * (special.jve(v - 1, z) - special.jve(v + 1, z)) / 2 + shrink(g, out, z)
    ),
    notation=r"e^{{-\lvert \operatorname{{Im}} {1} \rvert}} J_{{{0}}}({1})",
    domain=OFF_LINE,
    choice="(e^-|y|)' = 0 at 0",
)
yve = primitive(
    special.yve,
    constant(special.yve, "v"),
    lambda g, out, v, z: (
        g * (special.yve(v - 1, z) - special.yve(v + 1, z)) / 2 + shrink(g, out, z)
    ),
    notation=r"e^{{-\lvert \operatorname{{Im}} {1} \rvert}} Y_{{{0}}}({1})",
    domain=OFF_LINE,
    choice="(e^-|y|)' = 0 at 0",
)
ive = primitive(
    special.ive,
    constant(special.ive, "v"),
    lambda g, out, v, z: (
        g * (special.ive(v - 1, z) + special.ive(v + 1, z)) / 2
        - np.sign(np.real(z)) * np.real(g * out)
    ),
    notation=r"e^{{-\lvert \operatorname{{Re}} {1} \rvert}} I_{{{0}}}({1})",
    domain=OFF_LINE,
    choice="(e^-|x|)' = 0 at 0",
)

# Spherical ones, of order n = 0, 1, 2, ... (10.51.2). SciPy's own make arrays of their arguments.


def spherical(function: Any, before: float, after: float, notation: str) -> Primitive:
    """Declare it: its derivative is (before · n f_(n-1) + after · (n+1) f_(n+1)) / (2n + 1)."""

    def by_argument(g: Array, out: Array, n: Array, z: Array) -> Array:
        lower = before * n * op(np.maximum(n - 1, 0), z)
        return g * (lower + after * (n + 1) * op(n + 1, z)) / (2 * n + 1)

    def derivative_too(n: Array, z: Array, derivative: bool = False) -> Array:
        return by_argument(1.0, 0.0, n, z) if derivative else op(n, z)

    op = primitive(
        lambda n, z: function(n, z),
        constant(function, "n"),
        by_argument,
        name=function.__name__,
        notation=notation,
        domain=ORDERED._replace(make=lambda n, z: (np.floor(n), z)),
        batch=elementwise,
    )
    implements(function)(derivative_too)
    return op


spherical_jn = spherical(special.spherical_jn, 1, -1, r"\mathrm{{j}}_{{{0}}}({1})")
spherical_yn = spherical(special.spherical_yn, 1, -1, r"\mathrm{{y}}_{{{0}}}({1})")
spherical_in = spherical(special.spherical_in, 1, 1, r"\mathrm{{i}}_{{{0}}}({1})")
spherical_kn = spherical(special.spherical_kn, -1, -1, r"\mathrm{{k}}_{{{0}}}({1})")

# Airy and Kelvin functions, from their differential equations; Struve functions (11.4.29).

several(
    special.airy,
    slopes(lambda out, z: (out[1], z * out[0], out[3], z * out[2])),
    domain=Domain((-3, 2)),
)


def double(x: Array) -> Array:
    """`x` in float64: SciPy's float32 versions are right to three digits at times."""
    return x.astype(np.result_type(x.dtype, np.float64))


TURN = cmath.exp(0.75j * math.pi)
ber = primitive(special.ber, lambda g, out, x: g * special.berp(x), domain=WAVES)
bei = primitive(special.bei, lambda g, out, x: g * special.beip(x), domain=WAVES)
ker = primitive(special.ker, lambda g, out, x: g * special.kerp(double(x)), domain=WAVES)
kei = primitive(special.kei, lambda g, out, x: g * special.keip(double(x)), domain=WAVES)


def bend(x: Array) -> Array:
    """ber'' + i bei'': those of J₀ along e^(3πi/4) (10.61.1), regular at 0."""
    z = TURN * x
    return -0.5j * (special.jv(2, z) - special.jv(0, z))


berp = primitive(special.berp, lambda g, out, x: g * np.real(bend(x)), domain=WAVES)
beip = primitive(special.beip, lambda g, out, x: g * np.imag(bend(x)), domain=WAVES)
kerp = primitive(
    special.kerp,
    lambda g, out, x: -g * (special.kei(double(x)) + special.kerp(double(x)) / x),
    domain=WAVES,
)
keip = primitive(
    special.keip,
    lambda g, out, x: g * (special.ker(double(x)) - special.keip(double(x)) / x),
    domain=WAVES,
)


def struve_excess(v: Array, x: Array) -> Array:
    """(x/2)^v / (√π Γ(v + 3/2))."""
    return (x / 2) ** v * special.rgamma(v + 1.5) / math.sqrt(math.pi)


struve = primitive(
    special.struve,
    constant(special.struve, "v"),
    lambda g, out, v, x: (
        g * (special.struve(v - 1, x) - special.struve(v + 1, x) + struve_excess(v, x)) / 2
    ),
    notation=r"\mathbf{{H}}_{{{0}}}({1})",
    domain=ORDERED,
)
modstruve = primitive(
    special.modstruve,
    constant(special.modstruve, "v"),
    lambda g, out, v, x: (
        g * (special.modstruve(v - 1, x) + special.modstruve(v + 1, x) + struve_excess(v, x)) / 2
    ),
    notation=r"\mathbf{{L}}_{{{0}}}({1})",
    domain=ORDERED,
)

# Parabolic cylinder functions and their derivatives, as pairs (12.2.2); integrals from 0 on.

several(
    special.pbdv,
    constant(special.pbdv, "v"),
    slopes(lambda out, v, x: (out[1], (x * x / 4 - v - 0.5) * out[0])),
    domain=Domain(((0.2, 2), (-2, 2))),
)
several(
    special.pbvv,
    constant(special.pbvv, "v"),
    slopes(lambda out, v, x: (out[1], (x * x / 4 - v - 0.5) * out[0])),
    domain=Domain(((0.2, 2), (-2, 2))),
)
several(
    special.pbwa,
    constant(special.pbwa, "a"),
    slopes(lambda out, a, x: (out[1], (a - x * x / 4) * out[0])),
    domain=Domain(((-2, 2), (-2, 2))),
)
several(special.itj0y0, slopes(lambda out, x: (special.j0(x), special.y0(x))), domain=WAVES)
several(special.iti0k0, slopes(lambda out, x: (special.i0(x), special.k0(x))), domain=WAVES)
