"""Squashing functions. Choice: relu'(0) = 0."""

from __future__ import annotations

import numpy as np

from tensorgrad.engine.batching import elementwise
from tensorgrad.engine.domain import REAL, Domain
from tensorgrad.engine.node import Array
from tensorgrad.engine.primitive import Primitive, primitive
from tensorgrad.ops.elementwise import only

FLOAT = np.dtype(float)


def floats(x: Array) -> Array:
    """Integers and booleans as float64, as in SciPy; all else as it is."""
    return x.astype(float) if getattr(x, "dtype", FLOAT).kind in "biu" else x


@np.errstate(over="ignore")
def logistic(x: Array) -> Array:
    """1 / (1 + e⁻ˣ). Where e⁻ˣ overflows the answer, 0, is right: only the warning is not."""
    d = np.exp(-floats(x))
    d += 1  # in place: it is our own
    return np.reciprocal(d)


sigmoid = primitive(
    logistic,
    lambda g, out, x: g * out * (1 - out),
    name="sigmoid",
    notation=r"\sigma({0})",
    domain=REAL,
    batch=elementwise,
)


def rectified(x: Array) -> Array:
    """max(0, x), NaN for NaN. (On a number np.maximum takes 0.6 µs, comparing 0.1.)"""
    if isinstance(x, np.floating):
        return type(x)(0) if x <= 0 else x
    return np.maximum(x, 0)


relu = primitive(
    rectified,
    lambda g, out, x: only(x > 0, g),
    name="relu",
    notation=r"\max(0, {0})",
    domain=Domain(kink=lambda x: x),
    batch=elementwise,
    choice="relu'(0) = 0",
)
# σ as the slope of other functions: differentiated it keeps its digits where 1 - out has none.
exact_sigmoid: Primitive = primitive(
    logistic,
    lambda g, out, x: g * out * exact_sigmoid(-x),
    name="exact_sigmoid",
    notation=r"\sigma({0})",
    domain=REAL,
    batch=elementwise,
)
softplus = primitive(
    lambda x: np.logaddexp(x, 0),
    lambda g, out, x: g * exact_sigmoid(x),
    name="softplus",
    notation=r"\ln(1 + e^{{{0}}})",
    batch=elementwise,
)
