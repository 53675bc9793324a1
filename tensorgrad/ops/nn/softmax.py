"""Softmax, its logarithm, and logsumexp.

Subtracting the largest entry changes nothing but the range of e^x. Choice: infinite entries that
tie share the gradient of logsumexp equally.
"""

from __future__ import annotations

import numpy as np

from tensorgrad.engine.arrays import as_array
from tensorgrad.engine.batching import reduction
from tensorgrad.engine.domain import Domain, axes, one_axis
from tensorgrad.engine.node import Array, data_of
from tensorgrad.engine.primitive import primitive
from tensorgrad.ops.elementwise import difference
from tensorgrad.ops.nn.activation import floats
from tensorgrad.ops.reduce import Axis, unreduce, wide

numbers = np.vectorize(data_of, otypes=[float])


def top(x: Array, axis: Axis) -> Array:
    """The largest entry, as a constant."""
    if x.dtype == object:  # scalars that `zoom` takes a forward apart into
        x = numbers(x)
    if 0 in x.shape:
        return x.sum(axis=axis, keepdims=True) - np.inf
    return x.max(axis=axis, keepdims=True)


def shares(x: Array, axis: int = -1) -> Array:
    x = floats(x)
    e = np.exp(x - top(x, axis))
    return as_array(e / wide(e).sum(axis=axis, keepdims=True), e.dtype)


def log_shares(x: Array, axis: int = -1) -> Array:
    x = floats(x)
    x = x - top(x, axis)
    with np.errstate(divide="ignore"):  # along an empty axis: log 0, which nothing is left to see
        return as_array(x - np.log(wide(np.exp(x)).sum(axis=axis, keepdims=True)), x.dtype)


def log_of_sum(x: Array, axis: Axis = None, keepdims: bool = False) -> Array:
    x = floats(x)
    largest = top(x, axis)
    largest = np.where(np.isfinite(largest), largest, 0)  # an infinite one stands for itself
    with np.errstate(divide="ignore"):  # an empty sum: log 0 = -inf
        out = np.log(np.sum(wide(np.exp(x - largest)), axis=axis, keepdims=True)) + largest
    out = as_array(out, x.dtype)
    return out if keepdims else np.squeeze(out, axis)[()]


softmax = primitive(
    shares,
    lambda g, out, x, axis=-1: out * (g - np.sum(wide(g * out), axis=axis, keepdims=True)),
    name="softmax",
    notation=r"\operatorname{{softmax}}_{{{axis}}} {0}",
    domain=Domain(params=one_axis),
    batch=reduction,
)
log_softmax = primitive(
    log_shares,
    lambda g, out, x, axis=-1: g - np.exp(out) * np.sum(wide(g), axis=axis, keepdims=True),
    name="log_softmax",
    notation=r"\ln \operatorname{{softmax}}_{{{axis}}} {0}",
    domain=Domain(params=one_axis),
    batch=reduction,
)
logsumexp = primitive(
    log_of_sum,
    # e^(x - out) has the rounding of out, and equal infinities have no difference
    lambda g, out, x, axis=None, keepdims=False: (
        unreduce(g, axis, keepdims)
        * softmax(difference(x, unreduce(out, axis, keepdims)), axis=axis)
    ),
    name="logsumexp",
    notation=r"\ln \sum_{{{axis}}} e^{{{{{0}}}_{{{indices}}}}}",
    domain=Domain(params=lambda shape: axes(shape) if 0 not in shape else ()),  # ln 0 = -∞
    batch=reduction,
)
