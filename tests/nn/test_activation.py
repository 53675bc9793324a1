"""Activations against their formulas, written out in NumPy and `math`."""

from __future__ import annotations

import copy
import math
import pickle
from typing import Any

import numpy as np
import pytest

import tensorgrad as tg
from tensorgrad import Value, nn
from tensorgrad.nn import functional as F
from tests.numerical import assert_gradient

x = np.array([[-4.1, -2.0, -0.5, 0.1], [0.3, 1.0, 2.2, 3.3]])
cdf = np.vectorize(lambda v: math.erfc(-v / math.sqrt(2)) / 2)
cube = math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)
soft = np.log(1 + np.exp(x))


def shares(x: Any, axis: int) -> Any:
    return np.exp(x) / np.exp(x).sum(axis=axis, keepdims=True)


BY_HAND: list[tuple[nn.Module, Any, Any]] = [
    (nn.ReLU(inplace=True), F.relu, np.where(x > 0, x, 0)),
    (nn.ReLU6(), F.relu6, np.where(x > 6, 6, np.where(x > 0, x, 0))),
    (nn.LeakyReLU(0.2), lambda x: F.leaky_relu(x, 0.2), np.where(x > 0, x, 0.2 * x)),
    (nn.RReLU(0.1, 0.3).eval(), lambda x: F.rrelu(x, 0.1, 0.3), np.where(x > 0, x, 0.2 * x)),
    (nn.ELU(0.7), lambda x: F.elu(x, 0.7), np.where(x > 0, x, 0.7 * (np.exp(x) - 1))),
    (nn.CELU(0.7), lambda x: F.celu(x, 0.7), np.where(x > 0, x, 0.7 * (np.exp(x / 0.7) - 1))),
    (
        *(nn.SELU(), F.selu),
        1.0507009873554805 * np.where(x > 0, x, 1.6732632423543772 * (np.exp(x) - 1)),
    ),
    (nn.GELU(), F.gelu, x * cdf(x)),
    (nn.GELU("tanh"), lambda x: F.gelu(x, approximate="tanh"), x / 2 * (1 + np.tanh(cube))),
    (nn.SiLU(), F.silu, x / (1 + np.exp(-x))),
    (nn.Mish(), F.mish, x * np.tanh(soft)),
    (nn.Softplus(), F.softplus, soft),
    (nn.Softplus(2), lambda x: F.softplus(x, 2), np.log(1 + np.exp(2 * x)) / 2),
    (
        *(nn.Softplus(2, 3), lambda x: F.softplus(x, 2, 3)),
        np.where(2 * x > 3, x, np.log(1 + np.exp(2 * x)) / 2),
    ),
    (nn.LogSigmoid(), F.logsigmoid, np.log(1 / (1 + np.exp(-x)))),
    (nn.Softsign(), F.softsign, x / (1 + np.abs(x))),
    (nn.Tanhshrink(), F.tanhshrink, x - np.tanh(x)),
    (
        *(nn.Softshrink(), F.softshrink),
        np.where(x > 0.5, x - 0.5, np.where(x < -0.5, x + 0.5, 0)),
    ),
    (nn.Hardshrink(0.4), lambda x: F.hardshrink(x, 0.4), np.where(np.abs(x) > 0.4, x, 0)),
    (nn.Hardtanh(-2, 1), lambda x: F.hardtanh(x, -2, 1), np.clip(x, -2, 1)),
    (nn.Hardsigmoid(), F.hardsigmoid, np.clip(x + 3, 0, 6) / 6),
    (nn.Hardswish(), F.hardswish, x * np.clip(x + 3, 0, 6) / 6),
    (nn.Threshold(1, -9), lambda x: F.threshold(x, 1, -9), np.where(x > 1, x, -9)),
    (nn.GLU(), F.glu, x[:, :2] / (1 + np.exp(-x[:, 2:]))),
    (nn.GLU(0), lambda x: F.glu(x, 0), x[:1] / (1 + np.exp(-x[1:]))),
    (nn.Softmin(), F.softmin, shares(-x, -1)),
    (nn.Softmin(0), lambda x: F.softmin(x, 0), shares(-x, 0)),
    (nn.PReLU(), lambda x: F.prelu(x, np.float32([0.25])), np.where(x > 0, x, 0.25 * x)),
]
IDS = [f"{i} {module!r}" for i, (module, _, _) in enumerate(BY_HAND)]


@pytest.mark.parametrize(("module", "function", "expected"), BY_HAND, ids=IDS)
def test_an_activation_is_its_formula(module: Any, function: Any, expected: Any) -> None:
    for f in (module, function):
        if f is function or not module.parameters():
            np.testing.assert_allclose(f(x), expected, rtol=1e-12)
        np.testing.assert_allclose(f(Value(x)).data, expected, rtol=1e-12)
        assert f(x.astype(np.float32)).dtype == np.float32
        assert f(Value(x.astype(np.float32))).dtype == np.float32
    assert_gradient(lambda x: function(x + 0.0137), x, order=2)


@pytest.mark.parametrize(("module", "function", "expected"), BY_HAND, ids=IDS)
def test_modules_are_copied_and_pickled(module: Any, function: Any, expected: Any) -> None:
    for other in (copy.deepcopy(module), pickle.loads(pickle.dumps(module))):
        np.testing.assert_array_equal(other(Value(x)).data, module(Value(x)).data)
        assert repr(other) == repr(module)


EXTREME = [-np.inf, -1e30, -1e10, -1e4, -88, -30, 0, 30, 88, 1e4, 1e10, 1e30, np.inf]
EVERYWHERE = {
    "relu6": F.relu6,
    "leaky_relu": F.leaky_relu,
    "elu": F.elu,
    "celu": F.celu,
    "selu": F.selu,
    "gelu": F.gelu,
    "gelu tanh": lambda x: F.gelu(x, "tanh"),
    "silu": F.silu,
    "mish": F.mish,
    "softplus": F.softplus,
    "logsigmoid": F.logsigmoid,
    "softsign": F.softsign,
    "tanhshrink": F.tanhshrink,
    "softshrink": F.softshrink,
    "hardshrink": F.hardshrink,
    "hardsigmoid": F.hardsigmoid,
    "hardswish": F.hardswish,
}


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
@pytest.mark.parametrize("name", EVERYWHERE)
def test_no_magnitude_overflows(name: str, dtype: Any) -> None:
    """Neither value nor slope, and the slope of the slope vanishes. (Warnings are errors.)"""
    big = float(np.finfo(dtype).max)
    v = Value(np.array([e for e in EXTREME if abs(e) < big], dtype))
    y = EVERYWHERE[name](v)
    y.sum().backward(create_graph=True)
    slope, v.grad = v.grad, None
    assert y.dtype == slope.dtype == dtype
    assert np.isfinite(y.data).all()
    assert (np.abs(slope.data) < 2).all()
    if slope.requires_grad:  # and is no constant
        slope.sum().backward()
        np.testing.assert_allclose(v.grad[np.abs(v.data) > 1000], 0, atol=1e-11)


def test_gelu_keeps_its_digits_in_both_tails() -> None:
    """NumPy has no erf: ours is as good as that of `math`, to 37 standard deviations."""
    far = np.concatenate([np.linspace(-37, 9, 500), [-1e-300, 0.0, 1e-9]])
    np.testing.assert_allclose(F.gelu(far), far * cdf(far), rtol=5e-13)
    near = np.linspace(-5, 5, 1001)
    np.testing.assert_allclose(F.gelu(near), near * cdf(near), rtol=1e-14)
    single = np.linspace(-9, 9, 2001, dtype=np.float32)
    np.testing.assert_allclose(F.gelu(single), single * cdf(single), rtol=1e-5)
    assert np.abs(F.gelu(single) - single * cdf(single)).max() < 4e-7


def test_prelu_has_a_slope_for_each_channel() -> None:
    slopes = np.array([0.1, 0.2, 0.3])
    for shape in ((2, 3), (2, 3, 4)):
        x = np.random.default_rng(0).normal(size=shape)
        a = slopes.reshape(3, *(1,) * (len(shape) - 2))
        np.testing.assert_allclose(F.prelu(x, slopes), np.where(x > 0, x, a * x), rtol=1e-12)
        assert_gradient(lambda x, a: F.prelu(x, a), x, slopes, order=2)
    with pytest.raises(ValueError, match=r"prelu: a weight of shape \(3,\) for \(2, 4\)"):
        F.prelu(np.ones((2, 4)), slopes)
    layer = nn.PReLU(3, 0.5)
    assert layer.weight.data.tolist() == [0.5, 0.5, 0.5]
    layer(np.full((4, 3), -2.0)).sum().backward()
    assert layer.weight.grad.tolist() == [-8, -8, -8]


def test_random_slopes_of_rrelu_are_those_of_its_generator() -> None:
    x = np.full(1000, -1.0)
    drawn = F.rrelu(x, 0.2, 0.4, training=True, rng=0)
    assert -0.4 < drawn.min() < -0.39
    assert -0.21 < drawn.max() < -0.2
    layer = nn.RReLU(0.2, 0.4, rng=0)
    np.testing.assert_array_equal(layer(x), drawn)
    assert (layer(x) != drawn).any()
    tg.manual_seed(3)
    first = nn.RReLU()(x)
    tg.manual_seed(3)
    np.testing.assert_array_equal(nn.RReLU()(x), first)
    v = Value(x)
    y = nn.RReLU()(v)
    y.sum().backward()
    np.testing.assert_allclose(v.grad, -y.data)


def test_a_gumbel_softmax_draws_classes_by_their_probability() -> None:
    logits = np.log([0.2, 0.5, 0.3]) + np.zeros((20000, 3))
    hard = F.gumbel_softmax(logits, hard=True, rng=0)
    assert ((hard == 0) | (hard == 1)).all()
    np.testing.assert_allclose(hard.mean(axis=0), [0.2, 0.5, 0.3], atol=0.01)
    soft = F.gumbel_softmax(logits.T, tau=0.5, dim=0, rng=0)
    np.testing.assert_allclose(soft.sum(axis=0), 1)
    v, w = Value(logits[:5]), Value(logits[:5])
    g = np.arange(15.0).reshape(5, 3)
    F.gumbel_softmax(v, tau=0.7, hard=True, rng=1).backward(g)
    F.gumbel_softmax(w, tau=0.7, rng=1).backward(g)
    np.testing.assert_array_equal(v.grad, w.grad)  # of a hard choice that of the soft one


def test_softmax2d_is_over_the_channels() -> None:
    x = np.random.default_rng(0).normal(size=(2, 3, 4, 5))
    np.testing.assert_allclose(nn.Softmax2d()(x), shares(x, 1))
    np.testing.assert_allclose(nn.Softmax2d()(x[0]), shares(x[0], 0))


def test_a_dtype_is_what_is_computed_in() -> None:
    x = np.array([1, 2, 3])
    for f in (F.softmax, F.log_softmax, F.softmin):
        assert f(x, dtype=np.float32).dtype == np.float32
    v = Value(np.ones(2, np.float32))
    y = F.log_softmax(v, dtype=np.float64)
    y[0].backward()
    assert (y.dtype, v.grad.dtype) == (np.float64, np.float32)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: F.gelu(x, "tan"), "'none' and 'tanh'"),
        (lambda: F.glu(np.ones((2, 3))), r"glu halves axis -1 of \(2, 3\): 3 is odd"),
        (lambda: F.celu(x, 0), "alpha"),
        (lambda: F.hardtanh(x, 1, -1), "min_val=1"),
        (lambda: F.rrelu(x, 0.3, 0.1), "lower=0.3"),
        (lambda: F.gumbel_softmax(x, tau=0), "tau=0"),
        (lambda: nn.Softmax2d()(x), r"\(n, channels, h, w\)"),
    ],
)
def test_mistakes_are_named(call: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call()


def test_functions_take_the_words_of_numpy_for_axes() -> None:
    np.testing.assert_array_equal(F.softmax(x, axis=0), F.softmax(x, dim=0))
    np.testing.assert_array_equal(F.glu(x, axis=0), F.glu(x, 0))
    kept = F.pairwise_distance(x, 2 * x, keepdims=True)
    np.testing.assert_array_equal(kept, F.pairwise_distance(x, 2 * x, keepdim=True))
    assert pickle.loads(pickle.dumps(F.softmax)) is F.softmax
    with pytest.raises(TypeError, match="axis= and dim= are the same"):
        F.softmax(x, axis=0, dim=1)
    with pytest.raises(TypeError, match="axes"):
        F.softmax(x, axes=0)


def test_relu_of_a_large_array_is_that_of_its_parts():
    x = np.random.default_rng(0).normal(size=20_000).astype(np.float32)
    x[:5] = [np.nan, np.inf, -np.inf, 0, -0.0]
    parts = [F.relu(part) for part in x.reshape(10, -1)]
    np.testing.assert_array_equal(F.relu(x), np.concatenate(parts))
    assert np.isnan(F.relu(x)[0])
    assert F.relu(x).dtype == np.float32
