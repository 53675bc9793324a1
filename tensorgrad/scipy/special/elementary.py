"""Functions made of elementary ones that keep their digits where the plain formula loses them.

Choices: x ln y has slopes 0 at x = y = 0, and so has x ln(x/y); a Huber loss is quadratic at its
edges.
"""

from __future__ import annotations

import math

import numpy as np

from tensorgrad.engine.domain import Domain
from tensorgrad.engine.node import Array
from tensorgrad.engine.primitive import implements, primitive
from tensorgrad.engine.rules import flat
from tensorgrad.ops import elementwise
from tensorgrad.ops.elementwise import uncut
from tensorgrad.scipy.special.declare import special
from tensorgrad.scipy.special.hypergeometric import kummer

# The logistic function.

expit = primitive(
    special.expit,
    lambda g, out, x: g * out * special.expit(-x),  # 1 - out has no digits where out is near 1
    notation=r"\sigma({0})",
)
log_expit = primitive(
    special.log_expit, lambda g, out, x: g * special.expit(-x), notation=r"\ln \sigma({0})"
)
logit = primitive(
    special.logit,
    lambda g, out, x: g / (x * (1 - x)),
    notation=r"\ln \frac{{{0}}}{{1 - {0}}}",
    domain=Domain((0.1, 0.9)),
)

# Entropy: x ln y, which is 0 at x = 0 whatever y is.


def log_ratio(x: Array, y: Array) -> Array:
    """ln(x/y), but 0 where both are 0."""
    nothing = (x == 0) & (y == 0)
    return np.log(np.where(nothing, 1, x) / np.where(nothing, 1, y))


xlogy = primitive(
    special.xlogy,
    lambda g, out, x, y: g * np.log(uncut(y, out) + ((x == 0) & (y == 0))),
    lambda g, out, x, y: g * (x / (y + ((x == 0) & (y == 0)))),
    notation=r"{0} \ln {1}",
    domain=Domain(((-3, 3), (0.1, 3)), complex=True),
    choice="x ln y has slopes 0 at x = y = 0",
)
xlog1py = primitive(
    special.xlog1py,
    lambda g, out, x, y: g * np.log1p(uncut(y, out) + ((x == 0) & (y == -1))),
    lambda g, out, x, y: g * (x / (1 + y + ((x == 0) & (y == -1)))),
    notation=r"{0} \ln(1 + {1})",
    domain=Domain(((-3, 3), (-0.9, 3)), complex=True),
    choice="x ln(1 + y) has slopes 0 at x = 0, y = -1",
)
entr = primitive(
    special.entr,
    lambda g, out, x: -g * (np.log(x) + 1),
    notation=r"-{0} \ln {0}",
    domain=Domain((0.1, 3)),
)
rel_entr = primitive(
    special.rel_entr,
    lambda g, out, x, y: g * (log_ratio(x, y) + ((x != 0) | (y != 0))),
    lambda g, out, x, y: -g * (x / (y + ((x == 0) & (y == 0)))),
    notation=r"{0} \ln \frac{{{0}}}{{{1}}}",
    domain=Domain((0.1, 3)),
    choice="x ln(x/y) has slopes 0 at x = y = 0",
)
kl_div = primitive(
    special.kl_div,
    lambda g, out, x, y: g * log_ratio(x, y),
    lambda g, out, x, y: g * (y - x) / (y + ((x == 0) & (y == 0))),
    notation=r"{0} \ln \frac{{{0}}}{{{1}}} - {0} + {1}",
    domain=Domain((0.1, 3)),
    choice="x ln(x/y) - x + y has slopes 0 at x = y = 0",
)

# Exponentials and powers.

implements(special.exp2)(elementwise.exp2)
implements(special.expm1)(elementwise.expm1)
implements(special.log1p)(elementwise.log1p)
implements(special.cbrt)(elementwise.cbrt)
exp10 = primitive(special.exp10, lambda g, out, x: g * out * math.log(10), notation="10^{{{0}}}")


def slope_of_exprel(x: Array) -> Array:
    """(eˣ - exprel x)/x, which is 0/0 at 0."""
    return kummer(2, 3, x) / 2


exprel = primitive(
    special.exprel,
    lambda g, out, x: g * slope_of_exprel(x),
    notation=r"\frac{{e^{{{0}}} - 1}}{{{0}}}",
)
cosm1 = primitive(special.cosm1, lambda g, out, x: -g * np.sin(x), notation=r"\cos {0} - 1")
powm1 = primitive(
    special.powm1,
    lambda g, out, x, y: elementwise.by_base(g, out + 1, x, y),
    lambda g, out, x, y: elementwise.by_exponent(g, out + 1, x, y),
    notation="{0}^{{{1}}} - 1",
    domain=Domain(((0.1, 3), (-3, 3))),
)


def boxcox_by_power(log: Array, lmbda: Array) -> Array:
    """The derivative by λ of (e^(λ log) - 1)/λ, finite at λ = 0."""
    return log * log * slope_of_exprel(lmbda * log)


def inv_boxcox_by_power(y: Array, lmbda: Array) -> Array:
    """The derivative by λ of ln(1 + λy)/λ, finite at λ = 0."""
    return y * y * special.hyp2f1(2, 2, 3, -lmbda * y) / -2


boxcox = primitive(
    special.boxcox,
    lambda g, out, x, lmbda: g * x ** (lmbda - 1),
    lambda g, out, x, lmbda: g * boxcox_by_power(np.log(uncut(x, out)), lmbda),
    notation=r"\frac{{{0}^{{{1}}} - 1}}{{{1}}}",
    domain=Domain(((0.1, 3), (-2, 2))),
)
boxcox1p = primitive(
    special.boxcox1p,
    lambda g, out, x, lmbda: g * np.exp((lmbda - 1) * np.log1p(x)),
    lambda g, out, x, lmbda: g * boxcox_by_power(np.log1p(uncut(x, out)), lmbda),
    notation=r"\frac{{(1 + {0})^{{{1}}} - 1}}{{{1}}}",
    domain=Domain(((-0.9, 3), (-2, 2))),
)
inv_boxcox = primitive(
    special.inv_boxcox,
    lambda g, out, y, lmbda: g * out / (1 + lmbda * y),
    lambda g, out, y, lmbda: g * out * inv_boxcox_by_power(uncut(y, out), lmbda),
    notation=r"(1 + {1} {0})^{{1/{1}}}",
    domain=Domain(((-0.9, 2), (-0.3, 1))),
)
inv_boxcox1p = primitive(
    special.inv_boxcox1p,
    lambda g, out, y, lmbda: g * (1 + out) / (1 + lmbda * y),
    lambda g, out, y, lmbda: g * (1 + out) * inv_boxcox_by_power(uncut(y, out), lmbda),
    notation=r"(1 + {1} {0})^{{1/{1}}} - 1",
    domain=Domain(((-0.9, 2), (-0.3, 1))),
)

# Degrees.

DEGREE = np.pi / 180
sindg = primitive(
    special.sindg,
    lambda g, out, x: g * DEGREE * special.cosdg(x),
    notation=r"\sin {0}^\circ",
    domain=Domain((-180, 180)),
)
cosdg = primitive(
    special.cosdg,
    lambda g, out, x: -g * DEGREE * special.sindg(x),
    notation=r"\cos {0}^\circ",
    domain=Domain((-180, 180)),
)
tandg = primitive(
    special.tandg,
    lambda g, out, x: g * DEGREE * (1 + out * out),
    notation=r"\tan {0}^\circ",
    domain=Domain((-60, 60)),
)
cotdg = primitive(
    special.cotdg,
    lambda g, out, x: -g * DEGREE * (1 + out * out),
    notation=r"\cot {0}^\circ",
    domain=Domain((30, 150)),
)
radian = primitive(
    special.radian,
    lambda g, out, d, m, s: g * DEGREE,
    lambda g, out, d, m, s: g * (DEGREE / 60),
    lambda g, out, d, m, s: g * (DEGREE / 3600),
)

# Losses and means.

huber = primitive(
    special.huber,
    lambda g, out, delta, r: g * np.maximum(np.abs(uncut(r, out)) - delta, 0),
    lambda g, out, delta, r: g * np.clip(r, -uncut(delta, out), delta),
    notation=r"L_{{{0}}}({1})",
    domain=Domain(((0.5, 1.5), (-3, 3)), kink=lambda delta, r: np.abs(r) - delta),
)


def pseudo_huber_by_delta(g: Array, out: Array, delta: Array, r: Array) -> Array:
    """2 out/δ - r²/(δ s) with s = √(1 + r²/δ²), without the difference."""
    square = (r / delta) ** 2
    s = np.sqrt(1 + square)
    return g * delta * square**2 / (s * (1 + s) ** 2)


pseudo_huber = primitive(
    special.pseudo_huber,
    pseudo_huber_by_delta,
    lambda g, out, delta, r: g * r / np.sqrt(1 + (r / delta) ** 2),
    notation=r"L_{{{0}}}({1})",
    domain=Domain(((0.5, 2), (-3, 3))),
)


def agm_slope(a: Array, b: Array) -> Array:
    """∂/∂a of (π/4) (a + b) / K(1 - p) with p = 4ab/(a + b)² (19.8.5)."""
    a, b = a / (a + b), b / (a + b)
    p = 4 * a * b
    k = special.ellipkm1(p)
    by_p = (np.pi / 2) * special.hyp2f1(0.5, 1.5, 2, 1 - 1 / p) / p**1.5
    return (np.pi / 4) * (1 + by_p * b * (b - a) / k) / k


agm = primitive(
    special.agm,
    lambda g, out, a, b: g * agm_slope(a, b),
    lambda g, out, a, b: g * agm_slope(b, a),
    domain=Domain((0.2, 3)),
)


to_even = primitive(
    special.round, flat, domain=Domain(kink=lambda x: x - np.floor(x) - 0.5), name="round_to_even"
)
