"""What the declarations of special functions share."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import scipy.special

from tensorgrad.engine.batching import elementwise
from tensorgrad.engine.domain import Domain
from tensorgrad.engine.node import Array
from tensorgrad.engine.primitive import Primitive, implements, primitive
from tensorgrad.engine.rules import Refused, Rule
from tensorgrad.ops.several import pack, unpack


class Ufuncs:
    """`scipy.special`, with its ufuncs as such: under SCIPY_ARRAY_API=1 there are functions around
    them, which look for arrays of other libraries.
    """

    def __getattr__(self, name: str) -> Any:
        function = getattr(scipy.special, name)
        inner = getattr(function, "__wrapped__", None)
        numpys = inner is getattr(np, name, function)  # sinc
        found = inner if numpys or isinstance(inner, np.ufunc) else function
        setattr(self, name, found)  # asked for once: a rule would wait 1 µs for each
        return found


special: Any = Ufuncs()


def constant(function: Any, operand: str) -> Rule:
    """The rule of an order or a shape parameter: there is none."""

    return Refused(f"{function.__name__}: its derivative by {operand}")


def whole(count: int = 1) -> Callable[..., tuple[Array, ...]]:
    """What makes the first operands, degrees or counts, the integers that SciPy takes there."""
    return lambda *xs: (*(np.rint(x).astype(int) for x in xs[:count]), *xs[count:])


def slopes(of: Callable[..., Sequence[Array]]) -> Rule:
    """The rule of an operand of several results: `of(results, *operands)` has their derivatives."""

    def rule(g: Array, out: Array, *operands: Array) -> Array:
        cores = [()] * g.shape[-1]
        pairs = zip(unpack(g, cores), of(unpack(out, cores), *operands))
        return sum(c * slope for c, slope in pairs)

    return rule


def several(function: np.ufunc, *rules: Rule, domain: Domain) -> Primitive:
    """Declare a ufunc of several results: one primitive that packs them."""
    cores = [()] * function.nout
    packed = primitive(
        lambda *xs: pack(function(*xs), cores),
        *rules,
        name=function.__name__,
        domain=domain,
        batch=elementwise,
    )

    @implements(function)
    def results(*xs: Array) -> tuple[Array, ...]:
        return tuple(unpack(packed(*xs), cores))

    return packed
