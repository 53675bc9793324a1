"""Attention: each query takes a mean of the values, with weights by how its keys agree with it.

Queries (..., L, d), keys (..., S, d), values (..., S, v), and a mask M (..., L, S) or none: True
where a query may look, or numbers to be added to the scores. Choice: a query that may look nowhere
gets 0, and has gradient 0.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from tensorgrad.engine.arrays import as_array
from tensorgrad.engine.domain import Domain, Shape
from tensorgrad.engine.node import Array
from tensorgrad.engine.primitive import Primitive, primitive
from tensorgrad.engine.rules import Together
from tensorgrad.ops.nn.activation import reals
from tensorgrad.ops.nn.softmax import top
from tensorgrad.ops.reduce import wide


def transposed(x: Array) -> Array:
    return np.swapaxes(x, -1, -2)


def scale_of(k: Array, scale: float | None) -> float:
    """The factor of the scores, 1/√d by default: so their variance is that of the entries."""
    return max(k.shape[-1], 1) ** -0.5 if scale is None else scale


def masked(s: Array, m: Array) -> Array:
    if m.dtype.kind == "b":
        if s.dtype != object:
            return np.where(m, s, -np.inf)  # nobody asks what stands elsewhere, be it NaN
        m = np.where(m, 0, -np.inf)  # of the scalars that `zoom` takes a forward apart into
    return s + m if s.dtype == object else np.where(m == -np.inf, m, s + m)


def weights(q: Array, k: Array, *mask: Array, scale: float | None = None) -> Array:
    s = reals(q) * scale_of(k, scale) @ transposed(reals(k))
    s = masked(s, *mask) if mask else s
    x = wide(s)
    largest = top(x, -1)
    e = np.exp(x - np.where(np.isfinite(largest), largest, 0))
    # at least 1, what the largest adds, but of a row that leaves out all
    total = np.maximum(e.sum(axis=-1, keepdims=True), 1)
    return as_array(e / total, s.dtype)


def mean_of_values(q: Array, k: Array, v: Array, *mask: Array, scale: float | None = None) -> Array:
    return weights(q, k, *mask, scale=scale) @ v


def pulled(ds: Array, q: Array, k: Array, scale: float | None) -> tuple[Array, Array]:
    """From the cotangent of the scores to those of queries and keys."""
    scale = scale_of(k, scale)
    return scale * (ds @ k), scale * (transposed(ds) @ q)


def weights_rule(
    g: Array, out: Array, q: Array, k: Array, *mask: Array, scale: float | None = None
) -> tuple[Array, ...]:
    """Through the softmax, ds = a (g - Σ g a)."""
    ds = out * (g - np.sum(wide(g * out), axis=-1, keepdims=True))
    return *pulled(ds, q, k, scale), ds


def mean_rule(
    g: Array, out: Array, q: Array, k: Array, v: Array, *mask: Array, scale: float | None = None
) -> tuple[Array, ...]:
    """The weights are computed anew: to keep them would take L x S numbers for each head.

    Σ da a, over the keys, is Σ g out over the entries of a value (Dao et al. 2022, section 3).
    """
    a = attention_weights(q, k, *mask, scale=scale)
    ds = a * (g @ transposed(v) - np.sum(wide(g * out), axis=-1, keepdims=True))
    return *pulled(ds, q, k, scale), transposed(a) @ g, ds  # ds is the mask's, if there is one


SOFTMAX = r"\operatorname{{softmax}}({0} {1}^{{\top}} / \sqrt{{d}}"


def some_scales(*shapes: Shape) -> list[dict[str, float]]:
    return [{}, {"scale": 0.5}]


def calls(operands: str, looking: Any) -> Domain:
    """With numbers for a mask, with booleans, and without one."""
    without = Domain(signature=operands, params=some_scales)
    seen = Domain(params=some_scales, make=looking, also=without)
    return Domain(params=some_scales, also=seen)


attention_weights: Primitive = primitive(
    weights,
    Together(weights_rule),
    name="attention_weights",
    notation=lambda q=(), k=(), *mask: SOFTMAX + (" + {2})" if mask else ")"),
    signature="(l,d),(s,d),(l,s)",
    domain=calls("(l,d),(s,d)", lambda q, k, m: (q, k, m > 0)),
    choice="a query that may look nowhere gets 0",
)
attention = primitive(
    mean_of_values,
    Together(mean_rule),
    name="attention",
    notation=lambda q=(), k=(), v=(), *mask: SOFTMAX + (" + {3}) {2}" if mask else ") {2}"),
    signature="(l,d),(s,d),(s,v),(l,s)",
    domain=calls("(l,d),(s,d),(s,v)", lambda q, k, v, m: (q, k, v, m > 0)),
    choice="a query that may look nowhere gets 0",
)
