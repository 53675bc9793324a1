"""Attention and positions, against the formulas written out in loops."""

from __future__ import annotations

import copy
import math
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tensorgrad as tg
from tensorgrad import Value, nn
from tensorgrad.nn import functional as F
from tests.numerical import assert_gradient

Array = Any
rng = np.random.default_rng(0)


def naive(q: Array, k: Array, v: Array, m: Array = None, scale: float | None = None) -> Array:
    """Each query by itself, each score by itself; `m` is added."""
    out = np.zeros((*q.shape[:-1], v.shape[-1]))
    for i in np.ndindex(q.shape[:-1]):
        keys, values = k[i[:-1]], v[i[:-1]]
        row = [
            sum(a * b for a, b in zip(q[i], key, strict=True))
            * (1 / math.sqrt(len(key)) if scale is None else scale)
            + (0 if m is None else m[i[-1], s])
            for s, key in enumerate(keys)
        ]
        es = [math.exp(s) for s in row]
        for e, value in zip(es, values, strict=True):
            out[i] += e * value / (sum(es) or 1)
    return out


def draw(*shape: int) -> Array:
    return rng.normal(size=shape)


SHAPES = {
    "a matrix each": ((3, 4), (5, 4), (5, 2)),
    "examples": ((2, 3, 4), (2, 5, 4), (2, 5, 4)),
    "examples and heads": ((2, 3, 4, 1), (2, 3, 5, 1), (2, 3, 5, 2)),
    "one of each": ((1, 1, 1), (1, 1, 1), (1, 1, 1)),
    "no queries": ((0, 2), (3, 2), (3, 2)),
}


@pytest.mark.parametrize("shapes", SHAPES.values(), ids=SHAPES)
@pytest.mark.parametrize("scale", [None, 0.3])
def test_attention_is_a_mean_of_values_weighted_by_e_to_the_scores(
    shapes: tuple[tuple[int, ...], ...], scale: float | None
) -> None:
    q, k, v = (draw(*shape) for shape in shapes)
    found = F.scaled_dot_product_attention(q, k, v, scale=scale)
    np.testing.assert_allclose(found, naive(q, k, v, scale=scale), rtol=1e-12)


def test_a_mask_is_booleans_that_may_be_looked_at_or_numbers_that_are_added() -> None:
    q, k, v = draw(2, 3, 4), draw(2, 5, 4), draw(2, 5, 4)
    seen = np.array([[1, 0, 1, 1, 0], [0, 0, 0, 0, 1], [1, 1, 1, 1, 1]], bool)
    added = np.where(seen, 0, -np.inf)
    np.testing.assert_allclose(
        F.scaled_dot_product_attention(q, k, v, seen), naive(q, k, v, added), rtol=1e-12
    )
    np.testing.assert_allclose(
        F.scaled_dot_product_attention(q, k, v, added), naive(q, k, v, added), rtol=1e-12
    )
    bias = draw(3, 5)
    np.testing.assert_allclose(
        F.scaled_dot_product_attention(q, k, v, bias), naive(q, k, v, bias), rtol=1e-12
    )


def test_causal_is_up_to_the_own_place() -> None:
    q, k, v = draw(2, 3, 4), draw(2, 5, 4), draw(2, 5, 4)
    added = np.where(np.tri(3, 5), 0, -np.inf)
    np.testing.assert_allclose(
        F.scaled_dot_product_attention(q, k, v, is_causal=True), naive(q, k, v, added), rtol=1e-12
    )


@pytest.mark.parametrize("mask", ["none", "booleans", "numbers", "causal"])
def test_gradients_to_second_order(mask: str) -> None:
    q, k, v, m = draw(3, 2), draw(3, 2), draw(3, 2), draw(3, 3)
    f = F.scaled_dot_product_attention
    calls = {
        "none": (f, (q, k, v)),
        "booleans": (lambda q, k, v: f(q, k, v, np.eye(3, dtype=bool)), (q, k, v)),
        "numbers": (f, (q, k, v, m)),
        "causal": (lambda q, k, v: f(q, k, v, is_causal=True), (q, k, v)),
    }
    function, operands = calls[mask]
    assert_gradient(function, *operands, order=2)


def test_a_query_that_may_look_nowhere_gets_0_and_gives_none() -> None:
    q, k, v = (Value(draw(2, 3)) for _ in "qkv")
    out = F.scaled_dot_product_attention(q, k, v, np.array([[True, True], [False, False]]))
    assert out.data[1].tolist() == [0, 0, 0]
    (out * out).sum().backward()
    assert q.grad[1].tolist() == [0, 0, 0]
    for mask in (np.full((2, 2), -np.inf), np.zeros((2, 2), bool)):
        assert not F.scaled_dot_product_attention(q, k, v, mask).data.any()


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("added", [False, True])
@pytest.mark.parametrize("weighed", [False, True])
def test_what_a_mask_leaves_out_adds_nothing_be_it_nan(
    bad: float, added: bool, weighed: bool
) -> None:
    """Not to the answers, nor to gradients of first and second order."""
    q, k, v = draw(2, 3), draw(3, 3), draw(3, 3)
    seen = np.array([[True, True, False], [True, False, False]])
    mask = np.where(seen, 0, -np.inf) if added else seen

    def answers(q: Any, k: Any, v: Any) -> Any:
        if weighed:  # as with dropout, which draws nothing here
            return F.scaled_dot_product_attention(q, k, v, mask, 1e-9, rng=0)
        return F.scaled_dot_product_attention(q, k, v, mask)

    def slopes(k: Any, v: Any) -> list[Any]:
        loss = lambda q, k, v: np.sum(answers(q, k, v) ** 2)
        grads = tg.grad(loss, argnums=(0, 1, 2))
        bend = tg.grad(lambda *xs: sum(np.sum(g**2) for g in grads(*xs)), argnums=(0, 1, 2))
        return [answers(q, k, v), *grads(q, k, v), *bend(q, k, v)]

    expected = slopes(k.copy(), v.copy())
    k[2] = v[2] = bad
    with np.errstate(invalid="ignore"):
        found = slopes(k, v)
    for a, b in zip(found, expected, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-6, atol=1e-12)
    v[1] = bad  # which the first query asks for
    with np.errstate(invalid="ignore"):
        out = answers(q, k, v)
    assert not np.isfinite(out[0]).any()
    np.testing.assert_allclose(out[1], expected[0][1], rtol=1e-6)


def test_padding_adds_nothing_be_it_nan() -> None:
    x, padding = draw(2, 3, 4), np.array([[False, False, True], [False, True, True]])
    layer = nn.TransformerEncoderLayer(4, 2, 8, dropout=0.0, batch_first=True, rng=0).to(float)
    attention = nn.MultiheadAttention(4, 2, batch_first=True, rng=0).to(float)

    def grads(x: Any) -> list[Any]:
        found = []
        for model in (layer, lambda x, **mask: attention(x, x, x, **mask)[0]):
            x = Value(x)
            out = (
                model(x, src_key_padding_mask=padding)
                if model is layer
                else model(x, key_padding_mask=padding)
            )
            np.sum(out[~padding] ** 2).backward()
            found += [out.data[~padding], x.grad]
        parameters = [*layer.parameters(), *attention.parameters()]
        found += [p.grad for p in parameters]
        for p in parameters:
            p.grad = None
        return found

    expected = grads(np.where(padding[..., None], 0, x))
    with np.errstate(invalid="ignore"):
        found = grads(np.where(padding[..., None], np.nan, x))
    for a, b in zip(found, expected, strict=True):
        np.testing.assert_allclose(a, b, atol=1e-12)


def test_grouped_queries_share_keys_and_values() -> None:
    q, k, v = draw(2, 4, 3, 2), draw(2, 2, 5, 2), draw(2, 2, 5, 2)
    found = F.scaled_dot_product_attention(q, k, v, enable_gqa=True)
    for head in range(4):
        expected = naive(q[:, head], k[:, head // 2], v[:, head // 2])
        np.testing.assert_allclose(found[:, head], expected, rtol=1e-12)
    assert_gradient(
        lambda k: F.scaled_dot_product_attention(q, k, k, enable_gqa=True), k[:1, :, :2]
    )


def test_dropout_leaves_the_mean_and_takes_its_share() -> None:
    q, k, v = np.zeros((1000, 1)), np.zeros((10, 1)), np.ones((10, 1))
    out = F.scaled_dot_product_attention(q, k, v, dropout_p=0.5, rng=0)
    assert abs(out.mean() - 1) < 0.05
    assert out.std() > 0.2
    again = F.scaled_dot_product_attention(q, k, v, dropout_p=0.5, rng=0)
    np.testing.assert_array_equal(out, again)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_dtypes_stay(dtype: Any) -> None:
    q, k, v = (Value(draw(3, 4).astype(dtype)) for _ in "qkv")
    for mask in (None, np.eye(3, dtype=bool), np.zeros((3, 3))):
        out = F.scaled_dot_product_attention(q, k, v, mask)
        assert out.dtype == dtype
        out.sum().backward()
        assert q.grad.dtype == dtype


def test_scores_of_any_size_do_not_overflow() -> None:
    q = np.array([[1000.0]])
    k, v = np.array([[1000.0], [-1000.0]]), np.array([[2.0], [3.0]])
    assert F.scaled_dot_product_attention(q, k, v).tolist() == [[2.0]]


def test_an_entry_can_be_taken_apart() -> None:
    q, k, v = (Value(draw(2, 2), name=n) for n in "QKV")
    out = F.scaled_dot_product_attention(q, k, v, is_causal=True)
    entry = tg.viz.zoom(out, (1, 0))
    np.testing.assert_allclose(entry.data, out.data[1, 0], rtol=1e-12)
    first = tg.viz.zoom(out, (0, 0))
    np.testing.assert_allclose(first.data, v.data[0, 0], rtol=1e-12)


x = np.zeros((2, 3, 4))
BAD: dict[str, tuple[Any, type[Exception], str]] = {
    "features": (lambda f: f(x, x[..., :2], x), ValueError, "differ in their features"),
    "lengths": (lambda f: f(x, x[:, :2], x), ValueError, "as many keys as values"),
    "axes": (lambda f: f(x[0, 0], x, x), ValueError, "two axes or more"),
    "examples": (lambda f: f(x, np.zeros((3, 3, 4)), x), ValueError, "do not broadcast.*gqa"),
    "heads": (
        lambda f: f(np.zeros((3, 3, 4)), x, x, enable_gqa=True),
        ValueError,
        "must divide that of the queries",
    ),
    "mask": (lambda f: f(x, x, x, np.ones((3, 2), bool)), ValueError, r"\(3, 2\).*\(2, 3, 3\)"),
    "integers": (
        lambda f: f(x, x, x, np.ones((3, 3), int)),
        TypeError,
        r"attn_mask.astype\(bool\)",
    ),
    "causal": (
        lambda f: f(x, x, x, np.ones((3, 3), bool), is_causal=True),
        ValueError,
        "attn_mask and is_causal=True: pass one of them",
    ),
}


@pytest.mark.parametrize(("call", "error", "message"), BAD.values(), ids=BAD)
def test_bad_input_is_told(call: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        call(F.scaled_dot_product_attention)


# MultiheadAttention.


def by_hand(layer: Any, q: Array, k: Array, v: Array, left_out: Array = None) -> Array:
    """One example; `left_out` (L, S)."""
    e, n = layer.embed_dim, layer.num_heads
    w, b = layer.in_proj_weight.data, layer.in_proj_bias.data
    q, k, v = (
        x @ w[i * e : (i + 1) * e].T + b[i * e : (i + 1) * e] for i, x in enumerate((q, k, v))
    )
    added = None if left_out is None else np.where(left_out, -np.inf, 0)
    parts = [slice(i * e // n, (i + 1) * e // n) for i in range(n)]
    out = np.concatenate([naive(q[:, p], k[:, p], v[:, p], added) for p in parts], axis=-1)
    return out @ layer.out_proj.weight.data.T + layer.out_proj.bias.data


def attention(**settings: Any) -> Any:
    layer = nn.MultiheadAttention(4, 2, dtype=np.float64, rng=0, **settings)
    for p in layer.parameters():
        p.data = p.data + 0.1 * draw(*p.shape)  # biases begin at 0
    return layer


def test_each_head_attends_in_features_of_its_own() -> None:
    layer = attention(batch_first=True)
    q, k, v = draw(2, 3, 4), draw(2, 5, 4), draw(2, 5, 4)
    out, weights = layer(q, k, v)
    for i in range(2):
        np.testing.assert_allclose(out.data[i], by_hand(layer, q[i], k[i], v[i]), rtol=1e-10)
    assert weights.shape == (2, 3, 5)
    np.testing.assert_allclose(weights.data.sum(-1), 1)
    fast, none = layer(q, k, v, need_weights=False)
    assert none is None
    np.testing.assert_allclose(fast.data, out.data, rtol=1e-12)
    assert layer(q, k, v, average_attn_weights=False)[1].shape == (2, 2, 3, 5)


def test_length_first_is_the_default_and_examples_may_be_missing() -> None:
    layer, first = attention(), attention(batch_first=True)
    first.load_state_dict(layer.state_dict())
    q, k = draw(2, 3, 4), draw(2, 5, 4)
    expected, weights = first(q, k, k)
    found, same = layer(q.swapaxes(0, 1), k.swapaxes(0, 1), k.swapaxes(0, 1))
    np.testing.assert_allclose(found.data.swapaxes(0, 1), expected.data, rtol=1e-12)
    np.testing.assert_allclose(same.data, weights.data, rtol=1e-12)
    alone, of_it = layer(q[0], k[0], k[0])
    np.testing.assert_allclose(alone.data, expected.data[0], rtol=1e-12)
    np.testing.assert_allclose(of_it.data, weights.data[0], rtol=1e-12)


def test_true_in_its_masks_is_left_out() -> None:
    layer, x = attention(batch_first=True), draw(2, 3, 4)
    mask = np.array([[0, 1, 1], [0, 0, 1], [1, 0, 0]], bool)
    padding = np.array([[0, 0, 0], [0, 0, 1]], bool)
    out, _ = layer(x, x, x, padding, attn_mask=mask)
    for i in range(2):
        expected = by_hand(layer, x[i], x[i], x[i], mask | padding[i])
        np.testing.assert_allclose(out.data[i], expected, rtol=1e-10)
    added = np.where(mask, -np.inf, 0.0)
    for other in (np.tile(mask, (4, 1, 1)), added, np.tile(added, (4, 1, 1))):
        np.testing.assert_allclose(layer(x, x, x, padding, attn_mask=other)[0].data, out.data)
    causal = layer(x, x, x, is_causal=True)[0].data
    np.testing.assert_allclose(causal, layer(x, x, x, attn_mask=~np.tri(3, dtype=bool))[0].data)


def test_bias_kv_and_a_zero_are_keys_that_all_see() -> None:
    layer = attention(add_bias_kv=True, add_zero_attn=True, batch_first=True)
    x, padding = draw(2, 3, 4), np.array([[0, 0, 1], [1, 1, 1]], bool)
    _, weights = layer(x, x, x, padding)
    assert weights.shape == (2, 3, 5)
    assert (weights.data[1, :, :3] == 0).all()
    np.testing.assert_allclose(weights.data[1, :, 3:].sum(-1), 1)
    assert (weights.data[:, :, 3:] > 0).all()


def test_names_and_shapes_of_parameters_are_pytorchs() -> None:
    shapes = lambda layer: {n: p.shape for n, p in layer.named_parameters()}
    assert shapes(nn.MultiheadAttention(4, 2)) == {
        "in_proj_weight": (12, 4),
        "in_proj_bias": (12,),
        "out_proj.weight": (4, 4),
        "out_proj.bias": (4,),
    }
    assert shapes(nn.MultiheadAttention(4, 2, bias=False, kdim=3, vdim=5, add_bias_kv=True)) == {
        "q_proj_weight": (4, 4),
        "k_proj_weight": (4, 3),
        "v_proj_weight": (4, 5),
        "bias_k": (1, 1, 4),
        "bias_v": (1, 1, 4),
        "out_proj.weight": (4, 4),
    }


def test_keys_and_values_may_have_features_of_their_own() -> None:
    layer = nn.MultiheadAttention(4, 2, kdim=3, vdim=5, batch_first=True, dtype=np.float64, rng=0)
    q, k, v = draw(2, 3, 4), draw(2, 6, 3), draw(2, 6, 5)
    assert layer(q, k, v)[0].shape == (2, 3, 4)
    assert_gradient(lambda q, k, v: layer(q, k, v)[0], q[:1, :1], k[:1, :2], v[:1, :2])


def test_dropout_draws_in_training_alone() -> None:
    layer, x = nn.MultiheadAttention(4, 2, 0.5, rng=0), np.ones((5, 3, 4), np.float32)
    x += draw(5, 3, 4).astype(np.float32)
    assert (layer(x, x, x)[0].data != layer(x, x, x)[0].data).any()
    layer.eval()
    np.testing.assert_array_equal(layer(x, x, x)[0].data, layer(x, x, x)[0].data)


@pytest.mark.parametrize("causal", [False, True])
def test_a_summary_counts_its_multiplications(causal: bool) -> None:
    attend = nn.Lambda(lambda x: F.scaled_dot_product_attention(x, x, x, is_causal=causal))
    assert nn.summary(attend, (2, 3, 4)).flops == 2 * (2 * 3 * 3 * (4 + 4))


BAD_HEADS: dict[str, tuple[Any, type[Exception], str]] = {
    "dropout": (lambda: nn.MultiheadAttention(4, 2, 1.5), ValueError, "between 0 and 1, not 1.5"),
    "heads": (lambda: nn.MultiheadAttention(4, 3), ValueError, r"\(4, 3\).*must divide"),
    "first": (
        lambda: nn.MultiheadAttention(4, 2)(np.ones((2, 3, 4)), *[np.ones((2, 5, 4))] * 2),
        ValueError,
        "batch_first=True",
    ),
    "features": (lambda: nn.MultiheadAttention(4, 2)(*[np.ones((2, 5))] * 3), ValueError, "5 feat"),
    "axes": (
        lambda: nn.MultiheadAttention(4, 2)(np.ones((2, 3, 4)), *[np.ones((2, 4))] * 2),
        ValueError,
        "each has 3 axes, or 2",
    ),
    "mask": (
        lambda: nn.MultiheadAttention(4, 2)(*[np.ones((3, 1, 4))] * 3, attn_mask=np.ones((2, 3))),
        ValueError,
        r"attn_mask has shape \(2, 3\), expected \(3, 3\) or \(2, 3, 3\)",
    ),
    "padding": (
        lambda: nn.MultiheadAttention(4, 2)(
            *[np.ones((3, 2, 4))] * 3, key_padding_mask=np.ones((3, 2), bool)
        ),
        ValueError,
        r"key_padding_mask has shape \(3, 2\), expected \(2, 3\)",
    ),
    "integers": (
        lambda: nn.MultiheadAttention(4, 2)(
            *[np.ones((3, 2, 4))] * 3, key_padding_mask=np.ones((2, 3), int)
        ),
        TypeError,
        "key_padding_mask is int",
    ),
}


@pytest.mark.parametrize(("call", "error", "message"), BAD_HEADS.values(), ids=BAD_HEADS)
def test_what_does_not_fit_is_told(call: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        call()


# Positions.


def test_sinusoidal_positions_are_sines_and_cosines_of_falling_frequency() -> None:
    found = nn.functional.sinusoidal(5, 6, dtype=np.float64)
    for t in range(5):
        for i in range(3):
            angle = t / 10000 ** (2 * i / 6)
            np.testing.assert_allclose(found[t, 2 * i : 2 * i + 2], [np.sin(angle), np.cos(angle)])
    y = draw(2, 5, 6).astype(np.float32)
    assert nn.SinusoidalEmbedding()(y).dtype == np.float32
    np.testing.assert_allclose(nn.SinusoidalEmbedding()(y), y + found, atol=1e-6)


def test_rotary_products_depend_on_the_distance_alone() -> None:
    q, k = draw(1, 4), draw(1, 4)
    at = lambda x, t: F.rotary(x, np.array([t]))
    products = [(at(q, t + 3) @ at(k, t).T).item() for t in (0, 1, 7)]
    np.testing.assert_allclose(products, products[0], rtol=1e-12)
    np.testing.assert_allclose(F.rotary(q), q)  # position 0
    turned = F.rotary(draw(2, 3, 5, 4).astype(np.float32))
    assert (turned.shape, turned.dtype) == ((2, 3, 5, 4), np.float32)


def test_rotary_turns_each_pair() -> None:
    x = draw(3, 4)
    for t in range(3):
        for i in range(2):
            c, s = np.cos(t / 100**i), np.sin(t / 100**i)
            expected = np.array([[c, -s], [s, c]]) @ x[t, 2 * i : 2 * i + 2]
            np.testing.assert_allclose(F.rotary(x)[t, 2 * i : 2 * i + 2], expected, rtol=1e-12)
    assert_gradient(F.rotary, x)
    with pytest.raises(ValueError, match="an even number"):
        F.rotary(draw(3, 3))
    for layer in (nn.RotaryEmbedding(), nn.SinusoidalEmbedding()):
        with pytest.raises(ValueError, match=r"shape \(4,\) has no positions"):
            layer(draw(4))
    with pytest.raises(ValueError, match=r"positions of shape \(2,\)"):
        nn.RotaryEmbedding()(x, np.arange(2))


# Transformers.


def small(cls: Any, **settings: Any) -> Any:
    return cls(4, 2, dim_feedforward=6, dropout=0.0, dtype=np.float64, rng=0, **settings)


def norm(x: Array) -> Array:
    return (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + 1e-5)


def feed(layer: Any, x: Array) -> Array:
    first, second = layer.linear1, layer.linear2
    hidden = np.maximum(x @ first.weight.data.T + first.bias.data, 0)
    return hidden @ second.weight.data.T + second.bias.data


@pytest.mark.parametrize("norm_first", [False, True])
def test_an_encoder_layer_is_attention_then_two_linear_maps(norm_first: bool) -> None:
    layer, x = small(nn.TransformerEncoderLayer, norm_first=norm_first), draw(3, 4)
    attend = lambda x: by_hand(layer.self_attn, x, x, x)
    if norm_first:
        h = x + attend(norm(x))
        expected = h + feed(layer, norm(h))
    else:
        h = norm(x + attend(x))
        expected = norm(h + feed(layer, h))
    np.testing.assert_allclose(layer(x).data, expected, rtol=1e-10)


@pytest.mark.parametrize("norm_first", [False, True])
def test_a_decoder_layer_looks_at_the_memory_between(norm_first: bool) -> None:
    layer, x, memory = (
        small(nn.TransformerDecoderLayer, norm_first=norm_first),
        draw(3, 4),
        draw(5, 4),
    )
    causal = ~np.tri(3, dtype=bool)
    attend = lambda x: by_hand(layer.self_attn, x, x, x, causal)
    look = lambda x: by_hand(layer.multihead_attn, x, memory, memory)
    if norm_first:
        h = x + attend(norm(x))
        h = h + look(norm(h))
        expected = h + feed(layer, norm(h))
    else:
        h = norm(x + attend(x))
        h = norm(h + look(h))
        expected = norm(h + feed(layer, h))
    np.testing.assert_allclose(layer(x, memory, causal).data, expected, rtol=1e-10)
    np.testing.assert_allclose(layer(x, memory, tgt_is_causal=True).data, expected, rtol=1e-10)


def test_layers_of_an_encoder_begin_alike_and_are_their_own() -> None:
    encoder = nn.TransformerEncoder(small(nn.TransformerEncoderLayer), 2, nn.LayerNorm(4))
    first, second = (layer.linear1.weight for layer in encoder.layers)
    np.testing.assert_array_equal(first.data, second.data)
    assert first is not second
    x = draw(3, 2, 4)
    one, two = encoder.layers
    np.testing.assert_allclose(encoder(x).data, encoder.norm(two(one(x))).data)


def test_copies_and_loaded_layers_draw_masks_of_their_own(tmp_path: Path) -> None:
    model = nn.TransformerEncoder(nn.TransformerEncoderLayer(8, 2, 6, 0.5, rng=0), 2)
    first, second = model.layers
    assert first.dropout.rng is second.dropout.rng is first.self_attn.rng is not None
    tg.io.save(model, tmp_path / "model.safetensors")
    loaded = tg.io.load(tmp_path / "model.safetensors").train()
    assert {part.rng for _, part in loaded.named_modules() if hasattr(part, "rng")} == {None}
    x = np.ones((3, 2, 8), np.float32)
    assert (loaded(x).data != loaded(x).data).any()


def test_a_causal_transformer_knows_nothing_of_what_comes_later() -> None:
    model = nn.Transformer(4, 2, 1, 1, 6, 0.0, batch_first=True, dtype=np.float64, rng=0)
    src, tgt = draw(2, 5, 4), draw(2, 3, 4)
    mask = model.generate_square_subsequent_mask(3)
    out = model(src, tgt, tgt_mask=mask)
    changed = tgt.copy()
    changed[:, 2] += 1
    other = model(src, changed, tgt_is_causal=True)
    np.testing.assert_allclose(other.data[:, :2], out.data[:, :2], rtol=1e-12)
    assert (other.data[:, 2] != out.data[:, 2]).all()


def test_transformers_tell_what_does_not_fit() -> None:
    model = nn.Transformer(4, 2, 1, 1, 6)
    with pytest.raises(ValueError, match="d_model=4 features"):
        model(np.ones((3, 2, 5)), np.ones((3, 2, 5)))
    with pytest.raises(ValueError, match="batch_first=False axis 1 counts the examples"):
        model(np.ones((2, 5, 4)), np.ones((2, 3, 4)))
    with pytest.raises(ValueError, match="'relu' and 'gelu'"):
        nn.TransformerEncoderLayer(4, 2, activation="swish")
    with pytest.raises(ValueError, match="num_layers=0"):
        nn.TransformerEncoder(nn.TransformerEncoderLayer(4, 2), 0)


MODULES: dict[str, tuple[Any, tuple[tuple[int, ...], ...]]] = {
    "attention": (lambda: nn.MultiheadAttention(4, 2, rng=0), ((3, 2, 4),) * 3),
    "encoder layer": (
        lambda: nn.TransformerEncoderLayer(4, 2, 6, 0.0, "gelu", rng=0),
        ((3, 2, 4),),
    ),
    "encoder": (
        lambda: nn.TransformerEncoder(
            nn.TransformerEncoderLayer(4, 2, 6, 0.0, rng=0), 2, nn.LayerNorm(4)
        ),
        ((3, 2, 4),),
    ),
    "decoder": (
        lambda: nn.TransformerDecoder(nn.TransformerDecoderLayer(4, 2, 6, 0.0, rng=0), 2),
        ((3, 2, 4), (5, 2, 4)),
    ),
    "transformer": (
        lambda: nn.Transformer(4, 2, 1, 1, 6, 0.0, norm_first=True, rng=0),
        ((5, 2, 4), (3, 2, 4)),
    ),
    "positions": (nn.SinusoidalEmbedding, ((3, 4),)),
    "rotary": (nn.RotaryEmbedding, ((3, 4),)),
}


def answer(model: Any, xs: Any) -> Any:
    out = model(*xs)
    return out[0] if isinstance(out, tuple) else out


@pytest.mark.parametrize(("make", "shapes"), MODULES.values(), ids=MODULES)
def test_modules_survive_files_copies_and_transforms(
    make: Any, shapes: Any, tmp_path: Path
) -> None:
    model, xs = make(), [draw(*shape).astype(np.float32) for shape in shapes]
    expected = answer(model, xs)
    path = tmp_path / "model.safetensors"
    tg.io.save(model, path)
    blank = make()
    blank.load_state_dict({name: x * 0 for name, x in model.state_dict().items()})
    blank.load_state_dict(model.state_dict())
    for other in (tg.io.load(path), copy.deepcopy(model), pickle.loads(pickle.dumps(model)), blank):
        np.testing.assert_array_equal(
            np.asarray(tg.stop_gradient(answer(other, xs))), np.asarray(tg.stop_gradient(expected))
        )
    again = nn.functional_call(model, model.state_dict(), tuple(xs))
    again = again[0] if isinstance(again, tuple) else again
    np.testing.assert_array_equal(again, np.asarray(tg.stop_gradient(expected)))
    if not model.parameters():
        return
    grads = tg.grad(lambda model: np.sum(answer(model, xs) ** 2))(model)
    loss = np.sum(answer(model, xs) ** 2)
    loss.backward(create_graph=True)
    for p, g in zip(model.parameters(), grads.parameters(), strict=True):
        np.testing.assert_allclose(p.grad.data, g.data, rtol=1e-4, atol=1e-5)


def test_an_ensemble_runs_as_one() -> None:
    models = [nn.TransformerEncoderLayer(4, 2, 6, 0.0, rng=seed) for seed in (0, 1)]
    states = [model.state_dict() for model in models]
    stacked = {name: np.stack([state[name] for state in states]) for name in states[0]}
    x = draw(3, 2, 4).astype(np.float32)
    run = tg.vmap(lambda state, x: nn.functional_call(models[0], state, x), in_axes=(0, None))
    for model, found in zip(models, run(stacked, x), strict=True):
        np.testing.assert_allclose(found, model(x).data, rtol=1e-4, atol=1e-5)
