"""Functions with steps: rounding, remainders, the parts of a number.

Choices: between its steps such a function is flat, and so it is taken to be at them (`floor`,
`round`, `heaviside`, ...). A remainder has slope 1 in the dividend, at its jumps too; the slope of
`copysign` is 0 where the first operand is 0, that of a mantissa (`frexp`) 1 there.
"""

from __future__ import annotations

import math
import operator
from typing import Any

import numpy as np

from tensorgrad.engine.arrays import as_array
from tensorgrad.engine.batching import along, elementwise
from tensorgrad.engine.domain import Domain, Shape, one_axis, with_zeros
from tensorgrad.engine.node import Array
from tensorgrad.engine.primitive import Primitive, implements, primitive
from tensorgrad.engine.rules import flat
from tensorgrad.ops.constant import on_data
from tensorgrad.ops.elementwise import only


def from_integer(x: Array) -> Array:
    return x - np.round(x)


STEPS = Domain(kink=from_integer)
FLAT = "slope 0 at the steps"

floor = primitive(np.floor, flat, notation=r"\lfloor {0} \rfloor", domain=STEPS, choice=FLAT)
ceil = primitive(np.ceil, flat, notation=r"\lceil {0} \rceil", domain=STEPS, choice=FLAT)
trunc = primitive(np.trunc, flat, domain=STEPS, choice=FLAT)
implements(np.fix)(trunc)
rint = primitive(np.rint, flat, domain=Domain(kink=lambda x: from_integer(x + 0.5)), choice=FLAT)


def decimal_places(shape: Shape) -> Any:
    return [{}, {"decimals": -1}]


def flat_at_all_places(g: Array, out: Array, x: Array, decimals: int = 0) -> Array:
    return 0.0


round = primitive(
    np.round,
    flat_at_all_places,
    domain=Domain(params=decimal_places, kink=lambda x: from_integer(x + 0.5)),
    choice=FLAT,
    batch=elementwise,
)
implements(np.around)(round)
spacing = primitive(np.spacing, flat, choice=FLAT)
nextafter = primitive(
    np.nextafter, lambda g, out, x, y: g, flat, choice="slope 1 in the first operand"
)
heaviside = primitive(
    np.heaviside,
    flat,
    lambda g, out, x, y: only(x == 0, g),
    notation=r"\Theta({0})",
    domain=Domain(kink=lambda x, y: x, make=lambda x, y: (with_zeros(x), y)),
    choice="slope 0 at the step",
)
copysign = primitive(
    np.copysign,
    lambda g, out, x, y: g * np.sign(x) * np.copysign(1, y),
    flat,
    notation=r"\lvert {0} \rvert \operatorname{{sgn}} {1}",
    domain=Domain(kink=lambda x, y: x * y),
    choice="slope 0 where the first operand is 0, or the second",
)

# Quotients without a fraction, and what they leave.

QUOTIENT = Domain(((-3, 3), (1, 3)), kink=lambda x, y: from_integer(x / y))
JUMPS = "at the jumps, the slope on either side"
floor_divide = primitive(
    operator.floordiv,
    flat,
    flat,
    name="floor_divide",
    notation=r"\left\lfloor \frac{{{0}}}{{{1}}} \right\rfloor",
    domain=QUOTIENT,
    choice=FLAT,
)
remainder = primitive(
    operator.mod,
    lambda g, out, x, y: g,
    lambda g, out, x, y: -g * np.floor_divide(x, y),
    name="remainder",
    notation=r"{0} \bmod {1}",
    domain=QUOTIENT,
    choice=JUMPS,
)
implements(np.floor_divide)(floor_divide)
implements(np.remainder)(remainder)
fmod = primitive(
    np.fmod,
    lambda g, out, x, y: g,
    lambda g, out, x, y: -g * np.rint((x - out) / y),
    domain=QUOTIENT,
    choice=JUMPS,
)


@implements(np.divmod)
def divmod(x1: Array, x2: Array) -> tuple[Array, Array]:
    """The quotient rounded down, and the remainder."""
    return floor_divide(x1, x2), remainder(x1, x2)


# The parts of a number.

fraction = primitive(
    lambda x: np.modf(x)[0],
    lambda g, out, x: g,
    name="fraction",
    domain=STEPS,
    choice=JUMPS,
    batch=elementwise,
)


@implements(np.modf)
def modf(x: Array) -> tuple[Array, Array]:
    """The fractional and the integral part, both with the sign of `x`."""
    part = fraction(x)
    return part, as_array(np.trunc(x), part.dtype)


def exponents(x: Array) -> Array:
    """n in x = m 2ⁿ with 1/2 <= |m| < 1."""
    return np.frexp(x)[1]


exponent = on_data(exponents, elementwise)
mantissa = primitive(
    lambda x: np.frexp(x)[0],
    lambda g, out, x: np.ldexp(g, -exponent(x)),
    name="mantissa",
    domain=Domain((0.5, 3), kink=lambda x: from_integer(np.log2(x))),
    choice="slope 1 at 0",
    batch=elementwise,
)
# Not in the registry, as its second operand is drawn from the integers.
ldexp = implements(np.ldexp)(
    Primitive(np.ldexp, (lambda g, out, x, n: np.ldexp(g, n), flat), "ldexp")
)


@implements(np.frexp)
def frexp(x: Array) -> tuple[Array, Array]:
    """The mantissa, and the exponent, which is plain integers."""
    return mantissa(x), exponent(x)


# Jumps taken out.

unwrap = primitive(
    np.unwrap,
    lambda g, out, x, discont=None, axis=-1, period=2 * math.pi: g,  # moved by whole periods
    domain=Domain((-1.5, 1.5), params=one_axis),
    batch=along,
)
