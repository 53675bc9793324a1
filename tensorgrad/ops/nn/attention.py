"""Attention: each query takes a mean of the values, with weights by how its keys agree with it.

Queries (..., L, d), keys (..., S, d), values (..., S, v), a mask M (..., L, S): True where a query
may look, or numbers to be added to the scores. Choice: a query that may look nowhere has weights
and gradients 0.
"""

from __future__ import annotations

import numpy as np

from tensorgrad.engine.arrays import as_array
from tensorgrad.engine.domain import Domain, Shape
from tensorgrad.engine.node import Array
from tensorgrad.engine.primitive import Primitive, primitive
from tensorgrad.engine.rules import Together
from tensorgrad.ops.nn.activation import floats
from tensorgrad.ops.nn.softmax import top
from tensorgrad.ops.reduce import wide

EVERYWHERE = True  # the mask that leaves out nothing


def transposed(x: Array) -> Array:
    return np.swapaxes(x, -1, -2)


def scale_of(k: Array, scale: float | None) -> float:
    """The factor of the scores, 1/√d by default: so their variance is that of the entries."""
    return max(k.shape[-1], 1) ** -0.5 if scale is None else scale


def masked(s: Array, m: Array) -> Array:
    if m is EVERYWHERE:
        return s
    if m.dtype.kind == "b":
        if s.dtype != object:
            return np.where(m, s, -np.inf)  # nobody asks what stands elsewhere, be it NaN
        m = np.where(m, 0, -np.inf)  # of the scalars that `zoom` takes a forward apart into
    return s + m


def weights(q: Array, k: Array, m: Array, scale: float | None = None) -> Array:
    s = masked(floats(q) * scale_of(k, scale) @ transposed(k), m)
    x = wide(s)
    largest = top(x, -1)
    e = np.exp(x - np.where(np.isfinite(largest), largest, 0))
    # at least 1, what the largest adds, but of a row that leaves out all
    total = np.maximum(e.sum(axis=-1, keepdims=True), 1)
    return as_array(e / total, s.dtype)


def mean_of_values(q: Array, k: Array, v: Array, m: Array, scale: float | None = None) -> Array:
    return weights(q, k, m, scale) @ v


def pulled(ds: Array, q: Array, k: Array, scale: float | None) -> tuple[Array, Array]:
    """From the cotangent of the scores to those of queries and keys."""
    scale = scale_of(k, scale)
    return ds @ k * scale, transposed(ds) @ q * scale


def weights_rule(
    g: Array, out: Array, q: Array, k: Array, m: Array, *, scale: float | None = None
) -> tuple[Array, ...]:
    """Through the softmax, ds = a (g - Σ g a)."""
    ds = out * (g - np.sum(wide(g * out), axis=-1, keepdims=True))
    return *pulled(ds, q, k, scale), ds


def mean_rule(
    g: Array, out: Array, q: Array, k: Array, v: Array, m: Array, *, scale: float | None = None
) -> tuple[Array, ...]:
    """The weights are computed anew: to keep them would take L x S numbers for each head.

    Σ da a, over the keys, is Σ g out over the entries of a value (Dao et al. 2022, section 3).
    """
    a = attention_weights(q, k, m, scale=scale)
    ds = a * (g @ transposed(v) - np.sum(wide(g * out), axis=-1, keepdims=True))
    dq, dk = pulled(ds, q, k, scale)
    return dq, dk, transposed(a) @ g, ds


def softmax_of(mask: str) -> str:
    """softmax(QKᵀ/√d + M), with the mask's number where there is one."""
    plus = f" + {{{mask}}}" * bool(mask)
    return rf"\operatorname{{{{softmax}}}}({{0}} {{1}}^{{{{\top}}}} / \sqrt{{{{d}}}}{plus})"


def some_scales(*shapes: Shape) -> list[dict[str, float]]:
    return [{}, {"scale": 0.5}]


attention_weights: Primitive = primitive(
    weights,
    Together(weights_rule),
    name="attention_weights",
    notation=lambda q=(), k=(), m=(): softmax_of("2" if m else ""),
    signature="(l,d),(s,d),(l,s)",
    domain=Domain(
        params=some_scales,
        also=Domain(params=some_scales, make=lambda q, k, m: (q, k, m > 0)),
    ),
    choice="a query that may look nowhere gets 0",
)
attention = primitive(
    mean_of_values,
    Together(mean_rule),
    name="attention",
    notation=lambda q=(), k=(), v=(), m=(): softmax_of("3" if m else "") + " {2}",
    signature="(l,d),(s,d),(s,v),(l,s)",
    domain=Domain(
        params=some_scales,
        also=Domain(params=some_scales, make=lambda q, k, v, m: (q, k, v, m > 0)),
    ),
    choice="a query that may look nowhere gets 0",
)
