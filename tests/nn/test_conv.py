"""Convolutions, against sums written out; and the gradients that are derived for them by hand."""

from __future__ import annotations

import copy
import itertools
import math
import pickle
import tracemalloc
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tensorgrad as tg
from tensorgrad import Value, nn
from tensorgrad.nn import functional as F
from tensorgrad.ops.nn import conv as ops
from tests.numerical import assert_gradient

Array = Any
rng = np.random.default_rng(0)
CONV = (F.conv1d, F.conv2d, F.conv3d)
TRANSPOSED = (F.conv_transpose1d, F.conv_transpose2d, F.conv_transpose3d)


def draw(*shape: int) -> Array:
    return rng.normal(size=shape)


def terms(
    x: Array, w: Array, result: Any, stride: int, padding: int, dilation: int, groups: int
) -> Iterator[tuple[Any, Any, Any]]:
    """Indices of z, w and x of each product: z_nop += w_ock x_n,c,(p stride + k dilation - pad)."""
    o, per_group, *kernel = w.shape
    for i, j, p in itertools.product(range(len(x)), range(o), np.ndindex(*result)):
        for m, k in itertools.product(range(per_group), np.ndindex(*kernel)):
            at = [a * stride + b * dilation - padding for a, b in zip(p, k)]
            if all(0 <= a < size for a, size in zip(at, x.shape[2:])):
                channel = j // (o // groups) * per_group + m
                yield (i, j, *p), (j, m, *k), (i, channel, *at)


def result_of(x: Array, w: Array, stride: int, padding: int, dilation: int) -> list[int]:
    return [
        (n + 2 * padding - dilation * (k - 1) - 1) // stride + 1
        for n, k in zip(x.shape[2:], w.shape[2:])
    ]


# x, w, stride, padding, dilation, groups
CALLS: dict[str, tuple[Any, ...]] = {
    "plain": ((2, 3, 5, 4), (4, 3, 3, 2), 1, 0, 1, 1),
    "one axis": ((2, 3, 8), (4, 3, 3), 1, 1, 2, 1),
    "three axes": ((2, 2, 3, 4, 3), (3, 2, 2, 1, 2), 1, 1, 1, 1),
    "stride": ((1, 1, 7, 6), (2, 1, 3, 2), 2, 0, 1, 1),
    "a stride that leaves entries over": ((1, 2, 6, 7), (1, 2, 2, 2), 3, 0, 1, 1),
    "a stride beyond the kernel": ((2, 1, 7), (2, 1, 1), 3, 0, 1, 1),
    "padding": ((2, 1, 3, 3), (1, 1, 3, 3), 1, 2, 1, 1),
    "dilation": ((1, 2, 6, 5), (2, 2, 2, 3), 1, 1, 2, 1),
    "all": ((2, 2, 6, 5), (2, 2, 3, 2), 2, 2, 2, 1),
    "groups": ((2, 4, 4, 3), (6, 2, 2, 2), 1, 0, 1, 2),
    "depthwise": ((2, 3, 5), (6, 1, 2), 2, 1, 1, 3),
    "1 x 1": ((3, 4, 2, 3), (2, 4, 1, 1), 1, 0, 1, 1),
    "as large as the input": ((2, 2, 3, 2), (3, 2, 3, 2), 1, 0, 1, 1),
    "one entry": ((1, 1, 1, 1), (1, 1, 1, 1), 1, 0, 1, 1),
}


@pytest.mark.parametrize("call", CALLS)
def test_a_convolution_and_its_gradients_are_the_sums_of_these_products(call: str) -> None:
    x_shape, w_shape, stride, padding, dilation, groups = CALLS[call]
    x, w, b = Value(draw(*x_shape)), Value(draw(*w_shape)), Value(draw(w_shape[0]))
    axes = len(x_shape) - 2
    z = CONV[axes - 1](x, w, b, stride, padding, dilation, groups)
    result = result_of(x, w, stride, padding, dilation)
    delta = draw(x_shape[0], w_shape[0], *result)
    z.backward(delta)
    expected = np.zeros(delta.shape) + b.data.reshape(-1, *[1] * axes)
    dx, dw = np.zeros(x_shape), np.zeros(w_shape)
    for at_z, at_w, at_x in terms(x, w, result, stride, padding, dilation, groups):
        expected[at_z] += w.data[at_w] * x.data[at_x]
        dx[at_x] += delta[at_z] * w.data[at_w]
        dw[at_w] += delta[at_z] * x.data[at_x]
    np.testing.assert_allclose(z.data, expected, rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(x.grad, dx, rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(w.grad, dw, rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(b.grad, delta.sum(axis=(0, *range(2, 2 + axes))), rtol=1e-12)


@pytest.mark.parametrize("call", CALLS)
def test_rows_compute_what_the_formulas_say(call: str) -> None:
    """NumPy's own arrays take the quick way; in pieces of any size."""
    x_shape, w_shape, stride, padding, dilation, groups = CALLS[call]
    x, w, z = draw(*x_shape), draw(*w_shape), None
    pads = [
        (padding, padding - (n + 2 * padding - dilation * (k - 1) - 1) % stride)
        for n, k in zip(x_shape[2:], w_shape[2:])
    ]
    params = {"stride": stride, "padding": tuple(pads), "dilation": dilation, "groups": groups}
    geo = ops.geometry(params, x=x, w=w)
    z = draw(x_shape[0], w_shape[0], *geo.result)
    for columns, least, small in ((1, 1, 0), (40, 1, 0), (40, 1, 200), (1 << 16, 256, 100)):
        with pytest.MonkeyPatch.context() as patch:
            for name, n in (("COLUMNS", columns), ("LEAST", least), ("SHORT", 1)):
                patch.setattr(ops, name, n)
            patch.setattr(ops, "piece", ops.piece.__wrapped__)
            patch.setattr(ops, "small", lambda small=small: small)
            pairs = [
                (ops.conv(x, w, **params), ops.correlated(x, w, geo)),
                (ops.conv_transpose(z, w, **params), ops.spread(z, w, geo)),
                (ops.conv_weight(x, z, **params), ops.matched(x, z, geo)),
            ]
        for quick, formula in pairs:
            np.testing.assert_allclose(quick, formula, rtol=1e-12, atol=1e-12)


# Nielsen, ch. 6; SEEDS: a = σ(b + Σ_lm w_lm x_j+l,k+m).


def toeplitz(w: Array, height: int, width: int) -> Array:
    """The matrix of a convolution with one kernel: a row for each place, its weights tied."""
    (kh, kw), (h, v) = w.shape, (height - w.shape[0] + 1, width - w.shape[1] + 1)
    matrix = np.zeros((h, v, height, width))
    for j, k in np.ndindex(h, v):
        matrix[j, k, j : j + kh, k : k + kw] = w
    return matrix.reshape(h * v, height * width)


def test_a_convolution_is_a_layer_with_tied_weights() -> None:
    x, w, delta = draw(5, 6), draw(3, 2), draw(3, 5)
    T, image, kernel = toeplitz(w, 5, 6), Value(x[None, None]), Value(w[None, None])
    z = F.conv2d(image, kernel)
    z.backward(delta[None, None])
    np.testing.assert_allclose(z.data.ravel(), T @ x.ravel(), rtol=1e-12)
    np.testing.assert_allclose(image.grad.ravel(), T.T @ delta.ravel(), rtol=1e-12)
    dense = np.outer(delta, x)  # of a layer whose weights are free: those that are tied add up
    tied = [
        [dense[toeplitz(one, 5, 6) == 1].sum() for one in row]
        for row in np.eye(6).reshape(3, 2, 3, 2)
    ]
    np.testing.assert_allclose(kernel.grad[0, 0], tied, rtol=1e-12)


def test_backpropagation_through_a_convolution_is_three_short_formulas() -> None:
    x, w, b = draw(6, 5), draw(2, 3), 0.3
    sigma = lambda z: 1 / (1 + np.exp(-z))
    image, kernel, offset = Value(x[None, None]), Value(w[None, None]), Value(np.array([b]))
    cost = np.sum(F.sigmoid(F.conv2d(image, kernel, offset)) ** 2) / 2
    cost.backward()
    z = np.array([[np.sum(w * x[j : j + 2, k : k + 3]) + b for k in range(3)] for j in range(5)])
    delta = sigma(z) * sigma(z) * (1 - sigma(z))
    np.testing.assert_allclose(offset.grad, [delta.sum()], rtol=1e-12)
    by_weight = [[np.sum(delta * x[k : k + 5, m : m + 3]) for m in range(3)] for k in range(2)]
    np.testing.assert_allclose(kernel.grad[0, 0], by_weight, rtol=1e-12)
    full = sum(  # the full convolution of δ with w, a row of w after the other
        np.pad(
            np.stack([np.convolve(row, w[k]) for row in delta]),
            ((k, 1 - k), (0, 0)),
        )
        for k in range(2)
    )
    np.testing.assert_allclose(image.grad[0, 0], full, rtol=1e-12)


def test_a_transposed_convolution_is_the_transpose_of_the_map() -> None:
    """⟨w ⋆ x, z⟩ = ⟨x, w * z⟩, for all sizes, strides and groups."""
    for axes, stride, padding, groups in itertools.product((1, 2, 3), (1, 2, 3), (0, 1), (1, 2)):
        w = draw(4, 6 // groups, *(3, 2, 2)[:axes])
        x = draw(2, 6, *(7, 5, 4)[:axes])
        z = CONV[axes - 1](x, w, None, stride, padding, 1, groups)
        smallest = [(m - 1) * stride - 2 * padding + k for m, k in zip(z.shape[2:], w.shape[2:])]
        more = [n - s for n, s in zip(x.shape[2:], smallest)]
        delta = draw(*z.shape)
        back = TRANSPOSED[axes - 1](delta, w, None, stride, padding, more, groups)
        np.testing.assert_allclose(np.sum(z * delta), np.sum(x * back), rtol=1e-10)


@pytest.mark.parametrize(
    "f",
    [
        lambda x, w: F.conv2d(x, w, stride=2, padding=1),
        lambda x, w: F.conv2d(x, w, padding="same", dilation=2),
        lambda x, w: F.conv_transpose2d(x, w, stride=2, padding=1, output_padding=1),
        lambda x, w: F.conv3d(x[:1, None], w[:, :1, None]),
        lambda x, w: F.conv1d(x[:, :, 0], w[:, :, 0], dilation=2),
    ],
)
def test_derivatives_of_second_order_are_numerical_ones(f: Callable[..., Any]) -> None:
    assert_gradient(f, draw(2, 2, 4, 3), draw(2, 2, 2, 2), order=2)


# What PyTorch takes.


def test_one_image_needs_no_batch() -> None:
    for n in (1, 2, 3):
        x, w, b = draw(2, *[4] * n), draw(4, 2, *[2] * n), draw(4)
        np.testing.assert_array_equal(CONV[n - 1](x, w, b), CONV[n - 1](x[None], w, b)[0])
        w = np.swapaxes(w, 0, 1)
        up = TRANSPOSED[n - 1]
        np.testing.assert_allclose(up(x, w, b, 2), up(x[None], w, b, 2)[0], rtol=1e-13)


def test_same_keeps_the_size_with_the_larger_half_after_and_valid_adds_nothing() -> None:
    x, w = draw(1, 1, 6, 6), draw(1, 1, 4, 3)
    around = np.pad(x, [(0, 0), (0, 0), (1, 2), (1, 1)])
    np.testing.assert_array_equal(F.conv2d(x, w, padding="same"), F.conv2d(around, w))
    np.testing.assert_array_equal(F.conv2d(x, w, padding="valid"), F.conv2d(x, w))
    assert F.conv2d(x, w, padding="same", dilation=(1, 2)).shape == x.shape


@pytest.mark.parametrize(
    ("mode", "numpys"), [("reflect", "reflect"), ("replicate", "edge"), ("circular", "wrap")]
)
def test_padding_modes_are_numpys(mode: str, numpys: Any) -> None:
    layer = nn.Conv2d(2, 3, 3, padding=(1, 2), padding_mode=mode, dtype=np.float64, rng=0)
    x = draw(2, 2, 4, 5)
    around = np.pad(x, [(0, 0), (0, 0), (1, 1), (2, 2)], numpys)
    np.testing.assert_allclose(
        layer(x).data, F.conv2d(around, layer.weight, layer.bias).data, rtol=1e-12
    )
    assert_gradient(lambda x: layer(x), x[:1])


def test_output_size_chooses_among_the_sizes_that_a_stride_maps_to_one() -> None:
    layer = nn.ConvTranspose2d(1, 2, 3, stride=3, padding=1, rng=0)
    x = draw(1, 1, 2, 2)
    for n in (4, 5, 6):
        assert layer(x, output_size=(n, 4)).shape == (1, 2, n, 4)
        assert layer(x, (1, 2, n, 4)).shape == (1, 2, n, 4)
    with pytest.raises(ValueError, match=r"between \[4, 4\] and \[6, 6\]"):
        layer(x, output_size=(7, 4))


def test_parameters_are_uniform_as_pytorchs() -> None:
    layer = nn.Conv2d(6, 40, (3, 2), groups=2, rng=0)
    assert layer.weight.shape == (40, 3, 3, 2)
    limit = 1 / math.sqrt(3 * 3 * 2)
    for p in layer.parameters():
        assert 0.8 * limit < np.abs(p.data).max() <= limit
    up = nn.ConvTranspose1d(6, 40, 5, groups=2, rng=0)
    assert (up.weight.shape, up.bias.shape) == ((6, 20, 5), (40,))
    assert np.abs(up.weight.data).max() <= 1 / math.sqrt(20 * 5)
    assert nn.Conv1d(1, 1, 1, bias=False).bias is None


LAYERS: dict[str, tuple[Callable[[], Any], tuple[int, ...]]] = {
    "Conv1d": (lambda: nn.Conv1d(2, 4, 3, 2, 1, 1, 2, rng=0), (3, 2, 7)),
    "Conv2d": (lambda: nn.Conv2d(2, 3, (2, 3), padding="same", rng=0), (3, 2, 5, 4)),
    "Conv3d": (lambda: nn.Conv3d(1, 2, 2, padding_mode="circular", padding=1), (3, 1, 2, 3, 2)),
    "ConvTranspose1d": (lambda: nn.ConvTranspose1d(2, 4, 3, 2, 1, 1, rng=0), (3, 2, 4)),
    "ConvTranspose2d": (lambda: nn.ConvTranspose2d(2, 3, 2, bias=False), (3, 2, 2, 3)),
    "ConvTranspose3d": (lambda: nn.ConvTranspose3d(1, 2, 2, dilation=2), (3, 1, 2, 2, 2)),
}


@pytest.mark.parametrize("name", LAYERS)
def test_a_layer_survives_what_is_done_to_layers(name: str, tmp_path: Path) -> None:
    make, shape = LAYERS[name]
    layer, x = make(), draw(*shape).astype(np.float32)
    out = layer(x)
    assert out.dtype == np.float32
    tg.io.save(layer, tmp_path / "layer.safetensors")
    copies = [copy.deepcopy(layer), pickle.loads(pickle.dumps(layer)), eval_of(repr(layer))]
    copies[-1].load_state_dict(layer.state_dict())
    copies.append(tg.io.load(tmp_path / "layer.safetensors"))
    for other in copies:
        assert type(other) is type(layer)
        np.testing.assert_array_equal(other(x).data, out.data)
    loss = lambda model: np.sum(model(x) ** 2)
    loss(layer).backward(create_graph=True)
    grads = tg.grad(loss)(layer)
    for p, g in zip(layer.parameters(), grads.parameters()):
        np.testing.assert_allclose(p.grad.data, g.data, rtol=1e-5)
    stacked = {n: np.stack([p.data, p.data * 2]) for n, p in layer.named_parameters()}
    both = tg.vmap(lambda state: nn.functional_call(layer, state, x))(stacked)
    np.testing.assert_allclose(both[0], out.data, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(both[1], 2 * out.data, rtol=1e-4, atol=1e-5)


def eval_of(text: str) -> Any:
    return eval(text, dict(vars(nn)))


def test_images_of_bytes_are_taken_and_no_image_gives_none() -> None:
    layer = nn.Conv2d(1, 2, 3, rng=0)
    images = rng.integers(256, size=(2, 1, 5, 5), dtype=np.uint8)
    assert layer(images).dtype == np.float32
    x = Value(np.zeros((0, 1, 5, 5)))
    np.sum(layer(x)).backward()
    assert x.grad.shape == x.shape
    assert not layer.weight.grad.any()


@pytest.mark.parametrize("groups", [1, 2])
def test_padding_may_leave_a_transposed_convolution_no_entries(groups: int) -> None:
    layer, x = nn.ConvTranspose1d(2, 2, 2, padding=1, groups=groups), Value(draw(3, 2, 1))
    out = layer(x)
    np.sum(out).backward()
    assert (out.shape, x.grad.shape) == ((3, 2, 0), x.shape)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: nn.Conv2d(3, 8, 3)(draw(2, 4, 5, 5)), r"x has 4 channels.*\(8, 3, 3, 3\) takes 3"),
        (lambda: nn.ConvTranspose2d(3, 8, 3)(draw(2, 4, 5, 5)), "x has 4 channels.*takes 3"),
        (lambda: nn.Conv2d(1, 1, 5)(draw(1, 1, 4, 9)), r"kernel of \(5, 5\).*input of \(4, 9\)"),
        (lambda: nn.Conv2d(1, 1, 3, dilation=3)(draw(1, 1, 6, 7)), r"spread over \(7, 7\)"),
        (lambda: nn.Conv2d(1, 1, 3)(draw(5, 5)), r"shape \(5, 5\).*\(C, height, width\)"),
        (lambda: nn.Conv1d(1, 1, 3)(draw(1, 1, 5, 5)), "it takes .N, C, length"),
        (lambda: nn.Conv2d(3, 8, 3, groups=2), "2 groups do not divide"),
        (lambda: F.conv2d(draw(1, 2, 3, 3), draw(3, 1, 1, 1), groups=2), "3 output channels"),
        (lambda: nn.Conv2d(1, 1, 3, stride=2, padding="same"), "same.*stride"),
        (lambda: nn.Conv2d(1, 1, 3, padding="full"), "'same', 'valid' and numbers"),
        (lambda: nn.Conv2d(1, 1, 3, padding_mode="edge"), "replicate"),
        (lambda: nn.Conv2d(1, 1, 0), "kernel_size=0: sizes begin at 1"),
        (lambda: nn.Conv2d(0, 1, 1), "must be positive"),
        (lambda: F.conv2d(draw(1, 1, 3, 3), draw(1, 1, 3)), "a weight of shape"),
        (lambda: F.conv2d(draw(1, 1, 3, 3), draw(2, 1, 3, 3), draw(3)), r"bias of shape \(3,\)"),
        (lambda: nn.ConvTranspose2d(1, 1, 3, output_padding=1)(draw(1, 1, 3, 3)), "smaller than"),
        (lambda: nn.ConvTranspose2d(1, 1, 2, padding=3)(draw(1, 1, 2, 2)), "cuts off all"),
        (lambda: nn.ConvTranspose2d(1, 1, 2, padding="same"), "padding in numbers"),
        (
            lambda: nn.Conv2d(1, 1, 3, padding=3, padding_mode="reflect")(draw(1, 1, 3, 3)),
            "reflect",
        ),
    ],
)
def test_what_does_not_fit_is_refused_with_the_numbers(
    call: Callable[[], Any], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        call()


def test_a_size_for_each_axis_is_an_integer() -> None:
    with pytest.raises(TypeError, match="give an integer, or 2 of them"):
        nn.Conv2d(1, 1, (3, 3, 3))
    with pytest.raises(TypeError, match="give an integer"):
        nn.Conv2d(1, 1, 2.5)


# Memory.


def test_a_chain_of_layers_stays_in_rows() -> None:
    """What is computed entry by entry lies as a convolution left it, and the next one takes it."""
    x = F.relu(F.conv2d(draw(3, 2, 6, 6), draw(4, 2, 3, 3)))
    rows = ops.in_rows(x, x.dtype)
    assert rows.flags.c_contiguous
    assert np.shares_memory(rows, x)


def test_the_matrix_of_all_columns_is_never_made() -> None:
    """It would be 9 times as large as x, for the forward and for both gradients."""
    x, layer = rng.random((8, 16, 64, 64), dtype=np.float32), nn.Conv2d(16, 16, 3, padding=1)
    tracemalloc.start()
    image = Value(x)
    np.sum(layer(image)).backward()
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 7 * x.nbytes


# Pictures.


def test_formulas_are_a_correlation_and_a_convolution() -> None:
    x, w = Value(draw(1, 1, 4, 4), name="x"), Value(draw(1, 1, 2, 2), name="w")
    b = Value(draw(1), name="b")
    z = F.conv2d(x, w, b)
    dz = r"\frac{\partial \Sigma v_{1}}{\partial v_{1}}"
    assert r"v_{1} = w \star x + b" in tg.viz.explain(z, x).latex()
    assert rf"\partial x}} = w * {dz}" in tg.viz.explain(z, x).latex()
    assert rf"\partial w}} = {dz} \star x" in tg.viz.explain(z, w).latex()
    assert r"\sum_{i, k, l}" in tg.viz.explain(z, b).latex()
    assert "stride=" in str(tg.viz.explain(F.conv2d(x, w, stride=2), x))


def test_one_entry_of_a_convolution_is_a_sum_of_products() -> None:
    x, w = Value(draw(1, 1, 4, 4), name="x"), Value(draw(1, 1, 2, 2), name="w")
    entry = tg.viz.zoom(F.conv2d(x, w), (0, 0, 1, 2))
    products = {v.name for v in leaves(entry)}
    assert products == {
        *(f"w[0, 0, {k}, {m}]" for k in range(2) for m in range(2)),
        *(f"x[0, 0, {1 + k}, {2 + m}]" for k in range(2) for m in range(2)),
    }
    up = F.conv_transpose2d(x, w, stride=2)
    assert math.isclose(tg.viz.zoom(up, (0, 0, 2, 3)).item(), up.data[0, 0, 2, 3])


def leaves(value: Value) -> list[Value]:
    found, rest = [], [value.node]
    while rest:
        node = rest.pop()
        rest += [x for x in node.operands if x is not None]
        if node.op is None:
            found.append(Value.of(node))
    return found
