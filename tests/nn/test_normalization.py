"""Normalisations: against their formulas, written out in NumPy."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import numpy as np
import pytest

import tensorgrad as tg
from tensorgrad import Value, io, nn
from tensorgrad.nn import functional as F
from tests.numerical import assert_gradient

rng = np.random.default_rng(0)


def normal(x: Any, axis: Any, eps: float = 1e-5) -> Any:
    mean = x.mean(axis=axis, keepdims=True)
    return (x - mean) / np.sqrt(((x - mean) ** 2).mean(axis=axis, keepdims=True) + eps)


def column(p: Any, ndim: int) -> Any:
    return p.reshape(1, -1, *[1] * (ndim - 2))


@pytest.mark.parametrize("shape", [(5, 3), (2, 4, 3), (1, 2, 20), (2, 3, 4, 1)])
@pytest.mark.parametrize("k", [1, 2])
def test_a_layer_norm_is_of_mean_0_and_variance_1_before_weight_and_bias(
    shape: Any, k: int
) -> None:
    x, sizes = rng.normal(2.0, 3.0, shape), shape[-k:]
    weight, bias = rng.normal(size=sizes), rng.normal(size=sizes)
    wanted = normal(x, tuple(range(-k, 0))) * weight + bias
    np.testing.assert_allclose(F.layer_norm(x, sizes, weight, bias), wanted, rtol=1e-10, atol=1e-12)
    f = lambda x, weight, bias: F.layer_norm(x, sizes, weight, bias, eps=0.1)
    assert_gradient(f, x, weight, bias, order=2)


@pytest.mark.parametrize("shape", [(5, 3), (2, 3, 4), (2, 3, 4, 5), (1, 3, 2, 1, 4)])
def test_a_batch_norm_is_of_each_channel(shape: Any) -> None:
    x, axis = rng.normal(2.0, 3.0, shape), (0, *range(2, len(shape)))
    weight, bias = rng.normal(size=3), rng.normal(size=3)
    wanted = normal(x, axis) * column(weight, x.ndim) + column(bias, x.ndim)
    out = F.batch_norm(x, None, None, weight, bias, training=True)
    np.testing.assert_allclose(out, wanted, rtol=1e-10, atol=1e-12)
    f = lambda x, w, b: F.batch_norm(x, None, None, w, b, training=True, eps=0.1)
    assert_gradient(f, x, weight, bias, order=2)


def test_running_statistics_follow_the_unbiased_variance_and_are_used_without_training() -> None:
    layer = nn.BatchNorm1d(3, momentum=0.3, dtype=np.float64)
    mean, variance = np.zeros(3), np.ones(3)
    for _ in range(4):
        x = rng.normal(1.0, 2.0, (5, 3, 2))
        layer(x)
        mean = 0.7 * mean + 0.3 * x.mean(axis=(0, 2))
        variance = 0.7 * variance + 0.3 * x.var(axis=(0, 2), ddof=1)
    np.testing.assert_allclose(layer.running_mean, mean, rtol=1e-12)
    np.testing.assert_allclose(layer.running_var, variance, rtol=1e-12)
    assert layer.num_batches_tracked == 4
    layer.eval()
    layer.weight.data, layer.bias.data = rng.normal(size=3), rng.normal(size=3)
    x = rng.normal(size=(2, 3))
    by_hand = (x - mean) / np.sqrt(variance + 1e-5) * layer.weight.data + layer.bias.data
    np.testing.assert_allclose(layer(x).data, by_hand, rtol=1e-12)
    assert layer.num_batches_tracked == 4
    assert_gradient(lambda x: layer(x), x, order=2)


def test_without_a_momentum_running_statistics_are_means_of_all_batches() -> None:
    layer = nn.BatchNorm2d(2, momentum=None, dtype=np.float64)
    batches = [rng.normal(size=(3, 2, 4, 5)) for _ in range(3)]
    for x in batches:
        layer(x)
    means = np.mean([x.mean(axis=(0, 2, 3)) for x in batches], axis=0)
    variances = np.mean([x.var(axis=(0, 2, 3), ddof=1) for x in batches], axis=0)
    np.testing.assert_allclose(layer.running_mean, means, rtol=1e-10)
    np.testing.assert_allclose(layer.running_var, variances, rtol=1e-10)


def test_the_function_moves_the_statistics_that_it_is_given() -> None:
    mean, variance, x = np.zeros(2), np.ones(2), rng.normal(size=(6, 2))
    F.batch_norm(x, mean, variance, training=True, momentum=0.5)
    np.testing.assert_allclose(mean, x.mean(axis=0) / 2)
    np.testing.assert_allclose(variance, 0.5 + x.var(axis=0, ddof=1) / 2)


@pytest.mark.parametrize("groups", [1, 2, 4])
@pytest.mark.parametrize("shape", [(3, 4), (2, 4, 3), (1, 4, 2, 3)])
def test_a_group_norm_is_of_the_channels_of_a_group_together(shape: Any, groups: int) -> None:
    if groups == shape[1] and len(shape) == 2:
        return  # groups of one number
    x, weight, bias = rng.normal(2.0, 3.0, shape), rng.normal(size=4), rng.normal(size=4)
    wanted = np.empty(shape)
    for i in range(shape[0]):
        for part in np.split(np.arange(4), groups):
            wanted[i, part] = normal(x[i, part], None)
    wanted = wanted * column(weight, x.ndim) + column(bias, x.ndim)
    out = F.group_norm(x, groups, weight, bias)
    np.testing.assert_allclose(out, wanted, rtol=1e-8, atol=1e-10)
    f = lambda x, w, b: F.group_norm(x, groups, w, b, eps=0.1)
    assert_gradient(f, x, weight, bias, order=2)


@pytest.mark.parametrize(
    ("layer", "shape"),
    [
        (nn.InstanceNorm1d, (2, 3, 5)),
        (nn.InstanceNorm2d, (2, 3, 5, 1)),
        (nn.InstanceNorm3d, (1, 3, 2, 2, 1)),
    ],
)
def test_an_instance_norm_is_of_each_channel_of_each_example(layer: Any, shape: Any) -> None:
    x = rng.normal(2.0, 3.0, shape)
    wanted = np.stack([np.stack([normal(channel, None) for channel in one]) for one in x])
    np.testing.assert_allclose(layer(3)(x), wanted, rtol=1e-10)
    np.testing.assert_allclose(layer(3)(x[0]), wanted[0], rtol=1e-10)
    tracking = layer(3, track_running_stats=True, affine=True, dtype=np.float64)
    np.testing.assert_allclose(tracking(x).data, wanted, rtol=1e-10)
    variance = np.mean([one.reshape(3, -1).var(axis=1, ddof=1) for one in x], axis=0)
    np.testing.assert_allclose(tracking.running_var, 0.9 + 0.1 * variance)
    used = tracking.eval()(x).data
    by_hand = x - column(tracking.running_mean, x.ndim)
    np.testing.assert_allclose(used, by_hand / np.sqrt(column(tracking.running_var, x.ndim) + 1e-5))


def test_an_rms_norm_leaves_the_mean_in() -> None:
    x, weight = rng.normal(2.0, 3.0, (2, 3, 20)), rng.normal(size=20)
    wanted = x / np.sqrt((x**2).mean(axis=-1, keepdims=True) + 2.0**-52) * weight
    np.testing.assert_allclose(F.rms_norm(x, 20, weight), wanted, rtol=1e-10)
    f = lambda x, w: F.rms_norm(x, (3, 20), w, eps=0.1)
    assert_gradient(f, x, rng.normal(size=(3, 20)), order=2)


@pytest.mark.parametrize("size", [1, 2, 3, 5])
def test_a_local_response_norm_divides_by_the_mean_square_of_channels_around(size: int) -> None:
    x = rng.normal(size=(2, 4, 3))
    wanted = np.empty_like(x)
    for c in range(4):
        low, high = c - size // 2, c - size // 2 + size
        near = x[:, max(low, 0) : min(high, 4)]
        wanted[:, c] = x[:, c] / (2.0 + 0.5 * (near**2).sum(axis=1) / size) ** 0.6
    f = lambda x: F.local_response_norm(x, size, alpha=0.5, beta=0.6, k=2.0)
    np.testing.assert_allclose(f(x), wanted, rtol=1e-10)
    assert_gradient(f, x, order=2)


def test_float16_is_normalised_by_statistics_that_do_not_overflow() -> None:
    x = np.array([[300.0, -300.0, 600.0, 0.0]], np.float16)  # squares beyond 65504
    for f in (lambda x: F.layer_norm(x, 4), lambda x: F.rms_norm(x, 4)):
        v = Value(x)
        out = f(v)
        assert out.dtype == np.float16
        np.testing.assert_allclose(out.data, f(x.astype(float)), atol=2e-3)
        out.backward(np.ones((1, 4), np.float16))
        assert v.grad.dtype == np.float16
        assert np.isfinite(v.grad).all()


@pytest.mark.parametrize("n", [3, 200])
def test_float32_keeps_its_digits_beside_a_large_mean(n: int) -> None:
    x = (1000 + rng.normal(size=(4, n))).astype(np.float32)
    out = F.layer_norm(x, n)
    assert out.dtype == np.float32
    np.testing.assert_allclose(out, normal(x.astype(float), -1), atol=2e-3)


LAYERS = [
    (lambda: nn.BatchNorm1d(3), (4, 3)),
    (lambda: nn.BatchNorm2d(3, affine=False), (4, 3, 2, 2)),
    (lambda: nn.BatchNorm3d(3, track_running_stats=False), (4, 3, 2, 1, 2)),
    (lambda: nn.LayerNorm((3, 2)), (4, 3, 2)),
    (lambda: nn.LayerNorm(3, bias=False), (4, 3)),
    (lambda: nn.GroupNorm(3, 6), (4, 6, 2)),
    (lambda: nn.InstanceNorm1d(3, affine=True, track_running_stats=True), (4, 3, 5)),
    (lambda: nn.RMSNorm(3), (4, 3)),
    (lambda: nn.LocalResponseNorm(2), (4, 3, 2)),
]


@pytest.mark.parametrize(("make", "shape"), LAYERS)
def test_each_layer_is_saved_copied_pickled_and_differentiated(
    make: Any, shape: Any, tmp_path: Any
) -> None:
    layer = make()
    x = rng.normal(size=shape).astype(np.float32)
    layer(x)
    io.save(layer, tmp_path / "layer.safetensors")
    layer.eval()
    loaded = io.load(tmp_path / "layer.safetensors").eval()
    fresh = make().eval()
    fresh.load_state_dict(layer.state_dict())
    out = np.asarray(getattr(layer(x), "data", layer(x)))
    assert out.dtype == np.float32
    for other in (loaded, fresh, copy.deepcopy(layer), pickle.loads(pickle.dumps(layer))):
        again = other(x)
        np.testing.assert_array_equal(getattr(again, "data", again), out)
    loss = lambda model, x: np.sum(model(x) ** 3)
    if layer.parameters():
        grads = tg.grad(loss)(layer, x)
        loss(layer, x).backward()
        for p, g in zip(layer.parameters(), grads.parameters()):
            np.testing.assert_allclose(p.grad, g.data, rtol=1e-5, atol=1e-6)
        names = [name for name, _ in layer.named_parameters()]
        stacked = {n: np.stack([p.data, 2 * p.data]) for n, p in layer.named_parameters()}
        each = lambda state: nn.functional_call(layer, state, x)
        both = tg.vmap(each)(stacked)
        for i in range(2):
            one = each({n: stacked[n][i] for n in names})
            np.testing.assert_allclose(both[i], one, rtol=1e-5, atol=1e-6)


def test_vmap_over_examples_normalises_each() -> None:
    x = rng.normal(size=(3, 4, 5))
    for f in (
        lambda x: F.layer_norm(x, 5),
        lambda x: F.batch_norm(x, None, None, training=True),
        lambda x: F.group_norm(x, 2, np.arange(5.0)[:4], None) if x.shape[1] == 4 else x,
    ):
        np.testing.assert_allclose(tg.vmap(f)(x), np.stack([f(one) for one in x]), rtol=1e-10)


def test_a_checkpoint_moves_running_statistics_once() -> None:
    layer = nn.BatchNorm1d(2)
    x = Value(rng.normal(size=(4, 2)))
    np.sum(tg.checkpoint(layer)(x) ** 2).backward()
    assert layer.num_batches_tracked == 1


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: nn.BatchNorm1d(3)(np.ones((1, 3))), "no two values"),
        (lambda: nn.BatchNorm1d(3)(np.ones((0, 3))), "no two values"),
        (lambda: nn.BatchNorm2d(3)(np.ones((2, 3))), r"BatchNorm2d: an input of 4 axes"),
        (lambda: nn.BatchNorm2d(3)(np.ones((2, 4, 1, 1))), r"\(n, 3, ...\), not of shape \(2, 4"),
        (lambda: nn.LayerNorm(3)(np.ones((2, 4))), r"shape \(2, 4\), does not end in \(3,\)"),
        (lambda: nn.GroupNorm(2, 3), "3 channels are not 2 groups"),
        (lambda: F.group_norm(np.ones((2, 3)), 2), "3 channels are not 2 equal groups"),
        (lambda: nn.InstanceNorm1d(3)(np.ones((2, 3, 1))), "no two values"),
        (lambda: F.batch_norm(np.ones((2, 3)), None, None), "no running mean and variance"),
        (lambda: F.local_response_norm(np.ones((2, 3)), 2), "size is 1 or more"),
    ],
)
def test_mistakes_are_named(call: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call()


def test_integers_are_normalised_as_floats() -> None:
    x = np.array([[1, 2, 3, 4]])
    for f in (F.layer_norm, F.rms_norm):
        np.testing.assert_array_equal(f(x, 4), f(x.astype(float), 4))
