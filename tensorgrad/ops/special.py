"""Functions whose derivatives have no name in NumPy: sinc, and the Bessel function I₀.

Each is one primitive for all its derivatives, with their `order` as a param.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from tensorgrad.engine.batching import elementwise
from tensorgrad.engine.domain import Domain, Shape
from tensorgrad.engine.node import Array
from tensorgrad.engine.primitive import Primitive, implements, primitive


def orders(shape: Shape) -> Any:
    return [{"order": n} for n in range(4)]


def sinc_derivative(x: Array, order: int = 0) -> Array:
    """The derivative of sin u / u, u = πx, by x."""
    if order == 0:
        return np.sinc(x)
    if order > 1000:  # π to this power is infinite, and its terms take for ever
        raise ValueError(f"sinc: a derivative of order {order} is too large for NumPy")
    u = math.pi * x
    bound = 1 + order / 2
    near = np.abs(u) < bound
    # Near 0 the Taylor series, Σ (-1)ᵏ u²ᵏ/(2k + 1)! with every term differentiated.
    v, taylor = np.where(near, u, 0), 0.0
    for k in range(order + 20, (order - 1) // 2, -1):
        taylor = taylor * v * v + (-1) ** k / ((2 * k + 1) * math.factorial(2 * k - order))
    # Elsewhere by Leibniz: u f⁽ⁿ⁾ + n f⁽ⁿ⁻¹⁾ = sin⁽ⁿ⁾ u.
    w = np.where(near, bound, u)
    f = np.sin(w) / w
    for n in range(1, order + 1):
        f = ((-1) ** (n // 2) * (np.cos(w) if n % 2 else np.sin(w)) - n * f) / w
    return math.pi**order * np.where(near, taylor * v ** (order % 2), f)


sinc: Primitive = primitive(
    sinc_derivative,
    lambda g, out, x, order=0: g * sinc(x, order=order + 1),
    name="sinc",
    notation=r"\operatorname{{sinc}} {0}",
    domain=Domain(params=orders, complex=True),
    batch=elementwise,
)
implements(np.sinc)(sinc)


COSINES = np.cos((np.arange(64) + 0.5) * np.pi / 128).tolist()


def i0_derivative(x: Array, order: int = 0) -> Array:
    """I₀(x) is the mean of exp(x cos θ) over the circle (DLMF 10.32.1); differentiate inside.

    Of a periodic function 256 points give the mean to rounding, for every x that does not overflow;
    opposite points together have terms of one sign: nothing cancels.
    """
    if order == 0:
        return np.i0(x)
    f = np.sinh if order % 2 else np.cosh
    total: Array = 0.0
    for c in COSINES:
        total = total + c**order * f(c * x)
    return total / len(COSINES)


i0: Primitive = primitive(
    i0_derivative,
    lambda g, out, x, order=0: g * i0(x, order=order + 1),
    name="i0",
    notation="I_0({0})",
    domain=Domain(params=orders),
    batch=elementwise,
)
implements(np.i0)(i0)
