"""Attention, and what tells it where a token stands.

Boolean masks are PyTorch's: in `scaled_dot_product_attention` True is where a query may look, in
all that is built on it True is what is left out. A query that may look nowhere gets 0.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from tensorgrad.engine.arrays import (
    as_array,
    beside,
    created,
    elsewhere,
    same_shape,
    taken_as_finite,
    to_numbers,
)
from tensorgrad.engine.dtypes import is_floating
from tensorgrad.engine.node import data_of, detached
from tensorgrad.nn.dropout import dropout
from tensorgrad.nn.init import full
from tensorgrad.nn.linear import Linear, linear
from tensorgrad.nn.module import Module, learning
from tensorgrad.ops import nn as ops
from tensorgrad.ops.reduce import floating
from tensorgrad.random import generator
from tensorgrad.value import Value


def scaled_dot_product_attention(
    query: Any,
    key: Any,
    value: Any,
    attn_mask: Any = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    scale: float | None = None,
    enable_gqa: bool = False,
    *,
    rng: Any = None,
) -> Any:
    """softmax(Q Kᵀ / √d + M) V: (..., L, d), (..., S, d) and (..., S, v) to (..., L, v).

    `attn_mask`: M, of a shape that broadcasts to (..., L, S); or booleans, True where a query may
    look. `is_causal`: a query looks at keys up to its own place. `scale`: in place of 1/√d.
    `enable_gqa`: queries (..., H, L, d) share fewer heads of keys and values, whose number divides
    H. `dropout_p`: the share of weights that is dropped, always: it knows no training.
    ValueError for shapes that do not fit, and for a mask where `is_causal` makes one; TypeError for
    a mask of integers.

    Source: Vaswani et al., Attention is all you need (2017), eq. 1; shared heads: Ainslie et al.
    (2023).

    >>> q, k, v = np.zeros((1, 2)), np.ones((2, 2)), np.array([[1.0], [3.0]])
    >>> scaled_dot_product_attention(q, k, v)
    array([[2.]])
    >>> scaled_dot_product_attention(q, k, v, is_causal=True)
    array([[1.]])
    """
    if enable_gqa:
        key, value = _shared(key, query), _shared(value, query)
    _check(query, key, value)
    mask = _mask_of(attn_mask, is_causal, query, key)
    params = {} if scale is None else {"scale": scale}
    if not dropout_p and _all_finite(value):
        return ops.attention.attention(query, key, value, *mask, **params)
    weights = ops.attention.attention_weights(query, key, *mask, **params)
    return _mean_of(value, dropout(weights, dropout_p, rng=rng))


def _all_finite(value: Any) -> bool:
    return taken_as_finite(data_of(value))


def _mean_of(value: Any, weights: Any) -> Any:
    """weights @ value, where a value that nobody looks at adds nothing, be it NaN."""
    if _all_finite(value):
        return weights @ value
    bad = ~np.isfinite(detached(value))
    asked = (detached(weights) != 0) @ bad
    return np.where(asked, weights @ value, weights @ np.where(bad, 0, value))


def _shared(x: Any, query: Any) -> Any:
    """Heads of keys or values, each for several heads of queries that follow each other."""
    if query.ndim < 3 or x.ndim < 3 or query.shape[-3] % x.shape[-3]:
        raise ValueError(
            f"enable_gqa: keys or values of shape {x.shape} for queries of shape {query.shape}: "
            "the number of their heads, axis -3, must divide that of the queries"
        )
    return np.repeat(x, query.shape[-3] // x.shape[-3], axis=-3)


def _check(query: Any, key: Any, value: Any) -> None:
    """ValueError unless queries, keys and values fit together."""
    q, k, v = query.shape, key.shape, value.shape
    given = f"queries of shape {q}, keys {k}, values {v}"
    if min(len(q), len(k), len(v)) < 2:
        raise ValueError(f"{given}: each needs two axes or more, (..., length, features)")
    if q[-1] != k[-1]:
        raise ValueError(f"{given}: queries and keys differ in their features, the last axis")
    if k[-2] != v[-2]:
        raise ValueError(f"{given}: there must be as many keys as values, axis -2")
    heads = q[:-2], k[:-2], v[:-2]
    try:
        np.broadcast_shapes(*heads)
    except ValueError:
        way = "; for keys and values of fewer heads pass enable_gqa=True" * (len(q) > 2)
        raise ValueError(f"{given}: the axes before the last two do not broadcast{way}") from None


def _static(mask: Any, query: Any) -> Any:
    """A mask as an array; one of NumPy's, such as `generate_square_subsequent_mask`, goes to where
    the queries are."""
    mask = as_array(mask)
    return beside(mask, query) if elsewhere(query) else mask


def _mask_of(attn_mask: Any, is_causal: bool, query: Any, key: Any) -> tuple[Any, ...]:
    """The mask that the operation takes, or none."""
    sizes = query.shape[-2], key.shape[-2]
    if is_causal:
        if attn_mask is not None:
            raise ValueError(
                "attn_mask and is_causal=True: pass one of them, or attn_mask & np.tri(L, S, "
                "dtype=bool)"
            )
        return (beside(np.tri(*sizes, dtype=bool), query),)
    if attn_mask is None:
        return ()
    mask = _static(attn_mask, query)
    if mask.dtype.kind != "b" and not is_floating(mask.dtype):
        raise TypeError(
            f"attn_mask is {mask.dtype}: write attn_mask.astype(bool), True where a query may "
            "look, or pass floats, which are added to the scores"
        )
    scores = (*np.broadcast_shapes(query.shape[:-2], key.shape[:-2]), *sizes)
    if mask.ndim > len(scores) or any(
        n not in (1, m) for n, m in zip(mask.shape[::-1], scores[::-1])
    ):
        raise ValueError(
            f"attn_mask has shape {mask.shape}, which does not broadcast to that of the scores, "
            f"{scores}: a row for each query, a column for each key"
        )
    if mask.dtype.kind == "b":
        return (mask,)
    return (as_array(mask, floating(query.dtype)),)  # float32 stays float32


def multi_head_attention_forward(
    query: Any,
    key: Any,
    value: Any,
    embed_dim_to_check: int,
    num_heads: int,
    in_proj_weight: Any,
    in_proj_bias: Any,
    bias_k: Any,
    bias_v: Any,
    add_zero_attn: bool,
    dropout_p: float,
    out_proj_weight: Any,
    out_proj_bias: Any,
    training: bool = True,
    key_padding_mask: Any = None,
    need_weights: bool = True,
    attn_mask: Any = None,
    use_separate_proj_weight: bool = False,
    q_proj_weight: Any = None,
    k_proj_weight: Any = None,
    v_proj_weight: Any = None,
    static_k: Any = None,
    static_v: Any = None,
    average_attn_weights: bool = True,
    is_causal: bool = False,
    *,
    batch_first: bool = False,
    rng: Any = None,
) -> tuple[Any, Any]:
    """What `MultiheadAttention` computes, its parameters as arguments. ValueError as there."""
    if query.ndim not in (2, 3) or key.ndim != query.ndim or value.ndim != query.ndim:
        shapes = ", ".join(str(x.shape) for x in (query, key, value))
        raise ValueError(f"queries, keys and values have shapes {shapes}: each has 3 axes, or 2")
    batched = query.ndim == 3
    turned = batched and not batch_first

    def examples(x: Any) -> Any:
        """(N, L, E)."""
        return np.swapaxes(x, 0, 1) if turned else x if batched else x[None]

    def heads(x: Any) -> Any:
        """(N, heads, L, E / heads)."""
        return np.swapaxes(np.reshape(x, (*x.shape[:2], num_heads, size)), 1, 2)

    same = key is query and value is query
    query = examples(query)
    key, value = (query, query) if same else (examples(key), examples(value))
    if query.shape[-1] != embed_dim_to_check or embed_dim_to_check % num_heads:
        raise ValueError(
            f"queries of {query.shape[-1]} features: {num_heads} heads for "
            f"{embed_dim_to_check} were asked for"
        )
    if not same_shape(key.shape[:2], value.shape[:2]) or key.shape[0] != query.shape[0]:
        shapes = ", ".join(str(x.shape) for x in (query, key, value))
        raise ValueError(
            f"queries, keys and values, examples first, have shapes {shapes}: they differ in the "
            "number of examples, or keys and values in their length. (N, L, E), with the examples "
            "first, wants batch_first=True, otherwise it is (L, N, E)"
        )
    n, length, e = query.shape
    if use_separate_proj_weight:
        matrices = [q_proj_weight, k_proj_weight, v_proj_weight]
    else:
        matrices = [in_proj_weight[i : i + e] for i in (0, e, 2 * e)]
    biases = [None if in_proj_bias is None else in_proj_bias[i : i + e] for i in (0, e, 2 * e)]
    q, k, v = map(linear, (query, key, value), matrices, biases)
    if bias_k is not None:  # one more key and value, for all
        bias_k, bias_v = (np.reshape(b, (1, 1, e)) for b in (bias_k, bias_v))
        k = np.concatenate([k, np.repeat(bias_k, n, axis=0)], axis=1)
        v = np.concatenate([v, np.repeat(bias_v, n, axis=0)], axis=1)
    size = e // num_heads
    q, k, v = heads(q), heads(k), heads(v)
    k = k if static_k is None else np.reshape(static_k, (n, num_heads, -1, size))
    v = v if static_v is None else np.reshape(static_v, (n, num_heads, -1, size))
    if add_zero_attn:
        zeros = created(np.zeros, (n, num_heads, 1, size), q.dtype, like=q)
        k, v = np.concatenate([k, zeros], axis=2), np.concatenate([v, zeros], axis=2)
    if is_causal and attn_mask is None:
        attn_mask = ~np.tri(length, key.shape[1], dtype=bool)
    attn_mask, key_padding_mask = (
        m if m is None else _static(m, q) for m in (attn_mask, key_padding_mask)
    )
    mask = _both(
        _looking(attn_mask, "attn_mask", (n, num_heads, length, key.shape[1]), k.shape[2]),
        _looking(key_padding_mask, "key_padding_mask", (n, 1, 1, key.shape[1]), k.shape[2]),
    )
    weights = None
    if need_weights:
        weights = ops.attention.attention_weights(q, k, *_mask_of(mask, False, q, k))
        weights = dropout(weights, dropout_p, training, rng=rng) if dropout_p else weights
        out = _mean_of(v, weights)
        weights = np.mean(weights, axis=1) if average_attn_weights else weights
        weights = weights if batched else weights[0]
    else:
        p = dropout_p if training else 0.0
        out = scaled_dot_product_attention(q, k, v, mask, p, rng=rng)
    out = np.reshape(np.swapaxes(out, 1, 2), (n, length, e))
    out = linear(out, out_proj_weight, out_proj_bias)
    return (np.swapaxes(out, 0, 1) if turned else out if batched else out[0]), weights


def _looking(mask: Any, name: str, shape: tuple[int, ...], keys: int) -> Any:
    """A mask of what is left out, as one of where a query may look: (N, heads, L, S).

    `shape`: (N, heads, L, S) as far as the mask is asked for, without the `keys` that all see.
    """
    if mask is None:
        return None
    n, heads, length, s = shape
    padding = name == "key_padding_mask"
    fitting = [(n, s), (s,)] if padding else [(length, s), (n * heads, length, s)]
    if mask.shape not in fitting or (mask.shape == (s,) and n > 1):
        raise ValueError(f"{name} has shape {mask.shape}, expected {fitting[0]} or {fitting[1]}")
    if mask.dtype.kind != "b" and not is_floating(mask.dtype):
        raise TypeError(
            f"{name} is {mask.dtype}: write {name}.astype(bool), True for what to leave out"
        )
    mask = np.reshape(mask, shape) if padding or mask.ndim == 3 else mask
    mask = ~mask if mask.dtype.kind == "b" else mask
    if keys == s:
        return mask
    more = (*mask.shape[:-1], keys - s)
    seen = created(np.full, more, mask.dtype.kind == "b", mask.dtype, like=mask)
    return np.concatenate([mask, seen], axis=-1)


def _both(a: Any, b: Any) -> Any:
    """Two masks as one."""
    if a is None or b is None:
        return b if a is None else a
    if a.dtype.kind == b.dtype.kind == "b":
        return a & b
    a, b = (np.where(m, 0.0, -np.inf) if m.dtype.kind == "b" else m for m in (a, b))
    return a + b


class MultiheadAttention(Module):
    """Attention in `num_heads` subspaces of the features: PyTorch's layouts, names and defaults.

    `query` (L, N, E), `key` (S, N, kdim), `value` (S, N, vdim), or with `batch_first` (N, L, E), or
    without N; the answer has the shape of the queries. `key_padding_mask` (N, S) and `attn_mask`
    (L, S) or (N * num_heads, L, S): True is left out; floats are added to the scores.
    `is_causal`: a query looks at keys up to its own place, unless `attn_mask` says otherwise.
    Returns the answer and the weights, (N, L, S) as a mean over the heads or (N, num_heads, L, S);
    with `need_weights=False`, which is faster, None for them. ValueError for shapes that do not
    fit. `rng`: a NumPy generator or a seed.

    Source: Vaswani et al., Attention is all you need (2017), section 3.2.2.

    >>> attention = MultiheadAttention(8, 2, batch_first=True)
    >>> x = np.zeros((3, 5, 8), np.float32)
    >>> answer, weights = attention(x, x, x)
    >>> answer.shape, weights.shape
    ((3, 5, 8), (3, 5, 5))
    """

    def __init__(
        self,
        embed_dim: int,
        num_heads: int,
        dropout: float = 0.0,
        bias: bool = True,
        add_bias_kv: bool = False,
        add_zero_attn: bool = False,
        kdim: int | None = None,
        vdim: int | None = None,
        batch_first: bool = False,
        *,
        dtype: npt.DTypeLike = np.float32,
        rng: Any = None,
    ) -> None:
        if embed_dim < 1 or num_heads < 1 or embed_dim % num_heads:
            raise ValueError(
                f"MultiheadAttention({embed_dim}, {num_heads}): the number of heads must divide "
                "that of the features, each head has its own"
            )
        self.embed_dim, self.num_heads = embed_dim, num_heads
        self.dropout = ops.dropout.probability("MultiheadAttention", dropout)
        self.add_zero_attn, self.batch_first = add_zero_attn, batch_first
        self.rng = None if rng is None else generator(rng)
        draw, dtype, e = generator(self.rng), learning(dtype), embed_dim
        self.kdim, self.vdim = kdim, vdim = kdim or e, vdim or e

        def matrix(out: int, n: int, fan: int) -> Value:  # xavier
            limit = math.sqrt(6 / fan)
            return Value(draw.uniform(-limit, limit, (out, n)).astype(dtype))

        self.in_proj_weight: Value | None = None
        self.q_proj_weight = self.k_proj_weight = self.v_proj_weight = self.in_proj_weight
        if kdim == vdim == e:
            self.in_proj_weight = matrix(3 * e, e, 4 * e)
        else:
            self.q_proj_weight = matrix(e, e, 2 * e)
            self.k_proj_weight = matrix(e, kdim, e + kdim)
            self.v_proj_weight = matrix(e, vdim, e + vdim)
        self.in_proj_bias = Value(full(0, 3 * e, dtype)) if bias else None
        self.bias_k: Value | None = None
        self.bias_v: Value | None = None
        if add_bias_kv:
            deviation = math.sqrt(2 / (e + e))
            self.bias_k, self.bias_v = (
                Value((draw.standard_normal((1, 1, e)) * deviation).astype(dtype)) for _ in "kv"
            )
        self.out_proj = Linear(e, e, bias=bias, dtype=dtype, rng=draw)
        if self.out_proj.bias is not None:
            self.out_proj.bias.data = np.zeros(e, dtype)

    def forward(
        self,
        query: Any,
        key: Any,
        value: Any,
        key_padding_mask: Any = None,
        need_weights: bool = True,
        attn_mask: Any = None,
        average_attn_weights: bool = True,
        is_causal: bool = False,
    ) -> tuple[Any, Any]:
        return multi_head_attention_forward(
            query,
            key,
            value,
            self.embed_dim,
            self.num_heads,
            self.in_proj_weight,
            self.in_proj_bias,
            self.bias_k,
            self.bias_v,
            self.add_zero_attn,
            self.dropout,
            self.out_proj.weight,
            self.out_proj.bias,
            self.training,
            key_padding_mask,
            need_weights,
            attn_mask,
            self.in_proj_weight is None,
            self.q_proj_weight,
            self.k_proj_weight,
            self.v_proj_weight,
            average_attn_weights=average_attn_weights,
            is_causal=is_causal,
            batch_first=self.batch_first,
            rng=self.rng,
        )


def sinusoidal(length: int, dim: int, base: float = 10000.0, *, dtype: Any = np.float32) -> Any:
    """Positions 0 to `length` - 1 as sines and cosines of `dim` / 2 frequencies: (length, dim).

    Entry 2i of position t is sin(t / base^(2i/dim)), entry 2i + 1 its cosine. ValueError for an odd
    `dim`. Source: Vaswani et al. (2017), section 3.5.

    >>> sinusoidal(2, 2).round(4)
    array([[0.    , 1.    ],
           [0.8415, 0.5403]], dtype=float32)
    """
    angles = _angles_of(np.arange(length), dim, base)
    return np.stack([np.sin(angles), np.cos(angles)], axis=-1).reshape(length, dim).astype(dtype)


def _angles_of(positions: Any, dim: int, base: float) -> Any:
    if dim % 2 or dim < 2:
        raise ValueError(f"{dim} features: positions turn pairs of them, an even number")
    return np.multiply.outer(positions, base ** (-np.arange(0, dim, 2) / dim))


def rotary(x: Any, positions: Any = None, base: float = 10000.0) -> Any:
    """Queries or keys (..., L, d), each pair of features turned by an angle for its position.

    The pair (2i, 2i + 1) of position t turns by t / base^(2i/d), so that the product of a query and
    a key depends on how far they are from each other alone. `positions`: (L), by default 0, 1, ...
    ValueError for an odd d, and for another number of positions.

    Source: Su et al., RoFormer (2021), eq. 34.

    >>> rotary(np.array([[1.0, 0.0], [1.0, 0.0]])).round(4)
    array([[1.    , 0.    ],
           [0.5403, 0.8415]])
    """
    if x.ndim < 2:
        raise ValueError(f"x of shape {x.shape} has no positions: (..., length, features)")
    length, dim = x.shape[-2:]
    positions = np.arange(length) if positions is None else np.asarray(to_numbers(positions))
    if positions.shape != (length,):
        raise ValueError(f"positions of shape {positions.shape} for x of shape {x.shape}")
    angles = _angles_of(positions, dim, base)
    kind = floating(x.dtype)
    cos, sin = (beside(f(angles).astype(kind), x) for f in (np.cos, np.sin))
    a, b = x[..., 0::2], x[..., 1::2]
    turned = np.stack([a * cos - b * sin, a * sin + b * cos], axis=-1)
    return np.reshape(turned, x.shape)


class SinusoidalEmbedding(Module):
    """x + `sinusoidal` positions: (..., L, d) to the same shape.

    >>> SinusoidalEmbedding()(np.zeros((1, 1, 4))).tolist()
    [[[0.0, 1.0, 0.0, 1.0]]]
    """

    def __init__(self, base: float = 10000.0) -> None:
        self.base = base

    def forward(self, x: Any) -> Any:
        if x.ndim < 2:
            raise ValueError(f"x of shape {x.shape} has no positions: (..., length, features)")
        length, dim = x.shape[-2:]
        return x + beside(sinusoidal(length, dim, self.base, dtype=floating(x.dtype)), x)


class RotaryEmbedding(Module):
    """`rotary` positions of queries and keys: (..., L, d) to the same shape.

    >>> RotaryEmbedding()(np.array([[1.0, 0.0], [1.0, 0.0]])).round(4).tolist()
    [[1.0, 0.0], [0.5403, 0.8415]]
    """

    def __init__(self, base: float = 10000.0) -> None:
        self.base = base

    def forward(self, x: Any, positions: Any = None) -> Any:
        return rotary(x, positions, self.base)
