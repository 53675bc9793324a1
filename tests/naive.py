"""A deliberately naive engine: an object and a closure for every number, and recursion.

Of tensorgrad it knows nothing. NumPy makes tensors of it: an array of Numbers adds, sums and is
indexed like any other, and `np.exp` of it asks each for its `exp()`. The closures compute with
Numbers too, so a derivative can be differentiated again.
"""

from __future__ import annotations

import math
from typing import Any


class Number:
    """A number `x`, the `operands` it was computed from, and the closure that hands `g` to them."""

    def __init__(self, x: float, operands: Any = (), rule: Any = lambda g: ()) -> None:
        self.x, self.operands, self.rule = float(x), operands, rule

    def __add__(x, y: Any) -> Number:
        y = number(y)
        return Number(x.x + y.x, (x, y), lambda g: (g, g))

    def __sub__(x, y: Any) -> Number:
        y = number(y)
        return Number(x.x - y.x, (x, y), lambda g: (g, -g))

    def __mul__(x, y: Any) -> Number:
        y = number(y)
        return Number(x.x * y.x, (x, y), lambda g: (g * y, g * x))

    def __truediv__(x, y: Any) -> Number:
        y = number(y)
        return Number(x.x / y.x, (x, y), lambda g: (g / y, -g * x / (y * y)))

    def __pow__(x, y: Any) -> Number:
        if not isinstance(y, Number):
            return Number(x.x**y, (x,), lambda g: (g * y * x ** (y - 1),))
        return Number(x.x**y.x, (x, y), lambda g: (g * y * x ** (y - 1), g * x**y * x.log()))

    __radd__, __rmul__ = __add__, __mul__
    __rsub__ = lambda x, y: number(y) - x
    __rtruediv__ = lambda x, y: number(y) / x
    __rpow__ = lambda x, y: number(y) ** x
    __pos__ = lambda x: Number(x.x, (x,), lambda g: (g,))
    __neg__ = lambda x: Number(-x.x, (x,), lambda g: (-g,))
    __abs__ = lambda x: Number(abs(x.x), (x,), lambda g: (g * ((x.x > 0) - (x.x < 0)),))
    relu = lambda x: Number(max(x.x, 0), (x,), lambda g: (g * (x.x > 0),))
    exp = lambda x: Number(math.exp(x.x), (x,), lambda g: (g * x.exp(),))
    log = lambda x: Number(math.log(x.x), (x,), lambda g: (g / x,))
    sin = lambda x: Number(math.sin(x.x), (x,), lambda g: (g * x.cos(),))
    cos = lambda x: Number(math.cos(x.x), (x,), lambda g: (-g * x.sin(),))
    tanh = lambda x: Number(math.tanh(x.x), (x,), lambda g: (g * (1 - x.tanh() * x.tanh()),))
    sqrt = lambda x: Number(math.sqrt(x.x), (x,), lambda g: (g / (2 * x.sqrt()),))

    def maximum(x, y: Number) -> Number:
        share = 0.5 if x.x == y.x else x.x > y.x
        return Number(max(x.x, y.x), (x, y), lambda g: (g * share, g * (1 - share)))


number = lambda x: x if isinstance(x, Number) else Number(x)


def in_order(x: Number, found: dict[Number, Any]) -> dict[Number, Any]:
    """What `x` was computed from, each after its operands; `x` is the last."""
    if x not in found:
        for operand in x.operands:
            in_order(operand, found)
        found[x] = None
    return found


def derivatives(y: Number) -> dict[Number, Number]:
    """dy/dx for every Number x that y was computed from, itself included."""
    found = {y: Number(1)}
    for x in reversed(in_order(y, {})):
        for operand, g in zip(x.operands, x.rule(found[x])):
            found[operand] = found[operand] + g if operand in found else g
    return found
