"""Arithmetic and elementwise mathematics. Operands broadcast; the sweep sums what was broadcast.

Where calculus is silent, the choices are: |x|' = 0 at 0, x⁰ and 0ʸ are constant at 0 too, ties in
`maximum`, `minimum`, `fmax`, `fmin` share equally, `clip` passes the gradient at its edges,
`hypot` and `arctan2` have gradient 0 at the origin, `sign` at 0.

Rules hold for complex operands too. They are free of conj: the gradient of a real function of
z = x + iy is ∂f/∂x - i ∂f/∂y, the conjugate of the direction of steepest ascent, as in JAX and
autograd. `maximum` and its like compare complex numbers as NumPy does, by their real parts first.

Next to it: `complex.py`, `rounding.py` (functions with steps), `selection.py` (one of several
arrays), `special.py` (sinc, Bessel's I₀), `polynomial.py` (and interpolation).
"""

from __future__ import annotations

import operator
from typing import Any

import numpy as np

from tensorgrad.engine.arrays import anywhere, as_array, copied
from tensorgrad.engine.batching import elementwise
from tensorgrad.engine.care import product, quotient
from tensorgrad.engine.domain import POSITIVE, REAL, Domain, with_zeros
from tensorgrad.engine.node import Array
from tensorgrad.engine.primitive import implements, primitive
from tensorgrad.engine.rules import flat
from tensorgrad.engine.short import kept, rounded
from tensorgrad.ops.adjoint import conj, even

LOG_2, LOG_10 = np.log(np.longdouble(2)), np.log(np.longdouble(10))
DEGREE = np.arctan(np.longdouble(1)) / 45
BITS = {np.dtype(np.float32): np.int32, np.dtype(np.float64): np.int64}


def only(chosen: Array, g: Array) -> Array:
    """`g` where `chosen` holds, else 0, even if `g` is infinite there.

    That is `np.where(chosen, g, 0)`; but on random signs that mispredicts every other branch: 230
    µs for 128x512 float32, where multiplying takes 17; and as integers 0 times infinity is 0.
    """
    if issubclass(type(g), np.generic) and issubclass(type(chosen), np.bool):
        return g if chosen else type(g)(0)
    if type(g) is type(chosen) is np.ndarray and g.dtype in BITS:
        bits = BITS[g.dtype]
        return (g.view(bits) * chosen.astype(bits)).view(g.dtype)
    return np.where(chosen, g, 0)


def digits(c: np.longdouble, x: Array) -> np.longdouble | float:
    """The constant `c` as a Python number; for a long double with all the digits it has there."""
    return c if x.dtype.char in "gG" else float(c)


def uncut(x: Array, out: Array) -> Array:
    """`x`; integers in the dtype of `out`, for in their own they overflow, and the logarithm of one
    of 8 bits has 3 digits.
    """
    return as_array(x, out.dtype) if getattr(x, "dtype", out.dtype).kind in "bui" else x


def share(g: Array, t: Array) -> Array:
    """g t: what the part t of a mean receives, and no part nothing, even if g is infinite."""
    return np.where((t == 0) & ~np.isfinite(g), 0, g) * t


def one_minus_square(x: Array) -> Array:
    """1 - x², exact near x = ±1, and +0 there. As written for complex numbers, an imaginary part of
    -0 stays apart from one of 0: they are the two sides of a branch cut.
    """
    return (x - 1) * (-x - 1) if x.dtype.kind == "c" else (1 - x) * (1 + x)


def radius(x: Array, y: Array) -> Array:
    """√(x² + y²), but 1 at the origin, so that 0 divided by it is 0."""
    r = np.hypot(x, y)
    return r + (r == 0)


def difference(x: Array, y: Array) -> Array:
    """x - y, where equal infinities differ by 0."""
    same = (x == y) & np.isinf(x)
    if not anywhere(same):
        return x - y
    return np.where(same, 0, x) - np.where(same, 0, y)


# Arithmetic. Python's operators, because on scalars they take a tenth of a ufunc call's time.

add = primitive(
    operator.add,
    lambda g, out, x, y: g,
    lambda g, out, x, y: g,
    notation="{0} + {1}",
    domain=REAL,
)
subtract = primitive(
    operator.sub,
    lambda g, out, x, y: g,
    lambda g, out, x, y: -g,
    name="subtract",
    notation="{0} - {1}",
    domain=REAL,
)
multiply = primitive(
    operator.mul,
    lambda g, out, x, y: g * y,
    lambda g, out, x, y: g * x,
    name="multiply",
    care=product,
    notation=r"{0} \odot {1}",
    domain=REAL,
)


divide = primitive(
    operator.truediv,
    lambda g, out, x, y: g / y,
    # not g x / y²: the square of a small y is 0 before the quotient is large
    lambda g, out, x, y: -(g / y) * out,
    name="divide",
    care=quotient,
    notation=r"\frac{{{0}}}{{{1}}}",
    domain=Domain(((-3, 3), (0.3, 3)), complex=True),
)


def by_base(g: Array, out: Array, x: Array, y: Array) -> Array:
    """g y xʸ⁻¹, but x⁰ is constant, at x = 0 too."""
    if type(y) in (int, float):  # a third of the time for large arrays
        return g * (y * x) if y == 2 else g * (y * x ** (y - (y != 0)))
    if getattr(y, "dtype", g.dtype).kind in "bu":
        y = y.astype(g.dtype)  # 0 - 1 is no unsigned number
    if anywhere(y == 0):  # not by a smaller exponent: y xʸ⁻¹ has the slope 1/x there
        x = x + (x == 0) * (y == 0)
    return g * y * x ** (y - 1)


def by_exponent(g: Array, out: Array, x: Array, y: Array) -> Array:
    """g xʸ log x, but 0ʸ stays 0 for y > 0: its derivative is 0, not 0 log 0."""
    x = as_array(x, out.dtype) if out.dtype.char in "gG" else uncut(x, out)
    if out.dtype.kind == "c":  # a negative x has a logarithm here, even if x itself is real
        return g * out * np.log(np.where(x == 0, 1 + 0j, x))
    return g * out * np.log(x + (x == 0))


SQUARES = Domain((0.1, 3), make=lambda x, y: (x, 2), also=Domain(make=lambda x, y: (x, 3)))
POWER = Domain(((0.1, 3), (-3, 3)), complex=True, also=SQUARES)
CONSTANT_POWERS = "∂xʸ/∂x = 0 at y = 0 and ∂xʸ/∂y = 0 at x = 0"
power = primitive(
    operator.pow,
    by_base,
    by_exponent,
    name="power",
    notation="{0}^{{{1}}}",
    domain=POWER,
    choice=CONSTANT_POWERS,
)
float_power = primitive(
    np.float_power,
    by_base,
    by_exponent,
    notation="{0}^{{{1}}}",
    domain=POWER,
    choice=CONSTANT_POWERS,
)
negative = primitive(
    operator.neg, lambda g, out, x: -g, name="negative", notation="-{0}", domain=REAL
)
positive = primitive(operator.pos, lambda g, out, x: g, name="positive", domain=REAL)
implements(np.add)(add)
implements(np.subtract)(subtract)
implements(np.multiply)(multiply)
implements(np.divide)(divide)
implements(np.power)(power)
implements(np.negative)(negative)
implements(np.positive)(positive)

square = primitive(np.square, lambda g, out, x: g * 2 * x, notation="{0}^2", domain=REAL)
reciprocal = primitive(
    np.reciprocal,
    lambda g, out, x: -(g * out) * out,
    notation=r"\frac{{1}}{{{0}}}",
    domain=POSITIVE,
)

# Powers, exponentials, logarithms.

sqrt = primitive(
    np.sqrt,
    lambda g, out, x: g / (2 * out),
    notation=r"\sqrt{{{0}}}",
    domain=POSITIVE,
)
cbrt = primitive(
    np.cbrt,
    lambda g, out, x: g / (3 * out**2),
    notation=r"\sqrt[3]{{{0}}}",
    domain=Domain((0.1, 3)),
)
exp = primitive(np.exp, lambda g, out, x: g * out, notation="e^{{{0}}}", domain=REAL)
exp2 = primitive(
    np.exp2, lambda g, out, x: g * out * digits(LOG_2, x), notation="2^{{{0}}}", domain=REAL
)
expm1 = primitive(
    np.expm1,
    lambda g, out, x: g * np.exp(x),  # out + 1 has no digits where out is near -1
    notation="e^{{{0}}} - 1",
    domain=REAL,
)
log = primitive(np.log, lambda g, out, x: g / x, notation=r"\ln {0}", domain=POSITIVE)
log2 = primitive(
    np.log2,
    lambda g, out, x: g / (x * digits(LOG_2, x)),
    notation=r"\log_2 {0}",
    domain=POSITIVE,
)
log10 = primitive(
    np.log10,
    lambda g, out, x: g / (x * digits(LOG_10, x)),
    notation=r"\log_{{10}} {0}",
    domain=POSITIVE,
)
log1p = primitive(
    np.log1p,
    lambda g, out, x: g / (1 + x),
    notation=r"\ln(1 + {0})",
    domain=Domain((-0.9, 3), complex=True),
)
logaddexp = primitive(
    np.logaddexp,
    # the sigmoid of x - y; e^(x - out) would have the rounding of a large out
    lambda g, out, x, y: g * np.exp(-np.logaddexp(0, difference(y, x))),
    lambda g, out, x, y: g * np.exp(-np.logaddexp(0, difference(x, y))),
    notation=r"\ln(e^{{{0}}} + e^{{{1}}})",
)
logaddexp2 = primitive(
    np.logaddexp2,
    lambda g, out, x, y: g * np.exp2(-np.logaddexp2(0, difference(y, x))),
    lambda g, out, x, y: g * np.exp2(-np.logaddexp2(0, difference(x, y))),
    notation=r"\log_2(2^{{{0}}} + 2^{{{1}}})",
)

# Trigonometric and hyperbolic functions and their inverses.

sin = primitive(np.sin, lambda g, out, x: g * np.cos(x), notation=r"\sin {0}", domain=REAL)
cos = primitive(np.cos, lambda g, out, x: -g * np.sin(x), notation=r"\cos {0}", domain=REAL)
tan = primitive(
    np.tan,
    lambda g, out, x: g * (1 + out * out),
    notation=r"\tan {0}",
    domain=Domain((-1.3, 1.3), complex=True),
)
INSIDE = Domain((-0.9, 0.9), complex=True)
arcsin = primitive(
    np.arcsin,
    lambda g, out, x: g / np.sqrt(one_minus_square(x)),
    notation=r"\arcsin {0}",
    domain=INSIDE,
)
arccos = primitive(
    np.arccos,
    lambda g, out, x: -g / np.sqrt(one_minus_square(x)),
    notation=r"\arccos {0}",
    domain=INSIDE,
)
arctan = primitive(
    np.arctan,
    lambda g, out, x: g / (1 + x * x),
    notation=r"\arctan {0}",
    domain=REAL,
)
sinh = primitive(np.sinh, lambda g, out, x: g * np.cosh(x), notation=r"\sinh {0}", domain=REAL)
cosh = primitive(np.cosh, lambda g, out, x: g * np.sinh(x), notation=r"\cosh {0}", domain=REAL)
tanh = primitive(np.tanh, lambda g, out, x: g * (1 - out * out), notation=r"\tanh {0}", domain=REAL)
arcsinh = primitive(
    np.arcsinh,
    lambda g, out, x: g / np.cosh(out),
    notation=r"\operatorname{{arsinh}} {0}",
    domain=REAL,
)
arccosh = primitive(
    np.arccosh,
    # not √(x² - 1), which has another branch cut
    lambda g, out, x: g / np.sinh(out),
    notation=r"\operatorname{{arcosh}} {0}",
    domain=Domain((1.2, 4), complex=True),
)
arctanh = primitive(
    np.arctanh,
    lambda g, out, x: g / one_minus_square(x),
    notation=r"\operatorname{{artanh}} {0}",
    domain=INSIDE,
)
hypot = primitive(
    np.hypot,
    even(lambda g, out, x, y: g * (x / radius(x, y)), lambda q, out, x, y: q * x),
    even(lambda g, out, x, y: g * (y / radius(x, y)), lambda q, out, x, y: q * y),
    notation=r"\sqrt{{{0}^2 + {1}^2}}",
    domain=Domain(((0.2, 3), (-3, 3))),
    choice="gradient 0 at the origin",
)
arctan2 = primitive(
    np.arctan2,
    lambda g, out, y, x: g * (x / radius(x, y)) / radius(x, y),
    lambda g, out, y, x: -g * (y / radius(x, y)) / radius(x, y),
    notation=r"\operatorname{{atan2}}({0}, {1})",
    domain=Domain(((-3, 3), (0.2, 3))),
    choice="gradient 0 at the origin",
)
deg2rad = primitive(np.deg2rad, lambda g, out, x: g * digits(DEGREE, x))
rad2deg = primitive(np.rad2deg, lambda g, out, x: g * digits(1 / DEGREE, x))
implements(np.radians)(deg2rad)
implements(np.degrees)(rad2deg)

# Functions with corners and ties.


def by_direction(g: Array, out: Array, x: Array) -> Array:
    """z/|z| turns as z moves across its direction; on the real line it cannot."""
    if x.dtype.kind != "c":
        return 0.0
    r = np.absolute(x)
    return 1j * np.imag(g * out) * np.conjugate(out) / (r + (r == 0))


CORNER = Domain(kink=lambda x: x, also=Domain(make=lambda x: (x + 0.7j,)))
sign = primitive(
    np.sign,
    by_direction,
    notation=r"\operatorname{{sgn}} {0}",
    domain=CORNER,
    choice="sgn' = 0 at 0",
)
absolute = primitive(
    np.absolute,
    even(
        lambda g, out, x: g * conj(np.sign(x)),  # conj(z)/|z|
        lambda q, out, x: q * conj(x),
    ),
    notation=r"\lvert {0} \rvert",
    domain=CORNER,
    choice="|x|' = 0 at 0",
)
fabs = primitive(
    np.fabs,
    even(lambda g, out, x: g * np.sign(x), lambda q, out, x: q * x),
    notation=r"\lvert {0} \rvert",
    domain=Domain(kink=lambda x: x),
    choice="|x|' = 0 at 0",
)
TIES = Domain(kink=lambda x, y: x - y)
SHARED = "equal entries share the gradient equally"
maximum = primitive(
    np.maximum,
    lambda g, out, x, y: only(x > y, g) + only(x == y, g / 2),
    lambda g, out, x, y: only(y > x, g) + only(x == y, g / 2),
    notation=r"\max({0}, {1})",
    domain=TIES,
    choice=SHARED,
)
minimum = primitive(
    np.minimum,
    lambda g, out, x, y: only(x < y, g) + only(x == y, g / 2),
    lambda g, out, x, y: only(y < x, g) + only(x == y, g / 2),
    notation=r"\min({0}, {1})",
    domain=TIES,
    choice=SHARED,
)


def by_first(g: Array, out: Array, x: Array, y: Array) -> Array:
    """`x` was taken, also where `y` is NaN."""
    return only((x == out) & (x != y), g) + only(x == y, g / 2)


def by_second(g: Array, out: Array, x: Array, y: Array) -> Array:
    return by_first(g, out, y, x)


fmax = primitive(
    np.fmax, by_first, by_second, notation=r"\max({0}, {1})", domain=TIES, choice=SHARED
)
fmin = primitive(
    np.fmin, by_first, by_second, notation=r"\min({0}, {1})", domain=TIES, choice=SHARED
)
clip = primitive(
    lambda x, low, high: np.minimum(np.maximum(x, low), high),
    lambda g, out, x, low, high: only((low <= x) & (x <= high), g),
    lambda g, out, x, low, high: only((x < low) & (low <= high), g),
    lambda g, out, x, low, high: only((x > high) | (low > high), g),
    name="clip",
    notation=r"\operatorname{{clip}}({0}, {1}, {2})",
    domain=Domain(((-3, 3), (-2, 0), (0.2, 2)), kink=lambda x, low, high: (x - low) * (x - high)),
    choice="slope 1 on both limits",
    batch=elementwise,
)


PYTHON = bool, int, float  # weak: they take the dtype of an array


def ends(dtype: np.dtype) -> tuple[Any, Any]:
    """The least and the greatest of a dtype: as limits they change nothing, nor the dtype."""
    if dtype.kind in "iu":
        return tuple(map(dtype.type, (np.iinfo(dtype).min, np.iinfo(dtype).max)))
    return (False, True) if dtype.kind == "b" else (-np.inf, np.inf)


@implements(np.clip)
def clip_between(
    a: Array,
    a_min: Array = None,
    a_max: Array = None,
    out: None = None,
    *,
    min: Array = None,
    max: Array = None,
) -> Array:
    """`np.clip` in both its spellings; a missing limit limits nothing."""
    if out is not None:
        raise TypeError("np.clip: out= has no gradient; take the result instead")
    low, high = a_min if min is None else min, a_max if max is None else max
    if np.iscomplexobj(a) or np.iscomplexobj(low) or np.iscomplexobj(high):
        raise TypeError("clip: complex numbers are not in order; clip np.real and np.imag of them")
    if low is None or high is None:
        given = [x for x in (a, low, high) if x is not None]
        least, most = ends(
            np.result_type(*(x if type(x) in PYTHON else as_array(x).dtype for x in given))
        )
        low, high = least if low is None else low, most if high is None else high
    return clip(a, low, high)


where = primitive(
    np.where,
    flat,
    lambda g, out, condition, x, y: np.where(condition, g, 0),
    lambda g, out, condition, x, y: np.where(condition, 0, g),
    name="where",
    notation=r"\begin{{cases}} {1} & \text{{if }} {0} \\ {2} & \text{{else}} \end{{cases}}",
    domain=Domain(
        kink=lambda condition, x, y: condition,
        make=lambda condition, x, y: (with_zeros(condition), x, y),
    ),
    batch=elementwise,
)


@implements(np.where)
def where_or_nonzero(condition: Array, *choices: Array) -> Array:
    """`np.where`; of a condition alone, the indices where it holds."""
    return where(condition, *choices) if choices else np.nonzero(condition)


# The same numbers in another array.

copy = primitive(
    lambda x, order="K": copied(x, order=order),
    lambda g, out, x, order="K": g,
    name="copy",
    domain=REAL,
    batch=elementwise,
)
implements(np.copy)(copy)
astype = primitive(
    lambda x, dtype: kept(as_array(x).astype(dtype)[()]),
    lambda g, out, x, dtype=None: g,
    name="astype",
    domain=Domain(params=lambda shape: ({"dtype": np.float64},)),
    batch=elementwise,
)
cast = primitive(
    lambda x, dtype: rounded(x, dtype),
    lambda g, out, x, dtype=None: g,
    name="cast",
    domain=Domain(params=lambda shape: ({"dtype": np.float64},)),
    batch=elementwise,
)
"""`astype`, in silence where a number is too large for the dtype; so does `amp` convert."""
