"""Hypergeometric functions: a derivative by the argument shifts the parameters (DLMF 13.3, 15.5).

The derivatives of many other functions are among them, in forms where nothing cancels.
"""

from __future__ import annotations

import numpy as np

from tensorgrad.engine.domain import Domain
from tensorgrad.engine.node import Array
from tensorgrad.engine.primitive import primitive
from tensorgrad.scipy.special.declare import constant, special


def kummer(a: Array, b: Array, x: Array) -> Array:
    """M(a, b, x). SciPy's does not return from far out, where it is infinite but for polynomials,
    which a = 0, -1, -2, ... makes of it.
    """
    far = (np.real(x) > 1e10) & ((a > 0) | (a != np.floor(a)))
    return special.hyp1f1(a, b, np.where(far, 1e10, x))


hyp0f1 = primitive(
    special.hyp0f1,
    constant(special.hyp0f1, "v"),
    lambda g, out, v, z: g * special.hyp0f1(v + 1, z) / v,
    notation=r"{{}}_0F_1(; {0}; {1})",
    domain=Domain(((0.5, 3), (-2, 2))),
)
hyp1f1 = primitive(
    special.hyp1f1,
    constant(special.hyp1f1, "a"),
    constant(special.hyp1f1, "b"),
    lambda g, out, a, b, x: g * (a / b) * kummer(a + 1, b + 1, x),
    notation=r"M({0}, {1}, {2})",
    domain=Domain(((-2, 2), (0.5, 3), (-2, 2)), complex=True),
)
hyp2f1 = primitive(
    special.hyp2f1,
    constant(special.hyp2f1, "a"),
    constant(special.hyp2f1, "b"),
    constant(special.hyp2f1, "c"),
    lambda g, out, a, b, c, z: g * (a * b / c) * special.hyp2f1(a + 1, b + 1, c + 1, z),
    notation=r"{{}}_2F_1({0}, {1}; {2}; {3})",
    domain=Domain(((-2, 2), (-2, 2), (0.5, 3), (-3, 0.7)), complex=True),
)
hyperu = primitive(
    special.hyperu,
    constant(special.hyperu, "a"),
    constant(special.hyperu, "b"),
    lambda g, out, a, b, x: -g * a * special.hyperu(a + 1, b + 1, x),
    notation="U({0}, {1}, {2})",
    domain=Domain(((0.5, 2), (0.5, 2), (0.3, 2))),
)
wright_bessel = primitive(
    special.wright_bessel,
    constant(special.wright_bessel, "a"),
    constant(special.wright_bessel, "b"),
    lambda g, out, a, b, x: g * special.wright_bessel(a, a + b, x),
    notation=r"\phi({0}, {1}; {2})",
    domain=Domain(((0.1, 2), (0.5, 3), (0.1, 2))),
)
