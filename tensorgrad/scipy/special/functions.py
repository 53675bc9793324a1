"""What SciPy writes in Python: its own turn their arguments into arrays first, which a Value that
requires grad refuses. These have the same names, arguments and results.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from tensorgrad.engine.arrays import as_array
from tensorgrad.engine.node import Array
from tensorgrad.engine.primitive import implements
from tensorgrad.ops import nn as ops
from tensorgrad.ops.reduce import Axis
from tensorgrad.scipy.special.declare import special


@implements(special.softmax)
def softmax(x: Array, axis: Axis = None) -> Array:
    """`scipy.special.softmax`: e^x, divided by its sum over `axis`.

    >>> from tensorgrad import Value
    >>> x = Value([0.0, 0.0])
    >>> softmax(x)[0].backward()
    >>> x.grad
    array([ 0.25, -0.25])
    """
    return ops.softmax.softmax(x, axis=axis)


@implements(special.log_softmax)
def log_softmax(x: Array, axis: Axis = None) -> Array:
    """`scipy.special.log_softmax`: the logarithm of `softmax`, at any magnitude."""
    return ops.softmax.log_softmax(x, axis=axis)


if hasattr(special, "softplus"):  # since SciPy 1.17

    @implements(special.softplus)
    def softplus(x: Array) -> Array:
        """`scipy.special.softplus`: ln(1 + e^x), at any magnitude."""
        return np.logaddexp(0, x)


@implements(special.logsumexp)
def logsumexp(
    a: Array,
    axis: Axis = None,
    b: Array = None,
    keepdims: bool = False,
    return_sign: bool = False,
) -> Any:
    """`scipy.special.logsumexp`: ln Σ b e^a over `axis`, and with `return_sign` the sum's sign."""
    if b is None and not return_sign:
        return ops.softmax.logsumexp(a, axis=axis, keepdims=keepdims)
    b = as_array(1.0 if b is None else b)
    used = np.where(b == 0, -np.inf, a.detach() if hasattr(a, "detach") else a)
    top = np.max(used, axis=axis, keepdims=True)
    top = np.where(np.isfinite(top), top, 0)
    huge = (b == 0) & (a - top > 80)  # without weight, but 0 times infinity would be NaN
    total = np.sum(b * np.exp(np.where(huge, 0, a - top)), axis=axis, keepdims=keepdims)
    with np.errstate(divide="ignore", invalid="ignore"):  # ln 0 = -inf; a negative sum has none
        out = np.log(np.abs(total) if return_sign else total)
    out = out + (top if keepdims else np.squeeze(top, axis))
    return (out, np.sign(total)) if return_sign else out
