"""The map of a layer in PyTorch's layout: x (..., in), weight (out, in), a bias (out) or none."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from tensorgrad.engine.batching import padded
from tensorgrad.engine.domain import Domain, Shape
from tensorgrad.engine.node import Array
from tensorgrad.engine.primitive import primitive
from tensorgrad.ops.linalg import as_matrix, product


def x_rule(g: Array, out: Array, x: Array, weight: Array, bias: Array) -> Array:
    """BP2, the error of the layer before."""
    return np.reshape(as_matrix(g) @ weight, x.shape) if x.ndim > 2 else g @ weight


def weight_rule(g: Array, out: Array, x: Array, weight: Array, bias: Array) -> Array:
    """BP4, ∂C/∂W = δ aᵀ, summed over a batch by the product itself."""
    if x.ndim != 2:
        g, x = as_matrix(g), as_matrix(x)
    # NumPy computes a column times a row in a slow loop of its own, BLAS complex ones otherwise.
    outer = x.shape[0] == 1 and g.dtype.kind == x.dtype.kind == "f"
    return product(g.T, x) if outer else g.T @ x


LARGE = 1 << 13  # entries; with fewer, the other order of the result costs more than it gains


def affine(x: Array, weight: Array, bias: Array = None) -> Array:
    """x Wᵀ + b. Of a large matrix as (W xᵀ)ᵀ, which BLAS computes in 0.9 of the time of x Wᵀ.

    A stack of matrices is one matrix: a product for each, 12 of 64 rows, takes 1.35 times as long.
    """
    try:
        if x.ndim > 2:
            out = np.reshape(as_matrix(x) @ weight.T, (*x.shape[:-1], len(weight)))
        else:
            out = (weight @ x.T).T if x.ndim == 2 and x.size >= LARGE else x @ weight.T
    except ValueError:
        if x.ndim and weight.ndim and x.shape[-1] != weight.shape[-1]:
            had, wanted = x.shape[-1], weight.shape[-1]
            raise ValueError(f"x has {had} features, the layer takes {wanted}") from None
        raise
    if getattr(bias, "ndim", 0) == 1 and out.dtype == bias.dtype:
        out += bias  # in place: it is our own
        return out
    return out if bias is None else out + bias


def map_examples(op: Any, batch: Shape, xs: list[Array], params: Mapping[str, Any]) -> Array:
    """With one weight for all examples, one product; with their own, a product for each."""
    k, (x, weight) = len(batch), xs
    weight = np.swapaxes(weight, -1, -2)
    if math.prod(weight.shape[:k]) == 1:
        return x @ weight.reshape(weight.shape[k:])
    if x.ndim == k + 1:
        return (x[..., None, :] @ weight)[..., 0, :]
    return np.matmul(*padded([x, weight], k, (2, 2)))


def affine_examples(op: Any, batch: Shape, xs: list[Array], params: Mapping[str, Any]) -> Array:
    """The same, and each with its bias."""
    out = map_examples(op, batch, xs[:2], params)
    return np.add(*padded([out, xs[2]], len(batch)))


linear = primitive(
    affine,
    x_rule,
    weight_rule,
    lambda g, out, x, weight, bias: g,
    name="linear",
    notation=r"{0} {1}^{{\top}} + {2}",
    domain=Domain(signature="(i),(o,i),(o)", broadcast=False, complex=True),
    batch=affine_examples,
)
linear_map = primitive(
    lambda x, weight: affine(x, weight),
    lambda g, out, x, weight: x_rule(g, out, x, weight, None),
    lambda g, out, x, weight: weight_rule(g, out, x, weight, None),
    name="linear_map",
    notation=r"{0} {1}^{{\top}}",
    domain=Domain(signature="(i),(o,i)", broadcast=False, complex=True),
    batch=map_examples,
)
