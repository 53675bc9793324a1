"""Squashing functions and costs at any magnitude: no overflow, no NaN, no warning, the exact limit.

At ±10⁴ eˣ overflows in both float dtypes; what these functions answer there is known exactly.
(Warnings are errors in this suite.)
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from tensorgrad import Value
from tensorgrad.ops.nn.activation import sigmoid, softplus
from tensorgrad.ops.nn.cost import (
    binary_cross_entropy,
    binary_cross_entropy_with_logits,
    cross_entropy,
    quadratic,
)
from tensorgrad.ops.nn.softmax import log_softmax, logsumexp, softmax

FLOATS = pytest.mark.parametrize("dtype", [np.float32, np.float64])
BIG = 1e4


def value_and_slope(f: Callable[..., Any], x: Any, dtype: Any, seed: Any = None) -> tuple[Any, Any]:
    """f(x) and the gradient of its sum (or of seed · f), both of the operand's dtype."""
    v = Value(np.array(x, dtype))
    y = f(v)
    y.backward(np.ones(y.shape) if seed is None else seed)
    assert y.dtype == v.grad.dtype == dtype
    return y.data.tolist(), v.grad.tolist()


@FLOATS
def test_sigmoid_saturates_at_0_and_1(dtype: Any) -> None:
    assert value_and_slope(sigmoid, [-BIG, 0, BIG], dtype) == ([0, 0.5, 1], [0, 0.25, 0])


@FLOATS
def test_softplus_is_0_on_the_left_and_x_on_the_right(dtype: Any) -> None:
    y, slope = value_and_slope(softplus, [-BIG, 0, BIG], dtype)
    assert y == [0, pytest.approx(np.log(2), rel=1e-7), BIG]
    assert slope == [0, 0.5, 1]


@FLOATS
def test_tanh_saturates(dtype: Any) -> None:
    assert value_and_slope(np.tanh, [-BIG, 0, BIG], dtype) == ([-1, 0, 1], [0, 1, 0])


@FLOATS
@pytest.mark.parametrize("shift", [-BIG, 0.0, BIG])
def test_softmax_does_not_see_a_shift(dtype: Any, shift: float) -> None:
    """p = (1, 1)/2 whatever both logits are; ∂p₀/∂z = p₀(1 - p₀, -p₁)."""
    y, slope = value_and_slope(softmax, [shift, shift], dtype, [1.0, 0.0])
    assert (y, slope) == ([0.5, 0.5], [0.25, -0.25])


@FLOATS
def test_softmax_of_a_clear_winner(dtype: Any) -> None:
    assert value_and_slope(softmax, [BIG, -BIG, 0], dtype, [1.0, 2.0, 3.0]) == (
        [1, 0, 0],
        [0, 0, 0],
    )


@FLOATS
def test_log_softmax_is_the_distance_to_the_winner(dtype: Any) -> None:
    """ln p = z - max z here; the gradient of ln p₁ is (0, 1) - p."""
    y, slope = value_and_slope(log_softmax, [BIG, -BIG], dtype, [0.0, 1.0])
    assert (y, slope) == ([0, -2 * BIG], [-1, 1])


@FLOATS
@pytest.mark.parametrize("shift", [-BIG, BIG])
def test_logsumexp_is_the_largest_plus_a_correction(dtype: Any, shift: float) -> None:
    y, slope = value_and_slope(logsumexp, [shift, shift], dtype)
    assert y == pytest.approx(shift + np.log(2), rel=1e-7)
    assert slope == [0.5, 0.5]
    assert value_and_slope(logsumexp, [BIG, -BIG], dtype) == (BIG, [1, 0])


@FLOATS
def test_logsumexp_of_nothing_and_of_infinities(dtype: Any) -> None:
    inf = np.inf
    assert logsumexp(np.zeros(0, dtype)) == -inf
    assert logsumexp(np.array([-inf, -inf], dtype)) == -inf
    assert logsumexp(np.array([0, inf], dtype)) == inf
    assert value_and_slope(logsumexp, [0, -inf], dtype) == (0, [1, 0])


@FLOATS
def test_logaddexp(dtype: Any) -> None:
    f = lambda x: np.logaddexp(x, np.zeros(3, dtype))
    y, slope = value_and_slope(f, [-BIG, 0, BIG], dtype)
    assert y == [0, pytest.approx(np.log(2), rel=1e-6), BIG]
    assert slope == [0, pytest.approx(0.5, rel=1e-6), 1]
    for shift in (-BIG, BIG):
        y, slope = value_and_slope(lambda x: np.logaddexp(x, x[::-1]), [shift, shift], dtype)
        assert slope == pytest.approx([1, 1], rel=1e-6)


@FLOATS
def test_binary_cross_entropy_with_logits_is_linear_where_it_is_wrong(dtype: Any) -> None:
    """ln(1 + eᶻ) - yz is 0 where the answer is right, |z| where it is wrong; its slope is σ - y."""
    y = np.array([0, 1, 1, 0, 0.5], dtype)
    f = lambda z: binary_cross_entropy_with_logits(z, y)
    cost, slope = value_and_slope(f, [-BIG, BIG, -BIG, BIG, BIG], dtype)
    assert cost == [0, 0, BIG, BIG, BIG / 2]
    assert slope == [0, 0, -1, 1, 0.5]


@FLOATS
def test_binary_cross_entropy_of_saturated_probabilities(dtype: Any) -> None:
    """σ(±10⁴) is exactly 0 or 1: the cost is held at 100, as in PyTorch."""
    y = np.array([0, 1, 1, 0], dtype)
    f = lambda z: binary_cross_entropy(sigmoid(z), y)
    cost, slope = value_and_slope(f, [-BIG, BIG, -BIG, BIG], dtype)
    assert cost == [0, 0, 100, 100]
    assert np.isfinite(slope).all()


@FLOATS
def test_binary_cross_entropy_by_the_targets_of_saturated_probabilities(dtype: Any) -> None:
    """d/dy is ln(1 - a) - ln a, each logarithm held at -100 as in the cost."""
    a = np.array([0, 1, 0.5], dtype)
    _, slope = value_and_slope(lambda y: binary_cross_entropy(a, y), [0, 1, 0], dtype)
    assert slope == [100, -100, 0]


@FLOATS
def test_cross_entropy_is_linear_where_it_is_wrong(dtype: Any) -> None:
    """-ln p of the right class is 0 or the distance to the winner; its gradient is p - y."""
    z = [[BIG, -BIG], [BIG, -BIG]]
    for y in (np.array([0, 1]), np.eye(2, dtype=dtype)):
        cost, slope = value_and_slope(lambda z, y=y: cross_entropy(z, y), z, dtype)
        assert cost == [0, 2 * BIG]
        assert slope == [[0, 0], [1, -1]]


@FLOATS
def test_second_derivatives_of_saturated_functions_vanish(dtype: Any) -> None:
    y = np.ones(2, dtype)
    for f in (
        sigmoid,
        softplus,
        softmax,
        log_softmax,
        logsumexp,
        np.tanh,
        lambda z: binary_cross_entropy_with_logits(z, y),
        lambda z: cross_entropy(z, np.array(0)),
    ):
        z = Value(np.array([-BIG, BIG], dtype))
        np.sum(f(z) * np.array([1, 2], dtype)).backward(create_graph=True)
        g, z.grad = z.grad, None
        g.backward([1.0, 1.0])
        assert z.grad.tolist() == [0, 0]
        assert z.grad.dtype == dtype


@FLOATS
def test_a_small_difference_survives(dtype: Any) -> None:
    """ln(1 + x) and eˣ - 1 keep their digits near 0; so do their slopes."""
    for f in (np.log1p, np.expm1):
        y, slope = value_and_slope(f, 1e-10, dtype)
        assert y == pytest.approx(1e-10, rel=1e-6)
        assert slope == pytest.approx(1, rel=1e-9)


@FLOATS
def test_tails_keep_their_digits(dtype: Any) -> None:
    """Where eˣ - 1 is nearly -1, and where the slopes of softplus and of its kin are nearly 1."""
    x = np.array([-40, -20, 18, 40], dtype)
    tail = np.exp(-np.abs(x.astype(float)))
    _, slope = value_and_slope(np.expm1, x[:2], dtype)
    np.testing.assert_allclose(slope, tail[:2], rtol=1e-5)
    for f in (softplus, lambda z: binary_cross_entropy_with_logits(z, np.ones_like(z))):
        z = Value(x)
        f(z).sum().backward(create_graph=True)
        g, z.grad = z.grad, None
        g.sum().backward()
        np.testing.assert_allclose(z.grad, tail, rtol=1e-5)


@FLOATS
def test_hypot_neither_overflows_nor_vanishes(dtype: Any) -> None:
    big = 1e30 if dtype == np.float32 else 1e300
    for scale in (big, 1 / big):
        other = dtype(4) * dtype(scale)
        y, slope = value_and_slope(lambda x, other=other: np.hypot(x, other), 3 * scale, dtype)
        assert y == pytest.approx(5 * scale, rel=1e-6)
        assert slope == pytest.approx(0.6, rel=1e-6)


@FLOATS
def test_the_mean_square_of_large_errors(dtype: Any) -> None:
    y = np.zeros((1, 2), dtype)
    assert value_and_slope(lambda a: quadratic(a, y), [[BIG, -BIG]], dtype) == (
        BIG**2,
        [[BIG, -BIG]],
    )


def test_quotients_of_tiny_and_huge_numbers_have_their_derivatives() -> None:
    for tiny, dtype in ((1e-25, np.float32), (1e-200, np.float64)):
        for size in (tiny, 1 / tiny):
            x, y = Value(np.asarray(size, dtype)), Value(np.asarray(size, dtype))
            (x / y).backward()
            np.testing.assert_allclose([x.grad * size, y.grad * size], [1, -1], rtol=1e-5)
            y.grad = None
            np.reciprocal(y).backward(np.asarray(size, dtype))
            np.testing.assert_allclose(y.grad * size, -1, rtol=1e-5)
            x.grad = y.grad = None
            np.arctan2(x, y).backward()
            np.testing.assert_allclose([x.grad * size, y.grad * size], [0.5, -0.5], rtol=1e-5)
    x = Value(1e200)
    np.arcsinh(x).backward()
    np.testing.assert_allclose(x.grad, 1e-200)


def test_equal_infinities_share_the_gradient_of_logaddexp() -> None:
    x, y = Value(-np.inf), Value(-np.inf)
    np.logaddexp(x, y).backward()
    assert (x.grad, y.grad) == (0.5, 0.5)


def test_a_float32_bias_sums_a_float64_batch_in_float64() -> None:
    b = Value(np.zeros(3, np.float32))
    (b + np.zeros((1_000_000, 3))).backward(np.full((1_000_000, 3), 0.1))
    np.testing.assert_allclose(b.grad, 100_000, rtol=1e-7)
