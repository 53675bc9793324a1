"""Layers: the affine map and the activations, against NumPy."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tensorgrad import Value, nn
from tensorgrad.ops.nn.linear import LARGE
from tests.numerical import assert_gradient

rng = np.random.default_rng(0)


@pytest.mark.parametrize("shape", [(3,), (5, 3), (2, 5, 3)])
@pytest.mark.parametrize("bias", [True, False])
def test_linear_is_x_times_the_weight_transposed_plus_the_bias(
    shape: tuple[int, ...], bias: bool
) -> None:
    layer = nn.Linear(3, 4, bias=bias, dtype=np.float64, rng=0)
    x = rng.normal(size=shape)
    offset = layer.bias.data if layer.bias is not None else 0
    np.testing.assert_allclose(layer(x).data, x @ layer.weight.data.T + offset, rtol=1e-12)
    assert layer(x).shape == (*shape[:-1], 4)


@pytest.mark.parametrize("shape", [(3,), (5, 3), (2, 5, 3)])
@pytest.mark.parametrize("bias", [True, False])
def test_gradients_of_linear_are_bp2_bp3_and_bp4_summed_over_the_batch(
    shape: tuple[int, ...], bias: bool
) -> None:
    layer = nn.Linear(3, 4, bias=bias, dtype=np.float64, rng=0)
    x, delta = Value(rng.normal(size=shape)), rng.normal(size=(*shape[:-1], 4))
    layer(x).backward(delta)
    rows, deltas = x.data.reshape(-1, 3), delta.reshape(-1, 4)
    np.testing.assert_allclose(x.grad, delta @ layer.weight.data, rtol=1e-12)
    outer = sum(np.outer(d, row) for d, row in zip(deltas, rows, strict=True))
    np.testing.assert_allclose(layer.weight.grad, outer, rtol=1e-9)
    if layer.bias is not None:
        np.testing.assert_allclose(layer.bias.grad, deltas.sum(0), rtol=1e-12)


def test_linear_without_a_bias_has_one_parameter() -> None:
    layer = nn.Linear(3, 4, bias=False)
    assert layer.bias is None
    assert [name for name, _ in layer.named_parameters()] == ["weight"]


def test_linear_is_float32_unless_told_otherwise_and_stays_so() -> None:
    layer, wide = nn.Linear(3, 2), nn.Linear(3, 2, dtype=np.float64)
    x = np.ones((1, 3), np.float32)
    assert (layer.weight.dtype, wide.weight.dtype) == (np.float32, np.float64)
    y = layer(x)
    assert y.dtype == np.float32
    y.sum().backward()
    assert layer.weight.grad.dtype == layer.bias.grad.dtype == np.float32


def test_a_seed_fixes_the_weights_and_a_generator_moves_on() -> None:
    weights = lambda seed: nn.Linear(3, 2, rng=seed).weight.data
    np.testing.assert_array_equal(weights(1), weights(1))
    assert (weights(1) != weights(2)).all()
    assert (weights(None) != weights(None)).all()
    generator = np.random.default_rng(1)
    np.testing.assert_array_equal(weights(generator), weights(1))
    assert (weights(generator) != weights(1)).all()


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: nn.Linear(0, 2), ValueError, r"Linear\(0, 2\): both sizes must be positive"),
        (lambda: nn.Linear(2, -1), ValueError, "must be positive"),
        (lambda: nn.Linear(2, 1, init="he2"), ValueError, "normal, lecun, xavier, he, uniform"),
        (lambda: nn.Linear(2, 1, dtype=int), TypeError, "carries no gradient"),
        (lambda: nn.Linear(2, 1)(np.ones((5, 3))), ValueError, r"linear\(float64\[5, 3\], float32"),
    ],
)
def test_mistakes_are_named(make: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        make()


x = np.array([[-2.0, -0.5, 0.0], [0.3, 1.0, 3.0]])


def shares(x: Any, axis: int) -> Any:
    return np.exp(x) / np.exp(x).sum(axis=axis, keepdims=True)


@pytest.mark.parametrize(
    ("layer", "by_hand"),
    [
        (nn.Sigmoid(), 1 / (1 + np.exp(-x))),
        (nn.Tanh(), np.tanh(x)),
        (nn.ReLU(), np.maximum(x, 0)),
        (nn.Softplus(), np.log(1 + np.exp(x))),
        (nn.Softmax(), shares(x, -1)),
        (nn.Softmax(dim=0), shares(x, 0)),
        (nn.LogSoftmax(), np.log(shares(x, -1))),
        (nn.LogSoftmax(dim=0), np.log(shares(x, 0))),
        (nn.Identity(), x),
    ],
)
def test_activations(layer: nn.Module, by_hand: Any) -> None:
    np.testing.assert_allclose(layer(x), by_hand, rtol=1e-12)  # raw in, raw out
    np.testing.assert_allclose(layer(Value(x)).data, by_hand, rtol=1e-12)
    assert_gradient(layer, x + 0.01, order=2)


def test_sequential_is_composition_and_takes_functions_too() -> None:
    first, second = nn.Linear(3, 2, rng=0), nn.Linear(2, 1, rng=1)
    model = nn.Sequential(first, np.tanh, second)
    np.testing.assert_array_equal(model(x).data, second(np.tanh(first(x))).data)
    assert len(model) == 3
    assert model[0] is first
    assert [*model] == [first, np.tanh, second]


def test_the_functional_affine_map_does_without_a_bias() -> None:
    x, weight = np.ones((2, 3)), Value(np.arange(6.0).reshape(2, 3))
    np.testing.assert_array_equal(nn.functional.linear(x, weight).data, x @ weight.data.T)


@pytest.mark.parametrize("bias", [True, False])
def test_bp4_of_one_example_is_an_outer_product(bias: bool) -> None:
    x, g, layer = np.arange(3.0)[None], np.array([[2.0, -1.0]]), nn.Linear(3, 2, bias, dtype=float)
    layer(x).backward(g)
    np.testing.assert_array_equal(layer.weight.grad, np.outer(g, x))


def test_an_mlp_takes_rows_as_lists() -> None:
    model, rows = nn.MLP(2, [3, 1], rng=0), [[1.0, 2.0], [3.0, 4.0]]
    np.testing.assert_array_equal(model(rows).data, model(np.array(rows)).data)


@pytest.mark.parametrize("n", [1, LARGE // 40, LARGE // 40 + 1])
def test_a_large_batch_is_multiplied_in_another_order_and_gives_the_same(n: int) -> None:
    rng = np.random.default_rng(0)
    x, weight, bias = (Value(rng.normal(size=s)) for s in ((n, 40), (7, 40), (7,)))
    out, g = nn.functional.linear(x, weight, bias), rng.normal(size=(n, 7))
    np.testing.assert_allclose(
        out.data, np.einsum("ni,oi->no", x.data, weight.data) + bias.data, rtol=1e-12, atol=1e-12
    )
    out.backward(g)
    np.testing.assert_allclose(weight.grad, np.einsum("no,ni->oi", g, x.data), atol=1e-11)
    assert weight.grad.flags.c_contiguous


def test_layers_know_their_sizes() -> None:
    conv, table = nn.Conv2d(3, 4, 5), nn.Embedding(6, 7)
    assert (conv.in_channels, conv.out_channels, conv.kernel_size) == (3, 4, (5, 5))
    up = nn.ConvTranspose1d(3, 4, 2)
    assert (up.in_channels, up.out_channels, up.kernel_size) == (3, 4, (2,))
    assert (table.num_embeddings, table.embedding_dim) == (6, 7)
    assert (nn.Linear(2, 3).in_features, nn.Linear(2, 3).out_features) == (2, 3)
    pair = nn.Bilinear(2, 3, 4)
    assert (pair.in1_features, pair.in2_features, pair.out_features) == (2, 3, 4)
